"""From pieces of text with a meaning to a painted line: the one way by which words reach the screen.

Text is taken literally, never as markup, so a name like ``[/x]`` is only a name. Widths are terminal cells: wide
characters count two.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from openrtc_tui.widgets.glyphs import UNICODE, Glyphs
from openrtc_tui.widgets.palette import DARK, Ground, Palette, Role
from openrtc_tui.widgets.words import clock_time

if TYPE_CHECKING:
    from datetime import tzinfo


class Span(NamedTuple):
    """A piece of text and what it means. ``bold`` overrides the weight that the role has."""

    text: str
    role: Role = "text"
    bold: bool | None = None


Line = Sequence[Span]


@dataclass(frozen=True, slots=True)
class Look:
    """How things are shown: colours, signs, and the time zone of the times of day (None: the local one)."""

    palette: Palette = field(default=DARK)
    glyphs: Glyphs = field(default=UNICODE)
    zone: tzinfo | None = None

    def at(self, moment: float) -> str:
        """A point in time as a time of day."""
        return clock_time(moment, self.zone)


def width_of(line: Line) -> int:
    """The cells that a line takes."""
    return sum(cell_len(span.text) for span in line)


def fit(text: str, width: int, ellipsis: str = "…", *, right: bool = False) -> str:
    """*text* in exactly *width* cells: filled up with blanks, or clipped, which an ellipsis shows."""
    taken = cell_len(text)
    if taken > width:
        return "" if width <= 0 else set_cell_size(set_cell_size(text, width - 1).rstrip() + ellipsis, width)
    return " " * (width - taken) + text if right else text + " " * (width - taken)


def spread(left: Line, right: Line, width: int, *, gap: int = 2) -> list[Span]:
    """*left* and *right* at the two ends of *width* cells; what does not fit is taken from the end of *left*."""
    room = max(0, width - width_of(right) - gap)
    head = clip_line(left, room)
    return [*head, Span(" " * max(0, width - width_of(head) - width_of(right))), *right]


def clip_line(line: Line, width: int, ellipsis: str = "…") -> list[Span]:
    """The line, cut with an ellipsis where it would go beyond *width* cells."""
    kept: list[Span] = []
    left = width
    for span in line:
        taken = cell_len(span.text)
        if taken > left:
            if left > 0 and span.text.strip():
                kept.append(span._replace(text=fit(span.text, left, ellipsis)))
            break
        kept.append(span)
        left -= taken
    return kept


def wrap(text: str, role: Role, width: int) -> list[Line]:
    """*text* in as many lines as it needs."""
    return [[Span(line, role)] for line in textwrap.wrap(text, max(1, width))]


def join(parts: Iterable[Line], gap: str = "  ") -> list[Span]:
    """The parts that are not empty, with a gap between them."""
    joined: list[Span] = []
    for part in parts:
        if part:
            joined += [Span(gap)] if joined else []
            joined += part
    return joined


def paint(line: Line, width: int, look: Look, ground: Ground = "background") -> Strip:
    """A strip of exactly *width* cells."""
    style, palette, glyphs = look.palette.style, look.palette, look.glyphs
    segments = [
        Segment(glyphs.printed(span.text), palette.style(span.role, ground, bold=span.bold))
        for span in clip_line(line, width, glyphs.ellipsis)
    ]
    return Strip(segments).adjust_cell_length(width, style("text", ground))


class Lines(Widget):
    """A still block of painted lines. Its owner hands it new ones; only those that differ are painted again."""

    DEFAULT_CSS = "Lines { width: 1fr; height: auto; }"
    ground: Ground = "background"

    def __init__(self, look: Look, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes)
        self._look = look
        self._lines: list[Line] = []

    @property
    def look(self) -> Look:
        """How this widget paints."""
        return self._look

    @look.setter
    def look(self, look: Look) -> None:
        if look != self._look:
            self._look = look
            self.relook()

    def relook(self) -> None:
        """Paint everything again, in the new look."""
        self.refresh()

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines; more than the widget is high are not seen."""
        old, self._lines = self._lines, list(lines)
        if old == self._lines:
            return
        if len(old) != len(self._lines):
            self.refresh(layout=True)
            return
        from textual.geometry import Region

        for y, (before, after) in enumerate(zip(old, self._lines, strict=True)):
            if before != after:
                self.refresh(Region(0, y, self.size.width, 1))

    def get_content_width(self, container: object, viewport: object) -> int:  # noqa: ARG002 - Textual's
        return max(map(width_of, self._lines), default=0)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:  # noqa: ARG002 - Textual's
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        line = self._lines[y] if y < len(self._lines) else ()
        return paint(line, self.size.width, self._look, self.ground)

    def text(self) -> str:
        """What stands here, as plain text; for tests and for whoever reads the screen aloud."""
        return "\n".join("".join(span.text for span in line).rstrip() for line in self._lines)
