"""The fleet's table. Its cursor is a worker, not a line: it stays on its worker wherever that goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from openrtc_tui.widgets.columns import GAP, MARGIN, columns_for
from openrtc_tui.widgets.paint import Line, Look, Span, fit, paint
from openrtc_tui.widgets.rows import Setting, row_line

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from textual import events

    from openrtc_tui.state.view import WorkerRow
    from openrtc_tui.widgets.palette import Ground

_Drawn = tuple[Line, bool, bool]
"""A row's cells, whether the cursor stands on it, whether it is marked."""


def head_line(width: int, look: Look, sorted_by: str | None = None) -> list[Span]:
    """The headings above the table; the column that the rows are sorted by says so."""
    spans = [Span(" " * MARGIN)]
    for column in columns_for(width):
        chosen = column.name == sorted_by
        heading = (
            column.heading + look.glyphs.sorted if chosen and len(column.heading) < column.width else column.heading
        )
        cell = fit(heading, column.width, look.glyphs.ellipsis, right=column.right)
        spans.append(Span(cell if column.name == "note" else cell + " " * GAP, "text" if chosen else "muted", chosen))
    return spans


class FleetTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows, already filtered and sorted, one line each. It paints again only the lines that changed."""

    DEFAULT_CSS = """
    FleetTable { overflow-x: hidden; overflow-y: auto; scrollbar-size: 0 0; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Next worker", show=False, key_display="j ↓", id="table.down"),
        Binding("k,up", "move(-1)", "Worker before", show=False, key_display="k ↑", id="table.up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="table.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="table.page_up"),
        Binding("home", "edge(-1)", "First worker", show=False, id="table.first"),
        Binding("end", "edge(1)", "Last worker", show=False, id="table.last"),
    ]

    @dataclass
    class Opened(Message):
        """Somebody wants to know all about this worker."""

        key: str

    class Moved(Message):
        """The cursor stands on another worker, or the marks changed."""

    def __init__(self, look: Look, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._look = look
        self._setting = Setting()
        self._rows: tuple[WorkerRow, ...] = ()
        self._index: dict[str, int] = {}
        self._cursor: str | None = None
        self._marks: set[str] = set()
        self._hint = ""
        self._drawn: list[_Drawn | None] = []
        self._strips: LRUCache[tuple[object, ...], Strip] = LRUCache(512)

    # ------------------------------------------------------------------ what it shows
    @property
    def look(self) -> Look:
        """How the table paints."""
        return self._look

    @look.setter
    def look(self, look: Look) -> None:
        self._look = look
        self._strips.clear()
        self.refresh()

    @property
    def rows(self) -> tuple[WorkerRow, ...]:
        """The rows shown, in their order."""
        return self._rows

    @property
    def cursor(self) -> str | None:
        """The key of the worker under the cursor."""
        return self._cursor

    @property
    def cursor_row(self) -> WorkerRow | None:
        """The worker under the cursor as last shown."""
        return self._rows[self._index[self._cursor]] if self._cursor is not None else None

    @property
    def marks(self) -> frozenset[str]:
        """The keys of the marked workers, also of those that a filter hides."""
        return frozenset(self._marks)

    def show(
        self, rows: Sequence[WorkerRow], setting: Setting, known: Collection[str] | None = None, hint: str = ""
    ) -> None:
        """Show these rows, or *hint* when there are none.

        *known* are the keys that exist at all: marks on others are dropped.
        """
        if hint != self._hint:
            self._hint = hint
            self.refresh()
        before = self._cursor_index()
        scrolled = self.scroll_offset.y
        self._rows = tuple(rows)
        self._setting = setting
        self._index = {row.key: index for index, row in enumerate(self._rows)}
        self._marks &= self._index.keys() if known is None else set(known)
        if self._cursor not in self._index:
            # its worker is gone: the one that now stands on its line takes over
            self._cursor = self._rows[min(before, len(self._rows) - 1)].key if self._rows else None
            self.post_message(self.Moved())
        size = Size(self.size.width, len(self._rows))
        if size != self.virtual_size:
            self.virtual_size = size
        line_of_cursor = before - scrolled
        if 0 <= line_of_cursor < self.size.height:
            self.scroll_to(y=self._cursor_index() - line_of_cursor, animate=False, force=True)
        self._repaint()

    def _cursor_index(self) -> int:
        return self._index.get(self._cursor, 0) if self._cursor is not None else 0

    def _repaint(self) -> None:
        """Ask for the lines that are not as they were painted."""
        top = self.scroll_offset.y
        fresh = [self._draw(top + y) for y in range(self.size.height)]
        if len(fresh) != len(self._drawn):
            self.refresh()
        else:
            for y, (old, new) in enumerate(zip(self._drawn, fresh, strict=True)):
                if old != new:
                    self.refresh_line(top + y)
        self._drawn = fresh

    def _draw(self, index: int) -> _Drawn | None:
        if index >= len(self._rows):
            return None
        row = self._rows[index]
        line = row_line(row, columns_for(self.size.width), self._look, self._setting)
        return line, row.key == self._cursor, row.key in self._marks

    def render_line(self, y: int) -> Strip:
        drawn = self._draw(self.scroll_offset.y + y)
        width = self.size.width
        if drawn is None and y == 0 and self._hint:
            return paint([Span(" " * MARGIN), Span(self._hint, "muted")], width, self._look)
        if drawn is None:
            return Strip.blank(width, self._look.palette.style())
        strip = self._strips.get((drawn, width))
        if strip is None:
            strip = self._strips[(drawn, width)] = self._paint_row(*drawn, width)
        return strip

    def _paint_row(self, line: Line, cursor: bool, marked: bool, width: int) -> Strip:
        glyphs = self._look.glyphs
        ground: Ground = "cursor" if cursor else "background"
        margin = [
            Span(glyphs.bar if cursor else " ", "key"),
            Span(glyphs.mark if marked else " ", "key"),
        ]
        return paint([*margin, *line], width, self._look, ground)

    # ------------------------------------------------------------------ keys and mouse
    def move_to(self, index: int) -> None:
        """Put the cursor on the row at *index*, or the nearest there is, and into sight."""
        if not self._rows:
            return
        index = max(0, min(index, len(self._rows) - 1))
        self._cursor = self._rows[index].key
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if index < top:
            self.scroll_to(y=index, animate=False, force=True)
        elif index >= top + height:
            self.scroll_to(y=index - height + 1, animate=False, force=True)
        self._repaint()
        self.post_message(self.Moved())

    def action_move(self, lines: int) -> None:
        self.move_to(self._cursor_index() + lines)

    def action_page(self, pages: int) -> None:
        self.move_to(self._cursor_index() + pages * max(1, self.size.height - 1))

    def action_edge(self, side: int) -> None:
        self.move_to(0 if side < 0 else len(self._rows) - 1)

    def mark(self) -> None:
        """Mark the worker under the cursor, or take its mark away."""
        if self._cursor is not None:
            self._marks ^= {self._cursor}
            self._repaint()
            self.post_message(self.Moved())

    def mark_all(self) -> None:
        """Mark every row shown; when all of them are marked, take their marks away."""
        shown = set(self._index)
        self._marks = self._marks - shown if shown <= self._marks else self._marks | shown
        self._repaint()
        self.post_message(self.Moved())

    def clear_marks(self) -> None:
        """Take every mark away."""
        self._marks.clear()
        self._repaint()
        self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        index = self.scroll_offset.y + event.y
        if index < len(self._rows):
            self.move_to(index)
            if event.chain == 2:
                self.post_message(self.Opened(self._rows[index].key))

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows))
        self.move_to(self._cursor_index())
