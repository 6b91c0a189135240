"""The life of one worker boot as a sans-I/O state machine: events and a time in, decisions out.

``starting → serving ⇄ cordoned → draining → drained → exited``. Draining is reachable from the first three and
is one-way. Nothing here reads a clock, touches a socket or knows LiveKit; every time is in Unix seconds and must
not go back (give it a wall clock that is anchored to the monotonic one).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

from openrtc_worker.contract.snapshot import State

if TYPE_CHECKING:
    from openrtc_worker.control.target import Effect


class ExitCode(IntEnum):
    """What the process's exit code says of its calls."""

    DRAINED = 0
    CRASHED = 1
    CUT = 3
    NEVER_CONNECTED = 4
    KILLED = 5


class LifecycleConflictError(Exception):
    """What was asked cannot be done in the present state; the message is for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """A drain in progress: who began it, when, and when what is left is cut."""

    source: str
    actor: str
    reason: str | None
    op_id: str | None
    started_at: float
    deadline: float


# -- decisions: what the shell around the machine has to do ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """Tell LiveKit at once that this worker is full, and audit it."""

    drain: Drain


@dataclass(frozen=True, slots=True)
class DrainShortened:
    """The deadline moved forward; audit it."""

    drain: Drain


@dataclass(frozen=True, slots=True)
class CutDue:
    """The deadline passed: end what is live and what still launches; count and audit each."""


@dataclass(frozen=True, slots=True)
class KillDue:
    """The hard cap passed and calls are still live: kill what is left."""


@dataclass(frozen=True, slots=True)
class DrainCompleted:
    """No call is live and none can come any more; audit it with the counts. ``result`` is ``ok`` or ``cut``."""

    result: Literal["ok", "cut"]


@dataclass(frozen=True, slots=True)
class Exit:
    """Close everything and end the process with this code."""

    code: ExitCode


Decision: TypeAlias = DrainStarted | DrainShortened | CutDue | KillDue | DrainCompleted | Exit
Decisions: TypeAlias = tuple[Decision, ...]


class Lifecycle:
    """One boot's state machine.

    Args:
        drain_timeout: seconds a drain may take before what is left is cut; the most that a request may ask for.
        cut_grace: seconds after the deadline until what could not be ended is killed.
        drain_linger: seconds between *drained* and exit, so that polls and scrapes see zero active calls.
        waits: stay idle, once no call is left, until a signal comes, unless one came before
            (``after_drain="wait"``, or ``auto`` where the platform would start the same version again, whatever
            the exit code is). What had to kill does not wait: its process may hold what cannot be ended.
    """

    def __init__(self, *, drain_timeout: float, cut_grace: float, drain_linger: float, waits: bool = False) -> None:
        self._drain_timeout = drain_timeout
        self._cut_grace = cut_grace
        self._drain_linger = drain_linger
        self._waits = waits
        self._registered = False
        self._cordoned = False
        self._drain: Drain | None = None
        self._signalled = False
        self._connection_failed = False
        self._cut_at: float | None = None
        self._killed = False
        self._quiet_at: float | None = None
        self._exit: ExitCode | None = None
        self._live = 0
        self._pending = 0
        self._cut_calls = 0

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state by the latest event."""
        if self._exit is not None:
            return State.EXITED
        if self._drain is not None:
            # a drain that cut calls never shows *drained*: readers must not take it for a clean end
            return State.DRAINED if self._quiet_at is not None and not self._has_cut else State.DRAINING
        if not self._registered:
            return State.STARTING
        return State.CORDONED if self._cordoned else State.SERVING

    @property
    def draining(self) -> bool:
        """Whether a drain has begun; never false again once true."""
        return self._drain is not None

    @property
    def drain(self) -> Drain | None:
        return self._drain

    @property
    def exit_code(self) -> ExitCode | None:
        """Set once the boot is over."""
        return self._exit

    @property
    def refusal(self) -> str | None:
        """Why a job offered now is refused by state (capacity is not known here), or None."""
        if self._drain is not None:
            return "draining"
        if self._cordoned:
            return "cordoned"
        return None if self._registered else "starting"

    @property
    def _has_cut(self) -> bool:
        launched_late = self._quiet_at is not None and self._live > 0
        return self._killed or self._cut_calls > 0 or launched_late

    @property
    def _is_waiting(self) -> bool:
        return self._waits and not self._signalled and not self._connection_failed and not self._killed

    # -- events -------------------------------------------------------------------------------------------------

    def registered(self, now: float) -> Decisions:
        """LiveKit took the (first or a later) registration."""
        self._registered = True
        return self._settle(now)

    def cordon(self) -> Effect:
        """Stop accepting, reversibly; while starting it holds from the first registration.

        Raises:
            LifecycleConflictError: the worker is draining or beyond it.
        """
        return self._set_cordoned(True, "cordon")

    def uncordon(self) -> Effect:
        """Accept again. Raises :class:`LifecycleConflictError` when draining or beyond it."""
        return self._set_cordoned(False, "uncordon")

    def _set_cordoned(self, wanted: bool, verb: str) -> Effect:
        if self._drain is not None:
            raise LifecycleConflictError(
                f"cannot {verb}: this worker is {self.state.value} since {self._drain.source} began its drain"
                f" (by {self._drain.actor}); a drain is one-way, start another worker instead"
            )
        if self._cordoned == wanted:
            return "already"
        self._cordoned = wanted
        return "started"

    def begin_drain(
        self,
        now: float,
        *,
        source: str,
        actor: str = "system",
        reason: str | None = None,
        op_id: str | None = None,
        timeout: float | None = None,
    ) -> tuple[Effect, Decisions]:
        """Start the drain, or let a later request shorten its deadline (the earliest deadline wins).

        Args:
            now: the time.
            source: ``signal``, ``http``, ``api`` or ``livekit`` (the connection is lost for good).
            actor: the operator, or ``system``.
            reason: free text for the audit.
            op_id: the request's identity.
            timeout: seconds from now; more than ``drain_timeout`` counts as ``drain_timeout``.
        """
        if source == "signal":
            self._signalled = True
        if source == "livekit":
            self._connection_failed = True
        allowed = self._drain_timeout if timeout is None else min(timeout, self._drain_timeout)
        deadline = now + allowed
        if self._drain is None:
            self._drain = Drain(
                source=source, actor=actor, reason=reason, op_id=op_id, started_at=now, deadline=deadline
            )
            return "started", (DrainStarted(self._drain), *self._settle(now))
        decisions: list[Decision] = []
        if (
            timeout is not None
            and deadline < self._drain.deadline
            and self._cut_at is None
            and self._quiet_at is None
        ):
            self._drain = replace(self._drain, deadline=deadline)
            decisions.append(DrainShortened(self._drain))
        decisions.extend(self._settle(now))
        return "already", tuple(decisions)

    def calls_changed(self, now: float, *, live: int, pending: int, cut: int) -> Decisions:
        """The numbers of live calls, of accepted offers that may still become one, and of calls cut so far.

        Said every so often though nothing changed, it is how time passes.
        """
        self._live, self._pending, self._cut_calls = live, pending, cut
        return self._settle(now)

    def all_killed(self, now: float) -> Decisions:
        """What :class:`KillDue` asked for is done."""
        self._live = self._pending = 0
        return self._settle(now)

    # -- rules --------------------------------------------------------------------------------------------------

    def _settle(self, now: float) -> Decisions:
        """Everything that follows from the present facts at *now*."""
        if self._drain is None or self._exit is not None:
            return ()
        decisions: list[Decision] = []
        beyond_cap = self._cut_at is not None and now >= self._cut_at + self._cut_grace
        # an offer that has not become a call by then is taken for gone: there is nothing to kill
        quiet = self._live == 0 and (self._pending == 0 or beyond_cap)
        if self._quiet_at is None and not quiet:
            if self._cut_at is None and now >= self._drain.deadline:
                self._cut_at = now
                decisions.append(CutDue())
            elif beyond_cap and not self._killed:
                self._killed = True
                decisions.append(KillDue())
        if self._quiet_at is None and quiet:
            self._quiet_at = now
            decisions.append(DrainCompleted("cut" if self._has_cut else "ok"))
        if self._quiet_at is not None and not self._is_waiting and now >= self._quiet_at + self._drain_linger:
            self._exit = self._final_code()
            decisions.append(Exit(self._exit))
        return tuple(decisions)

    def _final_code(self) -> ExitCode:
        if self._killed:
            return ExitCode.KILLED
        if self._has_cut:
            return ExitCode.CUT
        return ExitCode.NEVER_CONNECTED if self._connection_failed else ExitCode.DRAINED
