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
    from textual.widget import Widget

    from openrtc_tui.widgets.palette import Ground, Role

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
        role: Role = "strong" if focused else "muted"
        key = [Span("enter", "key", bold=True), Span(" ", role)] if focused else []
        room = Span("" if focused else " " * len("enter "))  # it stands still while the focus comes and goes
        self.show([[room, Span("[ ", role), *key, Span("Cancel ]", role)]])
        self.refresh()

    async def on_click(self) -> None:
        await self.run_action("screen.cancel")


class ConfirmLabel(PanelLines):
    """Says how to confirm; it never takes the focus, so that no enter can end up on it."""

    class Clicked(Message):
        """The operator clicked on it."""

    def show_keys(self, verb: str, focused: Widget | None, *, typed: bool | None) -> None:
        """Show what the keys do where the focus is now.

        Args:
            verb: what confirming does.
            focused: who has the focus.
            typed: whether what is asked for stands in its field; None where nothing has to be typed.
        """
        in_reason, on_cancel = isinstance(focused, ReasonField), isinstance(focused, CancelButton)
        confirms = not in_reason if typed is None else typed and not on_cancel
        goes_back = in_reason and not confirms
        line = [Span("enter", "key", bold=True), Span(" Back    ")] if goes_back else []
        if typed is None or not (on_cancel or goes_back):  # enter is named once, beside what it does now
            line += [Span("y" if typed is None else "enter", "key" if confirms else "muted", confirms), Span("  ")]
        self.show([[*line, Span(verb, "text" if confirms else "muted")]])
        self.refresh(layout=True)

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
    """Why the operator does it. Enter here confirms what was typed exactly, and else goes to what is missing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "submit",
            "Confirm or back",
            id="confirm.reason",
            key_display="enter",
            tooltip="In the reason: confirm what was typed, or go back to it",
        )
    ]


class ChallengePrompt(PanelLines):
    """Says what has to be typed, and that it is missing still when enter was pressed without it."""

    def ask(self, text: str, verb: str, *, typed: str | None = None) -> None:
        """Ask for *text*, which is what *verb* needs.

        Args:
            text: what has to be typed, exactly.
            verb: what it confirms.
            typed: what stood there instead when the operator pressed enter; None: nobody has pressed it yet.
        """
        missing = "" if typed is None else "Not typed yet. " if not typed else "Not the same. "
        role: Role = "text" if typed is None else "warning"
        self.show(
            [
                [
                    Span(missing, "warning", bold=True),
                    Span("Type ", role),
                    Span(text, "strong"),
                    Span(f" to {verb.lower()}:", role),
                ]
            ]
        )
