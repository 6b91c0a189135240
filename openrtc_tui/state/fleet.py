"""The store: what is known of a fleet. Observations are folded into it, and pictures are taken of it.

Everything here is reckoned from what is passed in: there is no clock but the ``now`` of the caller, in Unix seconds.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from openrtc_tui.state import happenings
from openrtc_tui.state.boot import Boot
from openrtc_tui.state.events import EventLog
from openrtc_tui.state.happenings import Glimpse
from openrtc_tui.state.observation import (
    AuditSeen,
    ContactFailed,
    HeartbeatSeen,
    NoticeSeen,
    Observation,
    SnapshotSeen,
    Target,
    TargetsSeen,
)
from openrtc_tui.state.peers import Peers
from openrtc_tui.state.picture import take_picture
from openrtc_tui.state.remains import Remains
from openrtc_tui.state.versions import Versions, share_of
from openrtc_tui.state.view import EventLine, FleetView, WorkerState
from openrtc_tui.state.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from openrtc_tui.state.judgement import Judgement
    from openrtc_tui.state.rollout import Pair
    from openrtc_tui.state.worker import Source
    from openrtc_worker.contract.snapshot import PreviousBoot

KEPT_DEPARTED: Final = 256
"""Boots remembered one by one of targets that the fleet file does not name any more."""


_STEADY: Final = (WorkerState.STARTING, WorkerState.SERVING, WorkerState.DRAINING, WorkerState.DRAINED)
"""States of which a heartbeat says nothing new; most heartbeats come from workers in one of them."""


def local_time(at: float) -> str:
    """A time of day on this machine: ``14:02:40``."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):  # a year that no calendar has
        return "an unknown time"


