"""What was asked, the answer, and the effect that is seen since: it stays until it is dismissed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from openrtc_tui.state.verdict import range_text
from openrtc_tui.state.view import FleetView, WorkerRow, WorkerState
from openrtc_tui.widgets.paint import Line, Lines, Look, Span, fit, spread
from openrtc_tui.widgets.rows import VERDICT_ROLES
from openrtc_tui.widgets.words import count, time_left, verdict_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openrtc_tui.widgets.palette import Role

Outcome = Literal[
    "waiting", "asking", "started", "already", "refused", "unreached", "unknown", "not asked", "not started"
]
MOST_LINES: Final = 6
"""Lines of results in sight; of more, the ones that need a look come first."""

_ROLES: Final[Mapping[Outcome, Role]] = {
    "waiting": "muted",
    "asking": "muted",
    "started": "good",
    "already": "text",
    "refused": "bad",
    "unreached": "bad",
    "unknown": "warning",
    "not asked": "warning",
    "not started": "muted",
}
_BEFORE: Final[Mapping[str, frozenset[WorkerState]]] = {
    "drain": frozenset({WorkerState.SERVING, WorkerState.GATED, WorkerState.CORDONED}),
    "cordon": frozenset({WorkerState.SERVING, WorkerState.GATED}),
    "uncordon": frozenset({WorkerState.CORDONED}),
}
"""States in which a worker does not show yet what was asked of it."""

_RANK: Final[Mapping[Outcome, int]] = {
    "refused": 0,
    "unreached": 0,
    "unknown": 1,
    "asking": 2,
    "not asked": 3,
    "waiting": 4,
}


@dataclass(frozen=True, slots=True)
class Result:
    """One request to one worker. ``calls`` were live on it when it was asked."""

    number: int
    key: str
    action: str
    outcome: Outcome = "waiting"
    detail: str = ""
    boot_id: str | None = None
    op_id: str | None = None
    calls: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing is under way for it any more."""
        return self.outcome not in ("waiting", "asking")


class ResultLog:
    """The results in sight, oldest first."""

    def __init__(self) -> None:
        self._results: dict[int, Result] = {}
        self._last = 0

    @property
    def results(self) -> tuple[Result, ...]:
        """All that were not dismissed."""
        return tuple(self._results.values())

    def add(
        self,
        row: WorkerRow | None,
        key: str,
        action: str,
        *,
        outcome: Outcome = "waiting",
        detail: str = "",
        boot_id: str | None = None,
        op_id: str | None = None,
    ) -> int:
        """A new result about the worker *key*, as *row* shows it now; its number changes it later."""
        self._last += 1
        calls = (row.calls or 0) if row is not None else 0
        self._results[self._last] = Result(
            self._last, key, action, outcome, detail, boot_id=boot_id, op_id=op_id, calls=calls
        )
        return self._last

    def change(self, number: int, outcome: Outcome, detail: str) -> None:
        """What came of it since."""
        self._results[number] = replace(self._results[number], outcome=outcome, detail=detail)

    def resolve(self, view: FleetView) -> None:
        """An answer that was lost is known after all when the worker's own report names the request."""
        for result in self.results:
            if result.outcome != "unknown" or result.op_id is None:
                continue
            row = view.row(result.key)
            drain = row.snapshot.drain if row is not None and row.snapshot is not None else None
            if drain is not None and drain.op_id == result.op_id:
                self.change(result.number, "started", "the answer was lost; its report names this request")

    def cancelled(self, subject: str, action: str) -> None:
        """The operator left the confirmation of *action*: one line says so, however often that happens."""
        self.begun()
        self.add(None, subject, action, outcome="not started")

    def begun(self) -> None:
        """Something was started after all: that an earlier one was not is no news any more."""
        self._results = {key: found for key, found in self._results.items() if found.outcome != "not started"}

    def dismiss(self) -> None:
        """Drop all but those that are still under way."""
        self._results = {number: result for number, result in self._results.items() if not result.over}


