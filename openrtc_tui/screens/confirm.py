"""The confirmation before anything is asked of a worker. It is easy to leave and never confirmed by accident."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from openrtc_tui.operations.intent import MAX_REASON, Intent
from openrtc_tui.screens.dialog import (
    CancelButton,
    ChallengeField,
    ChallengePrompt,
    ConfirmLabel,
    Dialog,
    PanelLines,
    ReasonField,
)
from openrtc_tui.widgets.confirmation import MOST_WORKERS, VERBS, fact_lines, title_line

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from openrtc_tui.widgets.paint import Look


@dataclass(frozen=True, slots=True)
class Approval:
    """The operator said yes."""

    reason: str


class ConfirmScreen(Dialog[Approval]):
    """Asks once.

    Without a challenge ``y`` confirms; with one, enter in its field or in the reason while the text is exactly right.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Confirm", id="confirm.yes", tooltip="Confirm, where nothing has to be typed"),
        Binding(
            "escape", "cancel", "Cancel", id="confirm.cancel", key_display="esc", tooltip="Cancel, from anywhere"
        ),
        Binding("tab", "app.focus_next", "Next", id="confirm.next", tooltip="To the reason, and on"),
    ]

    def __init__(self, intent: Intent, look: Look) -> None:
        super().__init__()
        self._intent = intent
        self._look = look
        self.title_line = PanelLines(look, id="title")
        self.facts = PanelLines(look, id="facts")
        self.challenge_prompt = ChallengePrompt(look, id="challenge-prompt")
        self.cancel = CancelButton(look)
        self.label = ConfirmLabel(look, id="confirm")

    @property
    def intent(self) -> Intent:
        """What is asked here."""
        return self._intent

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield self.title_line
            yield self.facts
            if (challenge := self._intent.challenge) is not None:
                yield self.challenge_prompt
                yield ChallengeField(id="challenge", placeholder="", max_length=max(128, len(challenge.text)))
            yield ReasonField(id="reason", placeholder="Reason (optional, Tab)", max_length=MAX_REASON)
            with Horizontal(id="buttons"):
                yield self.cancel
                yield self.label

    def on_mount(self) -> None:
        if self._intent.challenge is None:
            self.cancel.focus()
        else:
            self.query_one(ChallengeField).focus()
        width = self.text_width
        height = self.app.size.height - (11 if self._intent.challenge is not None else 8)
        self.title_line.show([title_line(self._intent, width)])
        for most in range(MOST_WORKERS, 0, -1):  # as many workers by name as there is room for
            lines = fact_lines(self._intent, self._look, width, most)
            if len(lines) <= height:
                break
        self.facts.show(lines)
        if (challenge := self._intent.challenge) is not None:
            self.challenge_prompt.ask(challenge.text, VERBS[self._intent.action])
        self._say_how()

    def on_descendant_focus(self, _: events.DescendantFocus) -> None:
        self._say_how()

    def _typed(self) -> bool:
        """Whether the text that is asked for stands in its field, exactly; True without a challenge."""
        challenge = self._intent.challenge
        return challenge is None or self.query_one("#challenge", Input).value == challenge.text

    def _say_how(self) -> None:
        typed = self._typed() if self._intent.challenge is not None else None
        self.label.show_keys(VERBS[self._intent.action], self.focused, typed=typed)

    # ------------------------------------------------------------------ keys
    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        # where something has to be typed, no single key confirms
        return not (action == "confirm" and self._intent.challenge is not None)

    def action_confirm(self) -> None:
        self.answer(Approval(self.query_one("#reason", Input).value))

    def _say_missing(self) -> None:
        """Say that enter has confirmed nothing, and what has to be typed for it."""
        if (challenge := self._intent.challenge) is not None:
            typed = self.query_one("#challenge", Input).value
            self.challenge_prompt.ask(challenge.text, VERBS[self._intent.action], typed=typed)

    @on(ConfirmLabel.Clicked)
    def _clicked(self) -> None:
        if self._typed():
            self.action_confirm()

    @on(Input.Changed, "#challenge")
    def _challenge_changed(self) -> None:
        if (challenge := self._intent.challenge) is not None:
            self.challenge_prompt.ask(challenge.text, VERBS[self._intent.action])
        self._say_how()

    @on(Input.Submitted, "#challenge")
    def _challenge_entered(self, message: Input.Submitted) -> None:
        challenge = self._intent.challenge
        # the text that was submitted, not what has been typed since
        if challenge is not None and message.value == challenge.text:
            self.action_confirm()
        else:
            self._say_missing()

    @on(Input.Submitted, "#reason")
    def _reason_entered(self, message: Input.Submitted) -> None:
        if self._intent.challenge is None:
            self.cancel.focus()  # where nothing is typed it is ``y`` that confirms, and it is text in here
        elif self._typed():
            self.answer(Approval(message.value))
        else:
            self.query_one(ChallengeField).focus()
            self._say_missing()
