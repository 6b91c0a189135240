"""What is shown of each worker: its row, made anew only when something in it changed, and the rows' order."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.state import sane
from openrtc_tui.state.ending import kill_at
from openrtc_tui.state.findings import findings_of
from openrtc_tui.state.membership import FOREIGN
from openrtc_tui.state.view import VerdictWord, WorkerRow, WorkerState
from openrtc_tui.state.worker import Worker
from openrtc_worker.contract.snapshot import VERSION_PATTERN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openrtc_tui.state.boot import Boot
    from openrtc_tui.state.fleet import Fleet
    from openrtc_tui.state.rollout import Pair
    from openrtc_tui.state.worker import Source

ROW_STEP: Final = 1.0
"""Seconds after which a row is made anew although nothing was heard: its ages are shown in whole seconds."""

ROWS_A_SECOND: Final = 500
"""Rows made anew for their ages' sake in a second; those of a larger fleet grow older in larger steps."""

_SILENT: Final = (WorkerState.STALE, WorkerState.LOST)
_OVER: Final = (WorkerState.LOST, WorkerState.EXITED)
_NONE: Final[dict[str, int]] = {}


def ordered(fleet: Fleet, pair: Pair | None) -> list[Source]:
    """What is shown, in the fleet's own order: the version being left first, then by name, closed boots last."""
    leaving = pair[0] if pair is not None else None
    if fleet.order is None or fleet.leaving != leaving:
        placed: list[tuple[tuple[Any, ...], Source]] = []
        for worker in fleet.workers.values():
            boot, name = worker.boot, sane.name_order(worker.key)
            placed.append(((boot is None or boot.version != leaving, name, 0), worker))
            placed.extend(((past.version != leaving, name, past.serial), past) for past in _shown(worker.past))
        placed.sort(key=itemgetter(0))
        fleet.order, fleet.leaving = [source for _, source in placed], leaving
    return fleet.order


def _shown(past: Sequence[Boot]) -> list[Boot]:
    """Earlier boots that stay in sight: those that dropped calls or may have, and of the other unproven the last."""
    unproven = [boot for boot in past if boot.verdict.word is not VerdictWord.PROVEN]
    return [boot for boot in unproven if boot.verdict.possible or boot is unproven[-1]]


def row_of(fleet: Fleet, source: Source, now: float) -> WorkerRow:
    if isinstance(source, Worker):
        row = source.row
        return row if row is not None and now < source.row_due else _worker_row(fleet, source, now)
    return source.row or _closed_row(fleet, source)


def _worker_row(fleet: Fleet, worker: Worker, now: float) -> WorkerRow:
    target, contact, boot, state = worker.target, worker.contact, worker.boot, worker.state
    if boot is None:
        worker.row_due = float("inf")
        worker.row = WorkerRow(
            key=target.key,
            target=target.key,
            url=target.url,
            region=target.region,
            state=state,
            orphan=not target.listed,
            last_failure=contact.failure,
        )
        return worker.row
    snapshot = boot.snapshot
    over = state in _OVER
    duplicate = fleet.peers.is_duplicate(target.key)
    misfit = worker.misfit
    heard_at = contact.heard_at if contact.heard_at is not None else now
    worker.row_due = now + max(ROW_STEP, len(fleet.workers) / ROWS_A_SECOND)
    worker.row = WorkerRow(
        key=target.key,
        target=target.key,
        url=target.url,
        region=target.region,
        version=boot.version,
        actionable=_is_actionable(boot) and not duplicate and (misfit is None or misfit.code != FOREIGN),
        worker_id=snapshot.worker_id,
        boot_id=boot.boot_id,
        state=state,
        orphan=not target.listed,
        accepting=None if over else snapshot.accepting,
        calls=boot.live,
        max_sessions=snapshot.max_sessions,
        load=None if over else _load(boot),
        oldest_seconds=None if over else boot.oldest_age(now),
        deadline=boot.deadline,
        drain_started_at=boot.drain_started_at,
        age_seconds=now - heard_at,
        silent_since=heard_at if state in _SILENT else None,
        trend=boot.trend.values(boot.report_at if over else now),
        by_agent=snapshot.sessions_by_agent or _NONE,
        by_tenant=snapshot.sessions_by_tenant or _NONE,
        findings=findings_of(fleet, worker, boot, now),
        verdict=boot.verdict,
        settled=boot.settled,
        snapshot=snapshot,
        raw=boot.raw,
        via=contact.via,
        last_failure=contact.failure,
        verified=misfit is None if worker.is_checked else None,
        ready_to_take=worker.may_take and not duplicate,
        killed_at=kill_at(worker, boot),
    )
    return worker.row


def _closed_row(fleet: Fleet, boot: Boot) -> WorkerRow:
    """An earlier boot: what it was when it was heard last, and its verdict."""
    worker = fleet.workers[boot.owner]
    boot.row = WorkerRow(
        key=f"{boot.owner}#{boot.boot_id or boot.serial}",
        target=boot.owner,
        url=worker.target.url,
        region=worker.target.region,
        version=boot.version,
        actionable=False,
        worker_id=boot.snapshot.worker_id,
        boot_id=boot.boot_id,
        state=WorkerState.EXITED,
        closed=True,
        calls=boot.live,
        max_sessions=boot.snapshot.max_sessions,
        deadline=boot.deadline,
        drain_started_at=boot.drain_started_at,
        silent_since=boot.report_at,
        trend=boot.trend.values(boot.report_at),
        by_agent=boot.snapshot.sessions_by_agent or _NONE,
        by_tenant=boot.snapshot.sessions_by_tenant or _NONE,
        verdict=boot.verdict,
        settled=boot.settled,
        snapshot=boot.snapshot,
        raw=boot.raw,
    )
    return boot.row


def _is_actionable(boot: Boot) -> bool:
    """Whether a request can name it: a token is for one worker and boot, a confirmation names the version."""
    version = boot.version
    return (
        version is not None
        and VERSION_PATTERN.fullmatch(version) is not None
        and bool(boot.boot_id)
        and bool(boot.snapshot.worker_id)
    )


def _load(boot: Boot) -> float | None:
    """Calls over capacity, as the worker says or, where it does not, as its numbers say."""
    told = sane.fraction(boot.snapshot.load)
    most = boot.snapshot.max_sessions
    return boot.live / most if told is None and most is not None and most > 0 else told
