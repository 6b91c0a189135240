"""The confirmation before anything is asked of a worker. It is easy to leave and never confirmed by accident."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input

from openrtc_tui.operations.intent import MAX_REASON, Intent
from openrtc_tui.screens.dialog import CancelButton, ChallengeField, ConfirmLabel, Dialog, PanelLines, ReasonField
from openrtc_tui.widgets.confirmation import MOST_WORKERS, VERBS, fact_lines, title_line
from openrtc_tui.widgets.paint import Line, Look, Span

if TYPE_CHECKING:
    from textual.app import ComposeResult


@dataclass(frozen=True, slots=True)
class Approval:
    """The operator said yes."""

    reason: str


class ConfirmScreen(Dialog[Approval]):
    """Asks once. Without a challenge ``y`` confirms; with one, enter in its field while the text is exactly right."""

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
        self.challenge_prompt = PanelLines(look, id="challenge-prompt")
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
            what = VERBS[self._intent.action].lower()
            self.challenge_prompt.show([[Span("Type "), Span(challenge.text, "strong"), Span(f" to {what}:")]])
        self._say_how(works=self._intent.challenge is None)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        where = CancelButton if self._intent.challenge is None else ChallengeField
        self._say_how(works=isinstance(event.widget, where) and self._typed())

    def _typed(self) -> bool:
        """Whether the text that is asked for stands in its field, exactly; True without a challenge."""
        challenge = self._intent.challenge
        return challenge is None or self.query_one("#challenge", Input).value == challenge.text

    def _say_how(self, *, works: bool) -> None:
        """Show the key that confirms; grey where it would not, because it is text there or something is missing."""
        key = "y" if self._intent.challenge is None else "enter"
        line: Line = [
            Span(key, "key" if works else "muted", works),
            Span(f"  {VERBS[self._intent.action]}", "text" if works else "muted"),
        ]
        self.label.show([line])

    # ------------------------------------------------------------------ keys
    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        # where something has to be typed, no single key confirms
        return not (action == "confirm" and self._intent.challenge is not None)

    def action_confirm(self) -> None:
        self.answer(Approval(self.query_one("#reason", Input).value))

    @on(ConfirmLabel.Clicked)
    def _clicked(self) -> None:
        if self._typed():
            self.action_confirm()

    @on(Input.Changed, "#challenge")
    def _challenge_changed(self) -> None:
        self._say_how(works=self._typed())

    @on(Input.Submitted, "#challenge")
    def _challenge_entered(self, message: Input.Submitted) -> None:
        challenge = self._intent.challenge
        # the text that was submitted, not what has been typed since
        if challenge is not None and message.value == challenge.text:
            self.action_confirm()

    @on(Input.Submitted, "#reason")
    def _reason_entered(self) -> None:
        self.cancel.focus()
