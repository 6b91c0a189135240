"""What a job tells its worker of the call, and how it ends the call when the worker says so.

It runs where the job runs: in a process of its own or in a thread. Of livekit it knows nothing; the adapter passes on
what the room says.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from openrtc_worker.callers import CallersOnLine
from openrtc_worker.ledger import Ending
from openrtc_worker.reports import JobLine

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

logger = logging.getLogger(__name__)

CURRENT: ContextVar[JobSide | None] = ContextVar("openrtc-job", default=None)
"""The job whose entrypoint runs in this context."""

CUT_REASON = "the worker's drain deadline passed"


class JobSide:
    """One call in its job.

    Args:
        reports_path: where the worker listens.
        job_id: LiveKit's id of the job.
        shutdown: asks livekit to end the job; takes a reason.
    """

    def __init__(self, reports_path: str, job_id: str, shutdown: Callable[[str], None]) -> None:
        self._shutdown = shutdown
        self._task: asyncio.Task[Any] | None = None
        self._is_cut = False
        self._callers = CallersOnLine()
        self._line = JobLine(reports_path, job_id, self._cut)

    async def run(self, entrypoint: Coroutine[Any, Any, Any]) -> None:
        """Run the user's entrypoint; an error in it is reported and raised, a cut ends it quietly.

        Raises:
            RuntimeError: the entrypoint ended with a cancellation, or a ``sys.exit()``, of its own. livekit takes
                neither for an error, and would keep a call that nobody answers any more for ever.
            asyncio.CancelledError: livekit cancelled the job.
        """
        CURRENT.set(self)
        self._task = asyncio.create_task(_without_exits(entrypoint), name="openrtc-entrypoint")
        if self._is_cut:
            self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError as cancellation:
            if self._is_cut:
                logger.info("the call was cut: %s", CUT_REASON)
                return
            ours = asyncio.current_task()
            if ours is not None and ours.cancelling():
                raise
            error = RuntimeError("the entrypoint awaited something that was cancelled elsewhere")
            self.ended(Ending.ERROR, error)
            raise error from cancellation
        except Exception as error:
            self.ended(Ending.ERROR, error)
            raise
        finally:
            entrypoint.close()  # a cut may come before its first step

    def ended(self, ending: Ending, error: BaseException | str | None = None) -> None:
        """How the call ended; the first word of it stands."""
        self._line.ended(ending, error)

    def joined(self, identity: str) -> None:
        self._callers.joined(identity)
        self._line.callers(len(self._callers))

    def left(self, identity: str, *, reason_known: bool) -> None:
        self._callers.left(identity, reason_known=reason_known)
        self._line.callers(len(self._callers))

    def recounted(self, identities: Iterable[str]) -> None:
        self._callers.recounted(identities)
        self._line.callers(len(self._callers))

    async def close(self) -> None:
        """Say what is left to say; the job ends now."""
        await self._line.close()

    def _cut(self) -> None:
        if self._is_cut:
            return
        self._is_cut = True
        self._shutdown(CUT_REASON)
        if self._task is not None:
            self._task.cancel()


async def _without_exits(entrypoint: Coroutine[Any, Any, Any]) -> None:
    """A task that raises one of these stops its event loop, and here that is the whole job's."""
    try:
        await entrypoint
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"the entrypoint ended with {type(error).__name__}: {error}") from error
