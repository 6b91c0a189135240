"""What every dialog has: its ground, a Cancel that has the focus, what is typed, and one answer only."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input

from openrtc_tui.widgets.paint import Lines, Span

if TYPE_CHECKING:
    from textual import events

    from openrtc_tui.widgets.palette import Ground

WIDTH = 66
"""Cells of text in a dialog."""

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """A question. It closes with the first answer, None when it was cancelled."""

    ALLOW_SELECT = False
    AUTO_FOCUS = ""
    _answered = False

    @property
    def text_width(self) -> int:
        """Cells of text on this terminal."""
        return min(WIDTH, self.app.size.width - 8)

    def action_cancel(self) -> None:
        self.answer(None)

    def answer(self, answer: Answer | None) -> None:
        """Close; a key that was on its way while the dialog closed answers nothing."""
        if not self._answered:
            self._answered = True
            self.dismiss(answer)


class PanelLines(Lines):
    """Lines on the dialog's ground."""

    ground: Ground = "panel"


class CancelButton(PanelLines, can_focus=True):
    """Has the focus when the dialog opens: enter here leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "screen.cancel",
            "Cancel",
            id="confirm.enter",
            key_display="enter",
            tooltip="Cancel, while it has the focus",
        )
    ]

    def on_mount(self) -> None:
        self._label(focused=self.has_focus)

    def on_focus(self) -> None:
        self._label(focused=True)

    def on_blur(self) -> None:
        self._label(focused=False)

    def _label(self, *, focused: bool) -> None:
        # what is told and not `has_focus`: Textual changes that only after our handlers
        self.ground = "cursor" if focused else "panel"
        self.show([[Span("[ Cancel ]", "strong" if focused else "muted")]])
        self.refresh()

    async def on_click(self) -> None:
        await self.run_action("screen.cancel")


class ConfirmLabel(PanelLines):
    """Says how to confirm; it never takes the focus, so that no enter can end up on it."""

    class Clicked(Message):
        """The operator clicked on it."""

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Clicked())


class Field(Input):
    """A line of text in the dialog."""

    def __init__(self, *, id: str, placeholder: str, max_length: int) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, placeholder=placeholder, compact=True, max_length=max_length, select_on_focus=False)
        self.cursor_blink = False


class ChallengeField(Field):
    """Where the operator types what is asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "submit",
            "Confirm",
            id="confirm.typed",
            key_display="enter",
            tooltip="Confirm, once what is asked for is typed exactly",
        )
    ]


class ReasonField(Field):
    """Why the operator does it; enter here never confirms anything."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "submit",
            "Back",
            id="confirm.reason",
            key_display="enter",
            tooltip="In the reason: back to Cancel",
        )
    ]
