"""From the store to the picture that screens read: parts that did not change are the same objects as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.state.judgement import Judgement
from openrtc_tui.state.rollout import Alive, Pair, infer
from openrtc_tui.state.shown import ordered, row_of
from openrtc_tui.state.versions import Tally, version_lines
from openrtc_tui.state.view import FleetView, Rollout, WorkerState

if TYPE_CHECKING:
    from openrtc_tui.state.fleet import Fleet

_SILENT: Final = (WorkerState.STALE, WorkerState.LOST)


def take_picture(fleet: Fleet, now: float) -> FleetView:
    """The fleet at *now*, which never goes back."""
    for worker in fleet.workers.values():
        if now >= worker.due:
            fleet.settle(worker, now)
    fleet.drop_empty_orphans(now)
    for key in fleet.peers.touched():
        if key in fleet.workers:
            fleet.workers[key].row = None
    tallies = _tallies(fleet)
    pair = _rollout_pair(fleet, tallies)
    for version in pair or ():
        tallies.setdefault(version, Tally())
    fleet.trends.record(tallies, now)
    judged = Judgement(fleet, pair)
    verdict = judged.verdict()
    rows = tuple([row_of(fleet, source, now) for source in ordered(fleet, pair)])
    listed = [worker for worker in fleet.workers.values() if worker.is_listed]
    return FleetView(
        fleet=fleet.name,
        at=now,
        rows=rows,
        versions=version_lines(tallies, fleet.trends, pair, now),
        rollout=Rollout(from_version=pair[0], to_version=pair[1], started_at=judged.began, verdict=verdict)
        if pair is not None
        else None,
        verdict=verdict,
        verdict_reason=judged.reason(),
        events=fleet.log.lines(),
        heard=sum(worker.boot is not None and worker.state not in _SILENT for worker in listed),
        targets=len(listed),
    )


# -- versions and rollout ---------------------------------------------------------------------------------------


def _tallies(fleet: Fleet) -> dict[str | None, Tally]:
    tallies: dict[str | None, Tally] = {}
    is_duplicate = fleet.peers.is_duplicate
    for key, worker in fleet.workers.items():
        boot = worker.boot
        if boot is None:
            continue
        tally = tallies.get(boot.version)
        if tally is None:
            tally = tallies[boot.version] = Tally()
        # one process behind two addresses has its calls once
        twice = boot.boot_id is not None and fleet.boots.get(boot.boot_id) is not boot
        tally.add(worker, calls=not twice, capacity=not is_duplicate(key))
    return tallies


def _rollout_pair(fleet: Fleet, tallies: dict[str | None, Tally]) -> Pair | None:
    if fleet.named_rollout is not None:
        return fleet.named_rollout
    alive = {
        version: Alive(tally.draining, tally.began)
        for version, tally in tallies.items()
        if version is not None and tally.living
    }
    if fleet.inferred_rollout is None or not alive.keys() <= set(fleet.inferred_rollout):
        complete = not any(
            worker.state is WorkerState.STARTING and worker.contact.unanswered for worker in fleet.workers.values()
        )
        fleet.inferred_rollout = infer(fleet.inferred_rollout, alive, complete=complete)
    return fleet.inferred_rollout
