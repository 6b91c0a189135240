"""What speaks against a plan: what blocks it, what an operator may override by typing it, and what to know before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.durations import roughly
from openrtc_tui.operations.capacity import agent_of, agent_words
from openrtc_tui.operations.intent import LAST, reason_text
from openrtc_tui.operations.plans import sight
from openrtc_tui.operations.plans.plan import Objection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from openrtc_tui.operations.capacity import Lack
    from openrtc_tui.state.peers import Agent
    from openrtc_tui.state.view import FleetView, WorkerRow

LAST_WORKER: Final = "last_worker"
NOT_ENOUGH_ROOM: Final = "not_enough_room"
LIVEKIT_OUTAGE: Final = "livekit_outage"
NOBODY_TAKES_CALLS: Final = "nobody_takes_calls"

SHORT: Final = "SHORT"
"""What an operator types to switch to workers without room for the live calls."""
OUTAGE: Final = "OUTAGE"
"""What an operator types to steer a fleet that is mostly without LiveKit."""

GRACE_MARGIN: Final = 10.0
"""Seconds between the end of a drain and its platform's SIGKILL that are left to the worker's own exit."""


def lacking(lacks: Iterable[Lack], version: str) -> tuple[Objection, ...]:
    """Switching to *version* while it is short of *lacks*: refused, unless somebody types that they mean it."""
    lacks = tuple(lacks)
    found = []
    nobody = [lack for lack in lacks if lack.nobody]
    if nobody:
        text = f"on {version} {'; '.join(lack.text for lack in nobody)}: every new caller would get nobody"
        agents = tuple((lack.need.agent_name, lack.need.deployment) for lack in nobody if lack.need is not None)
        found.append(Objection(code=LAST_WORKER, text=text, blocks=True, override=LAST, agents=agents))
    short = [lack.text for lack in lacks if not lack.nobody]
    if short:
        text = f"on {version} {'; '.join(short)}"
        found.append(Objection(code=NOT_ENOUGH_ROOM, text=text, blocks=True, override=SHORT))
    return tuple(found)


def last_workers(agents: Sequence[Agent]) -> tuple[Objection, ...]:
    """A drain after which nobody takes calls of *agents*."""
    if not agents:
        return ()
    who = "; ".join(agent_words(agent) for agent in agents)
    text = f"no worker would be left that takes calls {who}: every new caller would get nobody"
    return (Objection(code=LAST_WORKER, text=text, blocks=True, override=LAST, agents=tuple(agents)),)


def outage(view: FleetView) -> tuple[Objection, ...]:
    """Most of the fleet is without LiveKit: no time to switch or drain, unless that is the very reason."""
    found = sight.outage(view)
    if found is None:
        return ()
    text = f"{found.text}: wait until they are back"
    return (Objection(code=LIVEKIT_OUTAGE, text=text, blocks=True, override=OUTAGE),)


def unpublished(view: FleetView, version: str) -> tuple[Objection, ...]:
    """The workers obey a manifest that does not name *version*, and the fleet file says of no way to publish one."""
    held = sight.newest_manifest(view)
    if held is None or version in held.active:
        return ()
    text = (
        f"nobody would take calls: the workers hold manifest {held.seq}, which does not name {version}, "
        "and the fleet file has no manifest: to publish another"
    )
    return (Objection(code=NOBODY_TAKES_CALLS, text=text, blocks=True),)


def of_drains(rows: Sequence[WorkerRow], timeout: float | None) -> tuple[Objection, ...]:
    """What to know before *rows* are drained: warnings, none of which blocks."""
    found = []
    outlasted = _those(rows, lambda row: _is_outlasted(row, timeout))
    if outlasted:
        oldest = max(row.oldest_seconds or 0.0 for row in outlasted)
        budget = min(_budget(row, timeout) or 0.0 for row in outlasted)
        text = (
            f"the oldest call of {sight.names(outlasted)} lasts {roughly(oldest)} already, the drain budget is "
            f"{roughly(budget)}: what is live after it is cut"
        )
        found.append(Objection(code="budget_short", text=text))
    hasty = _those(rows, lambda row: _is_hasty(row, timeout))
    if hasty:
        grace = min(_grace(row) or 0.0 for row in hasty)
        need = max(_needed_grace(row, timeout) or 0.0 for row in hasty)
        text = (
            f"the platform kills {sight.names(hasty)} {roughly(grace)} after it ends them, a drain may need "
            f"{roughly(need)}: calls live then are dropped"
        )
        found.append(Objection(code="grace_short", text=text))
    twice = _those(rows, _is_ended_by_platform)
    if twice:
        text = f"{sight.names(twice)} is being ended by its platform or a signal too: the earlier deadline counts"
        found.append(Objection(code="two_signals", text=text))
    return tuple(found)


def audited_reason(reason: str | None, objections: Iterable[Objection]) -> str | None:
    """The reason as it is sent and recorded: what was overridden stands at its beginning."""
    overridden = [
        objection.code.replace("_", "-") for objection in objections if objection.blocks and objection.override
    ]
    prefix = f"override {', '.join(overridden)}: " if overridden else ""
    return reason_text(prefix + (reason or ""), override=False)


def challenge(objections: Iterable[Objection], usual: str) -> str:
    """What has to be typed: every override there is, else what is *usual* for the operation."""
    words = [objection.override for objection in objections if objection.blocks and objection.override]
    return " ".join(dict.fromkeys(words)) or usual


def _those(rows: Sequence[WorkerRow], test: Callable[[WorkerRow], bool]) -> list[WorkerRow]:
    return [row for row in rows if test(row)]


def _budget(row: WorkerRow, timeout: float | None) -> float | None:
    """Seconds that a drain asked for now leaves its calls: the shorter of what is asked and its own limit."""
    own = row.snapshot.limits.drain_timeout if row.snapshot is not None and row.snapshot.limits is not None else None
    return min((limit for limit in (own, timeout) if limit is not None), default=None)


def _is_outlasted(row: WorkerRow, timeout: float | None) -> bool:
    budget = _budget(row, timeout)
    return budget is not None and row.oldest_seconds is not None and row.oldest_seconds > budget


def _grace(row: WorkerRow) -> float | None:
    platform = row.snapshot.platform if row.snapshot is not None else None
    return platform.grace_seconds if platform is not None else None


def _needed_grace(row: WorkerRow, timeout: float | None) -> float | None:
    limits = row.snapshot.limits if row.snapshot is not None else None
    budget = _budget(row, timeout)
    if limits is None or budget is None:
        return None
    return budget + (limits.cut_grace or 0.0) + (limits.drain_linger or 0.0) + GRACE_MARGIN


def _is_hasty(row: WorkerRow, timeout: float | None) -> bool:
    grace, need = _grace(row), _needed_grace(row, timeout)
    return grace is not None and need is not None and grace < need


def _is_ended_by_platform(row: WorkerRow) -> bool:
    drain = row.snapshot.drain if row.snapshot is not None else None
    return row.killed_at is not None or (drain is not None and drain.source == "signal")


def left_without(rows: Iterable[WorkerRow], others: Iterable[WorkerRow]) -> tuple[Agent, ...]:
    """The agents that *rows* could answer for, gated or not, and none of *others* does."""
    return tuple(sorted({agent_of(row) for row in rows} - {agent_of(row) for row in others}))
