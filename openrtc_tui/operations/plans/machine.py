"""What a plan does next: a pure machine over the plan, its journal and one view of the fleet.

It keeps nothing. Whoever resumes a plan after a kill gives it the same journal and a fresh view, and it goes on from
what it sees: what was journaled is never asked under another identity, and what the view shows as done is not asked
again at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_tui.operations.plans import draining, sight, switching
from openrtc_tui.operations.plans.interlocks import LIVEKIT_OUTAGE
from openrtc_tui.operations.plans.plan import (
    Decision,
    DrainStep,
    Finish,
    PublishStep,
    QuietStep,
    ReadyStep,
    StartStep,
    Step,
    Stop,
    Wait,
)
from openrtc_tui.state.contact import LOST_AFTER
from openrtc_tui.state.view import WorkerState

if TYPE_CHECKING:
    from openrtc_tui.operations.plans.plan import Plan, Progress
    from openrtc_tui.state.view import FleetView


def advance(plan: Plan, progress: Progress, view: FleetView, now: float) -> Decision:
    """What to do next; the same arguments give the same answer.

    Args:
        plan: as it was journaled.
        progress: folded from its journal (:func:`~openrtc_tui.operations.plans.progress.apply`).
        view: the newest picture of the fleet.
        now: Unix seconds.

    Returns:
        An effect (Publish, Start, Drain), which is to be journaled before it leaves; Wait; or the end of a step or
        of the plan. Each Wait says what for, and until when it waits at most.
    """
    if progress.step >= len(plan.steps):
        return Finish(detail=progress.done[-1] if progress.done else "")
    held_up = _ended(plan, progress) or _unheard(view, now) or _outage(plan, view)
    return held_up or _step(plan.steps[progress.step], sight.Moment(plan, progress, view, now))


def _ended(plan: Plan, progress: Progress) -> Stop | None:
    """Why nothing more of the plan is done, whatever the fleet shows; None when it goes on."""
    if progress.aborted:
        return Stop(why="aborted by the operator", word="aborted")
    if progress.ended:
        return Stop(why="it has ended already")
    if plan.blocked:
        return Stop(why="; ".join(o.text for o in plan.objections if o.blocks and o.override is None))
    return None


def _unheard(view: FleetView, now: float) -> Wait | None:
    """A target that this dashboard has not heard and not given up yet: until then nobody knows who is there.

    That is so after its start, when it resumes a plan, and when a target is new; :mod:`openrtc_tui.state` gives a
    silent one up after :data:`LOST_AFTER` seconds.
    """
    rows = [row for row in view.rows if row.boot_id is None and row.state is WorkerState.STARTING and not row.closed]
    silent = [row for row in rows if row.snapshot is None]
    return Wait(what=f"{sight.names(silent)} to be heard or given up", until=now + LOST_AFTER) if silent else None


def _outage(plan: Plan, view: FleetView) -> Stop | None:
    outage = sight.outage(view)
    if outage is None or LIVEKIT_OUTAGE in plan.overrides:
        return None
    return Stop(why=f"{outage.text}: nothing more is done while it lasts")


def _step(step: Step, moment: sight.Moment) -> Decision:
    match step:
        case PublishStep():
            return switching.publish(step, moment)
        case StartStep():
            return switching.start(step, moment)
        case ReadyStep():
            return switching.ready(step, moment)
        case QuietStep():
            return switching.quiet(step, moment)
        case DrainStep():
            return draining.drain(step, moment)
        case _:
            return draining.watch(step, moment)
