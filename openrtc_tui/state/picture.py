"""From the store to the picture that screens read: parts that did not change are the same objects as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_tui.state import happenings
from openrtc_tui.state.judgement import Judgement
from openrtc_tui.state.rollout import Alive, Pair, infer
from openrtc_tui.state.roster import drop_empty_orphans
from openrtc_tui.state.shown import ordered, row_of
from openrtc_tui.state.view import FleetView, Rollout

if TYPE_CHECKING:
    from openrtc_tui.state.fleet import Fleet


def take_picture(fleet: Fleet, now: float) -> FleetView:
    """The fleet at *now*, which never goes back."""
    for worker in fleet.workers.values():
        if now >= worker.due and not worker.is_settled(now, fleet.beat):
            fleet.settle(worker, now)
    drop_empty_orphans(fleet, now)
    for key in fleet.peers.touched():
        if key in fleet.workers:
            fleet.workers[key].row = None
            fleet.publish(fleet.workers[key])
    _look_for_takers(fleet, now)
    pair = _rollout_pair(fleet)
    judgement = fleet.judgement
    complete = not fleet.awaited
    if judgement is None or judgement.pair != pair or judgement.complete is not complete:
        judgement = fleet.judgement = Judgement(fleet, pair, complete=complete)
    targets = len(fleet.workers) - len(fleet.orphaned)
    return FleetView(
        fleet=fleet.name,
        at=now,
        rows=tuple([row_of(fleet, source, now) for source in ordered(fleet, pair)]),
        versions=fleet.versions.lines(pair, now),
        rollout=Rollout(
            from_version=pair[0], to_version=pair[1], started_at=judgement.began, verdict=judgement.verdict
        )
        if pair is not None
        else None,
        verdict=judgement.verdict,
        verdict_reason=judgement.reason,
        events=fleet.log.lines(),
        heard=targets - len(fleet.unheard),
        targets=targets,
    )


def _look_for_takers(fleet: Fleet, now: float) -> None:
    """Whether the newest manifest leaves anybody to take calls; nobody knows before every target was tried."""
    nobody = "" if fleet.awaited else fleet.manifests.nobody_text()
    if nobody == fleet.nobody:
        return
    if bool(nobody) is not bool(fleet.nobody):
        happenings.takers(fleet.log, nobody, now)
    fleet.nobody = nobody
    for worker in fleet.workers.values():
        worker.row = None


def _rollout_pair(fleet: Fleet) -> Pair | None:
    """Where a plan goes, else what the fleet file says, else what was inferred, until a third version appears."""
    turned = fleet.turned
    if turned is not None and not turned.past:
        return turned.pair
    usual = fleet.named_rollout or _inferred(fleet)
    return turned.pair if turned is not None and turned.holds(usual) else usual


def _inferred(fleet: Fleet) -> Pair | None:
    chosen, alive = fleet.inferred_rollout, fleet.versions.alive()
    if chosen is None or not alive.keys() <= set(chosen):
        fleet.inferred_rollout = infer(_ages(fleet, alive), complete=not fleet.awaited)
    return fleet.inferred_rollout


def _ages(fleet: Fleet, alive: dict[str, bool]) -> dict[str, Alive]:
    """The living versions with the beginning of the oldest boot of each, where that is asked for."""
    began = dict.fromkeys(alive, float("inf"))
    if len(alive) == 2:
        for worker in fleet.workers.values():
            boot = worker.boot
            if boot is not None and worker.is_heard and boot.version in began:
                began[boot.version] = min(began[boot.version], boot.began)
    return {version: Alive(draining, began[version]) for version, draining in alive.items()}
