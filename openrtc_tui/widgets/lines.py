"""The lines around the table, made from a view: header, where the calls are, versions, verdict, events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_tui.state.verdict import range_text
from openrtc_tui.state.view import FleetView, VerdictWord, VersionLine, WorkerState
from openrtc_tui.widgets.paint import Line, Look, Span, clip_line, fit, join, spread, width_of
from openrtc_tui.widgets.rows import SEVERITY_ROLES, VERDICT_ROLES, Setting
from openrtc_tui.widgets.words import NOT_AVAILABLE, count, spaced, time_left, verdict_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openrtc_tui.widgets.palette import Role

WIDE: Final = 100
"""From this width on the lines say what they say in full."""

MOST_VERSIONS: Final = 4
INDENT: Final = Span("  ")


@dataclass(frozen=True, slots=True)
class Watching:
    """How this fleet is watched, beside what is seen of it."""

    beat: float = 1.0
    operator: str | None = None
    read_only: bool = False
    trouble: str = ""
    """Why the edited fleet file was not taken over; empty when all is well."""


def header_line(view: FleetView, watching: Watching, look: Look, width: int) -> list[Span]:
    """Fleet, rollout and its age; at the right whether all workers are heard, the beat, the operator, RW or [RO]."""
    wide = width >= WIDE
    left = [Span(" "), Span(view.fleet, "strong")]
    if (rollout := view.rollout) is not None:
        left += [
            Span("  rollout  ", "muted"),
            Span(rollout.from_version, "leaving"),
            Span(f" {look.glyphs.arrow} ", "muted"),
            Span(rollout.to_version, "taking"),
        ]
        if rollout.started_at is not None:
            lasted = spaced(view.at - rollout.started_at)
            left.append(Span(f"  since {look.at(rollout.started_at)} ({lasted})" if wide else f"  {lasted}", "muted"))
    right = [*_health(view, watching, look)]
    if wide:
        right.append(Span(f"  {watching.beat:.1f}s", "muted"))
        if watching.operator:
            right.append(Span(f"  {watching.operator}", "muted"))
    right.append(Span("  [RO] ", "strong") if watching.read_only else Span("  RW ", "muted"))
    return spread(left, right, width)


def _health(view: FleetView, watching: Watching, look: Look) -> list[Span]:
    if watching.trouble:
        return [Span(f"{look.glyphs.alert} fleet file: last good one holds", "warning")]
    if not view.targets:
        return [Span("no workers", "muted")]
    if view.heard < view.targets:
        return [Span(f"{look.glyphs.alert} {view.heard} of {view.targets} heard", "warning")]
    return [Span(f"{look.glyphs.live} live", "good", bold=False)]


def split_line(view: FleetView, look: Look, width: int) -> list[Span]:
    """One line across: where the calls are, the old version's share at the left. Quiet while there are none."""
    room = max(0, width - 2 * len(INDENT.text))
    shares = [(line.calls, _role(line, view)) for line in _ordered(view) if line.calls > 0]
    total = sum(calls for calls, _ in shares)
    if not total:
        return [INDENT, Span(look.glyphs.new_line * room, "muted")]
    # without colours the two sides differ in weight
    new_line = look.glyphs.thin_line if look.palette.plain else look.glyphs.new_line
    spans, drawn, summed = [INDENT], 0, 0
    for later, (calls, role) in zip(reversed(range(len(shares))), shares, strict=True):
        summed += calls
        # who has a call has at least one cell of the line, those that come later too
        end = max(drawn + 1, min(room - later, round(room * summed / total)))
        sign = look.glyphs.old_line if role == "leaving" else new_line
        spans.append(Span(sign * (end - drawn), role))
        drawn = end
    return clip_line(spans, room + len(INDENT.text))


def version_lines(view: FleetView, look: Look, width: int) -> list[Line]:
    """A line for each version, the two of the rollout first; at least two lines, so that nothing moves later."""
    ordered = _ordered(view)
    shown = ordered if len(ordered) <= MOST_VERSIONS else ordered[: MOST_VERSIONS - 1]
    names = max((min(20, len(_name(line))) for line in shown), default=0)
    counts = max((len(_calls(line, view)) for line in shown), default=0)
    calls = 5 if width >= WIDE else max(3, 1 + counts)  # a narrow screen has no room for more than is needed
    lines: list[Line] = [_version_line(line, view, look, width, (names, calls)) for line in shown]
    if len(shown) < len(ordered):
        rest = ordered[len(shown) :]
        said = f"and {count(len(rest), 'more version')} with {count(sum(line.calls for line in rest), 'call')}"
        lines.append([INDENT, Span(said, "muted")])
    return lines + [[]] * (2 - len(lines))


