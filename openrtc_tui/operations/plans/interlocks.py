"""What speaks against a plan: what blocks it, what an operator may override by typing it, and what to know before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.durations import roughly
from openrtc_tui.operations.capacity import agent_of, agent_words, is_ours
from openrtc_tui.operations.intent import LAST, reason_text
from openrtc_tui.operations.plans import sight
from openrtc_tui.operations.plans.plan import Objection
from openrtc_tui.state.view import WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from openrtc_tui.operations.capacity import Lack
    from openrtc_tui.state.peers import Agent
    from openrtc_tui.state.view import FleetView, WorkerRow

LAST_WORKER: Final = "last_worker"
NOT_ENOUGH_ROOM: Final = "not_enough_room"
LIVEKIT_OUTAGE: Final = "livekit_outage"
NOBODY_TAKES_CALLS: Final = "nobody_takes_calls"
NOBODY_COMES: Final = "nobody_comes"
TARGET_DRAINS: Final = "target_drains"
LEFT_BEFORE: Final = "left_before"

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
        agents = tuple(lack.need.agent for lack in nobody if lack.need is not None)
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


def leaving(view: FleetView, version: str, *, short: bool) -> tuple[Objection, ...]:
    """Workers of *version* drain, and a drain is never taken back: with *short*, others have to be there first."""
    rows = [row for row in sight.living(view, version) if sight.drains(row) and row.state is not WorkerState.DRAINED]
    if not rows:
        return ()
    many = len(rows) > 1
    text = (
        f"{len(rows)} {'workers' if many else 'worker'} of {version} {'are' if many else 'is'} draining: "
        f"{'they take' if many else 'it takes'} no new call any more"
    )
    more = "; others have to be started" if short else ""
    return (Objection(code=TARGET_DRAINS, text=text + more),)


def left_before(version: str, bad: str | None) -> tuple[Objection, ...]:
    """*version* is *bad*, which the last rollback left."""
    return (Objection(code=LEFT_BEFORE, text=f"{version} is what the last rollback left"),) if version == bad else ()


def out_of_reach(view: FleetView, version: str, lacks: Iterable[Lack]) -> tuple[Objection, ...]:
    """Without a platform to ask, what *version* is short of would be waited for.

    That is refused where it would be in vain: for an agent of which no worker is there that can still be ready. One
    that does not tell its agent or its version yet may be of that one.
    """
    lacks = tuple(lacks)
    if not lacks:
        return ()
    coming = [row for row in view.rows if _can_be_ready(row, version)]
    vain = [lack for lack in lacks if lack.nobody and not any(_may_answer(row, lack) for row in coming)]
    if vain:
        text = (
            f"{'; '.join(lack.text for lack in vain)} on {version}, none is on its way, and the fleet file names no "
            "platform (rollback:) that starts any: start them first, then ask again"
        )
        return (Objection(code=NOBODY_COMES, text=text, blocks=True),)
    text = f"the fleet file names no platform that starts {version}: start its workers yourself, the plan waits"
    return (Objection(code="no_platform", text=text),)


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


def _can_be_ready(row: WorkerRow, version: str) -> bool:
    """Whether it may be ready yet: a worker of *version* that stays, or one that was not heard so far."""
    if row.boot_id is None:
        return row.state is WorkerState.STARTING and not row.closed
    return row.version == version and sight.is_living(row) and is_ours(row) and not sight.drains(row)


def _may_answer(row: WorkerRow, lack: Lack) -> bool:
    livekit = row.snapshot.livekit if row.snapshot is not None else None
    silent = livekit is None or livekit.agent_name is None
    return lack.need is None or silent or agent_of(row) == lack.need.agent


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
