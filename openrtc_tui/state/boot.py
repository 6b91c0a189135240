"""What is known of one boot: one life of one worker process, from its first report to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from openrtc_tui.state import sane
from openrtc_tui.state.accounts import Accounts
from openrtc_tui.state.membership import Membership
from openrtc_tui.state.trend import Trend
from openrtc_tui.state.verdict import NOTHING_SEEN, Standing, judge
from openrtc_tui.state.view import WorkerState
from openrtc_worker.contract.snapshot import State

if TYPE_CHECKING:
    from openrtc_tui.state.observation import PodSeen
    from openrtc_tui.state.view import WorkerRow
    from openrtc_worker.contract.snapshot import RuntimeSnapshot

CORDON_REST: Final = 10.0
"""Seconds a boot must show ``cordoned`` without a break before its zero counts: an accepted offer may launch late."""

DRAIN_REST: Final = 10.0
"""Seconds after the beginning of a drain from which on no call may start any more."""

LOSING_FOR: Final = 60.0
"""Seconds that an offer lost is news."""

HEARD_TO_THE_END: Final = 10.0
"""Seconds before its pod was gone within which a boot must have been heard, so that its last report is the end."""

_ENDED_BY_ITSELF: Final = (0, 3)
"""Exit codes of a worker that was not killed: what became of its calls, it knew."""

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


class Boot:
    """One boot, by its reports. Times are ours, in seconds, unless said otherwise.

    ``ended`` says why its row closed, where a report did not: *replaced* when another boot took its address,
    *unwatched* when the fleet file no longer names its target.
    """

    def __init__(
        self, snapshot: RuntimeSnapshot, raw: bytes, now: float, *, bye: bool, owner: str, serial: int
    ) -> None:
        self.boot_id = snapshot.boot_id or None
        self.owner = owner
        """The key of the target whose boot it is."""
        self.serial = serial
        """Which one it is of the boots first heard at a target, from 1."""
        self.version = snapshot.deployment_version
        self.first_at = now
        self.accounts = Accounts()
        self.membership = Membership()
        self.pod: PodSeen | None = None
        """The pod that it runs in, as the platform showed it last."""
        self.killed = False
        """Its platform says that it is gone, and it never took its leave."""
        self.died_with = 0
        """Calls that were live when its pod was killed."""
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
        self._told: tuple[object, ...] = ()
        self.row: WorkerRow | None = None
        """Its row as a closed boot, once made."""
        self.open_calls = 0
        self.unseen_before = 0
        """Calls that the boot before it left open, where that one was never heard here and has no verdict."""
        self.trend = Trend()
        self._changed_version = False
        self._skew: float | None = None
        self._cordoned_since: float | None = None
        self._drain_seen_at: float | None = None
        self._base_started: int | None = None
        self._set(snapshot, raw, bye=bye, now=now)
        self.last_started_at = self.offers_lost_at = None  # what had happened before is no news

    # -- reports ------------------------------------------------------------------------------------------------

    def is_same(self, snapshot: RuntimeSnapshot) -> bool:
        """Whether a report is of this boot. A plain worker without boot id is told by uptime, calls and version."""
        if self.boot_id or snapshot.boot_id:
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
        self._revive()
        self._set(snapshot, raw, bye=bye, now=now)

    def confirm(self, now: float) -> None:
        """Its event stream is alive: the last report still holds at *now*."""
        if self.killed:
            self._revive()
        self.report_at = now
        self._watch_drain(now)

    def _set(self, snapshot: RuntimeSnapshot, raw: bytes, *, bye: bool, now: float) -> None:
        accounts = self.accounts
        started, lost = accounts.started, accounts["offers_lost"]
        self.snapshot = snapshot
        self.raw = raw
        self.report_at = now
        self.final = bye or snapshot.state == State.EXITED
        self.exit_code = snapshot.exit_code
        self.state = self._reported_state()
        self._map_times(now)
        accounts.take(snapshot)
        self.live = accounts.live
        if started is not None and accounts.started is not None and accounts.started > started:
            self.last_started_at = now
        if accounts["offers_lost"] > lost:
            self.offers_lost_at = now
        self.faults = (*accounts.faults, *self._oddities())
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
        if state is WorkerState.SERVING and self._is_gated():
            return WorkerState.GATED
        return state

    def _is_gated(self) -> bool:
        """Whether its manifest keeps calls away; one that says it accepts all the same is no gated worker."""
        manifest = self.snapshot.manifest
        return manifest is not None and manifest.allows is False and self.snapshot.accepting is not True

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

    def _oddities(self) -> tuple[str, ...]:
        """What the report says of the boot that cannot be so."""
        snapshot = self.snapshot
        self._changed_version = self._changed_version or snapshot.deployment_version != self.version
        texts = []
        if self._changed_version:
            texts.append("version changed within one boot")
        if self._drain_seen_at is not None and not self.draining and not self.final:
            texts.append("took back its drain")
        if self.live and snapshot.state == State.DRAINED:
            texts.append("says drained with calls live")
        return tuple(texts)

    def _watch_drain(self, now: float) -> None:
        """Count calls that start when the drain is long under way, between reports that are sure to be later."""
        if self._drain_seen_at is None:
            return
        began = self.drain_started_at
        if now - (began if began is not None else self._drain_seen_at) <= DRAIN_REST:
            return
        started = self.accounts.started
        if self._base_started is not None and started is not None:
            self.late_starts += started - self._base_started
        self._base_started = started

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
    def seen_at(self) -> float:
        """When it was heard last, or when another boot was seen to have taken its address."""
        return max(self.report_at, self.ended_at) if self.ended == "replaced" else self.report_at

    @property
    def is_plain(self) -> bool:
        """Whether it has no states of its own: it cannot say *drained*."""
        return self.snapshot.state is None

    @property
    def is_trusted(self) -> bool:
        """Whether its whole ledger is there and nothing that it says contradicts itself."""
        return self.accounts.complete and not self.faults

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
        rest = self.at_rest_from()
        return Standing(
            dropped=self.accounts.dropped,
            open_calls=max(self.open_calls, self.died_with),
            doubtful=self.accounts.doubtful,
            live=self.live,
            complete=self.is_trusted,
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

    def says_otherwise(self) -> bool:
        """Whether its verdict, or what the reason says of it, is not what it was when this was asked last."""
        told, self._told = self._told, (self.verdict, self.settled, self.faults)
        return told != self._told

    def end(self, how: Literal["replaced", "unwatched"], now: float) -> None:
        """No more is to be heard of it."""
        self.ended, self.ended_at = how, now
        self.weigh(gone=True)

    def resume(self, owner: str) -> None:
        """It is heard again, after all, at the target *owner*."""
        self.ended = None
        self.owner = owner

    def kill(self, at: float, exit_code: int | None) -> int:
        """Its pod is gone since *at*; returns the calls that died with it for certain.

        They are certain where it was heard to the end: it then had them, and would have said how they ended.
        """
        if self.final or self.killed:
            return 0
        self.killed = True
        if exit_code not in _ENDED_BY_ITSELF and self.report_at >= at - HEARD_TO_THE_END:
            self.died_with = min(self.live, _MAX_CALLS_LISTED)
        return self.died_with

    def _revive(self) -> None:
        """It is heard, so it is not gone."""
        self.killed, self.died_with = False, 0

    def left_open(self, calls: int) -> bool:
        """The next boot found *calls* open in this one's call file; returns whether that is news."""
        news = calls > self.open_calls
        self.open_calls = max(self.open_calls, min(calls, _MAX_CALLS_LISTED))
        return news

    def _mapped(self, moment: float | None) -> float | None:
        there = sane.moment(moment)
        return there + (self._skew or 0.0) if there is not None else None
