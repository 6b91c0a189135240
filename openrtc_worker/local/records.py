"""What the dispatcher remembers of every call and every worker: frozen records, replaced as things happen.

All times are Unix seconds. The records are complete: nothing is dropped while the dispatcher lives, so that a
test or a report can compare what a dashboard concluded with what truly happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Answer(StrEnum):
    """What a worker said to an offer."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """Refused with ``terminate=False``: the next worker is asked."""
    TERMINATED = "terminated"
    """Refused with ``terminate=True``, livekit-agents' default: nobody else is asked."""


class Loss(StrEnum):
    """Why nobody answered a call."""

    NO_WORKER = "no_worker"
    """No worker was registered for its agent name and deployment."""
    NO_BID = "no_bid"
    """Workers were registered, but each was full or reported a load of 0.7 or more."""
    EXHAUSTED = "exhausted"
    """All who could be asked refused, left, or became full."""
    TERMINATED = "terminated"
    """A worker refused with ``terminate=True``."""
    TIMEOUT = "timeout"
    """The 3 s of the whole chain passed while a worker kept its answer."""


class JobState(StrEnum):
    """A job's status as its worker reports it."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCESS, JobState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One worker's turn in the chain of a call. An answer may come after the call was lost: ``in_time`` is False."""

    worker_id: str
    made_at: float
    answer: Answer | None = None
    answered_at: float | None = None
    in_time: bool | None = None
    attributes: Mapping[str, str]
    """What the worker tags its agent with (``openrtc.version``, ``openrtc.worker``, …); empty until it accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """One ``update_job`` that a worker sent, or the end that a termination stands for (``worker_id`` None)."""

    at: float
    worker_id: str | None
    state: JobState
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call from its arrival to its end: waiting, then assigned to a worker or lost."""

    job_id: str
    room: str
    agent_name: str
    deployment: str
    metadata: str
    room_metadata: str
    placed_at: float
    offers: tuple[Offer, ...] = ()
    worker_id: str | None = None
    """The registration that it was assigned to. A worker that reconnects has a new one: see ``kept_by``."""
    assigned_at: float | None = None
    loss: Loss | None = None
    lost_at: float | None = None
    reports: tuple[JobReport, ...] = ()
    kept_by: tuple[str, ...] = ()
    """Later registrations of its worker that said, on reconnecting, that the job still runs."""
    termination_sent_at: float | None = None

    @property
    def assigned(self) -> bool:
        return self.assigned_at is not None

    @property
    def ended_at(self) -> float | None:
        """When its end was first reported; None while it lives, and for ever when its worker died with it."""
        return next((report.at for report in self.reports if report.state.ended), None)

    @property
    def open(self) -> bool:
        """Whether it was assigned and nobody has reported its end."""
        return self.assigned and self.ended_at is None

    @property
    def holder(self) -> str | None:
        """The registration that has the call, as far as its worker said: the newest one."""
        return self.kept_by[-1] if self.kept_by else self.worker_id

    @property
    def attributes(self) -> Mapping[str, str]:
        """The tags of the agent that has the call; empty for a call that is not assigned."""
        return self.offers[-1].attributes if self.assigned else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """One registration of a worker, from its connection to its end."""

    worker_id: str
    agent_name: str
    deployment: str
    sdk_version: str
    registered_at: float
    left_at: float | None = None
    available: bool = True
    """The last status: WS_AVAILABLE or WS_FULL. A fresh registration counts as available with load 0."""
    load: float = 0.0

    @property
    def connected(self) -> bool:
        return self.left_at is None
