"""Numbers and times as people read them: short, of steady width, never more exact than they are."""

from __future__ import annotations

import math
from datetime import datetime, tzinfo
from functools import lru_cache

from openrtc_tui.state.view import Verdict, VerdictWord

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


def time_left(seconds: float) -> str:
    """A duration that runs down, in minutes while there are more than ten: it changes only when it matters."""
    if 600 <= seconds < 3600:
        return f"{int(seconds) // 60}m"
    return "now" if seconds <= 0 else duration(seconds)


def age(seconds: float) -> str:
    """How long ago, in at most four cells: ``0s``, ``41s``, ``12m``, ``5h``, ``3d``. Whole seconds stay calm."""
    whole = max(0, int(seconds))
    for size, unit, limit in ((1, "s", 100), (60, "m", 6000), (3600, "h", 172_800)):
        if whole < limit:
            return f"{whole // size}{unit}"
    return f"{whole // 86400}d"


def spaced(seconds: float) -> str:
    """``4m 12s`` for running text; see :func:`duration`."""
    text = duration(seconds)
    for unit in ("d", "h", "m"):
        head, sign, tail = text.partition(unit)
        if sign and tail:
            return f"{head}{unit} {tail}"
    return text


@lru_cache(1024)
def clock_time(at: float, zone: tzinfo | None) -> str:
    """Unix seconds as ``14:02:31`` in *zone* (None: the local one)."""
    try:
        return datetime.fromtimestamp(at, zone).strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):  # a worker may send any number
        return NOT_AVAILABLE


def roughly(seconds: float) -> str:
    """A duration for a sentence, without a part that is zero: ``1h``, ``51m``, ``1h 30m``."""
    return spaced(seconds).removesuffix(" 00s").removesuffix(" 00m").removesuffix(" 00h")


def count(number: int, noun: str) -> str:
    """``1 call``, ``2 calls``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def verdict_word(verdict: Verdict) -> str:
    """The word behind the range: ``so far`` while it is open, else ``PROVEN``, ``UNPROVEN`` or ``VIOLATED``."""
    return "so far" if verdict.word is VerdictWord.OPEN else verdict.word.upper()
