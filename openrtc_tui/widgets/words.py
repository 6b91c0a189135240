"""Numbers and times as people read them: short, of steady width, never more exact than they are."""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import lru_cache

from openrtc_tui.durations import NOT_AVAILABLE, duration, roughly, spaced
from openrtc_tui.state.view import Verdict, VerdictWord

__all__ = [
    "NOT_AVAILABLE", "age", "clock_time", "count", "day_and_time", "duration", "roughly", "spaced", "time_left",
    "verdict_word",
]  # fmt: skip


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


@lru_cache(1024)
def clock_time(at: float, zone: tzinfo | None) -> str:
    """Unix seconds as ``14:02:31`` in *zone* (None: the local one)."""
    try:
        return datetime.fromtimestamp(at, zone).strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):  # a worker may send any number
        return NOT_AVAILABLE


def day_and_time(at: float, zone: tzinfo | None) -> str:
    """Unix seconds as ``2026-03-03 14:02:31`` in *zone* (None: the local one)."""
    try:
        return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):  # a worker may send any number
        return NOT_AVAILABLE


def count(number: int, noun: str) -> str:
    """``1 call``, ``2 calls``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def verdict_word(verdict: Verdict) -> str:
    """The word behind the range: ``so far`` while it is open, else ``PROVEN``, ``UNPROVEN`` or ``VIOLATED``."""
    return "so far" if verdict.word is VerdictWord.OPEN else verdict.word.upper()
