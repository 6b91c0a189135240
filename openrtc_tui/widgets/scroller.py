"""A long page of painted lines, to scroll through with keys or the wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView

from openrtc_tui.widgets.paint import Line, Look, paint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.strip import Strip

    from openrtc_tui.widgets.palette import Ground


class Scroller(ScrollView, can_focus=True, inherit_bindings=False):
    """Keeps its place when its lines change, and paints again only those that did."""

    DEFAULT_CSS = """
    Scroller { overflow-x: hidden; overflow-y: auto; scrollbar-size: 0 0; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "by(1)", "Down", show=False, key_display="j ↓", id="page.down"),
        Binding("k,up", "by(-1)", "Up", show=False, key_display="k ↑", id="page.up"),
        Binding("pagedown,space", "pages(1)", "Page down", show=False, id="page.page_down"),
        Binding("pageup", "pages(-1)", "Page up", show=False, id="page.page_up"),
        Binding("home", "edge(-1)", "To the top", show=False, id="page.top"),
        Binding("end", "edge(1)", "To the end", show=False, id="page.end"),
    ]

    class Scrolled(Message):
        """Other lines are in sight."""

    def __init__(self, look: Look, *, ground: Ground = "background", id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.look = look
        self.ground: Ground = ground
        self._lines: list[Line] = []

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines from the place where the page stands."""
        old, self._lines = self._lines, list(lines)
        if len(old) != len(self._lines):
            self.virtual_size = Size(self.size.width, len(self._lines))
            self.refresh()
            return
        for y, (before, after) in enumerate(zip(old, self._lines, strict=True)):
            if before != after:
                self.refresh_line(y)

    @property
    def place(self) -> str:
        """Which lines are in sight; empty when all are."""
        first, total = self.scroll_offset.y, len(self._lines)
        if total <= self.size.height:
            return ""
        return f"lines {first + 1} to {min(total, first + self.size.height)} of {total}"

    def render_line(self, y: int) -> Strip:
        index = self.scroll_offset.y + y
        line = self._lines[index] if index < len(self._lines) else ()
        return paint(line, self.size.width, self.look, self.ground)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Scrolled())

    def action_by(self, lines: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False, force=True)

    def action_pages(self, pages: int) -> None:
        self.action_by(pages * max(1, self.size.height - 2))

    def action_edge(self, side: int) -> None:
        self.scroll_to(y=0 if side < 0 else len(self._lines), animate=False, force=True)

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._lines))

    def text(self) -> str:
        """The whole page as plain text."""
        return "\n".join("".join(span.text for span in line).rstrip() for line in self._lines)
