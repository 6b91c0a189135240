"""The one clock of a worker boot: wall time that never goes back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class AnchoredClock:
    """Unix seconds: the wall time at the start, plus what the monotonic clock counted since.

    A clock that somebody sets back would make deadlines late and ages negative; this one cannot be set.
    """

    def __init__(
        self, *, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._anchor = wall() - monotonic()

    def __call__(self) -> float:
        return self._anchor + self._monotonic()
