"""A plain question before something is done that nothing has to be typed for."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from openrtc_tui.screens.dialog import CancelButton, ConfirmLabel, Dialog, PanelLines
from openrtc_tui.widgets.paint import Line, Look, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult


class AskScreen(Dialog[bool]):
    """Asks once; ``y`` confirms.

    Args:
        question: the title.
        facts: makes the lines of what it means, for a width in cells.
        verb: what ``y`` does.
        look: how it is painted.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Confirm", id="ask.yes", tooltip="Confirm"),
        Binding("escape", "cancel", "Cancel", id="ask.cancel", key_display="esc", tooltip="Cancel"),
    ]

    def __init__(self, question: str, facts: Callable[[int], Sequence[Line]], verb: str, look: Look) -> None:
        super().__init__()
        self._question = question
        self._facts = facts
        self._verb = verb
        self.title_line = PanelLines(look, id="title")
        self.facts = PanelLines(look, id="facts")
        self.cancel = CancelButton(look)
        self.label = ConfirmLabel(look, id="confirm")

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield self.title_line
            yield self.facts
            with Horizontal(id="buttons"):
                yield self.cancel
                yield self.label

    def on_mount(self) -> None:
        self.cancel.focus()
        self.title_line.show([[Span(self._question, "strong")]])
        self.facts.show(self._facts(self.text_width))
        self.label.show([[Span("y", "key"), Span(f"  {self._verb}")]])

    @on(ConfirmLabel.Clicked)
    def action_confirm(self) -> None:
        self.answer(True)
