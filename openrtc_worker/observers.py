"""Session observers: which version handled a call and what became of it, for somebody's own records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from openrtc_worker.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openrtc_worker.ledger import EndedCall, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """A call that is over; never anything of what was said in it.

    Attributes:
        agent: the agent that had the call; None where it has no name.
        tenant: whom it is attributed to; None where metadata names nobody.
        version: the deployment version that handled it; None for an untagged worker.
        boot: the ``boot_id`` of the worker process.
        outcome: ``completed failed removed cut crashed lost``.
        duration: in seconds, from the job's launch to its end.
    """

    agent: str | None
    tenant: str | None
    version: str | None
    boot: str
    outcome: Outcome
    duration: float


class SessionObserver(Protocol):
    """Something that wants to know of ended calls."""

    def on_session_end(self, ended: SessionEnd, /) -> None:
        """One call ended. Called in a thread of its own, one call after the other; it may block and may raise."""
        ...


class Observers:
    """Tells observers, where whatever they do cannot hurt a call.

    Args:
        observers: told in this order; one that raises keeps nothing from the others.
        version: the deployment version of this worker.
        boot: this boot's id.

    Raises:
        TypeError: an observer has no method ``on_session_end``.
    """

    def __init__(self, observers: Iterable[SessionObserver], *, version: str | None, boot: str) -> None:
        self._observers = tuple(observers)
        for observer in self._observers:
            if not callable(getattr(observer, "on_session_end", None)):
                raise TypeError(f"a session observer needs a method on_session_end, which {observer!r} has not")
        self._version = version
        self._boot = boot
        self._outbox = Outbox("a session observer")

    @property
    def is_failing(self) -> bool:
        """Whether one of them raised on the latest call, or they are hopelessly behind."""
        return self._outbox.failing

    def start(self) -> None:
        """From here on observers run in their thread."""
        if self._observers:
            self._outbox.start()

    def stop(self, timeout: float) -> None:
        """Let them take what is left, for at most *timeout* seconds."""
        self._outbox.stop(timeout)

    def session_ended(self, ended: EndedCall) -> None:
        """A call entered the books."""
        if not self._observers:
            return
        told = SessionEnd(
            agent=ended.call.agent,
            tenant=ended.call.tenant,
            version=self._version,
            boot=self._boot,
            outcome=ended.outcome,
            duration=max(0.0, ended.ended_at - ended.started_at),
        )
        self._outbox.put(lambda: self._tell(told))

    def _tell(self, told: SessionEnd) -> None:
        """Tell all of them, and raise at the end what the first that failed raised: none hides another's failure."""
        failure: Exception | None = None
        for observer in self._observers:
            try:
                observer.on_session_end(told)
            except Exception as error:  # somebody else's code: the next is told all the same
                failure = failure or error
        if failure is not None:
            raise failure
