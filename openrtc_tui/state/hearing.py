"""What workers say, and what silence says instead: each observation of one worker, taken into the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.state import happenings
from openrtc_tui.state.boot import Boot
from openrtc_tui.state.happenings import Glimpse
from openrtc_tui.state.view import WorkerState

if TYPE_CHECKING:
    from openrtc_tui.state.fleet import Fleet
    from openrtc_tui.state.observation import ContactFailed, HeartbeatSeen, SnapshotSeen
    from openrtc_tui.state.worker import Worker
    from openrtc_worker.contract.snapshot import PreviousBoot

_STEADY: Final = (
    WorkerState.STARTING,
    WorkerState.SERVING,
    WorkerState.GATED,
    WorkerState.DRAINING,
    WorkerState.DRAINED,
)
"""States of which a heartbeat says nothing new; most heartbeats come from workers in one of them."""


def snapshot_seen(fleet: Fleet, seen: SnapshotSeen, now: float) -> None:
    """A report: of the boot known at this address, of an earlier one, or of a new one."""
    worker = fleet.workers.get(seen.key)
    if worker is None:  # it left the fleet while its answer was under way
        return
    if worker.contact.failing:
        fleet.judgement = None  # it was in doubt
    broke_off = worker.contact.failing or worker.state in (WorkerState.STALE, WorkerState.LOST)
    given_up = worker.boot is None and worker.state is WorkerState.LOST
    worker.contact.heard(now, seen.via)
    boot = worker.boot
    if boot is None or not boot.is_same(seen.snapshot):
        boot = _begin(fleet, worker, seen, now)
        if given_up:
            happenings.heard_at_last(fleet.log, worker.key, now)
    else:
        if not boot.is_older(seen.snapshot):
            _report(fleet, worker, boot, seen, now, broke_off=broke_off)
        fleet.settle(worker, now)
    if seen.snapshot.previous_boot is not None:
        _learn_of_previous(fleet, boot, seen.snapshot.previous_boot, now)


def heartbeat_seen(fleet: Fleet, seen: HeartbeatSeen, now: float) -> None:
    """The stream of a worker is alive: what it said last still holds."""
    worker = fleet.workers.get(seen.key)
    if worker is None or worker.boot is None:
        return
    if worker.contact.failing:
        worker.row = None  # it shows the failure
        fleet.judgement = None  # it was in doubt
    worker.contact.heard(now)
    if not worker.boot.final:
        worker.boot.confirm(now)
    if worker.state not in _STEADY or now > worker.boot.membership.lapses_at:
        fleet.settle(worker, now)


def contact_failed(fleet: Fleet, seen: ContactFailed, now: float) -> None:
    """A worker could not be reached."""
    worker = fleet.workers.get(seen.key)
    if worker is not None:
        if not worker.contact.failing:
            fleet.judgement = None  # it is in doubt
        worker.contact.fail(seen.kind, seen.detail)
        fleet.settle(worker, now)


def _report(fleet: Fleet, worker: Worker, boot: Boot, seen: SnapshotSeen, now: float, *, broke_off: bool) -> None:
    before = Glimpse.of(boot)
    boot.take(seen.snapshot, seen.raw, now, bye=seen.bye, broke_off=broke_off)
    _verify(fleet, worker, boot, now)
    if boot.pod is None and fleet.pods:
        boot.pod = fleet.pods.of(boot.snapshot.platform)
    fleet.remember(boot)
    if boot.last_started_at == now:
        fleet.versions.call_started(boot.version, now)
    happenings.reported(fleet.log, worker, boot, before, now)


def _begin(fleet: Fleet, worker: Worker, seen: SnapshotSeen, now: float) -> Boot:
    """Another boot answers at the address of *worker*; returns it."""
    previous = worker.boot
    boot = _known(fleet, worker, seen.snapshot.boot_id)
    returns = boot is not None and boot in worker.past
    if boot is None:
        worker.begun += 1
        boot = Boot(seen.snapshot, seen.raw, now, bye=seen.bye, owner=worker.key, serial=worker.begun)
    else:
        boot.resume(worker.key)
        boot.take(seen.snapshot, seen.raw, now, bye=seen.bye, broke_off=True)
    for shed in worker.begin(boot, now):
        fleet.forget(shed)
    fleet.remember(boot)
    _verify(fleet, worker, boot, now)
    boot.pod = fleet.pods.of(boot.snapshot.platform)
    worker.settle(now, fleet.beat)
    fleet.publish(worker)
    fleet.order = fleet.judgement = None
    boot.says_otherwise()  # what it says first is judged with the rest, it changes nothing later
    if returns:
        happenings.swapped(fleet.log, worker.key, now)
    elif previous is not None:
        happenings.restarted(fleet.log, worker, previous, now)
    return boot


def _verify(fleet: Fleet, worker: Worker, boot: Boot, now: float) -> None:
    """Look at the claim of membership in the last report, and remember until when its identity was claimed."""
    verifier = fleet.verifier
    worker.is_checked = verifier is not None
    if verifier is None:
        return
    membership, worker_id = boot.membership, boot.snapshot.worker_id or ""
    membership.take(boot.snapshot, boot.version, verifier, now, floor=fleet.identities.newest(worker_id))
    if membership.is_good and membership.newest is not None:
        fleet.identities.hold(worker_id, worker.key, membership.newest)


def _known(fleet: Fleet, worker: Worker, boot_id: str | None) -> Boot | None:
    """The boot with this id, if it was here before, or came here from a target that is not named any more."""
    if not boot_id:
        return None
    past = next((boot for boot in worker.past if boot.boot_id == boot_id), None)
    boot = past or fleet.boots.get(boot_id)
    if past is not None or boot is None:
        return past
    if boot in fleet.departed:
        fleet.departed.remove(boot)
        return boot
    owner = fleet.workers.get(boot.owner)
    if owner is not None and not owner.is_listed and owner.boot is boot:
        owner.boot = None  # the rest of that worker goes with the next picture
        fleet.publish(owner)
        return boot
    return None


def _learn_of_previous(fleet: Fleet, boot: Boot, told: PreviousBoot, now: float) -> None:
    """A boot says what the one before it left open: that one's calls are known to be dropped."""
    calls, known = len(told.open_calls), fleet.boots.get(told.boot_id)
    boot.unseen_before = calls if known is None else 0
    if known is None or known is boot or not known.left_open(calls):
        return
    happenings.left_open(fleet.log, known.owner, known.open_calls, now)
    owner = fleet.workers.get(known.owner)
    if owner is not None and owner.boot is known:
        fleet.settle(owner, now)
    else:
        known.weigh(gone=True)
        fleet.order = fleet.judgement = None  # it may have to be shown now