class Fleet:
    """Everything known of one fleet; change it through :func:`fold` only, read it through :func:`view`.

    Args:
        name: the fleet's name.
        beat: the period of polling, seconds.
        rollout: the version being left and the one that takes over, where the fleet file says so.
        clock_text: a time of day from Unix seconds, for the verdict's reason.
    """

    def __init__(
        self,
        name: str,
        *,
        beat: float = 1.0,
        rollout: Pair | None = None,
        clock_text: Callable[[float], str] = local_time,
    ) -> None:
        self.name = name
        self.beat = beat
        self.named_rollout = rollout
        self.inferred_rollout: Pair | None = None
        self.clock_text = clock_text
        self.workers: dict[str, Worker] = {}
        self.boots: dict[str, Boot] = {}
        """The boots remembered one by one, by boot id; of one that shows at two targets the one reported last."""
        self.departed: deque[Boot] = deque()
        """Boots of targets that are not watched any more."""
        self.remains = Remains()
        self.log = EventLog()
        self.peers = Peers()
        self.versions = Versions()
        self.order: list[Source] | None = None
        """What the rows are made from, in their order; None when it has to be sorted anew."""
        self.leaving: str | None = None
        """The version that the order puts first."""
        self.unheard: set[str] = set()
        """The targets that are not heard within their time."""
        self.awaited: set[str] = set()
        """The targets of which nothing at all is known yet: no word, no failure, and their time is not over."""
        self.orphaned: set[str] = set()
        """The targets that the fleet file does not name any more."""
        self.judgement: Judgement | None = None
        """The verdict reckoned last; None when something that it rests on has changed."""
        self._serial = 0
        self._last = float("-inf")
        self._shift = 0.0

    def configure(self, *, name: str | None = None, beat: float | None = None, rollout: Pair | None = None) -> None:
        """Take over an edited fleet file; what is None stays, but for the rollout, which is then inferred."""
        self.name = name if name is not None else self.name
        self.beat = beat if beat is not None else self.beat
        self.named_rollout = rollout
        self.judgement = None

    def orphans(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """The targets that *targets* does not name any more and that must be watched on: they hold calls."""
        named = {target.key for target in targets}
        urls = {target.url for target in targets}
        return tuple(
            replace(worker.target, listed=False)
            for key, worker in self.workers.items()
            if key not in named and worker.target.url not in urls and worker.calls
        )

    # -- time ---------------------------------------------------------------------------------------------------

    def moment(self, now: float) -> float:
        """*now* as the fleet reckons it: it never goes back, and goes on when the clock was set back."""
        if not math.isfinite(now):
            return max(self._last, 0.0)
        if now + self._shift < self._last:
            self._shift = self._last - now
        self._last = now + self._shift
        return self._last

    # -- observations -------------------------------------------------------------------------------------------

    def on_snapshot(self, seen: SnapshotSeen, now: float) -> None:
        """A report: of the boot known at this address, of an earlier one, or of a new one."""
        worker = self.workers.get(seen.key)
        if worker is None:  # it left the fleet while its answer was under way
            return
        broke_off = worker.contact.failing or worker.state in (WorkerState.STALE, WorkerState.LOST)
        given_up = worker.boot is None and worker.state is WorkerState.LOST
        worker.contact.heard(now, seen.via)
        snapshot, boot = seen.snapshot, worker.boot
        if boot is not None and boot.is_same(snapshot):
            if not boot.is_older(snapshot):
                before = Glimpse.of(boot)
                boot.take(snapshot, seen.raw, now, bye=seen.bye, broke_off=broke_off)
                self._remember(boot)
                if boot.last_started_at == now:
                    self.versions.call_started(boot.version, now)
                happenings.reported(self.log, worker, boot, before, now)
            self.settle(worker, now)
        else:
            self._begin(worker, seen, now)
            if given_up:
                happenings.heard_at_last(self.log, worker.key, now)
        if worker.boot is not None and snapshot.previous_boot is not None:
            self._learn_of_previous(worker.boot, snapshot.previous_boot, now)

    def on_heartbeat(self, seen: HeartbeatSeen, now: float) -> None:
        """The stream of a worker is alive: what it said last still holds."""
        worker = self.workers.get(seen.key)
        if worker is None or worker.boot is None:
            return
        contact, boot = worker.contact, worker.boot
        if contact.failing:
            worker.row = None  # it shows the failure
        contact.heard(now)
        if not boot.final:
            boot.confirm(now)
        if worker.state not in _STEADY:
            self.settle(worker, now)

    def on_failure(self, seen: ContactFailed, now: float) -> None:
        """A worker could not be reached."""
        worker = self.workers.get(seen.key)
        if worker is not None:
            worker.contact.fail(seen.kind, seen.detail)
            self.settle(worker, now)

    def on_targets(self, seen: TargetsSeen, now: float) -> None:
        """The fleet consists of these workers from now on."""
        wanted = {target.key: target for target in seen.targets}
        moved = {target.url: target for key, target in wanted.items() if key not in self.workers}
        for key, worker in tuple(self.workers.items()):
            renamed = moved.pop(worker.target.url, None) if key not in wanted else None
            if renamed is not None:
                self._rename(worker, renamed)
            elif key not in wanted or not wanted[key].listed:
                self._unlist(worker, now)
            elif worker.target != wanted[key]:
                worker.target = wanted[key]
                self.publish(worker)
                self._reorder(worker)
        for key, target in wanted.items():
            if key not in self.workers and target.listed:
                self.workers[key] = Worker(target, now)
                self.publish(self.workers[key])
                self.order = self.judgement = None

    def on_audit(self, seen: AuditSeen, now: float) -> None:
        """A worker's audit event."""
        if seen.key in self.workers:
            happenings.audited(self.log, seen.key, seen.event, now)

    def on_notice(self, seen: NoticeSeen, now: float) -> None:
        """Something that the dashboard itself has to say."""
        line = EventLine(at=now, text=seen.text, detail=seen.detail, severity=seen.severity, key=seen.key)
        self.log.note(line)

    # -- consequences -------------------------------------------------------------------------------------------

    def settle(self, worker: Worker, now: float) -> None:
        """Reckon a worker anew and tell what changed."""
        boot = worker.boot
        told = (boot.verdict, boot.settled, boot.cause) if boot is not None else None
        before, after = worker.settle(now, self.beat)
        if before is not after:
            happenings.changed(self.log, worker, before, now)
            self.judgement = None
        elif boot is not None and (boot.verdict, boot.settled, boot.cause) != told:
            self.judgement = None
        self.publish(worker)

    def publish(self, worker: Worker) -> None:
        """Let the rest of the fleet know what *worker* is now."""
        key, boot = worker.key, worker.boot
        self.peers.show(key, worker.claim())
        twice = boot is not None and boot.boot_id is not None and self.boots.get(boot.boot_id) is not boot
        self.versions.take(key, share_of(worker, calls=not twice, capacity=not self.peers.is_duplicate(key)))
        quiet = boot is None or worker.state in (WorkerState.STALE, WorkerState.LOST)
        awaited = worker.state is WorkerState.STARTING and worker.contact.unanswered
        for index, belongs in (
            (self.orphaned, not worker.is_listed),
            (self.unheard, worker.is_listed and quiet),
            (self.awaited, worker.is_listed and awaited),
        ):
            if belongs:
                index.add(key)
            else:
                index.discard(key)

    def drop_empty_orphans(self, now: float) -> None:
        """Workers that the fleet file does not name stay only while they hold calls."""
        for key in tuple(self.orphaned):
            if not self.workers[key].calls:
                self._remove(self.workers[key], now)

    def _begin(self, worker: Worker, seen: SnapshotSeen, now: float) -> None:
        previous, snapshot = worker.boot, seen.snapshot
        boot = self._known(worker, snapshot.boot_id)
        returns = boot is not None and boot in worker.past
        if boot is None:
            self._serial += 1
            boot = Boot(snapshot, seen.raw, now, bye=seen.bye, owner=worker.key, serial=self._serial)
        else:
            boot.resume(worker.key)
            boot.take(snapshot, seen.raw, now, bye=seen.bye, broke_off=True)
        for shed in worker.begin(boot, now):
            self._forget(shed)
        self._remember(boot)
        worker.settle(now, self.beat)
        self.publish(worker)
        self.order = self.judgement = None
        if returns:
            happenings.swapped(self.log, worker.key, now)
        elif previous is not None:
            happenings.restarted(self.log, worker, previous, now)

    def _known(self, worker: Worker, boot_id: str | None) -> Boot | None:
        """The boot with this id, if it was here before or came here from a target that is not named any more."""
        if boot_id is None:
            return None
        past = next((boot for boot in worker.past if boot.boot_id == boot_id), None)
        if past is not None:
            return past
        boot = self.boots.get(boot_id)
        if boot is None:
            return None
        if boot in self.departed:
            self.departed.remove(boot)
            return boot
        owner = self.workers.get(boot.owner)
        if owner is not None and not owner.is_listed and owner.boot is boot:
            owner.boot = None  # the rest of that worker goes with the next picture
            self.publish(owner)
            return boot
        return None

    def _learn_of_previous(self, boot: Boot, told: PreviousBoot, now: float) -> None:
        """A boot says what the one before it left open: that one's calls are known to be dropped."""
        calls, known = len(told.open_calls), self.boots.get(told.boot_id)
        boot.unseen_before = calls if known is None else 0
        if known is None or known is boot or not known.left_open(calls):
            return
        happenings.left_open(self.log, known.owner, known.open_calls, now)
        owner = self.workers.get(known.owner)
        if owner is not None and owner.boot is known:
            self.settle(owner, now)
        else:
            known.weigh(gone=True)
            self.judgement = None

    def _remember(self, boot: Boot) -> None:
        if boot.boot_id is None:
            return
        held = self.boots.get(boot.boot_id)
        if held is boot:
            return
        self.boots[boot.boot_id] = boot
        self.judgement = None
        other = self.workers.get(held.owner) if held is not None else None
        if other is not None and other.boot is held:
            self.publish(other)  # its calls are counted here now

    def _forget(self, boot: Boot) -> None:
        """Keep of a boot that is over what it adds to the numbers."""
        if boot.boot_id is not None and self.boots.get(boot.boot_id) is boot:
            del self.boots[boot.boot_id]
        self.remains.add(boot, keep=self.named_rollout or self.inferred_rollout or ())
        self.judgement = None

    def _reorder(self, worker: Worker) -> None:
        """Its name or address changed, or whether it is named at all."""
        worker.row = self.order = self.judgement = None
        for boot in worker.past:
            boot.row = None

    def _rename(self, worker: Worker, target: Target) -> None:
        self._withdraw(worker)
        worker.target = target
        self.workers[target.key] = worker
        for boot in worker.boots():
            boot.owner = target.key
        self.publish(worker)
        self._reorder(worker)

    def _unlist(self, worker: Worker, now: float) -> None:
        if not worker.calls:
            self._remove(worker, now)
        elif worker.is_listed:
            worker.target = replace(worker.target, listed=False)
            worker.row = None
            self.publish(worker)
            happenings.orphaned(self.log, worker.key, worker.calls, now)

    def _remove(self, worker: Worker, now: float) -> None:
        self._withdraw(worker)
        self.order = self.judgement = None
        for boot in worker.boots():
            if boot.ended is None:
                boot.end("unwatched", now)
            self.departed.append(boot)
        while len(self.departed) > KEPT_DEPARTED:
            self._forget(self.departed.popleft())

    def _withdraw(self, worker: Worker) -> None:
        key = worker.key
        del self.workers[key]
        self.peers.show(key, None)
        self.versions.take(key, None)
        for index in (self.unheard, self.awaited, self.orphaned):
            index.discard(key)


def fold(fleet: Fleet, observation: Observation, now: float) -> None:
    """Take one observation in; its cost does not depend on the size of the fleet, but for :class:`TargetsSeen`.

    Args:
        fleet: the store, changed in place.
        observation: what was observed; whatever a worker claims in it, this does not raise.
        now: Unix seconds on our clock.
    """
    at = fleet.moment(now)
    match observation:
        case SnapshotSeen():
            fleet.on_snapshot(observation, at)
        case HeartbeatSeen():
            fleet.on_heartbeat(observation, at)
        case ContactFailed():
            fleet.on_failure(observation, at)
        case AuditSeen():
            fleet.on_audit(observation, at)
        case TargetsSeen():
            fleet.on_targets(observation, at)
        case NoticeSeen():
            fleet.on_notice(observation, at)


def view(fleet: Fleet, now: float) -> FleetView:
    """The picture of the fleet at *now* (Unix seconds): what silence alone has changed is taken into account."""
    return take_picture(fleet, fleet.moment(now))
