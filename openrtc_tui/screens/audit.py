"""Who did what, when, and what came of it: the operator's journal and the workers' audit events, searchable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Final

from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Input

from openrtc_tui.screens.wanted import HelpWanted
from openrtc_tui.widgets.keys import KeyLine
from openrtc_tui.widgets.paint import Lines, Look, Span, fit, spread
from openrtc_tui.widgets.scroller import Scroller
from openrtc_tui.widgets.trail import Entry, Trail, cells, matching, result_role, whole
from openrtc_tui.widgets.words import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from openrtc_tui.widgets.palette import Role

_COLUMNS: Final = (
    ("TIME", 14),
    ("WHO", 9),
    ("EVENT", 26),
    ("WORKER", 14),
    ("RESULT", 10),
    ("REQUEST", 8),
    ("WHAT", 0),
)
_NARROW: Final = (("TIME", 8), ("WHO", 8), ("EVENT", 26), ("WORKER", 13), ("RESULT", 0))
WIDE: Final = 100
"""Cells from which on the days, the requests and what they are about are shown too."""
MOST_SHOWN: Final = 1000
"""Lines of the table: each costs a fifth of a millisecond whenever there is news. A search goes through all."""


class AuditTitle(Lines):
    """The first line of the page."""

    ground = "bar"


class SearchInput(Input):
    """What is searched for. Every letter counts at once; enter goes to the events, escape shows all again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,down", "submit", "To the events", id="search.keep", key_display="enter"),
        Binding("escape", "screen.drop", "Show all", id="search.drop", key_display="esc"),
    ]

    def __init__(self) -> None:
        super().__init__(
            id="search",
            placeholder="type / to search: who, what, a worker, a request",
            compact=True,
            select_on_focus=False,
        )
        self.cursor_blink = False