def result_lines(results: Sequence[Result], view: FleetView, look: Look, width: int) -> list[Line]:
    """A heading and a line for each result; nothing at all without results."""
    if not results:
        return []
    shown = list(results)
    if len(shown) > MOST_LINES:
        # what needs a look stays, and of the rest the newest
        ranked = sorted(shown, key=lambda result: (_RANK.get(result.outcome, 9), -result.number))
        shown = sorted(ranked[: MOST_LINES - 1], key=lambda result: result.number)
    names = min(32, max(len(_asked(result)) for result in shown))
    lines: list[Line] = [
        spread([Span("  ASKED", "muted")], [Span("esc", "key"), Span(" Dismiss  ", "muted")], width),
        *(_line(result, view, look, names, taken_back=_taken_back(result, results)) for result in shown),
    ]
    if rest := len(results) - len(shown):
        lines.append([Span(f"  and {rest} more that need no look", "muted")])
    return lines


def _asked(result: Result) -> str:
    return f"{result.action} {result.key}"


def _taken_back(result: Result, results: Sequence[Result]) -> bool:
    """Whether the opposite was asked of the worker later, and done."""
    opposite = {"cordon": "uncordon", "uncordon": "cordon"}.get(result.action)
    return any(
        other.key == result.key
        and other.number > result.number
        and other.action == opposite
        and other.outcome in ("started", "already")
        for other in results
    )


def _line(result: Result, view: FleetView, look: Look, names: int, *, taken_back: bool) -> Line:
    asked = fit(_asked(result), names, look.glyphs.ellipsis)
    effect = [Span("taken back since", "muted")] if taken_back else _effect(result, view)
    # a drain goes on for long; the others are done with the answer
    outcome = "done" if result.outcome == "started" and result.action != "drain" else result.outcome
    # what is seen says more than the worker's "started"
    detail = "" if effect and result.outcome == "started" else result.detail
    return [
        Span(f"  {asked}  "),
        Span(f"{outcome:<11}", _ROLES[result.outcome], bold=True),
        *effect,
        *([Span(("  " if effect else "") + detail, "muted" if effect else "text")] if detail else []),
    ]


def _effect(result: Result, view: FleetView) -> list[Span]:
    """What has become of the worker since, as observed and not as answered."""
    if result.outcome in ("waiting", "refused", "unreached", "not asked", "not started"):
        return []
    row = view.row(result.key)
    if row is None or row.boot_id is None:
        return []
    if result.boot_id is not None and row.boot_id != result.boot_id:
        return [Span("since restarted", "warning")]
    if row.state in (WorkerState.DRAINED, WorkerState.EXITED):
        verdict = f"dropped {range_text(row.verdict)} {verdict_word(row.verdict)}"
        return [Span(f"{row.state}, ", "muted"), Span(verdict, VERDICT_ROLES[row.verdict.word])]
    return [Span(_progress(row, result, view), "text")]


def _progress(row: WorkerRow, result: Result, view: FleetView) -> str:
    if row.state in _BEFORE.get(result.action, ()):
        return f"still {row.state}"
    if row.state is WorkerState.SERVING and row.accepting:
        return "takes calls"
    said = str(row.state)
    if row.calls is not None and row.state is WorkerState.DRAINING:
        said += f", {row.calls} of {count(max(result.calls, row.calls), 'call')} live"
        if row.deadline is not None:
            said += f", cut in {time_left(row.deadline - view.at)}"
    return said


class ResultsPanel(Lines):
    """The results, above the event lines; it takes no room while there are none."""

    DEFAULT_CSS = (
        "ResultsPanel { height: auto; display: none; margin-top: 1; } ResultsPanel.-shown { display: block; }"
    )

    def show_results(self, results: Sequence[Result], view: FleetView, width: int) -> None:
        """Show these results against what is seen now, on a screen of *width* cells."""
        self.set_class(bool(results), "-shown")
        self.show(result_lines(results, view, self.look, width))
