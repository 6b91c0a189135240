"""The last line: the keys that work right now, from the bindings themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrtc_tui.widgets.paint import Lines, Look, Span, paint, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual import events
    from textual.screen import Screen
    from textual.strip import Strip

ALWAYS_SHOWN = 2
"""The last keys of the line (help and quit) stay when the screen is too narrow for all."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key as it is shown. A key that cannot be used right now is there, but grey."""

    display: str
    description: str
    action: str
    enabled: bool = True


def shown_keys(screen: Screen[object]) -> list[Key]:
    """The keys of *screen* that belong into its last line, in the order in which they were declared."""
    keys: dict[str, Key] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.show and binding.action not in keys:
            display = screen.app.get_key_display(binding)
            keys[binding.action] = Key(display, binding.description, binding.action, active.enabled)
    return list(keys.values())


def key_spans(keys: Sequence[Key], width: int) -> list[tuple[Key, list[Span]]]:
    """The keys that fit into *width* cells, each with what it shows; the last two are the last to go."""
    shown = [(key, _spans(key)) for key in keys]
    while sum(width_of(spans) for _, spans in shown) >= width and len(shown) > ALWAYS_SHOWN:
        del shown[-ALWAYS_SHOWN - 1]
    return shown


def _spans(key: Key) -> list[Span]:
    return [
        Span(f" {key.display}", "key" if key.enabled else "muted", key.enabled),
        Span(f" {key.description} ", "muted"),
    ]


class KeyLine(Lines):
    """The keys of its screen, clickable; it follows the bindings by itself."""

    DEFAULT_CSS = "KeyLine { height: 1; }"
    ground = "bar"

    def __init__(self, look: Look) -> None:
        super().__init__(look)
        self._keys: list[Key] = []
        self._resting = False

    def rest(self, resting: bool) -> None:
        """While a dialog has the keys, the line shows none: what is in sight works."""
        self._resting = resting
        self.refresh()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _screen: self._follow(), immediate=False)
        self._follow()

    def _follow(self) -> None:
        keys = shown_keys(self.screen)
        if keys != self._keys:
            self._keys = keys
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002 - there is one line
        spans = [span for _, each in key_spans(self._keys, self.size.width) for span in each]
        return paint(() if self._resting else spans, self.size.width, self.look, self.ground)

    async def on_click(self, event: events.Click) -> None:
        if self._resting:
            return
        end = 0
        for key, spans in key_spans(self._keys, self.size.width):
            end += width_of(spans)
            if event.x < end:
                await self.app.run_action(key.action, default_namespace=self.screen)
                return

    def text(self) -> str:
        return "".join(span.text for _, each in key_spans(self._keys, self.size.width) for span in each)
