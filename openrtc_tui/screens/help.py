"""Every key, from the bindings themselves: what is shown here is what works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from openrtc_tui.screens.audit import AuditScreen, EventTable, SearchInput
from openrtc_tui.screens.confirm import ConfirmScreen
from openrtc_tui.screens.details import DetailsScreen
from openrtc_tui.screens.dialog import CancelButton, ChallengeField, ReasonField
from openrtc_tui.screens.plan import PlanScreen
from openrtc_tui.widgets.filter import FilterInput
from openrtc_tui.widgets.paint import Line, Look, Span, fit
from openrtc_tui.widgets.scroller import Scroller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from textual.app import App, ComposeResult
    from textual.dom import DOMNode
    from textual.screen import Screen

KEYS_WIDTH: Final = 11
_ACTING: Final = frozenset({"drain", "cordon", "uncordon"})
_SAME_IN_ALL: Final = frozenset({"confirm", "cancel", "app.focus_next"})
_CONFIRMING: Final = (ConfirmScreen, CancelButton, ChallengeField, ReasonField)


@dataclass(frozen=True, slots=True)
class Section:
    """Keys that work in one place."""

    title: str
    keys: tuple[tuple[str, str], ...]
    """What is pressed, and what it does."""


def section(title: str, bindings: Iterable[Binding], app: App[int], about: Callable[[Binding], str]) -> Section:
    """A section of the help from *bindings*; *about* says what one does, keys that do the same stand in one line."""
    displays: dict[str, list[str]] = {}
    for binding in bindings:
        text = about(binding)
        if text:
            known = displays.setdefault(text, [])
            display = app.get_key_display(binding)
            known += [display] if display not in known else []
    return Section(title, tuple((" ".join(keys), text) for text, keys in displays.items()))


def sections_of(app: App[int], main: Screen[None], about: Callable[[Binding], str]) -> list[Section]:
    """Every key of every screen. The main screen's are those that it has right now: read-only has fewer."""
    active = [each for each in main.active_bindings.values() if each.binding.id is not None]
    here = [each.binding for each in active if each.node is main]
    below = [each.binding for each in active if each.node is not main and each.node is not app]
    anywhere = [each.binding for each in main.active_bindings.values() if each.node is app]
    acting = any(binding.action == "drain" for binding in here)
    details = [binding for binding in _declared(DetailsScreen, Scroller) if acting or binding.action not in _ACTING]
    sections = [section("THE FLEET", [*here, *below], app, about)]
    if acting:
        sections.append(section("A CONFIRMATION", _declared(*_CONFIRMING), app, about))
        planning = [each for each in _declared(PlanScreen) if each.action not in _SAME_IN_ALL]
        sections.append(section("A PLAN, BEFORE IT IS CONFIRMED", planning, app, about))
    return [
        *sections,
        section("DETAILS", details, app, about),
        section("AUDIT", _declared(EventTable, SearchInput, AuditScreen), app, about),
        section("THE FILTER", _declared(FilterInput), app, about),
        section("ANYWHERE", anywhere, app, about),
    ]


def _declared(*classes: type[DOMNode]) -> list[Binding]:
    return [binding for each in classes for binding in Binding.make_bindings(each.__dict__["BINDINGS"])]


def help_lines(sections: Sequence[Section], look: Look) -> list[Line]:
    """The help as lines."""
    lines: list[Line] = []
    for part in sections:
        lines += [[]] if lines else []
        lines.append([Span(part.title, "muted", bold=True)])
        lines += [[Span(fit(keys, KEYS_WIDTH, look.glyphs.ellipsis), "key"), Span(text)] for keys, text in part.keys]
    return lines


class HelpScreen(ModalScreen[None]):
    """Every key of every screen."""

    AUTO_FOCUS = "Scroller"
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "close", "Close the help", id="help.close", show=False),
    ]

    def __init__(self, sections: Sequence[Section], look: Look) -> None:
        super().__init__()
        self._sections = sections
        self._look = look
        self.page = Scroller(look, ground="panel", id="page")

    def compose(self) -> ComposeResult:
        yield self.page

    def on_mount(self) -> None:
        self.page.show([*help_lines(self._sections, self._look), [], [Span("esc", "key"), Span(" Close", "muted")]])

    def action_close(self) -> None:
        self.dismiss()
