"""A thread for what may block and must not: the user's audit sink, and the disk under the call file."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

CAPACITY = 10_000


class Outbox:
    """Runs callables one after another in a thread of its own, in the order given. Errors are counted and logged.

    Before :meth:`start` a callable runs at once, in the caller's thread. From :meth:`stop` on it is dropped: what
    hangs in the thread would hang the caller, and the process could never exit.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.Queue[Callable[[], Any] | None] = queue.Queue(CAPACITY)
        self._thread: threading.Thread | None = None
        self._stopped = False
        self.failing = False
        """Whether the latest callable raised, or one was dropped."""

    def start(self) -> None:
        """Begin to run callables in the thread. A daemon: a sink that hangs must not keep the process."""
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    def put(self, action: Callable[[], Any]) -> None:
        """Run *action* soon; never waits and never raises."""
        if self._stopped:
            self._failed("%s has ended; what came after was dropped", self._name)
            return
        if self._thread is None:
            self._run(action)
            return
        try:
            self._queue.put_nowait(action)
        except queue.Full:
            self._failed("%s is %d items behind; one was dropped", self._name, CAPACITY)

    def stop(self, timeout: float) -> bool:
        """Let what was put run, for at most *timeout* seconds; nothing is taken any more. False when something was
        left.
        """
        self._stopped = True
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        deadline = time.monotonic() + timeout
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return False
        thread.join(max(0.0, deadline - time.monotonic()))
        return not thread.is_alive()

    def _work(self) -> None:
        while (action := self._queue.get()) is not None:
            self._run(action)

    def _run(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception:  # somebody else's code, or a full disk: it must never end a call
            self._failed("%s failed", self._name, exc_info=True)
        else:
            self.failing = False

    def _failed(self, message: str, *args: object, exc_info: bool = False) -> None:
        if not self.failing:  # once until it works again: a dead sink must not fill the log
            logger.error(message, *args, exc_info=exc_info)
        self.failing = True
