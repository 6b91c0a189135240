"""The store: what is known of a fleet. Observations are folded into it, and pictures are taken of it.

Everything here is reckoned from what is passed in: there is no clock but the ``now`` of the caller, in Unix seconds.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from openrtc_tui.state import ending, happenings, hearing, roster
from openrtc_tui.state.events import EventLog
from openrtc_tui.state.manifests import Manifests
from openrtc_tui.state.membership import Identities
from openrtc_tui.state.observation import (
    AuditSeen,
    ContactFailed,
    HeartbeatSeen,
    NoticeSeen,
    Observation,
    PodsSeen,
    SnapshotSeen,
    TargetsSeen,
)
from openrtc_tui.state.peers import Peers
from openrtc_tui.state.picture import take_picture
from openrtc_tui.state.pods import Pods
from openrtc_tui.state.remains import Remains
from openrtc_tui.state.versions import Versions, share_of
from openrtc_tui.state.view import EventLine, FleetView, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from openrtc_tui.state.boot import Boot
    from openrtc_tui.state.judgement import Judgement
    from openrtc_tui.state.membership import Verifier
    from openrtc_tui.state.observation import Target
    from openrtc_tui.state.rollout import Pair, Turn
    from openrtc_tui.state.worker import Source, Worker

CLOCK_SET_BACK: Final = 1.0
"""Seconds back from which on the clock was set; less is an observation that waited behind another."""

KEPT_DEPARTED: Final = 256
"""Boots remembered one by one of targets that the fleet file does not name any more."""


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
        verifier: checks that workers belong; None where nobody can tell, and then it is not asked.
    """

    def __init__(
        self,
        name: str,
        *,
        beat: float = 1.0,
        rollout: Pair | None = None,
        clock_text: Callable[[float], str] = local_time,
        verifier: Verifier | None = None,
    ) -> None:
        self.name = name
        self.beat = beat
        self.named_rollout = rollout
        self.inferred_rollout: Pair | None = None
        self.turned: Turn | None = None
        """A plan that takes the fleet another way than these two say."""
        self.clock_text = clock_text
        self.verifier = verifier
        self.identities = Identities()
        self.workers: dict[str, Worker] = {}
        self.boots: dict[str, Boot] = {}
        """The boots remembered one by one, by boot id; of one that shows at two targets the one reported last."""
        self.departed: deque[Boot] = deque()
        """Boots of targets that are not watched any more."""
        self.remains = Remains()
        self.log = EventLog()
        self.peers = Peers()
        self.versions = Versions()
        self.manifests = Manifests()
        self.pods = Pods()
        self.nobody = ""
        """That nobody will take calls, and why; empty while somebody does."""
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
        self._last = float("-inf")
        self._shift = 0.0

    def configure(self, *, name: str | None = None, beat: float | None = None, rollout: Pair | None = None) -> None:
        """Take over an edited fleet file; what is None stays, but for the rollout, which is then inferred."""
        self.name = name if name is not None else self.name
        self.beat = beat if beat is not None else self.beat
        if rollout != self.named_rollout:
            self.turned = None
        self.named_rollout = rollout
        self.judgement = None
        for worker in self.workers.values():
            worker.due = float("-inf")

    @property
    def usual_rollout(self) -> Pair | None:
        """What the fleet file says, else what was inferred: where no plan says otherwise."""
        return self.named_rollout or self.inferred_rollout

    def turn(self, turn: Turn | None) -> None:
        """A plan takes the fleet from one version to the other: a rollback turns a rollout round; None: none does."""
        self.turned = turn if turn is not None and (turn.past or turn.holds(self.usual_rollout)) else None
        self.judgement = None

    def orphans(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """The targets that *targets* does not name any more and that must be watched on: they hold calls."""
        return roster.orphans(self, targets)

    # -- time ---------------------------------------------------------------------------------------------------

    def moment(self, now: float) -> float:
        """*now* as the fleet reckons it: it never goes back, and goes on when the clock was set back."""
        at = now + self._shift
        if not math.isfinite(at):
            return max(self._last, 0.0)
        if at < self._last - CLOCK_SET_BACK:
            self._shift = self._last - now
        self._last = max(self._last, now + self._shift)
        return self._last

    # -- consequences -------------------------------------------------------------------------------------------

    def settle(self, worker: Worker, now: float) -> None:
        """Reckon a worker anew and tell what changed."""
        boot = worker.boot
        before, after = worker.settle(now, self.beat)
        if before is not after:
            happenings.changed(self.log, worker, before, now)
            self.judgement = None
        if boot is not None and boot.says_otherwise():
            self.judgement = None
        self.publish(worker)

    def publish(self, worker: Worker) -> None:
        """Let the rest of the fleet know what *worker* is now."""
        key, boot = worker.key, worker.boot
        if worker.misfit is not None:
            happenings.misfit(self.log, worker, worker.misfit, self._last)
        self.peers.show(key, worker.claim())
        twice = boot is not None and boot.boot_id is not None and self.boots.get(boot.boot_id) is not boot
        duplicate = self.peers.is_duplicate(key)
        capacity = worker.misfit is None and not duplicate
        self.versions.take(key, share_of(worker, calls=not twice, capacity=capacity))
        self.manifests.show(key, worker.held(ready=capacity and worker.may_take), self._last)
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

    def remember(self, boot: Boot) -> None:
        """*boot* reported: of one process behind two addresses, it is the one that counts."""
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

    def forget(self, boot: Boot) -> None:
        """Keep of a boot that is over what it adds to the numbers."""
        if boot.boot_id is not None and self.boots.get(boot.boot_id) is boot:
            del self.boots[boot.boot_id]
        self.remains.add(boot, keep=self.usual_rollout or ())
        self.judgement = None

    def remove(self, worker: Worker, now: float) -> None:
        """*worker* is not watched any more; its boots keep their part in the verdict."""
        self.withdraw(worker)
        self.order = self.judgement = None
        for boot in worker.boots():
            if boot.ended is None:
                boot.end("unwatched", now)
            self.departed.append(boot)
        while len(self.departed) > KEPT_DEPARTED:
            self.forget(self.departed.popleft())

    def withdraw(self, worker: Worker) -> None:
        """Nothing goes by the key of *worker* any more."""
        key = worker.key
        del self.workers[key]
        self.peers.show(key, None)
        self.manifests.show(key, None, self._last)
        self.identities.release(key)
        self.versions.take(key, None)
        for index in (self.unheard, self.awaited, self.orphaned):
            index.discard(key)


def fold(fleet: Fleet, observation: Observation, now: float) -> None:
    """Take one observation in; its cost does not depend on the size of the fleet, but for targets and pods.

    Args:
        fleet: the store, changed in place.
        observation: what was observed; whatever a worker claims in it, this does not raise.
        now: Unix seconds on our clock.
    """
    at = fleet.moment(now)
    match observation:
        case SnapshotSeen():
            hearing.snapshot_seen(fleet, observation, at)
        case HeartbeatSeen():
            hearing.heartbeat_seen(fleet, observation, at)
        case ContactFailed():
            hearing.contact_failed(fleet, observation, at)
        case AuditSeen(key=key, event=event) if key in fleet.workers:
            happenings.audited(fleet.log, key, event, at)
        case PodsSeen(pods):
            ending.pods_seen(fleet, pods, at)
        case TargetsSeen():
            roster.targets_seen(fleet, observation, at)
        case NoticeSeen(text, detail, severity, key):
            fleet.log.note(EventLine(at=at, text=text, detail=detail, severity=severity, key=key))


def view(fleet: Fleet, now: float) -> FleetView:
    """The picture of the fleet at *now* (Unix seconds): what silence alone has changed is taken into account."""
    return take_picture(fleet, fleet.moment(now))
