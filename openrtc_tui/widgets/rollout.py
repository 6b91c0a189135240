"""The plan that is under way, or what became of it: step, what it waits for, what would happen next."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from openrtc_tui.widgets.lines import WIDE
from openrtc_tui.widgets.paint import Line, Lines, Look, Span, clip_line, fit, spread, wrap
from openrtc_tui.widgets.words import duration, time_left

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openrtc_tui.operations.plans.plan import Plan, PlanKind, Run, RunWord
    from openrtc_tui.widgets.palette import Role
    from openrtc_tui.widgets.rows import Setting

LABEL: Final = 10
"""Cells of the words at the left: *now*, *next*, *done*, *not done*."""

MOST_WHY: Final = 3
"""Lines for the reason why a plan stopped."""

MOST_DOING: Final = 3
"""Lines for what it does now: what it waits for, and what its platform said of it."""

_KINDS: Final[Mapping[PlanKind, str]] = {"drain": "DRAIN", "promote": "PROMOTION", "rollback": "ROLLBACK"}
_ROLES: Final[Mapping[RunWord, Role]] = {
    "running": "strong",
    "elsewhere": "strong",
    "interrupted": "warning",
    "done": "good",
    "failed": "bad",
    "violated": "bad",
    "aborted": "warning",
}


def stopped(run: Run) -> bool:
    """Whether nothing of it goes on by itself."""
    return run.word not in {"running", "elsewhere"}


def run_lines(
    run: Run, setting: Setting, look: Look, width: int, *, room: int, read_only: bool = False
) -> list[Line]:
    """The panel: a heading, and at most *room* lines on what it does, or on what was and was not done."""
    lines = [_heading(run, setting, look, width, read_only=read_only)]
    return lines + (_ended(run, width, room) if stopped(run) else _under_way(run, width, room))


def _heading(run: Run, setting: Setting, look: Look, width: int, *, read_only: bool) -> Line:
    steps = len(run.plan.steps)
    at = min(run.progress.step + 1, steps)
    said = f"step {at} of {steps}"
    if stopped(run):
        said = f"DONE, {steps} of {steps} steps" if run.word == "done" else f"{run.word.upper()} at {said}"
    left = [Span("  "), Span(_KINDS[run.plan.kind], "muted", bold=True), *_versions(run.plan, setting, look, width)]
    left += [Span("   "), Span(said, _ROLES[run.word], bold=True), Span(_times(run, setting.now), "muted")]
    if not stopped(run):
        keys = [("A", "Abort")] if run.word == "running" and not read_only else []
    elif run.word == "interrupted" and not read_only:
        keys = [("r", "Resume"), ("esc", "Give up")]
    else:
        keys = [("esc", "Dismiss")]
    right = [span for key, what in keys for span in (Span(f"  {key}", "key"), Span(f" {what}", "muted"))]
    return spread(left, [*right, Span("  ")], width)


def _versions(plan: Plan, setting: Setting, look: Look, width: int) -> list[Span]:
    """From where to where; on a narrow screen only where to."""
    away, to = plan.from_version, plan.to_version
    if to is None:
        return [Span("  "), Span(away, setting.role(away))] if away is not None else []
    if away is None or width < WIDE:
        return [Span(" to ", "muted"), Span(to, setting.role(to))]
    arrow = Span(f" {look.glyphs.arrow} ", "muted")
    return [Span("  "), Span(away, setting.role(away)), arrow, Span(to, setting.role(to))]


def _times(run: Run, now: float) -> str:
    """Since when the step is under way, and when it gives up."""
    if stopped(run) or not run.progress.since:
        return ""
    left = run.until - now if run.until is not None else 0.0
    return f"  for {duration(now - run.progress.since)}" + (f", gives up in {time_left(left)}" if left > 0 else "")


def _under_way(run: Run, width: int, room: int) -> list[Line]:
    most = max(1, min(MOST_DOING, room - 1))  # the last is clipped: it has all that is left
    told = textwrap.wrap(run.doing, max(1, width - LABEL - 4)) or [""]
    told = [*told[: most - 1], *filter(None, [" ".join(told[most - 1 :])])]
    lines = [_labelled("" if number else "now", [Span(line)], width) for number, line in enumerate(told)]
    if run.next:
        lines.append(_labelled("next", [Span(run.next, "muted")], width))
    if run.by:
        lines.append(_labelled("by", [Span(run.by, "strong"), Span(": nothing is asked from here", "muted")], width))
    return lines


def _ended(run: Run, width: int, room: int) -> list[Line]:
    why = run.why or (run.doing if run.word == "done" else "")
    told = wrap(why, "text" if run.word == "done" else _ROLES[run.word], width - LABEL - 4)[:MOST_WHY] if why else []
    lines = [_labelled("", line, width) for line in told]
    left = max(2, room - len(lines))
    done, not_done = run.done, run.not_done
    if len(done) > 1 and len(done) + len(not_done) > left:
        done = (f"{len(done)} steps, the last: {done[-1]}",)
    lines += _listed("done", done, "muted", width)
    return lines + _listed("not done", _few(not_done, left - len(done)), "text", width)


def _few(items: Sequence[str], most: int) -> Sequence[str]:
    """The first of *items*, the rest counted, in at most *most* lines."""
    if len(items) <= most:
        return items
    kept = items[: max(1, most - 1)]
    return kept if len(kept) == len(items) or most < 2 else (*kept, f"and {len(items) - len(kept)} more")


def _listed(label: str, items: Sequence[str], role: Role, width: int) -> list[Line]:
    return [_labelled("" if index else label, [Span(item, role)], width) for index, item in enumerate(items)]


def _labelled(label: str, line: Line, width: int) -> Line:
    return clip_line([Span("  "), Span(fit(label, LABEL), "muted"), *line], width - 2)


def name_of(plan: Plan) -> str:
    """``rollback to v1.0.0``, for a sentence."""
    match plan.kind:
        case "drain":
            return f"drain of {plan.from_version}" if plan.from_version is not None else "drain"
        case "promote":
            return f"promotion of {plan.to_version}"
    return f"rollback to {plan.to_version}"


def abort_lines(run: Run, width: int) -> list[Line]:
    """What aborting means."""
    lines = wrap(
        "No further step begins. What was done stays done: workers that drain go on draining.", "text", width
    )
    if run.next:
        lines += [[], *wrap(f"It would go on with: {run.next}", "muted", width)]
    return lines


def give_up_lines(run: Run, width: int) -> list[Line]:
    """What giving an interrupted plan up means."""
    left = [line for item in run.not_done for line in wrap(item, "strong", width)]
    text = "What was done stays done, and it is not shown any more. It will not be done by this plan:"
    return [*wrap(text, "text", width), [], *left]


def resume_lines(run: Run, width: int) -> list[Line]:
    """What resuming means."""
    text = "It looks at every worker first and asks nothing a second time. Left to do:"
    left = [line for item in run.not_done for line in wrap(item, "strong", width)]
    return [*wrap(text, "text", width), [], *left]


class RolloutPanel(Lines):
    """The plan of this fleet, above the table; it takes no room while there is none."""

    DEFAULT_CSS = (
        "RolloutPanel { height: auto; display: none; margin-top: 1; } RolloutPanel.-shown { display: block; }"
    )

    def show_run(self, run: Run | None, setting: Setting, width: int, *, room: int, read_only: bool) -> None:
        """Show what is under way, or what came of it, on a screen of *width* cells."""
        self.set_class(run is not None, "-shown")
        self.show(
            run_lines(run, setting, self.look, width, room=room, read_only=read_only) if run is not None else []
        )
