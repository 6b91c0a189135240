"""What is known of one boot: one life of one worker process, from its first report to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from openrtc_tui.state import sane
from openrtc_tui.state.trend import Trend
from openrtc_tui.state.verdict import NOTHING_SEEN, Standing, judge
from openrtc_tui.state.view import WorkerState
from openrtc_worker.contract.snapshot import State

if TYPE_CHECKING:
    from openrtc_tui.state.view import WorkerRow
    from openrtc_worker.contract.snapshot import LedgerCounts, RuntimeSnapshot

CORDON_REST: Final = 10.0
"""Seconds a boot must show ``cordoned`` without a break before its zero counts: an accepted offer may launch late."""

DRAIN_REST: Final = 10.0
"""Seconds after the beginning of a drain from which on no call may start any more."""

LOSING_FOR: Final = 60.0
"""Seconds that an offer lost is news."""

_CLOCK_STEP: Final = 2.0
"""Seconds by which a report may be late before the worker's clock is taken to have been set."""

_MAX_CALLS_LISTED: Final = 10_000

_STATES: Final = {
    State.STARTING: WorkerState.STARTING,
    State.SERVING: WorkerState.SERVING,
    State.CORDONED: WorkerState.CORDONED,
    State.DRAINING: WorkerState.DRAINING,
    State.DRAINED: WorkerState.DRAINED,
    State.EXITED: WorkerState.EXITED,
}

_COUNTERS: Final = (
    "started", "completed", "failed", "removed", "cut", "crashed", "lost", "launch_failed", "offers_lost",
)  # fmt: skip


class Counters:
    """The most that each counter of a boot ever showed: what was confirmed once stays confirmed."""

    __slots__ = (*_COUNTERS, "negative", "went_back")

    started: int
    completed: int
    failed: int
    removed: int
    cut: int
    crashed: int
    lost: int
    launch_failed: int
    offers_lost: int

    def __init__(self) -> None:
        for name in _COUNTERS:
            setattr(self, name, 0)
        self.went_back = False
        self.negative = False

    def take(self, ledger: LedgerCounts) -> None:
        """Raise each counter to what the ledger shows, and note one that shows less than before or below zero."""
        for name in _COUNTERS:
            number: int | None = getattr(ledger, name)
            if number is None:
                continue
            before: int = getattr(self, name)
            if number > before:
                setattr(self, name, sane.natural(number))
            elif number < 0:
                self.negative = True
            elif number < before:
                self.went_back = True

    @property
    def dropped(self) -> int:
        return self.cut + self.crashed + self.lost


