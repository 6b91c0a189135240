"""The event lines: what happened in the fleet, newest last, one line per thing that happened.

The same thing happening to many workers within two seconds is one line: ``alice drained voice-a-2 … voice-a-5``.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from openrtc_tui.state import sane
from openrtc_tui.state.view import EventLine, Severity

KEPT_LINES: Final = 200

MERGED_WITHIN: Final = 2.0
"""Seconds after the last thing of a kind within which the next one joins its line."""

LONGEST_LINE: Final = 10.0
"""Seconds that one line may stand for in all."""

NAMED_WITHIN: Final = 3.0
"""Seconds within which a line may still learn who was behind it."""


class Slot(Enum):
    """What is filled into a phrase when its line is written."""

    NAMES = "names"
    """The workers: ``voice-a-2``, ``voice-a-2, voice-a-3`` or ``voice-a-2 … voice-a-5``."""
    CALLS = "calls"
    """``1 call``, ``6 calls``; of all workers of the line together."""


@dataclass(frozen=True, slots=True)
class Verb:
    """Words that differ where a line names one worker or ``many``."""

    one: str
    many: str


@dataclass(frozen=True, slots=True)
class Phrase:
    """What a line says. Equal phrases merge. ``kind`` is the thing that happened, whoever did it."""

    kind: str
    parts: tuple[str | Slot | Verb, ...]
    severity: Severity = "info"
    detail: str = ""
    counts_calls: bool = True
    """Whether the line's detail tells the calls concerned (where the text does not)."""


@dataclass(slots=True, eq=False)
class _Line:
    phrase: Phrase
    at: float
    last: float
    calls: dict[str, int] = field(default_factory=dict)  # by key of the worker
    written: EventLine | None = None


class EventLog:
    """Collects what happened. Times are ours, in seconds."""

    def __init__(self) -> None:
        self._lines: deque[_Line | EventLine] = deque(maxlen=KEPT_LINES)
        self._joinable: dict[Phrase, _Line] = {}
        self._lasts: dict[tuple[str, str], _Line] = {}
        self._forget_at = 0.0
        self._tuple: tuple[EventLine, ...] | None = ()

    def say(self, phrase: Phrase, key: str, now: float, calls: int = 0) -> None:
        """*phrase* happened to the worker *key*, with that many calls concerned."""
        line = self._joinable.get(phrase)
        if line is None or now - line.last > MERGED_WITHIN or now - line.at > LONGEST_LINE:
            line = _Line(phrase, now, now)
            self._lines.append(line)
            self._joinable[phrase] = line
        line.last = now
        line.calls[key] = line.calls.get(key, 0) + calls
        line.written = self._tuple = None
        self._lasts[phrase.kind, key] = line
        if now >= self._forget_at:
            self._forget(now)

    def attribute(self, phrase: Phrase, key: str, now: float) -> None:
        """Like :meth:`say`, by somebody who knows more: replaces the line of that kind said just now."""
        line = self._lasts.get((phrase.kind, key))
        if line is not None and now - line.last <= NAMED_WITHIN and line.phrase != phrase and key in line.calls:
            calls = line.calls.pop(key)
            line.written = self._tuple = None
            if not line.calls:
                self._drop(line)
            self.say(phrase, key, now, calls)
        elif not self.said(phrase.kind, key, now):
            self.say(phrase, key, now)

    def said(self, kind: str, key: str, now: float) -> bool:
        """Whether something of that kind was said of the worker just now."""
        line = self._lasts.get((kind, key))
        return line is not None and now - line.last <= NAMED_WITHIN and key in line.calls

    def note(self, line: EventLine) -> None:
        """A line as it is."""
        self._lines.append(line)
        self._tuple = None

    def lines(self) -> tuple[EventLine, ...]:
        """All lines kept, newest last; the same object while nothing was said."""
        if self._tuple is None:
            self._tuple = tuple(
                line if isinstance(line, EventLine) else line.written or _write(line) for line in self._lines
            )
        return self._tuple

    def _drop(self, line: _Line) -> None:
        self._joinable.pop(line.phrase, None)
        with suppress(ValueError):  # so much happened meanwhile that it is gone already
            self._lines.remove(line)

    def _forget(self, now: float) -> None:
        """Drop the memory of lines that nothing can join any more, now and then."""
        self._joinable = {key: line for key, line in self._joinable.items() if now - line.last <= MERGED_WITHIN}
        self._lasts = {key: line for key, line in self._lasts.items() if now - line.last <= NAMED_WITHIN}
        self._forget_at = now + NAMED_WITHIN


def calls_text(number: int) -> str:
    """``1 call``, ``6 calls``."""
    return "1 call" if number == 1 else f"{number} calls"


def names_text(keys: list[str]) -> str:
    """The workers of a line, in the order of their names, never more than two of them in words."""
    ordered = sorted(keys, key=sane.name_order)
    return ", ".join(ordered) if len(ordered) < 3 else f"{ordered[0]} … {ordered[-1]}"


def _write(line: _Line) -> EventLine:
    phrase = line.phrase
    keys = list(line.calls)
    calls = sum(line.calls.values())
    text = "".join(_words(part, keys, calls) for part in phrase.parts)
    details = [f"{len(keys)} workers"] if len(keys) > 2 else []
    if phrase.counts_calls and calls:
        details.append(calls_text(calls))
    if phrase.detail:
        details.append(phrase.detail)
    line.written = EventLine(
        at=line.at,
        text=text,
        detail=" · ".join(details),
        severity=phrase.severity,
        key=keys[0] if len(keys) == 1 else None,
    )
    return line.written


def _words(part: str | Slot | Verb, keys: list[str], calls: int) -> str:
    match part:
        case Slot.NAMES:
            return names_text(keys)
        case Slot.CALLS:
            return calls_text(calls)
        case Verb():
            return part.many if len(keys) > 1 else part.one
        case _:
            return part
