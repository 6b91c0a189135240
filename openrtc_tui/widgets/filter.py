"""The line between verdict and table: what is shown of the fleet, and where the filter is typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from openrtc_tui.widgets.paint import Lines, Look, Span, join, spread

if TYPE_CHECKING:
    from textual.app import ComposeResult


@dataclass(frozen=True, slots=True)
class Shown:
    """What of the fleet is in the table, and why."""

    rows: int = 0
    total: int = 0
    first: int = 0
    fits: int = 0
    filter: str = ""
    findings_only: bool = False
    sorted_by: str = ""
    marked: int = 0
    marked_hidden: int = 0


def shown_line(shown: Shown, width: int) -> list[Span]:
    """One line on what of the fleet is in the table; blank while that is all of it in its own order."""
    parts: list[list[Span]] = []
    if shown.filter or shown.findings_only:
        parts.append([Span(f"{shown.rows} of {shown.total} workers", "text")])
        if shown.filter:
            parts.append([Span("filter ", "muted"), Span(shown.filter, "strong")])
        if shown.findings_only:
            parts.append([Span("findings only", "strong")])
    if shown.sorted_by:
        parts.append([Span("sorted by ", "muted"), Span(shown.sorted_by, "text")])
    if shown.marked:
        hidden = f" ({shown.marked_hidden} not shown)" if shown.marked_hidden else ""
        parts.append([Span(f"{shown.marked} marked", "strong"), Span(hidden, "muted")])
    left = [Span("  "), *join(parts, "   ")] if parts else []
    if not shown.rows > shown.fits > 0:
        return left
    last = min(shown.rows, shown.first + shown.fits)
    return spread(left, [Span(f"{shown.first + 1} to {last} of {shown.rows}  ", "muted")], width)


class FilterInput(Input):
    """Where the filter is typed. Every letter filters at once; enter keeps the filter, escape drops it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Keep the filter", id="filter.keep", key_display="enter"),
        Binding("escape", "drop", "Drop it", id="filter.drop", key_display="esc"),
    ]

    class Dropped(Message):
        """The filter is not wanted any more."""

    def __init__(self) -> None:
        super().__init__(
            placeholder="text, version: state: agent: region:, ! inverts", compact=True, select_on_focus=False
        )
        self.cursor_blink = False

    def action_drop(self) -> None:
        self.post_message(self.Dropped())


class FilterLine(Horizontal):
    """The line itself: says what is shown, or takes the filter while it is typed."""

    DEFAULT_CSS = """
    FilterLine { height: 1; }
    FilterLine Lines { height: 1; width: 1fr; }
    FilterLine .prompt { width: 4; display: none; }
    FilterLine FilterInput { width: 1fr; display: none; }
    FilterLine.-typing FilterInput { display: block; }
    FilterLine.-typing .prompt { display: block; }
    FilterLine.-typing .said { display: none; }
    """

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._prompt = Lines(look, classes="prompt")
        self._said = Lines(look, classes="said")
        self._input = FilterInput()

    def compose(self) -> ComposeResult:
        yield self._prompt
        yield self._input
        yield self._said

    def on_mount(self) -> None:
        self._prompt.show([[Span("  / ", "key")]])

    def say(self, shown: Shown) -> None:
        """Say what is shown of the fleet."""
        self._said.show([shown_line(shown, self.size.width)])

    @property
    def typing(self) -> bool:
        """Whether the filter is being typed."""
        return self.has_class("-typing")

    def open(self, value: str) -> None:
        """Take the keys, starting from the filter there is."""
        self._input.value = value
        self._input.cursor_position = len(value)
        self.add_class("-typing")
        self._input.focus()

    def close(self) -> None:
        """Give the keys back."""
        self.remove_class("-typing")

    def text(self) -> str:
        """What the line says, as plain text."""
        return f"/ {self._input.value}" if self.typing else self._said.text().strip()
