"""What was done to a fleet: the operator's journal and the workers' audit events as one trail, joined by request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.widgets.paint import Line, Look, Span, fit
from openrtc_tui.widgets.words import NOT_AVAILABLE, day_and_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from openrtc_tui.widgets.palette import Role

JOURNAL: Final = "journal"
"""Where an event of this machine's operators stands; a worker's stands in the worker of that name."""

LATEST: Final = 1e11
"""No event is of a later time, Unix seconds."""
LABEL: Final = 14
MOST_RELATED: Final = 20

_FIRST: Final = ("event", "actor", "target", "result", "version", "reason", "detail", "op_id", "plan_id")
"""Fields in the order in which the whole event shows them; then come the others by name."""
_LAST: Final = ("seq", "prev")
_MOMENTS: Final = frozenset({"deadline", "started_at", "timestamp", "issued_at"})
_GOOD: Final = frozenset({"ok", "started", "done", "proven"})
_BAD: Final = frozenset({"refused", "failed", "cut", "violated", "lost", "error", "unreached", "unknown", "unproven"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it was written, and where: in the journal, or by a worker."""

    source: str
    fields: Mapping[str, Any]
    about: str = ""
    """The name of the worker that it is about, where it is known."""

    @property
    def at(self) -> float:
        """When, Unix seconds; 0 where the event does not tell."""
        at = self.fields.get("timestamp")
        # a worker may send any number
        return float(at) if isinstance(at, int | float) and 0 < at < LATEST else 0.0

    @property
    def identity(self) -> str:
        """The same for the same event however often it is read."""
        told = (self.fields.get(name, "") for name in ("boot_id", "seq", "timestamp", "event", "op_id"))
        return "|".join((self.source, *map(str, told)))

    def text(self, name: str) -> str:
        """A field as text; empty where there is none."""
        value = self.fields.get(name)
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Trail:
    """Everything that could be read, the oldest first. ``problems`` says what could not, one line each.

    ``gone`` counts workers that have exited and can be asked no more: what they told before stays in sight.
    """

    entries: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()
    gone: int = 0

    def and_then(self, later: Trail) -> Trail:
        """Both together, each event once: what a worker told stays after it has exited."""
        known = {entry.identity: entry for entry in (*self.entries, *later.entries)}
        return Trail(in_order(known.values()), later.problems, later.gone)


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """By time; at one instant what was asked stands before what a worker did about it."""
    return tuple(sorted(entries, key=lambda entry: (entry.at, entry.source != JOURNAL, entry.source)))


def matching(entries: Sequence[Entry], search: str) -> tuple[Entry, ...]:
    """The entries that have every word of *search* somewhere, in whatever case."""
    wanted = search.lower().split()
    if not wanted:
        return tuple(entries)
    return tuple(entry for entry in entries if all(word in _haystack(entry) for word in wanted))


def _haystack(entry: Entry) -> str:
    return " ".join((entry.source, entry.about, *(f"{name}={value}" for name, value in entry.fields.items()))).lower()


def cells(entry: Entry, look: Look, newest: float = math.inf) -> tuple[str, ...]:
    """One line of the table: time, who, event, of whom, result, request, what else it says.

    An event of a day before that of *newest* shows its day too.
    """
    return (
        _when(entry.at, look, newest),
        entry.text("actor"),
        entry.text("event"),
        entry.about or (entry.source if entry.source != JOURNAL else entry.text("target")),
        result_of(entry),
        entry.text("op_id")[:8],
        _what(entry, look),
    )


def _what(entry: Entry, look: Look) -> str:
    """What the event is about, in a few words: the action, the plan or the step, and why or how it went."""
    step = entry.fields.get("step")
    manifest = entry.text("manifest_seq")
    named = (
        entry.text("action") or entry.text("kind"),
        f"step {step + 1}" if isinstance(step, int) else "",
        f"manifest {manifest}" if manifest else "",
        entry.text("detail") or entry.text("why") or entry.text("reason"),
    )
    return f" {look.glyphs.dot} ".join(filter(None, named))


def _when(at: float, look: Look, newest: float) -> str:
    if not at:
        return NOT_AVAILABLE
    day = day_and_time(at, look.zone)
    return look.at(at) if newest == math.inf or day[:10] == day_and_time(newest, look.zone)[:10] else day[5:]


def result_of(entry: Entry) -> str:
    """What came of it, as far as this event tells."""
    return entry.text("outcome") or entry.text("result")


def result_role(entry: Entry) -> Role:
    """How the result is shown."""
    word = result_of(entry)
    return "good" if word in _GOOD else "bad" if word in _BAD else "muted"


def whole(entry: Entry, entries: Sequence[Entry], look: Look) -> list[Line]:
    """The whole event, and whatever else is known of the same request."""
    names = [name for name in _FIRST if entry.text(name)]
    names += sorted(name for name in entry.fields if name not in (*_FIRST, *_LAST, "timestamp") and entry.text(name))
    names += [name for name in _LAST if entry.text(name)]
    when = day_and_time(entry.at, look.zone) if entry.at else NOT_AVAILABLE
    where = "this machine's journal" if entry.source == JOURNAL else f"the audit of {entry.source}"
    lines: list[Line] = [_fact("when", when), _fact("written in", where)]
    lines += [_fact(name, _shown(name, entry, look)) for name in names]
    related = _related(entry, entries)
    if related:
        lines += [[], [Span("THE SAME REQUEST", "muted", bold=True)]]
        lines += [_brief(other, look, here=other is entry) for other in related]
    return lines


def _related(entry: Entry, entries: Sequence[Entry]) -> list[Entry]:
    op_id = entry.text("op_id")
    same = [other for other in entries if op_id and other.text("op_id") == op_id]
    return same[-MOST_RELATED:] if len(same) > 1 else []


def _fact(label: str, value: str) -> Line:
    return [Span(fit(label, LABEL), "muted"), Span(value)]


def _shown(name: str, entry: Entry, look: Look) -> str:
    value = entry.fields[name]
    if name in _MOMENTS and isinstance(value, int | float):
        return look.at(float(value))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return "  ".join(f"{key}={each}" for key, each in value.items())
    return str(value)


def _brief(entry: Entry, look: Look, *, here: bool) -> Line:
    role: Role = "strong" if here else "text"
    when, who, event, of, result, _, _ = cells(entry, look)
    return [
        Span(f"{when}  ", "muted"),
        Span(f"{event}  ", role),
        Span("  ".join(filter(None, (who, of))), "muted"),
        Span(f"  {result}", result_role(entry)),
    ]
