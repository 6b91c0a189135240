"""Colours by meaning: every theme gives each role one colour, readable on every background it can stand on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Role = Literal["strong", "text", "muted", "leaving", "taking", "good", "warning", "bad", "key"]
"""What a piece of text means. *leaving* and *taking* are the two versions of a rollout; *good* is healthy."""

Ground = Literal["background", "bar", "cursor", "panel"]
"""What a piece of text stands on: the screen, its first and last line, the row under the cursor, a dialog."""

BOLD: Final[frozenset[Role]] = frozenset({"strong", "warning", "bad", "key"})
"""Roles that also carry weight, so that none is told by its colour alone."""


@dataclass(frozen=True, slots=True)
class Palette:
    """One theme. ``inks`` and ``grounds`` are ``#rrggbb``; both are empty where no colour may be printed."""

    name: str
    dark: bool
    inks: Mapping[Role, str]
    grounds: Mapping[Ground, str]

    @property
    def plain(self) -> bool:
        """Whether this palette prints no colour codes at all."""
        return not self.inks

    def style(self, role: Role = "text", ground: Ground = "background", *, bold: bool | None = None) -> Style:
        """The style of *role* on *ground*. Without colours the row under the cursor is shown in reverse."""
        return _style(
            self.inks.get(role),
            self.grounds.get(ground),
            role in BOLD if bold is None else bold,
            self.plain and ground == "cursor",
        )

    def pairs(self) -> Iterator[tuple[Role, Ground, float]]:
        """Every role on every ground with its contrast, 1.0 to 21.0."""
        for role, ink in self.inks.items():
            for ground, paper in self.grounds.items():
                yield role, ground, contrast(ink, paper)

    def theme(self) -> Theme:
        """The same colours for Textual's own widgets (inputs, scroll bars, command palette)."""
        if self.plain:
            # Textual wants colours to reckon with; none of them is ever printed (see the app's line filter)
            ansi = BUILTIN_THEMES["ansi-light"]
            reverse = {"block-cursor-text-style": "reverse", "input-cursor-text-style": "reverse"}
            return replace(ansi, name=self.name, variables={**ansi.variables, **reverse})
        ink, ground = self.inks, self.grounds
        return Theme(
            name=self.name,
            dark=self.dark,
            primary=ink["taking"],
            secondary=ink["leaving"],
            accent=ink["taking"],
            warning=ink["warning"],
            error=ink["bad"],
            success=ink["good"],
            foreground=ink["text"],
            background=ground["background"],
            surface=ground["panel"],
            panel=ground["panel"],
            boost=ground["cursor"],
            variables={
                "block-cursor-background": ground["cursor"],
                "block-cursor-foreground": ink["strong"],
                "block-cursor-text-style": "bold",
                "block-hover-background": ground["cursor"],
                "input-cursor-background": ink["text"],
                "input-cursor-foreground": ground["background"],
                "input-selection-background": ground["cursor"],
                "scrollbar": ground["cursor"],
                "scrollbar-hover": ink["muted"],
                "scrollbar-active": ink["muted"],
                "scrollbar-background": ground["background"],
                "scrollbar-background-hover": ground["background"],
                "scrollbar-background-active": ground["background"],
                "scrollbar-corner-color": ground["background"],
                "text-muted": ink["muted"],
            },
        )


@lru_cache(256)
def _style(ink: str | None, paper: str | None, bold: bool, reverse: bool) -> Style:
    # bold=None instead of False keeps "not bold" out of the codes that are written
    return Style(color=ink, bgcolor=paper, bold=bold or None, reverse=reverse or None)


def contrast(one: str, other: str) -> float:
    """The contrast of two ``#rrggbb`` colours, 1.0 to 21.0 (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance of sRGB (WCAG 2.2), 0 to 1."""
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


DARK: Final = Palette(
    name="dark",
    dark=True,
    inks={
        "strong": "#f0f4f8",
        "text": "#c9d1d9",
        "muted": "#8f9aa6",
        "leaving": "#6cb0f5",
        "taking": "#3fc6a8",
        "good": "#3fc6a8",
        "warning": "#f0a63a",
        "bad": "#ff7b78",
        "key": "#3fc6a8",
    },
    grounds={"background": "#10151c", "bar": "#1a1e23", "cursor": "#2a3038", "panel": "#21252c"},
)

LIGHT: Final = Palette(
    name="light",
    dark=False,
    inks={
        "strong": "#0b1015",
        "text": "#2b3036",
        "muted": "#57626e",
        "leaving": "#0a56b0",
        "taking": "#07624f",
        "good": "#07624f",
        "warning": "#855000",
        "bad": "#b01c1c",
        "key": "#07624f",
    },
    grounds={"background": "#fbfcfd", "bar": "#eceef0", "cursor": "#dde1e5", "panel": "#eef0f2"},
)

CONTRAST: Final = Palette(
    name="contrast",
    dark=True,
    inks={
        "strong": "#ffffff",
        "text": "#f0f3f6",
        "muted": "#c3ccd5",
        "leaving": "#93caff",
        "taking": "#57e6c5",
        "good": "#57e6c5",
        "warning": "#ffc14d",
        "bad": "#ffa8a3",
        "key": "#57e6c5",
    },
    grounds={"background": "#000000", "bar": "#16191d", "cursor": "#2b313a", "panel": "#1b1f24"},
)

PLAIN: Final = Palette(name="plain", dark=True, inks={}, grounds={})
"""No colour codes at all, greys included: for ``NO_COLOR``."""

PALETTES: Final = {palette.name: palette for palette in (DARK, LIGHT, CONTRAST)}
