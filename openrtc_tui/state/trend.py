"""How a number went over time, at even steps: what the small curves are drawn from."""

from __future__ import annotations

from collections import deque
from typing import Final

STEP: Final = 10.0
"""Seconds that one value stands for."""

KEPT: Final = 24
"""Values kept: four minutes."""


class Trend:
    """The last value of each step, oldest first; a step in which nothing was said repeats the one before.

    The steps begin with the first value, so that many curves do not all move in the same instant.
    """

    __slots__ = ("_origin", "_step", "_tuple", "_values")

    def __init__(self) -> None:
        self._values: deque[int] = deque(maxlen=KEPT)
        self._origin = 0.0
        self._step = 0
        self._tuple: tuple[int, ...] | None = ()

    def record(self, value: int, now: float) -> None:
        """The number is *value* at *now* (seconds, never earlier than the call before)."""
        values = self._values
        if not values:
            self._origin = now
            values.append(value)
            self._tuple = None
            return
        self._fill(now)
        if values[-1] != value:
            values[-1] = value
            self._tuple = None

    def values(self, now: float) -> tuple[int, ...]:
        """The values up to the step of *now*; the same object as long as nothing changed."""
        if self._values and now >= self._origin + (self._step + 1) * STEP:
            self._fill(now)
        if self._tuple is None:
            self._tuple = tuple(self._values)
        return self._tuple

    def _fill(self, now: float) -> None:
        step = int((now - self._origin) // STEP)
        missing = min(step - self._step, KEPT)
        if missing > 0:
            self._values.extend([self._values[-1]] * missing)
            self._step = step
            self._tuple = None
