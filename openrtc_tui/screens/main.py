"""The main screen: the whole fleet at a glance, and the keys that act on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual import events, on
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from openrtc_tui.screens.wanted import (
    AbortWanted,
    ActionWanted,
    AuditWanted,
    DetailsWanted,
    HelpWanted,
    ResultsDismissed,
    ResumeWanted,
    RolloutWanted,
    RunDismissed,
)
from openrtc_tui.state.rows import SORT_KEYS, SortKey, filter_rows, sort_rows
from openrtc_tui.state.view import FleetView, WorkerState
from openrtc_tui.widgets.filter import FilterInput, FilterLine, Shown
from openrtc_tui.widgets.keys import KeyLine
from openrtc_tui.widgets.lines import Watching, event_lines, header_line, split_line, verdict_line, version_lines
from openrtc_tui.widgets.paint import Lines, Look
from openrtc_tui.widgets.results import Result, ResultsPanel
from openrtc_tui.widgets.rollout import RolloutPanel, stopped
from openrtc_tui.widgets.rows import Setting
from openrtc_tui.widgets.table import FleetTable, head_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from openrtc_tui.operations.plans.plan import Run

TALL: Final = 30
"""Lines from which on a screen has room to spare."""

_ACTING: Final = frozenset(
    {"drain", "drain_version", "cordon", "uncordon", "mark", "mark_all", "rollback", "promote", "abort", "resume"}
)
_RUN_WORDS: Final = {"abort": "running", "resume": "interrupted"}
_NEEDS_ROW: Final = frozenset({"drain", "drain_version", "cordon", "details", "mark", "mark_all"})


class HeaderLine(Lines):
    """The first line of the screen."""

    ground = "bar"


class MainScreen(Screen[None]):
    """Knows the latest view and how it is to be shown; asks for everything else by message."""

    AUTO_FOCUS = "FleetTable"
    ALLOW_SELECT = False

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "drain", "Drain", id="drain", tooltip="Drain this worker, or all that are marked"),
        Binding("c", "cordon", "Cordon", id="cordon", tooltip="Cordon: take no new calls, until uncordoned"),
        Binding("c", "uncordon", "Uncordon", id="uncordon", tooltip="Uncordon: take calls again"),
        Binding(
            "R", "rollback", "Rollback", id="rollback", tooltip="Go back to a version: the one before takes calls"
        ),
        Binding("P", "promote", "Promote", id="promote", tooltip="Promote a version: it alone takes new calls"),
        Binding("enter", "details", "Details", id="details", key_display="enter", tooltip="All about the worker"),
        Binding(
            "slash",
            "filter",
            "Filter",
            id="filter",
            key_display="/",
            tooltip="Filter by text, version: state: agent: region:, ! inverts",
        ),
        Binding(
            "space", "mark", "Mark", id="mark", key_display="space", tooltip="Mark the worker for the next action"
        ),
        Binding("a", "audit", "Audit", id="audit", tooltip="Who did what, when, and what came of it"),
        Binding("s", "sort", "Sort", id="sort", tooltip="Sort by the next column"),
        Binding("z", "findings", "Findings", id="findings", tooltip="Show only workers with a finding"),
        Binding(
            "D", "drain_version", "Drain version", id="drain_version", tooltip="Drain every worker of this version"
        ),
        Binding("A", "abort", "Abort", id="abort", show=False, tooltip="Abort the plan under way: no further step"),
        Binding("r", "resume", "Resume", id="resume", show=False, tooltip="Go on with a plan that was interrupted"),
        Binding(
            "asterisk",
            "mark_all",
            "Mark all",
            id="mark_all",
            key_display="*",
            show=False,
            tooltip="Mark all rows shown",
        ),
        Binding(
            "escape",
            "back",
            "Back",
            id="back",
            show=False,
            key_display="esc",
            tooltip="Dismiss a plan that ended, then results, then drop marks, then the filter",
        ),
        Binding("question_mark", "help", "Help", id="help", key_display="?", tooltip="Every key"),
        Binding("q", "app.leave", "Quit", id="quit", tooltip="Leave at once; drains go on"),
    ]

    def __init__(self, view: FleetView, watching: Watching, look: Look) -> None:
        super().__init__()
        self._view = view
        self._watching = watching
        self._look = look
        self._results: tuple[Result, ...] = ()
        self._run: Run | None = None
        self._filter = ""
        self._findings_only = False
        self._sort: SortKey | None = None
        self._keys_for: tuple[object, ...] = ()
        self.header = HeaderLine(look, id="header")
        self.split = Lines(look, id="split")
        self.versions = Lines(look, id="versions")
        self.verdict = Lines(look, id="verdict")
        self.rollout = RolloutPanel(look, id="rollout")
        self.filter_line = FilterLine(look)
        self.head = Lines(look, id="head")
        self.table = FleetTable(look, id="fleet")
        self.results = ResultsPanel(look, id="results")
        self.events = Lines(look, id="events")
        self.keys = KeyLine(look)

    def compose(self) -> ComposeResult:
        self._fit(self.app.size.height)  # before the first frame, or it would jump
        yield self.header
        yield self.split
        yield self.versions
        yield self.verdict
        yield self.rollout
        yield self.filter_line
        yield self.head
        yield self.table
        yield self.results
        yield self.events
        yield self.keys

    # ------------------------------------------------------------------ attributes, from above
    def show(
        self, view: FleetView, watching: Watching, results: Sequence[Result] = (), run: Run | None = None
    ) -> None:
        """Show this view, what was asked, and the plan under way or the last one; called on each beat."""
        self._view, self._watching, self._results, self._run = view, watching, tuple(results), run
        if self.is_mounted and self.size.width:
            self._repaint()

    @property
    def look(self) -> Look:
        """How the screen paints."""
        return self._look

    @look.setter
    def look(self, look: Look) -> None:
        self._look = look
        for block in self.query(Lines):
            block.look = look
        self.table.look = look
        self._repaint()

    def on_screen_suspend(self) -> None:
        self.keys.rest(resting=True)

    def on_screen_resume(self) -> None:
        self.keys.rest(resting=False)

    def on_resize(self, event: events.Resize) -> None:
        self._fit(event.size.height)
        self.call_after_refresh(self._repaint)

    def _fit(self, height: int) -> None:
        """Leave more room between the parts of a tall screen."""
        self.set_class(height >= TALL, "-tall")

    def on_mount(self) -> None:
        self._repaint()

    def _repaint(self) -> None:
        view, look, width = self._view, self._look, self.size.width
        if not width:
            return
        self.header.show([header_line(view, self._watching, look, width)])
        self.split.show([split_line(view, look, width)])
        self.versions.show(version_lines(view, look, width))
        self.verdict.show([verdict_line(view, width)])
        tall = self.size.height >= TALL
        read_only = self._watching.read_only
        self.rollout.show_run(self._run, Setting.of(view), width, room=10 if tall else 6, read_only=read_only)
        self.events.show(event_lines(view, look, 4 if tall else 2))
        self.results.show_results(self._results, view, width)
        self._show_rows()

    def _show_rows(self) -> None:
        view = self._view
        rows = filter_rows(view.rows, self._filter)
        if self._findings_only:
            rows = tuple(row for row in rows if row.findings or row.state in (WorkerState.LOST, WorkerState.STALE))
        if self._sort is not None:
            rows = sort_rows(rows, self._sort)
        self.table.show(rows, Setting.of(view), {row.key for row in view.rows}, self._hint())
        self.head.show([head_line(self.size.width, self._look, self._sort)])
        self._say_shown()
        self._follow_keys()

    def _follow_keys(self) -> None:
        """The last line shows what the keys do now: without a row nothing, on a cordoned one the way back."""
        run = self._run
        keys = (self.table.cursor is not None, self._cordoned(), run.word if run is not None else "")
        if keys != self._keys_for:
            self._keys_for = keys
            self.refresh_bindings()

    def _hint(self) -> str:
        """What to say in the place of rows."""
        if self._view.rows:
            return "No worker is like that; esc shows all again."
        return "No workers yet. Name them in the fleet file; changes are taken over at once."

    def _say_shown(self) -> None:
        table = self.table
        shown_keys = {row.key for row in table.rows}
        self.filter_line.say(
            Shown(
                rows=len(table.rows),
                total=len(self._view.rows),
                first=table.scroll_offset.y,
                fits=table.size.height,
                filter=self._filter,
                findings_only=self._findings_only,
                sorted_by=self._sort or "",
                marked=len(table.marks),
                marked_hidden=len(table.marks - shown_keys),
            )
        )

    # ------------------------------------------------------------------ what works right now
    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        if self.filter_line.typing:
            return action.startswith("app.")  # letters are text now
        if action in _ACTING and self._watching.read_only:
            return False
        if action in _RUN_WORDS and (self._run is None or self._run.word != _RUN_WORDS[action]):
            return False
        if action in ("cordon", "uncordon") and self._cordoned() is not (action == "uncordon"):
            return False
        if action in _NEEDS_ROW and self.table.cursor is None:
            return None
        return True

    # ------------------------------------------------------------------ keys, to above
    def _chosen(self) -> tuple[str, ...]:
        """The marked workers in the order of the fleet, or the one under the cursor."""
        marks = self.table.marks
        if marks:
            return tuple(row.key for row in self._view.rows if row.key in marks)
        return (self.table.cursor,) if self.table.cursor is not None else ()

    def action_drain(self) -> None:
        self.post_message(ActionWanted("drain", self._chosen()))

    def action_drain_version(self) -> None:
        row = self.table.cursor_row
        if row is None:
            return
        if row.version is None:  # never the marked ones: they are not what the key is about
            self.post_message(ActionWanted("drain", (row.key,)))
            return
        keys = tuple(other.key for other in self._view.rows if other.version == row.version and not other.closed)
        self.post_message(ActionWanted("drain", keys, row.version))

    def _cordoned(self) -> bool:
        """Whether all that are chosen are cordoned: their key takes that back."""
        rows = [row for key in self._chosen() if (row := self._view.row(key)) is not None]
        return bool(rows) and all(row.state is WorkerState.CORDONED for row in rows)

    def action_cordon(self) -> None:
        self.post_message(ActionWanted("cordon", self._chosen()))

    def action_uncordon(self) -> None:
        self.post_message(ActionWanted("uncordon", self._chosen()))

    def action_rollback(self) -> None:
        self.post_message(RolloutWanted("rollback"))

    def action_promote(self) -> None:
        self.post_message(RolloutWanted("promote"))

    def action_abort(self) -> None:
        self.post_message(AbortWanted())

    def action_resume(self) -> None:
        self.post_message(ResumeWanted())

    def action_audit(self) -> None:
        self.post_message(AuditWanted())

    def action_mark(self) -> None:
        self.table.mark()

    def action_mark_all(self) -> None:
        self.table.mark_all()

    def action_details(self) -> None:
        if self.table.cursor is not None:
            self.post_message(DetailsWanted(self.table.cursor))

    def action_help(self) -> None:
        self.post_message(HelpWanted())

    def action_sort(self) -> None:
        """The next column; behind the last one the fleet's own order comes back."""
        following = dict(zip((None, *SORT_KEYS), (*SORT_KEYS, None), strict=True))
        self._sort = following[self._sort]
        self._show_rows()

    def action_findings(self) -> None:
        self._findings_only = not self._findings_only
        self._show_rows()

    def action_filter(self) -> None:
        self.filter_line.open(self._filter)
        self.refresh_bindings()

    def action_back(self) -> None:
        """Escape takes back what was done last: a plan seen, results, marks, the filter, findings only, the order."""
        if self._run is not None and stopped(self._run):
            self.post_message(RunDismissed(self._run.plan.plan_id))
        elif any(result.over for result in self._results):
            self.post_message(ResultsDismissed())
        elif self.table.marks:
            self.table.clear_marks()
        else:
            self._filter, self._findings_only, self._sort = "", False, None
            self._show_rows()

    # ------------------------------------------------------------------ messages of the widgets
    def drop_marks(self) -> None:
        """What was marked has been acted on."""
        self.table.clear_marks()

    @on(FleetTable.Opened)
    def _open_details(self, message: FleetTable.Opened) -> None:
        self.post_message(DetailsWanted(message.key))

    @on(FleetTable.Moved)
    def _follow_table(self) -> None:
        self._say_shown()
        self._follow_keys()

    @on(Input.Changed)
    def _filter_typed(self, message: Input.Changed) -> None:
        self._filter = message.value
        self._show_rows()

    @on(Input.Submitted)
    def _filter_kept(self) -> None:
        self._close_filter()

    @on(FilterInput.Dropped)
    def _filter_dropped(self) -> None:
        self._filter = ""
        self._close_filter()

    def _close_filter(self) -> None:
        self.filter_line.close()
        self.table.focus()
        self.refresh_bindings()
        self._show_rows()
