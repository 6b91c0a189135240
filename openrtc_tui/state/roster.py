"""Who belongs to the fleet: targets that come, go, and change their names while the dashboard runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from openrtc_tui.state import happenings
from openrtc_tui.state.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openrtc_tui.state.fleet import Fleet
    from openrtc_tui.state.observation import Target, TargetsSeen


def targets_seen(fleet: Fleet, seen: TargetsSeen, now: float) -> None:
    """The fleet consists of these workers from now on; whoever holds calls stays in sight until they have ended."""
    wanted = {target.key: target for target in seen.targets}
    moved = {target.url: target for key, target in wanted.items() if key not in fleet.workers}
    for key, worker in tuple(fleet.workers.items()):
        renamed = moved.pop(worker.target.url, None) if key not in wanted else None
        if renamed is not None:
            _rename(fleet, worker, renamed)
        elif key not in wanted or not wanted[key].listed:
            _unlist(fleet, worker, now)
        elif worker.target != wanted[key]:
            worker.target = wanted[key]
            fleet.publish(worker)
            _show_anew(fleet, worker)
    for key, target in wanted.items():
        if key not in fleet.workers and target.listed:
            fleet.workers[key] = Worker(target, now)
            fleet.publish(fleet.workers[key])
            fleet.order = fleet.judgement = None


def orphans(fleet: Fleet, targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets that *targets* does not name any more and that must be watched on: they hold calls."""
    keys, urls = {target.key for target in targets}, {target.url for target in targets}
    return tuple(
        replace(worker.target, listed=False)
        for key, worker in fleet.workers.items()
        if key not in keys and worker.target.url not in urls and worker.calls
    )


def drop_empty_orphans(fleet: Fleet, now: float) -> None:
    """Workers that the fleet file does not name stay only while they hold calls."""
    for key in tuple(fleet.orphaned):
        if not fleet.workers[key].calls:
            fleet.remove(fleet.workers[key], now)


def _unlist(fleet: Fleet, worker: Worker, now: float) -> None:
    if not worker.calls:
        fleet.remove(worker, now)
    elif worker.is_listed:
        worker.target = replace(worker.target, listed=False)
        worker.row = None
        fleet.publish(worker)
        happenings.orphaned(fleet.log, worker.key, worker.calls, now)


def _rename(fleet: Fleet, worker: Worker, target: Target) -> None:
    """The same address under another name is the same worker."""
    fleet.withdraw(worker)
    worker.target = target
    fleet.workers[target.key] = worker
    for boot in worker.boots():
        boot.owner = target.key
    fleet.publish(worker)
    _show_anew(fleet, worker)


def _show_anew(fleet: Fleet, worker: Worker) -> None:
    worker.row = fleet.order = fleet.judgement = None
    for boot in worker.past:
        boot.row = None
