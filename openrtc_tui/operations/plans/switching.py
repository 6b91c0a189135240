"""The steps before the drain, all of which can be taken back: publish, start, wait for ready, wait for quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.capacity import accepts, agent_of, is_ours, is_ready, lacks, may_accept
from openrtc_tui.operations.plans import sight
from openrtc_tui.operations.plans.interlocks import LAST_WORKER, NOT_ENOUGH_ROOM
from openrtc_tui.operations.plans.plan import (
    Decision,
    Need,
    Publish,
    PublishStep,
    QuietStep,
    ReadyStep,
    Start,
    StartStep,
    StepDone,
    Stop,
    Wait,
)

if TYPE_CHECKING:
    from openrtc_tui.operations.capacity import Lack
    from openrtc_tui.operations.plans.plan import Plan, Progress
    from openrtc_tui.operations.plans.sight import Moment
    from openrtc_tui.state.view import FleetView, WorkerRow

SEEN_WITHIN: Final = 15.0
"""Seconds after an answer was lost in which the fleet has to show whether the request was done."""
_YES: Final = ("started", "already")


# ------------------------------------------------------------------------------------------------------- publish


def publish(step: PublishStep, moment: Moment) -> Decision:  # noqa: PLR0911 - a return a rule, in their order
    progress, view = moment.progress, moment.view
    held = sight.newest_manifest(view)
    wanted = frozenset(step.active)
    if progress.effect in _YES:
        return StepDone(detail=_published(step, progress.seq))
    if progress.effect == "refused":
        return Stop(why=f"the manifest was refused: {progress.detail or 'no reason was given'}")
    if progress.effect == "unreached":
        return Stop(why=f"the manifest was not published: {progress.detail or 'nobody could be reached'}")
    if held is not None and held.active != wanted and _is_later(held, progress):
        names = ", ".join(sorted(held.active)) or "no version"
        return Stop(why=f"somebody else published manifest {held.seq}, which names {names}")
    if held is not None and held.active == wanted and progress.op_id is not None and held.seq >= (progress.seq or 0):
        # the intent was written, its outcome was not: the fleet shows that it was published
        return StepDone(detail=_published(step, held.seq))
    if progress.effect is not None:
        until = progress.at + SEEN_WITHIN
        if moment.now > until:
            return Stop(why=f"nobody knows whether the manifest was published: {progress.detail or 'no answer'}")
        return Wait(what="a worker to show the manifest, whose answer was lost", until=until)
    why = _unfit(step, moment.plan, view)
    return Stop(why=why) if why else Publish(active=step.active)


def _is_later(held: sight.Held, progress: Progress) -> bool:
    """Whether *held* is none that this plan published before, nor the one it is about to replace."""
    if progress.seq is None:
        return False
    return held.seq > progress.seq or (held.seq == progress.seq and progress.op_id is not None)


def _published(step: PublishStep, seq: int | None) -> str:
    number = f" {seq}" if seq is not None else ""
    return f"manifest{number} names {', '.join(step.active) or 'no version'}"


def unfit(plan: Plan, progress: Progress, view: FleetView) -> str:
    """Why the manifest that the plan is at must not be published by this *view*; empty when it may."""
    step = plan.steps[progress.step]
    return _unfit(step, plan, view) if isinstance(step, PublishStep) else ""


def _unfit(step: PublishStep, plan: Plan, view: FleetView) -> str:
    """Why the manifest must not be published now, whatever was so when the plan was made; empty when it may."""
    served = {agent_of(row) for row in view.rows if _loses(row, step)}
    served -= {need.agent for need in step.needs}
    needs = (*step.needs, *(Need(agent_name=name, deployment=at) for name, at in sorted(served)))
    if step.widens and not needs:
        return ""
    short = [
        lack
        for lack in lacks([row for row in view.rows if row.version in step.active], needs)
        if not _is_typed_away(lack, plan)
    ]
    if not short:
        return ""
    return (
        f"{' and '.join(step.active) or 'no version'} cannot take the calls now: {'; '.join(x.text for x in short)}"
    )


def _is_typed_away(lack: Lack, plan: Plan) -> bool:
    if not lack.nobody:
        return NOT_ENOUGH_ROOM in plan.overrides
    if lack.need is None:
        return LAST_WORKER in plan.overrides
    return lack.need.agent in plan.last_of


def _loses(row: WorkerRow, step: PublishStep) -> bool:
    return row.version not in step.active and sight.is_living(row) and is_ours(row) and may_accept(row)


# --------------------------------------------------------------------------------------------------------- start


def start(step: StartStep, moment: Moment) -> Decision:  # noqa: PLR0911 - a return a rule, in their order
    progress, view = moment.progress, moment.view
    if progress.effect in _YES:
        return StepDone(detail=progress.detail or f"{step.version} was asked for")
    if progress.effect in {"refused", "unreached"}:
        return Stop(why=f"{step.version} was not started: {progress.detail or progress.effect}")
    if progress.effect is not None:
        return StepDone(detail=f"nobody knows whether {step.version} was asked for: its workers will tell")
    if progress.op_id is None and _is_up(step, moment.plan, view):
        return StepDone(detail=f"{step.version} has enough workers ready, nobody was asked")
    held = sight.newest_manifest(view)
    if step.ends_other and held is not None and step.version not in held.active:
        if progress.seq is not None and held.seq < progress.seq:
            until = progress.at + SEEN_WITHIN
            if moment.now <= until:
                return Wait(what=f"the workers to show manifest {progress.seq}", until=until)
        return Stop(
            why=f"nobody would take calls: manifest {held.seq} does not name {step.version}, and starting it ends "
            "the other version"
        )
    return Start(version=step.version, token=step.token)


def _is_up(step: StartStep, plan: Plan, view: FleetView) -> bool:
    """Whether what the start is for is there already; without a manifest the platform would undo a bare drain."""
    needs = next((other.needs for other in plan.steps if isinstance(other, ReadyStep) and not other.taking), None)
    publishes = any(isinstance(other, PublishStep) for other in plan.steps)
    return publishes and needs is not None and not lacks(_of(view, step.version), needs)


def _of(view: FleetView, version: str) -> list[WorkerRow]:
    return [row for row in view.rows if row.version == version]


# ------------------------------------------------------------------------------------------------ ready and quiet


def ready(step: ReadyStep, moment: Moment) -> Decision:
    workers = [row for row in _of(moment.view, step.version) if accepts(row) or not step.taking]
    short = lacks(workers, step.needs)
    if not short:
        done = "take calls" if step.taking else "ready to take calls"
        return StepDone(detail=f"{sum(map(is_ready, workers))} of {step.version} {done}")
    what = "; ".join(lack.text for lack in short)
    if not step.taking and (said := _said_of_start(moment)):
        what = f"{what}; the platform: {said}"
    until = moment.progress.since + step.within
    if moment.now > until:
        missed = "did not take calls" if step.taking else "was not ready"
        return Stop(why=f"{step.version} {missed} in time: {what}")
    return Wait(what=f"{step.version} to {'take calls' if step.taking else 'be ready'}: {what}", until=until)


def _said_of_start(moment: Moment) -> str:
    """What came of asking the platform; empty where the plan did not."""
    done = zip(moment.plan.steps, moment.progress.done, strict=False)
    return next((detail for step, detail in done if isinstance(step, StartStep)), "")


def quiet(step: QuietStep, moment: Moment) -> Decision:
    progress, view = moment.progress, moment.view
    held = sight.later_manifest(view, progress.seq, step.version)
    if held is not None:
        return Stop(why=f"somebody else published manifest {held.seq}, which names {step.version} again")
    taking = [row for row in sight.living(view, step.version) if not _takes_none(row, progress.seq)]
    if not taking:
        return StepDone(detail=f"no worker of {step.version} takes new calls")
    names = sight.names(taking)
    until = moment.progress.since + step.within
    if moment.now > until:
        return Stop(why=f"{names} of {step.version} did not show the manifest in time and may still take calls")
    return Wait(what=f"{names} of {step.version} to show that no new call is taken", until=until)


def _takes_none(row: WorkerRow, seq: int | None) -> bool:
    return sight.drains(row) or sight.is_gated(row, seq) or sight.is_cordoned(row)