class Boot:
    """One boot, by its reports. Times are ours, in seconds, unless said otherwise.

    ``ended`` says why its row closed, where a report did not: *replaced* when another boot took its address,
    *unwatched* when the fleet file no longer names its target.
    """

    def __init__(
        self, snapshot: RuntimeSnapshot, raw: bytes, now: float, *, bye: bool, owner: str, serial: int
    ) -> None:
        self.boot_id = snapshot.boot_id
        self.owner = owner
        """The key of the target whose boot it is."""
        self.serial = serial
        self.version = snapshot.deployment_version
        self.first_at = now
        self.counters = Counters()
        self.late_starts = 0
        """Calls seen to start later than :data:`DRAIN_REST` after the drain began."""
        self.offers_lost_at: float | None = None
        self.last_started_at: float | None = None
        self.started_at: float | None = None
        """When the process started, by its uptime; None while it does not tell."""
        self.drain_started_at: float | None = None
        """When its drain began, on our clock; None where it does not tell."""
        self.deadline: float | None = None
        """When what is left is cut, on our clock."""
        self.ended: Literal["replaced", "unwatched"] | None = None
        self.ended_at = now
        self.verdict = NOTHING_SEEN
        self.settled = False
        self.row: WorkerRow | None = None
        """Its row as a closed boot, once made."""
        self.open_calls = 0
        self.trend = Trend()
        self._changed_version = False
        self._skew: float | None = None
        self._cordoned_since: float | None = None
        self._drain_seen_at: float | None = None
        self._base_started: int | None = None
        self._started: int | None = None
        self._set(snapshot, raw, bye=bye, now=now)
        self.last_started_at = self.offers_lost_at = None  # what had happened before is no news

    # -- reports ------------------------------------------------------------------------------------------------

    def is_same(self, snapshot: RuntimeSnapshot) -> bool:
        """Whether a report is of this boot. A plain worker without boot id is told by uptime, calls and version."""
        if self.boot_id is not None or snapshot.boot_id is not None:
            return self.boot_id == snapshot.boot_id
        last = self.snapshot
        if snapshot.deployment_version != self.version:
            return False
        before, after = sane.duration(last.uptime_seconds), sane.duration(snapshot.uptime_seconds)
        if before is not None and after is not None:
            return after >= before
        return sane.natural(snapshot.total_sessions_started) >= sane.natural(last.total_sessions_started)

    def is_older(self, snapshot: RuntimeSnapshot) -> bool:
        """Whether a report was made before the one already held: two requests may overtake each other."""
        last = self.snapshot
        if snapshot.seq is None or last.seq is None or snapshot.seq >= last.seq:
            return False
        then, before = sane.moment(snapshot.timestamp), sane.moment(last.timestamp)
        return then is not None and before is not None and then <= before

    def take(self, snapshot: RuntimeSnapshot, raw: bytes, now: float, *, bye: bool, broke_off: bool) -> None:
        """A further report of this boot. ``broke_off``: contact had been lost for a while before it came."""
        if broke_off:
            self._cordoned_since = None
        self._set(snapshot, raw, bye=bye, now=now)

    def confirm(self, now: float) -> None:
        """Its event stream is alive: the last report still holds at *now*."""
        self.report_at = now
        self._watch_drain(now)

    def _set(self, snapshot: RuntimeSnapshot, raw: bytes, *, bye: bool, now: float) -> None:
        started, lost = self._started, self.counters.offers_lost
        self.snapshot = snapshot
        self.raw = raw
        self.report_at = now
        self.final = bye or snapshot.state == State.EXITED
        self.exit_code = snapshot.exit_code
        self.state = self._reported_state()
        self._map_times(now)
        ledger = snapshot.ledger
        counted = sane.natural(ledger.active) if ledger is not None else 0
        self.live = max(sane.natural(snapshot.active_sessions), counted)
        if ledger is not None:
            self.counters.take(ledger)
        told = ledger.started if ledger is not None else snapshot.total_sessions_started
        if told is not None:
            self._started = max(started or 0, sane.natural(told))
            if started is not None and self._started > started:
                self.last_started_at = now
        if self.counters.offers_lost > lost:
            self.offers_lost_at = now
        self.faults = self._check(snapshot)
        self.complete = not self.faults and ledger is not None and self._has_every_term(ledger)
        if self.state is not WorkerState.CORDONED:
            self._cordoned_since = None
        elif self._cordoned_since is None:
            self._cordoned_since = now
        if self.draining and self._drain_seen_at is None:
            self._drain_seen_at = now
        self._watch_drain(now)
        self.trend.record(self.live, now)

    def _reported_state(self) -> WorkerState:
        snapshot = self.snapshot
        if self.final:
            return WorkerState.EXITED
        try:
            state = _STATES[State(snapshot.state)] if snapshot.state is not None else WorkerState.SERVING
        except ValueError:  # a later worker may know more states
            state = WorkerState.SERVING
        if snapshot.draining and state is not WorkerState.DRAINED:
            return WorkerState.DRAINING
        return state

    def _map_times(self, now: float) -> None:
        """The worker's clock against ours, by the report that was under way for the shortest time."""
        made_at = sane.moment(self.snapshot.timestamp)
        if made_at is not None:
            skew = now - made_at
            if self._skew is None or skew < self._skew or skew > self._skew + _CLOCK_STEP:
                self._skew = skew
        uptime = sane.duration(self.snapshot.uptime_seconds)
        if uptime is not None and (self.started_at is None or now - uptime < self.started_at):
            self.started_at = now - uptime
        age = sane.duration(self.snapshot.oldest_session_seconds)
        self._born = now - age if age is not None else None
        drain = self.snapshot.drain
        self.drain_started_at = self._mapped(drain.started_at) if drain is not None else None
        self.deadline = self._mapped(drain.deadline) if drain is not None else None

    def _check(self, snapshot: RuntimeSnapshot) -> tuple[str, ...]:
        """How the report contradicts itself or those before it, one short text each."""
        ledger = snapshot.ledger
        self._changed_version = self._changed_version or snapshot.deployment_version != self.version
        if snapshot.active_sessions < 0 or (ledger is not None and (ledger.active or 0) < 0):
            self.counters.negative = True
        texts = []
        if self.counters.went_back:
            texts.append("counters went back")
        if self.counters.negative:
            texts.append("negative counts")
        if self._changed_version:
            texts.append("version changed within one boot")
        if ledger is not None:
            if ledger.balanced is False:
                texts.append(f"ledger does not balance: {_amount(ledger.started)} started, {_accounted(ledger)} told")
            if ledger.active is not None and ledger.active != snapshot.active_sessions:
                texts.append(
                    f"{_amount(snapshot.active_sessions)} calls live, {_amount(ledger.active)} in the ledger"
                )
        if self.live and snapshot.state == State.DRAINED:
            texts.append("says drained with calls live")
        return tuple(texts)

    @staticmethod
    def _has_every_term(ledger: LedgerCounts) -> bool:
        return ledger.balanced is not None and ledger.launch_failed is not None and ledger.offers_lost is not None

    def _watch_drain(self, now: float) -> None:
        """Count calls that start when the drain is long under way, between reports that are sure to be later."""
        if self._drain_seen_at is None:
            return
        began = self.drain_started_at
        if now - (began if began is not None else self._drain_seen_at) <= DRAIN_REST:
            return
        if self._base_started is not None and self._started is not None:
            self.late_starts += max(0, self._started - self._base_started)
        self._base_started = self._started

    # -- what follows -------------------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether it said that its drain has begun."""
        return self.snapshot.draining or self.state in (WorkerState.DRAINING, WorkerState.DRAINED)

    @property
    def began(self) -> float:
        """When it started as far as known: by its uptime, else when it was first heard."""
        return self.started_at if self.started_at is not None else self.first_at

    @property
    def is_plain(self) -> bool:
        """Whether it has no states of its own: it cannot say *drained*."""
        return self.snapshot.state is None

    @property
    def cause(self) -> tuple[object, ...]:
        """What the verdict's reason says of it beside the verdict."""
        return self.faults, self.live if self.settled else 0

    @property
    def ran_out(self) -> bool:
        """Whether it was draining with nobody on the line: if it goes now, it has most likely just exited."""
        done = self.state is WorkerState.DRAINED or (self.is_plain and self.snapshot.draining)
        return done and self.live == 0

    def oldest_age(self, now: float) -> float | None:
        """Seconds that the oldest live call has lasted at *now*."""
        return max(0.0, now - self._born) if self._born is not None and self.live else None

    def at_rest_from(self) -> float | None:
        """When a cordoned boot will count as at rest, if it keeps saying so."""
        return self._cordoned_since + CORDON_REST if self._cordoned_since is not None else None

    def is_losing_offers(self, now: float) -> bool:
        return self.offers_lost_at is not None and now - self.offers_lost_at < LOSING_FOR

    def standing(self, *, gone: bool) -> Standing:
        """The facts that its verdict is reckoned from."""
        counters = self.counters
        ledger = self.snapshot.ledger
        missing = 0
        if ledger is not None and ledger.started is not None:
            missing = max(0, sane.natural(ledger.started) - _accounted(ledger))
        rest = self.at_rest_from()
        return Standing(
            dropped=counters.dropped,
            open_calls=self.open_calls,
            doubtful=counters.launch_failed + counters.offers_lost + missing,
            live=self.live,
            complete=self.complete,
            closing=self.draining or self.state is WorkerState.CORDONED,
            at_rest=self.state is WorkerState.DRAINED or (rest is not None and self.report_at >= rest),
            final=self.final,
            gone=gone or self.ended is not None,
        )

    def weigh(self, *, gone: bool) -> None:
        """Reckon its verdict anew."""
        standing = self.standing(gone=gone)
        self.verdict, self.settled = judge(standing), standing.settled
        self.row = None

    def end(self, how: Literal["replaced", "unwatched"], now: float) -> None:
        """No more is to be heard of it."""
        self.ended, self.ended_at = how, now
        self.weigh(gone=True)

    def resume(self, owner: str) -> None:
        """It is heard again, after all, at the target *owner*."""
        self.ended = None
        self.owner = owner

    def left_open(self, calls: int) -> bool:
        """The next boot found *calls* open in this one's call file; returns whether that is news."""
        news = calls > self.open_calls
        self.open_calls = max(self.open_calls, min(calls, _MAX_CALLS_LISTED))
        return news

    def _mapped(self, moment: float | None) -> float | None:
        there = sane.moment(moment)
        return there + (self._skew or 0.0) if there is not None else None


def _accounted(ledger: LedgerCounts) -> int:
    terms = (ledger.completed, ledger.failed, ledger.removed, ledger.cut, ledger.crashed, ledger.lost, ledger.active)
    return sum(sane.natural(term) for term in terms)


def _amount(number: int | None) -> int:
    """A count as it may be shown: what is absurd is clipped, a negative one is not hidden."""
    return max(-sane.MOST, min(sane.MOST, number or 0))
