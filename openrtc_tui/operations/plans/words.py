"""Plans and runs as lines of text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.durations import roughly
from openrtc_tui.operations.plans.machine import advance
from openrtc_tui.operations.plans.plan import (
    Drain,
    DrainStep,
    Finish,
    Publish,
    PublishStep,
    QuietStep,
    ReadyStep,
    Run,
    Start,
    StartStep,
    StepDone,
    Stop,
    Wait,
)
from openrtc_tui.operations.plans.sight import drains, fates, living

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from openrtc_tui.operations.plans.plan import Decision, Objection, Plan, Progress, Room, RunWord, Step
    from openrtc_tui.state.view import FleetView

MOST_NAMES: Final = 4
"""Workers named in one line."""


def title(plan: Plan) -> str:
    """``Roll back from v2 to v1``, ``Promote v2``, ``Drain v1``, ``Drain 3 workers``."""
    if plan.kind == "rollback":
        return f"Roll back from {plan.from_version} to {plan.to_version}"
    if plan.kind == "promote":
        return f"Promote {plan.to_version}"
    if plan.from_version is not None:
        return f"Drain {plan.from_version}"
    subjects = [subject.key for step in plan.steps if isinstance(step, DrainStep) for subject in step.subjects]
    return f"Drain {subjects[0]}" if len(subjects) == 1 else f"Drain {len(subjects)} workers"


def step_words(step: Step) -> str:
    """What a step does, one line."""
    match step:
        case PublishStep():
            return f"publish a manifest: {_and(step.active) or 'no version'} may take new calls"
        case StartStep():
            return f"ask the platform to start {step.version}"
        case ReadyStep():
            wanted = "takes calls" if step.taking else f"is ready for {_needs(step)}"
            return f"wait until {step.version} {wanted}, at most {roughly(step.within)}"
        case QuietStep():
            return f"wait until no worker of {step.version} takes new calls, at most {roughly(step.within)}"
        case DrainStep():
            return f"drain {_drained(step)}"
        case _:
            return f"watch {step.version} until every worker has ended and the verdict is known"


def objection_words(objection: Objection) -> str:
    """``refused: …``, ``needs LAST: …`` or ``warning: …``."""
    if not objection.blocks:
        return f"warning: {objection.text}"
    if objection.override is None:
        return f"refused: {objection.text}"
    return f"needs {objection.override}: {objection.text}"


def plan_lines(plan: Plan) -> tuple[str, ...]:
    """The whole plan, for ``--plan`` and the confirmation: what, whom it touches, steps, capacity, what to know."""
    return tuple(_lines(plan))


def calls_words(plan: Plan) -> str:
    """``7 calls live, the oldest for 12m``."""
    known = "" if plan.calls_known else " or more"
    text = f"{plan.calls}{known} {'call' if plan.calls == 1 and plan.calls_known else 'calls'} live"
    return f"{text}, the oldest for {roughly(plan.oldest_seconds)}" if plan.oldest_seconds is not None else text


def room_words(rooms: Iterable[Room]) -> str:
    """``v1: 3 workers ready, room for 40 · v2: none ready, 7 calls live``."""
    return " · ".join(_room(room) for room in rooms) or "no worker ready yet"


def run_of(  # noqa: PLR0917 - what a run is made of, in the order of advance()
    plan: Plan, progress: Progress, view: FleetView, now: float, word: RunWord = "running", why: str = ""
) -> Run:
    """A plan under way, or at its end, as screens and commands show it.

    Args:
        plan: the plan.
        progress: how far it has come.
        view: the newest picture of the fleet.
        now: Unix seconds.
        word: what became of it so far.
        why: for one that ended before its end, the reason.
    """
    decision = advance(plan, progress, view, now) if word == "running" else None
    # a step that is done by this view goes on in the next breath
    following = plan.steps[progress.step + 1 :]
    ended = word not in {"running", "interrupted"}
    return Run(
        plan=plan,
        progress=progress,
        word=word,
        doing=_doing(plan, progress, decision) if not ended else "",
        until=decision.until if isinstance(decision, Wait) else None,
        next=step_words(following[0]) if following and not ended else "",
        done=_done(plan, progress, view),
        not_done=_not_done(plan, progress, view) if word not in {"running", "elsewhere", "done"} else (),
        why=why,
    )


# --------------------------------------------------------------------------------------------------------- parts


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{title(plan)} · {plan.fleet}"
    yield calls_words(plan)
    yield ""
    for number, step in enumerate(plan.steps, 1):
        yield f"{number}. {step_words(step)}"
    yield ""
    yield f"now    {room_words(plan.before)}"
    yield f"after  {room_words(plan.after)}"
    if plan.peak is not None:
        yield f"meanwhile up to {plan.peak} workers run at once"
    for objection in sorted(plan.objections, key=lambda found: (not found.blocks, found.override is not None)):
        yield objection_words(objection)
    if plan.reason:
        yield f"reason: {plan.reason}"


def _room(room: Room) -> str:
    name = room.version or "untagged"
    takes = f"{room.workers} ready, room for {room.places}" if room.workers else "none takes calls"
    return f"{name}: {takes}, {room.calls} live" if room.calls else f"{name}: {takes}"


def _and(words: Iterable[str]) -> str:
    return " and ".join(words)


def _needs(step: ReadyStep) -> str:
    named = [
        (f"{need.agent_name or 'the unnamed agent'}{f' in {need.deployment}' if need.deployment else ''}", need.room)
        for need in step.needs
    ]
    return _and(f"{name} with room for {room}" if room else name for name, room in named) or "calls"


def _drained(step: DrainStep) -> str:
    who = (
        f"{step.version} ({len(step.subjects)} now)" if step.version is not None else f"{len(step.subjects)} workers"
    )
    if len(step.subjects) == 1 and step.version is None:
        who = step.subjects[0].key
    waves = -(-len(step.subjects) // step.wave)
    how = "" if waves <= 1 else f" in {waves} waves of {step.wave}, each when the one before is empty"
    limit = f"; what is live after {roughly(step.timeout)} is cut" if step.timeout is not None else ""
    return f"{who}{how}{limit}"


def _doing(plan: Plan, progress: Progress, decision: Decision | None) -> str:  # noqa: PLR0911 - one for each decision
    match decision:
        case Wait():
            return f"waits for {decision.what}"
        case Drain():
            names = [
                *(subject.key for subject in decision.subjects),
                *(asked.subject.key for asked in decision.again),
            ]
            return f"asks {', '.join(names)} to drain"
        case Publish():
            return f"publishes a manifest: {_and(decision.active) or 'no version'} may take new calls"
        case Start():
            return f"asks the platform to start {decision.version}"
        case StepDone() | Finish():
            return decision.detail
        case Stop():
            return f"stops: {decision.why}"
        case _:
            return step_words(plan.steps[progress.step]) if progress.step < len(plan.steps) else ""


def _done(plan: Plan, progress: Progress, view: FleetView) -> tuple[str, ...]:
    lines = [detail or step_words(step) for step, detail in zip(plan.steps, progress.done, strict=False)]
    if progress.step < len(plan.steps):
        lines += _partly(plan.steps[progress.step], progress, view)
    return tuple(lines)


def _partly(step: Step, progress: Progress, view: FleetView) -> list[str]:
    """What the step under way has done already, or may have."""
    if isinstance(step, DrainStep) and progress.asked:
        return [_asked(step, progress, view)]
    if progress.op_id is not None and progress.effect in {None, "unknown"}:
        return [f"not known whether it was done: {step_words(step)}"]
    return []


def _asked(step: DrainStep, progress: Progress, view: FleetView) -> str:
    """``v2.0.0 goes on draining (3 of 3 were asked)``: an end of the plan takes no drain back."""
    asked = len(progress.asked)
    total = asked + len(_unasked(step, progress, view))
    of = f"{asked} of {total} {'was' if total == 1 else 'were'} asked"
    yes = [entry.subject for entry in progress.asked if entry.outcome in {"started", "already"}]
    if not yes:
        return f"{of} to drain, and none said yes"
    said = "" if len(yes) == asked else f", {len(yes)} said yes"
    if all(fate.word == "over" for fate in fates(view, yes)):
        return f"{of} to drain{said}; what drained has ended"
    one = step.version or (yes[0].key if total == 1 else None)
    return f"{one} goes on draining ({of}{said})" if one is not None else f"they go on draining ({of}{said})"


def _unasked(step: DrainStep, progress: Progress, view: FleetView) -> list[str]:
    """The names of workers that the step would ask still: those that drain by themselves it does not."""
    asked = {entry.subject.boot_id for entry in progress.asked}
    left = [of for of in step.subjects if of.boot_id not in asked]
    names = [fate.subject.key for fate in fates(view, left) if fate.word in {"taking", "stale", "unheard"}]
    if step.version is None:
        return names
    rows = [row for row in living(view, step.version) if row.boot_id not in asked and not drains(row)]
    return names + [row.key for row in rows if row.key not in names]


def _not_done(plan: Plan, progress: Progress, view: FleetView) -> tuple[str, ...]:
    """What a plan that stopped leaves undone; a drain that was asked is done, though its calls live on."""
    left = plan.steps[progress.step :]
    if not left or not isinstance(step := left[0], DrainStep) or not progress.asked:
        return tuple(step_words(step) for step in left)
    names = _unasked(step, progress, view)
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    drain = (f"drain {', '.join(names[:MOST_NAMES])}{more}",) if names else ()
    return (*drain, *(step_words(step) for step in left[1:]))
