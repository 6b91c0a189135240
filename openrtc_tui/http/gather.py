"""Reading many streams in one go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openrtc_tui.http.wire import Wire


class Gather:
    """Wakes the readers of many wires together, so that a thousand streams do not cost a thousand wake-ups.

    What arrives in quiet times is read at once. What arrives within *pause* seconds after that waits until they are
    over, and is then read in a row, with the processor's caches warm.
    """

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._waiting: set[Wire] | None = None  # None in quiet times

    def wake(self, wire: Wire) -> None:
        """Wake the reader of *wire*, now or soon."""
        if self._waiting is not None:
            self._waiting.add(wire)
            return
        self._begin()
        wire.wake()

    def _begin(self) -> None:
        self._waiting = set()
        asyncio.get_running_loop().call_later(self._pause, self._end)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting:
            self._begin()
            for wire in waiting:
                wire.wake()
