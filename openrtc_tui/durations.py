"""Spans of time as people write them: ``200ms``, ``90s``, ``5m``, ``1h``, or a bare number of seconds."""

from __future__ import annotations

import math
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


# -- for people to read: short, never more exact than they are -----------------------------------------------------

NOT_AVAILABLE = "n/a"
"""Shown for what a worker did not tell; never a zero."""


def duration(seconds: float) -> str:
    """``42s``, ``3m51s``, ``1h02m``, ``2d03h``; what is negative counts as zero, what is no time is *n/a*."""
    if not math.isfinite(seconds):  # a worker may send any number
        return NOT_AVAILABLE
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def spaced(seconds: float) -> str:
    """``4m 12s`` for running text; see :func:`duration`."""
    text = duration(seconds)
    for unit in ("d", "h", "m"):
        head, sign, tail = text.partition(unit)
        if sign and tail:
            return f"{head}{unit} {tail}"
    return text


def roughly(seconds: float) -> str:
    """A duration for a sentence, without a part that is zero: ``1h``, ``51m``, ``1h 30m``."""
    return spaced(seconds).removesuffix(" 00s").removesuffix(" 00m").removesuffix(" 00h")
