"""The one queue between the sources and the store."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from openrtc_tui.state.observation import ContactFailed
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_tui.state.observation import Observation

MOST_WAITING: Final = 1_000
"""Observations that wait at most, should nobody look for long."""

logger = logging.getLogger("openrtc.sources")


class Inbox:
    """Observations wait here, with the time when they came, until somebody looks at the fleet.

    A thousand workers send one every 2 ms. Folded one by one, each finds the processor's caches cold and costs a
    multiple of what it costs in a row with others.

    Args:
        fold: takes one observation and the time when it was made, in Unix seconds.
        clock: Unix seconds.
    """

    def __init__(self, fold: Callable[[Observation, float], None], clock: Callable[[], float]) -> None:
        self._fold = fold
        self._clock = clock
        self._waiting: list[tuple[Observation, float]] = []

    def put(self, seen: Observation) -> None:
        """Let *seen* wait."""
        self._waiting.append((seen, self._clock()))
        if len(self._waiting) >= MOST_WAITING:
            self.empty()

    def empty(self) -> None:
        """Fold everything that waits, in its order. What cannot be folded is logged and told as a fault of ours."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for seen, at in waiting:
                try:
                    self._fold(seen, at)
                except Exception as error:  # one worker's news must not hide the others
                    logger.exception("an observation could not be folded")
                    self._tell(seen, at, error)

    def _tell(self, seen: Observation, at: float, error: Exception) -> None:
        key = getattr(seen, "key", None)
        if isinstance(key, str) and not isinstance(seen, ContactFailed):
            fault = printable(f"fault in the dashboard: {type(error).__name__}: {error}")
            self._fold(ContactFailed(key, "garbage", fault), at)