def _version_line(line: VersionLine, view: FleetView, look: Look, width: int, widths: tuple[int, int]) -> list[Span]:
    """The line of one version; *widths* are those of the names and of the calls."""
    wide = width >= WIDE
    role = _role(line, view)
    unknown = _is_unknown(line, view)
    names, calls = widths
    spans = [
        INDENT,
        Span(fit(_name(line), names, look.glyphs.ellipsis), role, bold=True),
        Span(f" {line.role or '':<7}", "muted"),
        Span(f"{_calls(line, view):>{calls}}", "muted" if unknown else "strong"),
        Span(" call  " if line.calls == 1 else " calls ", "muted"),
        Span(look.glyphs.spark(line.trend, 10 if wide else 6), "muted" if role == "text" else role, bold=False),
    ]
    facts = _facts(line, view, look, wide)
    if wide:
        workers = "no worker heard" if unknown else count(line.workers, "worker")
        states = f" {look.glyphs.dot} ".join([workers, *_states(line.by_state)])
        room = 34 if width < 140 else 50
        spans += [Span("   "), Span(fit(states, room, look.glyphs.ellipsis), "muted")]
    return [*spans, Span("  "), *join(facts, "   " if wide else "  ")]


def _is_unknown(line: VersionLine, view: FleetView) -> bool:
    """Whether its workers may be among those that nobody heard."""
    return not line.workers and bool(never_heard(view))


def _calls(line: VersionLine, view: FleetView) -> str:
    return NOT_AVAILABLE if _is_unknown(line, view) else str(line.calls)


def never_heard(view: FleetView) -> tuple[str, ...]:
    """The targets that told nothing yet, in the order of the rows: their version and their calls are unknown."""
    return tuple(row.key for row in view.rows if row.snapshot is None and not row.closed)


def _states(by_state: Sequence[tuple[WorkerState, int]]) -> list[str]:
    return [f"{number} {state}" for state, number in by_state if number]


def _facts(line: VersionLine, view: FleetView, look: Look, wide: bool) -> list[Line]:
    """What is left to say of a version: when it is cut and last took a call, or for how many more it has room."""
    facts: list[Line] = []
    if line.role == "leaving" and line.calls == 0:
        unheard = len(never_heard(view))  # any of them may hold calls of this version
        facts.append([Span(f"{unheard} not heard", "warning")] if unheard else [Span("empty", "text")])
    elif line.deadline is not None:
        left = line.deadline - view.at
        facts.append([Span("cut in " if left > 0 else "cut ", "muted"), Span(time_left(left), "strong", bold=False)])
    if line.role == "leaving" and line.last_started_at is not None:
        said = "last new call " if wide else "last new "
        facts.append([Span(said, "muted"), Span(look.at(line.last_started_at), "strong", bold=False)])
    if line.role != "leaving" and line.room is not None:
        facts.append([Span("room for ", "muted"), Span(str(line.room), "strong", bold=False), Span(" more", "muted")])
    return facts


def _ordered(view: FleetView) -> list[VersionLine]:
    rank: Mapping[str | None, int] = {"leaving": 0, "taking": 1}
    return sorted(view.versions, key=lambda line: rank.get(line.role, 2))


def _role(line: VersionLine, view: FleetView) -> Role:
    return Setting.of(view).role(line.version)


def _name(line: VersionLine) -> str:
    return line.version if line.version is not None else "untagged"


def verdict_line(view: FleetView, width: int) -> list[Span]:
    """Dropped calls as a range, the word, the reason, and that nobody asked LiveKit about the callers."""
    verdict = view.verdict
    role = VERDICT_ROLES[verdict.word]
    left = [
        INDENT,
        Span(f"dropped {range_text(verdict)}", role, bold=True),
        Span("  "),
        Span(verdict_word(verdict), "muted" if verdict.word is VerdictWord.OPEN else role),
    ]
    if view.verdict_reason:
        left += [Span("   " if width >= WIDE else "  "), Span(view.verdict_reason, "muted")]
    right = [Span("callers not witnessed", "muted"), INDENT]
    # on a narrow screen the reason comes first; a proof never goes without saying what it does not cover
    if width_of(left) + width_of(right) + 2 > width and verdict.word is not VerdictWord.PROVEN:
        return clip_line(left, width - 1)
    return spread(left, right, width)


def event_lines(view: FleetView, look: Look, room: int) -> list[Line]:
    """The last *room* events, the newest at the bottom; what is missing is left blank above them."""
    shown = view.events[-room:] if room > 0 else ()
    lines: list[Line] = [
        [
            INDENT,
            Span(look.at(event.at), "muted"),
            Span("  "),
            Span(event.text, "text" if event.severity == "info" else SEVERITY_ROLES[event.severity], bold=False),
            *([Span("  "), Span(event.detail, "muted")] if event.detail else []),
        ]
        for event in shown
    ]
    return [[]] * (room - len(lines)) + lines
