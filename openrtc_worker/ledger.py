"""The accounts of one boot's calls: every call that started is in exactly one place, at any time.

``started = completed + failed + removed + cut + crashed + lost + active``. Sans-I/O: the adapter says what LiveKit
and the job reported, the ledger says how the call ended. Times are in Unix seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from openrtc_worker.contract.snapshot import SESSION_AGE_BOUNDS, LedgerCounts, SessionInfo


class Outcome(StrEnum):
    """How a call ended; ``CUT``, ``CRASHED`` and ``LOST`` are dropped calls."""

    COMPLETED = "completed"
    FAILED = "failed"
    REMOVED = "removed"
    CUT = "cut"
    CRASHED = "crashed"
    LOST = "lost"


class Ending(StrEnum):
    """What the job itself saw of its end, in the wrapped entrypoint; no ending at all means that it crashed."""

    HANGUP = "hangup"
    """The room closed, the caller or the agent hung up, the entrypoint finished its call."""
    ERROR = "error"
    """The agent's code raised."""
    REMOVED = "removed"
    """Someone took the agent out through LiveKit's API."""
    LOST = "lost"
    """LiveKit timed the agent out: a freeze, a broken link."""
    STOPPED = "stopped"
    """The worker ended it (a cut) or LiveKit asked the worker to; who it was, the worker knows."""

    @property
    def dropped_nobody(self) -> bool:
        """Whether the call is over with nobody dropped, whatever becomes of its job, or of its worker, after it."""
        return self in (Ending.HANGUP, Ending.ERROR, Ending.REMOVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What identifies a call and what it is attributed to."""

    job_id: str
    room: str
    agent: str | None = None
    tenant: str | None = None
    deployment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedCall:
    """A call that is over."""

    call: Call
    outcome: Outcome
    started_at: float
    ended_at: float


@dataclass(slots=True)
class _Live:
    call: Call
    started_at: float
    callers: int | None = None
    alone_since: float | None = None
    ending: Ending | None = None
    caller_had_left: bool = False
    """The last caller was seen to leave before anything of ours ended the call."""
    cut: bool = False


class Ledger:
    """Counts calls. Unknown job ids in reports are ignored: a datagram may come late or twice."""

    def __init__(self) -> None:
        self._live: dict[str, _Live] = {}
        self._ended: Counter[Outcome] = Counter()
        self._started = 0
        self._launch_failed = 0
        self._offers_lost = 0
        self._rejected: Counter[str] = Counter()
        self._last_started_at: float | None = None

    # -- events -------------------------------------------------------------------------------------------------

    def call_started(self, call: Call, now: float) -> None:
        """LiveKit assigned the job and it was launched. A second start of the same job changes nothing."""
        if call.job_id in self._live:
            return
        self._started += 1
        self._last_started_at = now
        self._live[call.job_id] = _Live(call, now)

    def offer_rejected(self, reason: str) -> None:
        self._rejected[reason] += 1

    def launch_failed(self) -> None:
        """An assigned job could not be launched: its caller got nobody."""
        self._launch_failed += 1

    def offer_lost(self) -> None:
        """We took an offer and LiveKit had given up on us: its caller most likely got nobody."""
        self._offers_lost += 1

    def callers_changed(self, job_id: str, callers: int, now: float) -> None:
        """The job sees this many callers on the line."""
        live = self._live.get(job_id)
        if live is None:
            return
        seen_before = live.callers
        live.callers = callers
        if callers > 0:
            live.alone_since = None
            live.caller_had_left = False
        elif seen_before != 0:
            live.alone_since = now
            # a caller who never came has not left: somebody may be about to join, and would find nobody
            if seen_before is not None and not live.cut:
                live.caller_had_left = True

    def ending_reported(self, job_id: str, ending: Ending) -> bool:
        """The job says how it ended. True when its word stands: the first one does, and none after the cut."""
        live = self._live.get(job_id)
        if live is None or live.ending is not None or live.cut:
            return False
        live.ending = ending
        return True

    def call_cut(self, job_id: str) -> Call | None:
        """This worker ends the call now, its deadline has passed. Returns the call, None when it is not live."""
        live = self._live.get(job_id)
        if live is None:
            return None
        live.cut = True
        return live.call

    def call_ended(self, job_id: str, now: float) -> EndedCall | None:
        """The job left the worker's active jobs: decide how it ended. None when it was not live."""
        live = self._live.pop(job_id, None)
        if live is None:
            return None
        outcome = _outcome(live)
        self._ended[outcome] += 1
        return EndedCall(call=live.call, outcome=outcome, started_at=live.started_at, ended_at=now)

    # -- readings -----------------------------------------------------------------------------------------------

    @property
    def active(self) -> int:
        return len(self._live)

    @property
    def started(self) -> int:
        return self._started

    @property
    def cut(self) -> int:
        return self._ended[Outcome.CUT]

    @property
    def live_calls(self) -> tuple[Call, ...]:
        """The live calls, oldest first."""
        return tuple(live.call for live in self._live.values())

    @property
    def rejected(self) -> dict[str, int]:
        return dict(self._rejected)

    @property
    def without_caller(self) -> int:
        """Sessions with nobody on the line; where callers cannot be seen a session counts as having one."""
        return sum(1 for live in self._live.values() if live.callers == 0)

    def counts(self) -> LedgerCounts:
        return LedgerCounts(
            started=self._started,
            completed=self._ended[Outcome.COMPLETED],
            failed=self._ended[Outcome.FAILED],
            removed=self._ended[Outcome.REMOVED],
            cut=self._ended[Outcome.CUT],
            crashed=self._ended[Outcome.CRASHED],
            lost=self._ended[Outcome.LOST],
            active=len(self._live),
            launch_failed=self._launch_failed,
            offers_lost=self._offers_lost,
        )

    def by_agent(self) -> dict[str, int]:
        """Live calls by agent; calls of no known agent are left out."""
        return dict(Counter(live.call.agent for live in self._live.values() if live.call.agent is not None))

    def by_tenant(self) -> dict[str, int]:
        """Live calls by tenant; calls of no known tenant are left out."""
        return dict(Counter(live.call.tenant for live in self._live.values() if live.call.tenant is not None))

    def oldest_seconds(self, now: float) -> float | None:
        """Age of the oldest live call in seconds, None when there is none."""
        first = min((live.started_at for live in self._live.values()), default=None)
        return None if first is None else max(0.0, now - first)

    def session_ages(self, now: float) -> list[int]:
        """Nine counts of live calls by age, not cumulative: up to each of SESSION_AGE_BOUNDS, and more."""
        counts = [0] * (len(SESSION_AGE_BOUNDS) + 1)
        for live in self._live.values():
            counts[bisect_left(SESSION_AGE_BOUNDS, now - live.started_at)] += 1
        return counts

    def sessions(self, now: float) -> list[SessionInfo]:
        """The live calls for ``GET /v1/sessions``, oldest first."""
        return [
            SessionInfo(
                job_id=live.call.job_id,
                room=live.call.room,
                agent=live.call.agent,
                tenant=live.call.tenant,
                deployment=live.call.deployment,
                started_at=live.started_at,
                age_seconds=max(0.0, now - live.started_at),
                callers=live.callers,
                alone_since=live.alone_since,
            )
            for live in self._live.values()
        ]


# What each ending means where this worker did not cut the call and a caller was still there. STOPPED: LiveKit
# itself asked for the end (delete_room, delete_dispatch); no report at all: the job's process died.
_OUTCOMES = {
    Ending.HANGUP: Outcome.COMPLETED,
    Ending.ERROR: Outcome.FAILED,
    Ending.REMOVED: Outcome.REMOVED,
    Ending.LOST: Outcome.LOST,
    Ending.STOPPED: Outcome.COMPLETED,
    None: Outcome.CRASHED,
}


def _outcome(live: _Live) -> Outcome:
    """How a call ended, from what the worker did to it and what its job saw."""
    if live.ending in (Ending.ERROR, Ending.HANGUP):
        # reported before any cut: the call was over, and only its clean-up was still going on
        return _OUTCOMES[live.ending]
    if live.caller_had_left:
        # nobody was on the line any more: whatever ended it dropped no one
        return Outcome.COMPLETED
    if live.cut and live.ending in (None, Ending.STOPPED):
        return Outcome.CUT
    return _OUTCOMES[live.ending]
