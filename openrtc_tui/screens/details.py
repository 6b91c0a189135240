"""All about one worker: its live calls, its drain, its counts, its last words, its snapshot as received."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.screen import Screen

from openrtc_tui.screens.wanted import ActionWanted, HelpWanted
from openrtc_tui.state.view import FleetView, WorkerRow, WorkerState
from openrtc_tui.widgets.facts import Read, fact_lines
from openrtc_tui.widgets.keys import KeyLine
from openrtc_tui.widgets.paint import Line, Lines, Look, Span, spread
from openrtc_tui.widgets.rows import Setting, state_spans
from openrtc_tui.widgets.scroller import Scroller
from openrtc_tui.widgets.words import age, count

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from openrtc_tui.widgets.lines import Watching


class TitleLine(Lines):
    """The first line of the page."""

    ground = "bar"


class DetailsScreen(Screen[None]):
    """One worker. It stays on its key: when another boot takes the address, the page says so and shows that one."""

    AUTO_FOCUS = "Scroller"
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="details.back", key_display="esc", tooltip="Back to the fleet"),
        Binding("d", "drain", "Drain", id="details.drain", tooltip="Drain this worker"),
        Binding("c", "cordon", "Cordon", id="details.cordon", tooltip="Cordon this worker"),
        Binding("c", "uncordon", "Uncordon", id="details.uncordon", tooltip="Uncordon this worker"),
        Binding("question_mark", "help", "Help", id="details.help", key_display="?", tooltip="Every key"),
        Binding("q", "app.leave", "Quit", id="details.quit", tooltip="Leave at once; drains go on"),
    ]

    def __init__(self, key: str, view: FleetView, watching: Watching, look: Look) -> None:
        super().__init__()
        self.key = key
        self._view = view
        self._watching = watching
        self._look = look
        self._read = Read()
        self._last: WorkerRow | None = None
        self.title_line = TitleLine(look, id="title")
        self.page = Scroller(look, id="page")
        self.keys = KeyLine(look)

    def compose(self) -> ComposeResult:
        yield self.title_line
        yield self.page
        yield self.keys

    def on_mount(self) -> None:
        self._repaint()

    def on_screen_suspend(self) -> None:
        self.keys.rest(resting=True)

    def on_screen_resume(self) -> None:
        self.keys.rest(resting=False)

    def on_resize(self) -> None:
        self.call_after_refresh(self._repaint)

    def show(self, view: FleetView, watching: Watching) -> None:
        """Show this view; called on each beat."""
        self._view, self._watching = view, watching
        if self.is_mounted:
            self._repaint()

    def show_read(self, read: Read) -> None:
        """Show what the worker answered."""
        self._read = read
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
        self.page.look = look
        self.page.refresh()
        self._repaint()

    def _row(self) -> WorkerRow | None:
        """The worker, or what was last seen of it when it is gone from the fleet."""
        row = self._view.row(self.key)
        self._last = row or self._last
        return self._last

    def _repaint(self) -> None:
        row, width = self._row(), self.size.width
        if row is None or not width:
            return
        gone = self._view.row(self.key) is None
        self.page.show(fact_lines(row, self._read, self._view.at, self._look, width))
        self.title_line.show([self._title(row, gone=gone, width=width)])
        self.refresh_bindings()

    def _title(self, row: WorkerRow, *, gone: bool, width: int) -> Line:
        text, role, bold = state_spans(row, self._look)
        left = [
            Span(" "),
            Span(row.key, "strong"),
            Span(f"  {row.version or 'untagged'}", Setting.of(self._view).role(row.version)),
            Span(f"  {text}", role, bold),
        ]
        if row.calls is not None:
            left.append(Span(f"  {count(row.calls, 'call')}", "strong"))
        if gone:
            left.append(Span("  no longer in the fleet", "warning"))
        place = f"{self.page.place}  " if self.page.place else ""
        heard = "" if row.age_seconds is None else f"seen {age(row.age_seconds)} ago"
        mode = Span("  [RO] ", "strong") if self._watching.read_only else Span("  RW ", "muted")
        return spread(left, [Span(place + heard, "muted"), mode], width)

    @on(Scroller.Scrolled)
    def _scrolled(self) -> None:
        self._repaint()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        if action in ("drain", "cordon", "uncordon"):
            row = self._view.row(self.key)
            cordoned = row is not None and row.state is WorkerState.CORDONED
            if (
                self._watching.read_only
                or (action == "cordon" and cordoned)
                or (action == "uncordon" and not cordoned)
            ):
                return False
            return True if row is not None else None
        return True

    def action_back(self) -> None:
        self.dismiss()

    def action_help(self) -> None:
        self.post_message(HelpWanted())

    def action_drain(self) -> None:
        self.post_message(ActionWanted("drain", (self.key,)))

    def action_cordon(self) -> None:
        self.post_message(ActionWanted("cordon", (self.key,)))

    def action_uncordon(self) -> None:
        self.post_message(ActionWanted("uncordon", (self.key,)))
