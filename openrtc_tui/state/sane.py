"""Numbers that came over the network, made safe to reckon with: a worker may claim anything."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

MOST: Final = 1_000_000_000
"""The largest count that is taken at its word; no worker has more calls."""

LONGEST: Final = 10 * 365 * 86_400.0
"""The longest duration in seconds that is taken at its word."""

_DIGITS: Final = re.compile(r"([0-9]+)")


def natural(number: int | None) -> int:
    """A count between 0 and :data:`MOST`; what is missing counts as 0."""
    if number is None or number < 0:
        return 0
    return min(MOST, number)


def moment(number: float | None) -> float | None:
    """A point in time that can be reckoned with, or None."""
    return number if number is not None and -1e12 < number < 1e12 else None


def duration(number: float | None) -> float | None:
    """Seconds between 0 and :data:`LONGEST`, or None for anything else (NaN too)."""
    return number if number is not None and 0 <= number <= LONGEST else None


def fraction(number: float | None) -> float | None:
    """A finite number, or None."""
    return number if number is not None and abs(number) < 1e6 and not math.isnan(number) else None


@lru_cache(16_384)
def name_order(name: str) -> tuple[str | int, ...]:
    """Sorts names as people count: ``voice-a-2`` before ``voice-a-10``; upper and lower case together."""
    return tuple(int(part) if index % 2 else part for index, part in enumerate(_DIGITS.split(name.casefold())))