class EventTable(DataTable[Text], inherit_bindings=False):
    """The events, one line each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "cursor_down", "Next event", show=False, key_display="j ↓", id="audit.down"),
        Binding("k,up", "cursor_up", "Event before", show=False, key_display="k ↑", id="audit.up"),
        Binding("pagedown", "page_down", "Page down", show=False, id="audit.page_down"),
        Binding("pageup", "page_up", "Page up", show=False, id="audit.page_up"),
        Binding("home", "scroll_top", "The oldest", show=False, id="audit.first"),
        Binding("end", "scroll_bottom", "The newest", show=False, id="audit.last"),
        Binding("enter", "select_cursor", "Whole event", id="audit.open", key_display="enter", tooltip="All it says"),
    ]


class AuditScreen(Screen[None]):
    """The trail, the newest last. It grows while it is looked at; the cursor stays on its event."""

    AUTO_FOCUS = "EventTable"
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", id="audit.back", key_display="esc", tooltip="Back to the fleet"),
        Binding(
            "slash", "search", "Search", id="audit.search", key_display="/", tooltip="Search in everything it says"
        ),
        Binding("question_mark", "help", "Help", id="audit.help", key_display="?", tooltip="Every key"),
        Binding("q", "app.leave", "Quit", id="audit.quit", tooltip="Leave at once; drains go on"),
    ]

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self._trail: Trail | None = None
        self._shown: tuple[Entry, ...] = ()
        self.title_line = AuditTitle(look, id="title")
        self.search = SearchInput()
        self.table = EventTable(
            id="events", cursor_type="row", cursor_foreground_priority="renderable", cursor_background_priority="css"
        )
        self.keys = KeyLine(look)

    def compose(self) -> ComposeResult:
        yield self.title_line
        with Horizontal(id="search-line"):
            yield Lines(self._look, id="prompt")
            yield self.search
        yield self.table
        yield self.keys

    def on_mount(self) -> None:
        self.query_one("#prompt", Lines).show([[Span("  / ", "key")]])
        self._repaint()

    def on_screen_suspend(self) -> None:
        self.keys.rest(resting=True)

    def on_screen_resume(self) -> None:
        self.keys.rest(resting=False)

    def on_resize(self, _: events.Resize) -> None:
        self.call_after_refresh(self._draw)

    # ------------------------------------------------------------------ attributes, from above
    def show_trail(self, trail: Trail) -> None:
        """Show what was read just now, beside all that was read before."""
        before = self._trail
        self._trail = before.and_then(trail) if before is not None else trail
        if self.is_mounted and self._trail != before:
            self._repaint()

    # ------------------------------------------------------------------ what stands there
    def _repaint(self) -> None:
        entries = self._trail.entries if self._trail is not None else ()
        found = matching(entries, self.search.value)
        shown = found[-MOST_SHOWN:]
        if shown != self._shown:
            self._shown = shown
            self._draw()
        self._say(len(found), len(entries))

    def _say(self, found: int, total: int) -> None:
        trail = self._trail
        if trail is None:
            said = "reading"
        elif self.search.value:
            said = f"{found} of {count(total, 'event')}"
        else:
            said = count(total, "event")
        if len(self._shown) < found:
            said += f", the newest {len(self._shown)} shown"
        if trail is not None and trail.gone:
            said += f", {trail.gone} exited and not asked any more"
        problem = ""
        if trail is not None and trail.problems:
            more = f" and {len(trail.problems) - 1} more" if len(trail.problems) > 1 else ""
            problem = f"  {self._look.glyphs.alert} {trail.problems[0]}{more}"
        left = [Span(" "), Span("audit", "strong"), Span(problem, "warning")]
        self.title_line.show([spread(left, [Span(f"{said} ", "muted")], self.size.width)])

    def _draw(self) -> None:
        """Fill the table anew; the cursor stays on its event, or at the newest when it was there."""
        table, width = self.table, self.size.width
        if not width:
            return
        kept = table.cursor_row
        at_end = kept >= table.row_count - 1
        chosen = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value if table.row_count else None
        table.clear(columns=True)
        newest = self._shown[-1].at if self._shown and width >= WIDE else math.inf
        widths = self._columns(width)
        for name, cells_wide in widths:
            table.add_column(Text(name), key=name, width=cells_wide)
        for entry in self._shown:
            table.add_row(*self._row(entry, newest, [cells for _, cells in widths]), key=entry.identity)
        index = next((i for i, entry in enumerate(self._shown) if entry.identity == chosen), None)
        if index is None or at_end:
            index = len(self._shown) - 1
        if self._shown:
            table.move_cursor(row=index, animate=False)

    def _columns(self, width: int) -> list[tuple[str, int]]:
        """The columns for a screen of *width* cells; the last one takes what is left."""
        columns = _COLUMNS if width >= WIDE else _NARROW
        taken = sum(cells + 2 for _, cells in columns)
        return [(name, cells or max(8, width - taken - 4)) for name, cells in columns]

    def _row(self, entry: Entry, newest: float, widths: Sequence[int]) -> list[Text]:
        inks, glyphs = self._look.palette.inks, self._look.glyphs
        roles: tuple[Role, ...] = ("muted", "text", "strong", "text", result_role(entry), "muted", "muted")
        return [
            Text(glyphs.printed(fit(text, cells_wide, glyphs.ellipsis)), Style(color=inks.get(role)))
            for text, cells_wide, role in zip(cells(entry, self._look, newest), widths, roles, strict=False)
        ]

    # ------------------------------------------------------------------ keys
    def action_back(self) -> None:
        if self.search.value:
            self.action_drop()
        else:
            self.dismiss()

    def action_search(self) -> None:
        self.search.focus()

    def action_drop(self) -> None:
        self.search.value = ""
        self.table.focus()

    def action_help(self) -> None:
        self.post_message(HelpWanted())

    @on(Input.Changed, "#search")
    def _searched(self) -> None:
        self._repaint()

    @on(Input.Submitted, "#search")
    def _search_kept(self) -> None:
        self.table.focus()

    @on(DataTable.RowSelected)
    def _opened(self, message: DataTable.RowSelected) -> None:
        entry = next((entry for entry in self._shown if entry.identity == message.row_key.value), None)
        if entry is not None and self._trail is not None:
            self.app.push_screen(EventScreen(entry, self._trail.entries, self._look))


class EventScreen(ModalScreen[None]):
    """One whole event, and what else is known of the same request."""

    AUTO_FOCUS = "Scroller"
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close", id="event.close", show=False),
    ]

    def __init__(self, entry: Entry, entries: Sequence[Entry], look: Look) -> None:
        super().__init__()
        self._lines = whole(entry, entries, look)
        self.page = Scroller(look, ground="panel", id="page")

    def compose(self) -> ComposeResult:
        yield self.page

    def on_mount(self) -> None:
        self.page.styles.height = min(len(self._lines) + 4, max(8, self.app.size.height - 4))
        self.page.show([*self._lines, [], [Span("esc", "key"), Span(" Close", "muted")]])

    def action_close(self) -> None:
        self.dismiss()
