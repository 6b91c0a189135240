"""What confirming is, whatever is confirmed: a key, or what has to be typed for it, and a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from textual import on
from textual.widgets import Input

from openrtc_tui.operations.intent import MAX_REASON
from openrtc_tui.screens.dialog import (
    Answer,
    CancelButton,
    ChallengeField,
    ChallengePrompt,
    ConfirmLabel,
    Dialog,
    PanelLines,
    ReasonField,
)

if TYPE_CHECKING:
    from openrtc_tui.widgets.paint import Look


class Confirmation(Dialog[Answer], Generic[Answer]):
    """A question that is asked once, with a reason.

    ``y`` confirms; where something has to be typed, enter in its field or in the reason does while it is exactly
    right.

    Args:
        verb: what confirming does.
        look: how it is drawn.
        longest: characters that may have to be typed.
    """

    def __init__(self, verb: str, look: Look, *, longest: int = 128) -> None:
        super().__init__()
        self._verb = verb
        self._look = look
        self.title_line = PanelLines(look, id="title")
        self.challenge_prompt = ChallengePrompt(look, id="challenge-prompt")
        self.challenge = ChallengeField(id="challenge", placeholder="", max_length=longest)
        self.reason = ReasonField(id="reason", placeholder="Reason (optional, Tab)", max_length=MAX_REASON)
        self.cancel = CancelButton(look)
        self.label = ConfirmLabel(look, id="confirm")

    @property
    def asked(self) -> str:
        """What has to be typed now, exactly; empty where nothing has to."""
        raise NotImplementedError

    @property
    def confirmable(self) -> bool:
        """Whether there is anything to confirm now."""
        return True

    def confirm(self, reason: str) -> None:
        """The operator said yes, and why."""
        raise NotImplementedError

    def ask(self) -> None:
        """Say what has to be typed, and give the focus to where that is done; else to Cancel."""
        if self.asked:
            self.challenge_prompt.ask(self.asked, self._verb)
            self.challenge.focus()
        else:
            self.cancel.focus()
        self._say_how()

    def action_confirm(self) -> None:
        self.confirm(self.reason.value)

    def on_descendant_focus(self) -> None:
        self._say_how()

    def _typed(self) -> bool:
        """Whether it can be confirmed, and what is asked for stands in its field, exactly."""
        return self.confirmable and self.challenge.value == self.asked

    def _say_how(self) -> None:
        """Show what the keys do where the focus is. Nothing at all where there is nothing to confirm."""
        if self.confirmable:
            self.label.show_keys(self._verb, self.focused, typed=self._typed() if self.asked else None)
        else:
            self.label.show([])

    def _say_missing(self) -> None:
        """Say that enter has confirmed nothing, and what has to be typed for it."""
        if self.asked:
            self.challenge_prompt.ask(self.asked, self._verb, typed=self.challenge.value)

    @on(ConfirmLabel.Clicked)
    def _clicked(self) -> None:
        if self._typed():
            self.action_confirm()

    @on(Input.Changed, "#challenge")
    def _challenge_changed(self) -> None:
        if self.asked:
            self.challenge_prompt.ask(self.asked, self._verb)
        self._say_how()

    @on(Input.Submitted, "#challenge")
    def _challenge_entered(self, message: Input.Submitted) -> None:
        # the text that was submitted, not what has been typed since
        if self.asked and message.value == self.asked:
            self.action_confirm()
        else:
            self._say_missing()

    @on(Input.Submitted, "#reason")
    def _reason_entered(self, message: Input.Submitted) -> None:
        if not self.asked:
            self.cancel.focus()  # where nothing is typed it is ``y`` that confirms, and it is text in here
        elif self._typed():
            self.confirm(message.value)
        else:
            self.challenge.focus()
            self._say_missing()
