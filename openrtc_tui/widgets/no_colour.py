"""``NO_COLOR``: no colour codes at all. Textual's own filters leave greys, or at least "the default colour"."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.filter import LineFilter

if TYPE_CHECKING:
    from textual.color import Color


@lru_cache(1024)
def _without_colour(style: Style) -> Style:
    # dim is a grey by another name
    return style.without_color + Style(dim=False)


class NoColourCodes(LineFilter):
    """Takes every colour out of what is painted; weight stays."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - Textual's
        return [
            Segment(text, _without_colour(style) if style is not None else None, control)
            for text, style, control in segments
        ]
