"""What a confirmation says: from an intent to its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.intent import Intent, last_words
from openrtc_tui.widgets.paint import Line, Look, Span, spread, wrap
from openrtc_tui.widgets.words import count, duration, roughly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openrtc_tui.operations.request import Action

VERBS: Final[Mapping[Action, str]] = {"drain": "Drain", "cordon": "Cordon", "uncordon": "Uncordon"}

MOST_WORKERS: Final = 8
"""Workers named one by one; the rest is counted."""
MOST_TENANTS: Final = 4
MOST_REASONS: Final = 2
_SMALL: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def title_line(intent: Intent, width: int) -> list[Span]:
    """The question, and the version of what it is about."""
    verb = VERBS[intent.action]
    versions = {subject.version for subject in intent.subjects}
    if len(intent.subjects) == 1:
        question = f"{verb} {intent.subjects[0].key}?"
    elif intent.whole_version is not None:
        question = f"{verb} all {len(intent.subjects)} workers of {intent.whole_version}?"
    else:
        question = f"{verb} {len(intent.subjects)} workers?"
    told = intent.whole_version is not None and len(intent.subjects) > 1
    right = [Span(next(iter(versions)), "muted")] if len(versions) == 1 and not told else []
    return spread([Span(question, "strong")], right, width)


def fact_lines(intent: Intent, look: Look, width: int, most_workers: int = MOST_WORKERS) -> list[Line]:
    """What it would mean: calls, what happens to them, the deadline, the room that stays, who is left out.

    At most *most_workers* lines go to naming the workers one by one.
    """
    lines: list[Line] = [_calls(intent, f" {look.glyphs.dot} "), *wrap(_meaning(intent), "text", width)]
    if intent.action == "drain" and intent.deadline_seconds is not None and intent.calls:
        lines.append([Span(f"What is left in {roughly(intent.deadline_seconds)} is cut.")])
    if intent.action != "uncordon":
        lines.append(_room(intent))
    if words := last_words(intent):
        lines += wrap(words[0].upper() + words[1:] + ".", "bad", width)
    if len(intent.subjects) > 1:
        lines += [[], *_subjects(intent, width, max(1, most_workers))]
    return lines + _left_out(intent)


def _left_out(intent: Intent) -> list[Line]:
    """Who is not asked, by reason."""
    by_reason: dict[str, list[str]] = {}
    for refusal in intent.refusals:
        by_reason.setdefault(refusal.why, []).append(refusal.key)
    lines: list[Line] = []
    for why, keys in list(by_reason.items())[:MOST_REASONS]:
        who = keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
        lines.append([Span(f"Left out: {who} {why if len(keys) == 1 else why.replace('is ', 'are ', 1)}", "muted")])
    if more := sum(len(keys) for keys in list(by_reason.values())[MOST_REASONS:]):
        lines.append([Span(f"Left out: {more} more", "muted")])
    return lines


def _calls(intent: Intent, dot: str) -> Line:
    spans = [Span("" if intent.calls_known else "at least ", "muted")]
    spans.append(Span(str(intent.calls) if intent.calls else "No", "strong"))
    spans.append(Span(" calls live" if intent.calls > 1 else " call live"))
    if intent.calls and intent.oldest_seconds is not None:
        which = "for " if intent.calls == 1 else "the oldest for "
        spans.append(Span(f", {which}{duration(intent.oldest_seconds)}"))
    for tenant, calls in intent.tenants[:MOST_TENANTS]:
        spans.append(Span(f"{dot}{tenant} {calls}", "muted"))
    if len(intent.tenants) > MOST_TENANTS:
        spans.append(Span(f"{dot}{len(intent.tenants) - MOST_TENANTS} more", "muted"))
    return spans


def _meaning(intent: Intent) -> str:
    many = len(intent.subjects) > 1
    it, takes, lets = ("They", "take", "let") if many else ("It", "takes", "lets")
    if intent.action == "uncordon":
        return f"{it} {takes} new calls again."
    if intent.action == "cordon":
        return f"{it} {takes} no new call until uncordoned; live calls go on."
    if not intent.calls:
        return f"{it} {takes} no new call and {_end(intent, many=many)}."
    these = "this one" if intent.calls == 1 else f"these {_number(intent.calls)}"
    return f"{it} {takes} no new call, {lets} {these} finish, then {_end(intent, many=many)}."


def _end(intent: Intent, *, many: bool) -> str:
    """What becomes of drained workers: they exit, or idle on where the platform would start the same ones again."""
    staying = sum(subject.stays for subject in intent.subjects)
    if not staying:
        return "exit" if many else "exits"
    if staying == len(intent.subjects):
        stay, them = ("stay", "them") if many else ("stays", "it")
        return f"{stay} drained, idle, until the platform ends {them}"
    return f"exit; {_number(staying)} of them only when the platform ends {'it' if staying == 1 else 'them'}"


def _number(number: int) -> str:
    return _SMALL[number] if number < len(_SMALL) else str(number)


def _room(intent: Intent) -> Line:
    silent = (
        f", and {count(intent.silent_elsewhere, 'worker')} without a limit told" if intent.silent_elsewhere else ""
    )
    rooms = [(version or "untagged", room) for version, room in intent.room if room > 0]
    if not rooms and not intent.silent_elsewhere:
        return [Span("Room for new calls elsewhere: none", "warning")]
    told = ", ".join(f"{room} on {version}" for version, room in rooms) or "none told"
    short = intent.room_elsewhere < intent.calls and not intent.silent_elsewhere
    return [Span("Room for new calls elsewhere: "), Span(told + silent, "warning" if short else "text")]


def _subjects(intent: Intent, width: int, most: int) -> list[Line]:
    shown = intent.subjects if len(intent.subjects) <= most else intent.subjects[: most - 1]
    same = len({subject.version for subject in intent.subjects}) == 1
    lines: list[Line] = []
    for subject in shown:
        calls = "n/a calls" if subject.calls is None else count(subject.calls, "call")
        right = [Span(f"{'' if same else subject.version + '  '}{calls:>9}", "muted")]
        lines.append(spread([Span(subject.key, "strong", bold=False)], right, width))
    if rest := intent.subjects[len(shown) :]:
        calls = count(sum(subject.calls or 0 for subject in rest), "call")
        lines.append(spread([Span(f"and {len(rest)} more", "muted")], [Span(calls, "muted")], width))
    lines.append([Span("Four at a time; the first that gets no yes stops the rest.", "muted")])
    return lines
