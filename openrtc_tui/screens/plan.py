"""The confirmation of a plan: which version, what would be done step by step, and what speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from openrtc_tui.operations.plans.interlocks import audited_reason
from openrtc_tui.operations.plans.plan import Plan, PlanKind
from openrtc_tui.screens.confirmation import Confirmation
from openrtc_tui.screens.dialog import PanelLines
from openrtc_tui.screens.wanted import PlanWanted
from openrtc_tui.widgets.paint import Line, Look, Span, spread, wrap
from openrtc_tui.widgets.plan import DEEDS, plan_lines, question
from openrtc_tui.widgets.scroller import Scroller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

LOW: Final = 30
"""Lines of a terminal below which a long plan gets the room that stands between the dialog's parts elsewhere."""
AROUND: Final = (13, 10)
"""Lines of the dialog around the plan, on a high terminal and on a low one: title, what is typed, reason, buttons."""


class PlanScreen(Confirmation[Plan]):
    """Shows one plan and asks once. Opened before the plan is there: what it needs may take a while to be asked for.

    The arrows show the plan for another version. A plan that is blocked can only be left.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Confirm", id="plan.yes", tooltip="Confirm, where nothing has to be typed"),
        Binding("escape", "cancel", "Cancel", id="plan.cancel", key_display="esc", tooltip="Cancel, from anywhere"),
        Binding("down", "other(1)", "Next version", id="plan.next", key_display="↓", tooltip="Another version"),
        Binding("up", "other(-1)", "Version before", id="plan.before", key_display="↑", tooltip="Another version"),
        Binding("pagedown", "scroll(1)", "Page down", id="plan.page_down", tooltip="More of the plan"),
        Binding("pageup", "scroll(-1)", "Page up", id="plan.page_up", tooltip="Back in the plan"),
        Binding("tab", "app.focus_next", "Next", id="plan.tab", tooltip="To the reason, and on"),
    ]

    def __init__(self, kind: PlanKind, versions: Sequence[str], look: Look) -> None:
        super().__init__(DEEDS[kind], look)
        self.kind: PlanKind = kind
        self._versions = tuple(versions)
        self._chosen = self._versions[0] if self._versions else None
        self._plan: Plan | None = None
        self.page = Scroller(look, ground="panel", id="plan")
        self.page.can_focus = False  # tab goes to what is typed and to the buttons; the page scrolls from anywhere
        self.more = PanelLines(look, id="more")

    @property
    def version(self) -> str | None:
        """The version that the plan is about; None while the fleet's own memory says which."""
        return self._chosen

    @property
    def confirmable(self) -> bool:
        return self._plan is not None and not self._plan.blocked

    @property
    def asked(self) -> str:
        return self._plan.challenge if self._plan is not None and not self._plan.blocked else ""

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield self.title_line
            yield self.page
            yield self.more
            yield self.challenge_prompt
            yield self.challenge
            yield self.reason
            with Horizontal(id="buttons"):
                yield self.cancel
                yield self.label

    def on_mount(self) -> None:
        self._want()

    # ------------------------------------------------------------------ attributes, from above
    def show_plan(self, plan: Plan, versions: Sequence[str], seq: int | None) -> None:
        """Show this plan. *versions* are those to choose from, *seq* the manifest that holds now."""
        self._plan = plan
        if plan.to_version not in self._versions:
            self._versions = tuple(versions)
        self._chosen = plan.to_version if plan.to_version is not None else self._chosen
        self._say_title()
        self._say(plan_lines(plan, self._look, self.text_width, seq=seq))
        self.set_class(bool(self.asked), "-typed")
        self.set_class(plan.blocked, "-blocked")
        self.ask()

    def show_problem(self, text: str) -> None:
        """Say why there is no plan."""
        self._say(wrap(text, "warning", self.text_width))

    # ------------------------------------------------------------------ what stands there
    def _want(self) -> None:
        """Ask for the plan of the version chosen; until it comes nothing can be confirmed."""
        self._plan = None
        self.challenge.value = ""
        self.remove_class("-typed", "-blocked")
        self.cancel.focus()
        self._say_title()
        self._say([[Span("Looking at the workers, and at the platform where it is needed", "muted")]])
        self._say_how()
        self.post_message(PlanWanted(self.kind, self._chosen))

    def _say_title(self) -> None:
        others = len(self._versions) - 1
        right: Line = []
        if others > 0 and self._chosen in self._versions:
            place = f"  {self._versions.index(self._chosen) + 1} of {others + 1}"
            right = [Span(self._look.glyphs.up_down, "key"), Span(" other version", "text"), Span(place, "muted")]
        blocked = self._plan is not None and self._plan.blocked
        asked = question(self.kind, self._chosen, blocked=blocked)
        self.title_line.show([spread([Span(asked, "strong")], right, self.text_width)])

    def _say(self, lines: Sequence[Line]) -> None:
        room = self.app.size.height
        room -= 2 if self._look.palette.plain else 0  # the frame
        low = room < LOW and len(lines) > room - AROUND[0]
        self.set_class(low, "-low")
        height = max(3, min(len(lines), room - AROUND[low]))
        self.page.styles.height = height
        self.page.show(lines)
        self.page.scroll_to(y=0, animate=False, force=True)
        self.set_class(len(lines) > height, "-long")
        self.call_after_refresh(self._say_place)  # the page tells its place once it has its height

    def _say_place(self) -> None:
        place = [Span("pgdn", "key"), Span(f" {self.page.place}", "muted")] if self.page.place else []
        self.more.show([spread([], place, self.text_width)])

    @on(Scroller.Scrolled)
    def _scrolled(self) -> None:
        self._say_place()

    # ------------------------------------------------------------------ keys
    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        if action == "confirm":
            return self._plan is not None and not self._plan.challenge  # where something is typed, no single key does
        if action == "other":
            return len(self._versions) > 1
        return True

    def confirm(self, reason: str) -> None:
        plan = self._plan
        if plan is not None and not plan.blocked:
            said = audited_reason(reason, plan.objections) if reason.strip() else plan.reason
            self.answer(msgspec.structs.replace(plan, reason=said))

    def action_other(self, by: int) -> None:
        at = self._versions.index(self._chosen) if self._chosen in self._versions else 0
        self._chosen = self._versions[(at + by) % len(self._versions)]
        self._want()

    def action_scroll(self, pages: int) -> None:
        self.page.action_pages(pages)
