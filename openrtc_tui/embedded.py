"""The embedded fleet's process as the demo sees it: progress comes as JSON lines, and its end is ours to ask for."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

START_PATIENCE: Final = 30.0
"""Seconds until the fleet must have told where its file is."""

STOP_PATIENCE: Final = 5.0
"""Seconds that the fleet has to end everything; then all its process groups are killed."""

Event = Mapping[str, Any]
"""One line of progress; ``event`` says what (``openrtc_worker.local.progress`` has them all)."""


class FleetFailed(Exception):  # noqa: N818 - an outcome, told in words
    """The embedded fleet could not run; the text is one line for people."""


class FleetProcess:
    """Runs *command* for as long as the block lasts.

    The process has its own session, so that no signal meant for the terminal reaches it, and ends by itself when
    our end of its stdin closes, also when we are killed.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # ours may be the terminal that the dashboard draws on
            start_new_session=True,
        )
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._groups: dict[str, int] = {}  # of the workers that run, by name
        self._last_words = ""
        self._reader = threading.Thread(target=self._read, name="fleet progress", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for as a pipe
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):  # a line cut off by a killed process
                event: Event = json.loads(line)
                self._note(event)
                self._events.put(event)
        self._events.put({"event": "gone"})

    def _note(self, event: Event) -> None:
        if event["event"] == "worker" and "pid" in event:
            self._groups[event["name"]] = event["pid"]
        elif event["event"] == "worker" and event["state"] == "exited":
            self._groups.pop(event["name"], None)
        elif event["event"] in ("stopped", "failed"):
            self._last_words = str(event["message"])

    def wait_for_file(self, patience: float = START_PATIENCE) -> str:
        """The path of the fleet file, once it can be opened.

        Raises:
            FleetFailed: the fleet ended before, or took too long.
        """
        while True:
            try:
                event = self._events.get(timeout=patience)
            except queue.Empty:
                raise FleetFailed(f"The embedded fleet did not start within {patience:.0f} s.") from None
            if event["event"] == "fleet":
                return str(event["fleet_file"])
            if event["event"] == "gone":
                raise FleetFailed(self._last_words or "The embedded fleet ended before it had started.")

    def news(self) -> list[Event]:
        """What happened since the last call; never waits."""
        news: list[Event] = []
        with contextlib.suppress(queue.Empty):
            while True:
                news.append(self._events.get_nowait())
        return news

    def stop(self) -> str:
        """End everything, and say in the fleet's own words what that ended. Calling it again changes nothing."""
        process = self._process
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid)
            process.wait()
        self._reader.join(1.0)
        for group in self._groups.values():  # left behind by a fleet that did not end by itself
            _kill_group(group)
        if process.stdout is not None:
            process.stdout.close()
        return self._last_words or "The fleet was stopped."


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
