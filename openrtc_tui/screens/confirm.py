"""The confirmation before anything is asked of a worker. It is easy to leave and never confirmed by accident."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from openrtc_tui.screens.confirmation import Confirmation
from openrtc_tui.screens.dialog import PanelLines
from openrtc_tui.widgets.confirmation import MOST_WORKERS, VERBS, fact_lines, title_line

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from openrtc_tui.operations.intent import Intent
    from openrtc_tui.widgets.paint import Look


@dataclass(frozen=True, slots=True)
class Approval:
    """The operator said yes."""

    reason: str


class ConfirmScreen(Confirmation[Approval]):
    """Asks once whether an action is meant."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Confirm", id="confirm.yes", tooltip="Confirm, where nothing has to be typed"),
        Binding(
            "escape", "cancel", "Cancel", id="confirm.cancel", key_display="esc", tooltip="Cancel, from anywhere"
        ),
        Binding("tab", "app.focus_next", "Next", id="confirm.next", tooltip="To the reason, and on"),
    ]

    def __init__(self, intent: Intent, look: Look) -> None:
        self._intent = intent
        super().__init__(VERBS[intent.action], look, longest=max(128, len(self.asked)))
        self.facts = PanelLines(look, id="facts")

    @property
    def intent(self) -> Intent:
        """What is asked here."""
        return self._intent

    @property
    def asked(self) -> str:
        return self._intent.challenge.text if self._intent.challenge is not None else ""

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield self.title_line
            yield self.facts
            if self.asked:
                yield self.challenge_prompt
                yield self.challenge
            yield self.reason
            with Horizontal(id="buttons"):
                yield self.cancel
                yield self.label

    def on_mount(self) -> None:
        width = self.text_width
        height = self.app.size.height - (11 if self.asked else 8)
        self.title_line.show([title_line(self._intent, width)])
        for most in range(MOST_WORKERS, 0, -1):  # as many workers by name as there is room for
            lines = fact_lines(self._intent, self._look, width, most)
            if len(lines) <= height:
                break
        self.facts.show(lines)
        self.ask()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        return not (action == "confirm" and self.asked)  # where something has to be typed, no single key confirms

    def confirm(self, reason: str) -> None:
        self.answer(Approval(reason))
