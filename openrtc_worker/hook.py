"""The user's request hook, in a thread, a loop and an executor of its own, with a time to answer.

A hook that blocks its loop, or fills the default executor, stalls other hooks and nothing else: the worker's own loop
goes on answering in time, and livekit-agents, which asks for the load in its loop's executor before every answer,
never waits behind user code.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

AnswerT = TypeVar("AnswerT")
OfferT = TypeVar("OfferT")

logger = logging.getLogger(__name__)

THREAD_NAME = "openrtc-request-hook"
"""Name of the hook's thread, and with a number of the threads of its executor."""


class OfferClosedError(RuntimeError):
    """The offer was answered already, or could not be kept open: the message says why."""


@dataclass(slots=True)
class Given(Generic[AnswerT]):
    """What the hook answered; settle it once it is carried out, then the hook goes on."""

    answer: AnswerT
    _done: concurrent.futures.Future[None] = field(default_factory=concurrent.futures.Future)

    def settle(self, error: BaseException | None = None) -> None:
        if self._done.cancelled():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)


class Question(Generic[AnswerT]):
    """One offer that the hook thinks about. Made on the worker's loop, answered from the hook's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._given: asyncio.Future[Given[AnswerT]] = self._loop.create_future()
        self._closed: str | None = None

    async def give(self, answer: AnswerT) -> None:
        """On the hook's loop: answer, and wait until the answer is carried out; raises what that raised."""
        given = Given(answer)
        self._loop.call_soon_threadsafe(self._take, given)
        await asyncio.wrap_future(given._done)  # noqa: SLF001 - the two are one thing

    def _take(self, given: Given[AnswerT]) -> None:
        if self._closed is not None:
            given.settle(OfferClosedError(self._closed))
        elif self._given.done():
            given.settle(OfferClosedError("this offer has been answered already"))
        else:
            self._given.set_result(given)

    def close(self, why: str) -> None:
        """Take no answer any more."""
        self._closed = why

    async def first(self, hook: concurrent.futures.Future[Any], *, within: float) -> Given[AnswerT] | None:
        """The first answer, or None when the hook returned or raised without one.

        Raises:
            TimeoutError: no answer within that many seconds.
        """
        returned = asyncio.wrap_future(hook)
        await asyncio.wait({self._given, returned}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if self._given.done():
            return self._given.result()
        if returned.done():
            return None
        raise TimeoutError


async def consult(hook: Callable[[OfferT], Any], offer: OfferT, room: str) -> None:
    """Run the user's hook, on its own loop; whatever goes wrong there is said and goes no further."""
    try:
        answer = hook(offer)
        if inspect.isawaitable(answer):
            await answer
    except OfferClosedError as closed:
        logger.info("the request hook answered in vain: %s", closed)
    except Exception:
        logger.exception("the request hook failed on a job of room %s", room)


class HookThread:
    """An event loop in a daemon thread. It starts with the first coroutine."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        """Run *coroutine* on the thread's loop; cancelling the future cancels it there."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._executor = concurrent.futures.ThreadPoolExecutor(thread_name_prefix=THREAD_NAME)
            self._loop.set_default_executor(self._executor)
            self._thread = threading.Thread(target=self._loop.run_forever, name=THREAD_NAME, daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def stop(self, timeout: float) -> None:
        """End the loop; a hook that still blocks it after *timeout* seconds is left to the end of the process."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout)
        if not thread.is_alive():
            loop.close()
