"""Spans of time as people write them: ``200ms``, ``90s``, ``5m``, ``1h``, or a bare number of seconds."""

from __future__ import annotations

import re
from typing import Final

DURATION_PATTERN: Final = r"[0-9]{1,9}(\.[0-9]{1,6})?(ms|s|m|h)?"
_MILLISECONDS: Final = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


def parse_duration(text: str) -> float:
    """Seconds written as *text*.

    Raises:
        ValueError: not a span of time; the message says what one looks like.
    """
    found = re.fullmatch(DURATION_PATTERN, text)
    if found is None:
        raise ValueError("a time such as 200ms, 90s, 5m, 1h or a number of seconds")
    unit = found[2] or "s"
    return float(text.removesuffix(found[2] or "")) * _MILLISECONDS[unit] / 1_000


def format_duration(seconds: float) -> str:
    """*seconds* in the largest unit that needs no fraction; :func:`parse_duration` reads it back."""
    milliseconds = round(seconds * 1_000)
    unit = next(unit for unit, size in _MILLISECONDS.items() if milliseconds % size == 0 and milliseconds >= size)
    return f"{milliseconds // _MILLISECONDS[unit]}{unit}"
