"""What the confirmation of a plan says: from a plan to its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.plans import words
from openrtc_tui.operations.plans.plan import Plan, PlanKind, PublishStep, StartStep
from openrtc_tui.widgets.paint import Line, Look, Span, spread, wrap
from openrtc_tui.widgets.words import count, duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openrtc_tui.operations.plans.plan import Objection, Room, Step
    from openrtc_tui.widgets.palette import Role

DEEDS: Final[Mapping[PlanKind, str]] = {"promote": "Promote", "rollback": "Roll back", "drain": "Drain"}

GAP: Final = 2
"""Cells between a step and what is remarked on it."""
NUMBER: Final = 3
"""Cells before the text of a step: its number stands there."""


def question(kind: PlanKind, version: str | None, *, blocked: bool = False) -> str:
    """What the dialog asks, also before there is a plan; or that it cannot be done."""
    if blocked:
        return {
            "drain": f"{version or 'This'} cannot be drained now",
            "promote": f"{version} cannot be promoted now",
            "rollback": f"Rolling back to {version} is not possible now",
        }[kind]
    if kind == "drain":
        return f"Drain {version} in waves?" if version is not None else "Drain in waves?"
    if version is None:
        return "Roll back?" if kind == "rollback" else "Promote a version?"
    return f"Roll back to {version}?" if kind == "rollback" else f"Promote {version}?"


def plan_lines(plan: Plan, look: Look, width: int, *, seq: int | None = None) -> list[Line]:
    """The plan: whom it touches, what forbids it or is to be known before, its steps, the room that it leaves.

    *seq* is the manifest that holds now: what is published carries the numbers after it.
    """
    objections = sorted(plan.objections, key=lambda each: not each.blocks)
    lines: list[Line] = []
    for part in (
        wrap(_calls(plan), "text", width),
        [line for each in objections for line in _objection(each, look, width)],
        _steps(plan.steps, seq or 0, width),
        _capacity(plan, width),
    ):
        if part:
            lines += [[], *part] if lines else part
    return lines


def _objection(objection: Objection, look: Look, width: int) -> list[Line]:
    role: Role = "bad" if objection.blocks else "warning"
    first, *others = wrap(objection.text, role, width - 2)
    lines: list[Line] = [[Span(f"{look.glyphs.alert} ", role), *first], *([Span("  "), *other] for other in others)]
    return [[span._replace(bold=objection.blocks) for span in line] for line in lines]


def _calls(plan: Plan) -> str:
    where = f" on {plan.from_version}" if plan.from_version is not None else ""
    if not plan.calls:
        return f"No call is live{where}." if plan.calls_known else f"How many calls are live{where} is not known."
    at_least = "" if plan.calls_known else "At least "
    oldest = ""
    if plan.oldest_seconds is not None:
        which = "for" if plan.calls == 1 else "the oldest for"
        oldest = f", {which} {duration(plan.oldest_seconds)}"
    stays = "it is not moved" if plan.calls == 1 else "none is moved"
    return f"{at_least}{count(plan.calls, 'call')} live{where}{oldest}; {stays}."


def _steps(steps: Sequence[Step], seq: int, width: int) -> list[Line]:
    """The steps by number; a publish tells which manifest it is expected to be."""
    lines: list[Line] = []
    for number, step in enumerate(steps, 1):
        remark = ""
        if isinstance(step, PublishStep):
            seq += 1
            remark = f"manifest {seq}"
        first, *others = wrap(words.step_words(step), "text", width - NUMBER - len(remark) - GAP)
        lines.append(spread([Span(f"{number:<{NUMBER}}", "key"), *first], [Span(remark, "muted")], width))
        lines += [[Span(" " * NUMBER), *other] for other in others]
    return lines


def _capacity(plan: Plan, width: int) -> list[Line]:
    """Room for new calls by version, now and once the plan is through; and how many workers may run meanwhile."""
    versions = list(dict.fromkeys(room.version for room in (*plan.before, *plan.after)))
    if not versions:
        return []
    started = {step.version for step in plan.steps if isinstance(step, StartStep)}
    now, after = (_free(rooms) for rooms in (plan.before, plan.after))
    lines: list[Line] = [spread([Span("room for new calls", "muted")], [Span(_pair("now", "after"), "muted")], width)]
    for version in versions:
        then = after.get(version, "none")
        # how many workers its platform starts is not known before
        numbers = _pair(now.get(version, "none"), "starts" if version in started and then == "none" else then)
        lines.append(spread([Span(version or "untagged")], [Span(numbers, "strong", bold=False)], width))
    if plan.peak is not None:
        lines.append([Span(f"Up to {count(plan.peak, 'worker')} run at once meanwhile.", "muted")])
    return lines


def _free(rooms: Sequence[Room]) -> dict[str | None, str]:
    return {room.version: str(room.places) if room.places else "none" for room in rooms}


def _pair(now: str, after: str) -> str:
    return f"{now:>8}{after:>8}"
