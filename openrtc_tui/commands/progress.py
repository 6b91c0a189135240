"""What becomes of workers while somebody waits, one line for each change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_tui.commands.common import tell_event, verdict_text
from openrtc_tui.state.view import WorkerState
from openrtc_tui.widgets.words import count, time_left

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_tui.state.view import FleetView, WorkerRow

_ENDS = (WorkerState.DRAINED, WorkerState.EXITED, WorkerState.LOST)


class Progress:
    """Tells of every change in state or live calls of the rows that *concerns* picks."""

    def __init__(self, concerns: Callable[[WorkerRow], bool]) -> None:
        self._concerns = concerns
        self._told: dict[tuple[str, str | None], tuple[WorkerState, int | None, bool]] = {}

    def tell_changes(self, view: FleetView) -> None:
        """Print what is new since the last call."""
        for row in filter(self._concerns, view.rows):
            identity = (row.target, row.boot_id)
            now = (row.state, row.calls, row.settled)
            if self._told.get(identity) != now:
                self._told[identity] = now
                tell_event(view.at, f"{row.key}  {_words(row, view.at)}")

    def calls(self, view: FleetView) -> int:
        """Live calls of these rows, as far as they tell."""
        return sum(row.calls or 0 for row in filter(self._concerns, view.rows))


def _words(row: WorkerRow, now: float) -> str:
    words = str(row.state)
    if row.settled or row.state in _ENDS:
        return f"{words}  {verdict_text(row.verdict)}"
    words += f"  {count(row.calls, 'call')} left" if row.calls is not None else "  calls n/a"
    if row.deadline is not None and row.calls:
        words += f", cut in {time_left(row.deadline - now)}"
    return words
