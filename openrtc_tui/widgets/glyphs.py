"""The signs beside the words, in two sets: Unicode, and ASCII for poor terminals."""

from __future__ import annotations

import locale
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

from openrtc_tui.state.view import WorkerState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of signs, each one cell wide."""

    states: Mapping[WorkerState, str]
    alert: str
    """Takes the place of a state's sign when the worker has a finding."""
    live: str
    bar: str
    """Marks the row under the cursor."""
    mark: str
    """Marks a row that the next action goes to."""
    rise: str
    """Sparkline levels from the lowest that is not zero to the highest."""
    old_line: str
    new_line: str
    thin_line: str
    """What the line "where the calls are" is drawn with, for the version being left and for the other."""
    arrow: str
    up_down: str
    """The keys that choose another one."""
    dot: str
    """Stands between two facts."""
    dash: str
    """Stands between the ends of a range."""
    ellipsis: str
    sorted: str
    """Stands behind the heading of the column that the rows are sorted by."""

    def spark(self, values: Sequence[int], width: int) -> str:
        """The last *width* values as one line of *width* cells, scaled to their own highest; zero is blank."""
        shown = values[-width:] if width > 0 else ()
        top = max(shown, default=0)
        if top <= 0:
            return " " * max(width, 0)
        steps = len(self.rise)
        line = "".join(" " if value <= 0 else self.rise[max(0, -(-value * steps // top) - 1)] for value in shown)
        return line.ljust(width)

    def printed(self, text: str) -> str:
        """*text* as this set prints it, of the same width: the ASCII set prints nothing but ASCII."""
        if self is UNICODE or text.isascii():
            return text
        return _NOT_ASCII.sub(lambda match: "?" * cell_len(match[0]), text.translate(_TO_ASCII))


UNICODE: Final = Glyphs(
    states={
        WorkerState.STARTING: "○",
        WorkerState.SERVING: "●",
        WorkerState.GATED: "◇",
        WorkerState.CORDONED: "◑",
        WorkerState.DRAINING: "◌",
        WorkerState.DRAINED: "✓",
        WorkerState.EXITED: "·",
        WorkerState.STALE: "△",
        WorkerState.LOST: "✖",
    },
    alert="▲",
    live="●",
    bar="▌",
    mark="✓",
    rise="▁▂▃▄▅▆▇",  # not the full block: rows would grow together
    old_line="━",
    new_line="━",
    thin_line="─",
    arrow="→",
    up_down="↑↓",
    dot="·",
    dash="–",
    ellipsis="…",
    sorted="▾",
)

ASCII: Final = Glyphs(
    states={
        WorkerState.STARTING: "o",
        WorkerState.SERVING: "*",
        WorkerState.GATED: "#",
        WorkerState.CORDONED: "|",
        WorkerState.DRAINING: "v",
        WorkerState.DRAINED: "+",
        WorkerState.EXITED: ".",
        WorkerState.STALE: "?",
        WorkerState.LOST: "x",
    },
    alert="!",
    live="*",
    bar=">",
    mark="+",
    rise="_.:-=+*",
    old_line="=",
    new_line="-",
    thin_line="-",
    arrow="->",
    up_down="^v",
    dot="-",
    dash="-",
    ellipsis="~",
    sorted="v",
)

_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_TO_ASCII: Final = str.maketrans({"–": "-", "—": "-", "·": "-", "…": "~", "→": ">", "’": "'", "“": '"', "”": '"'})


def glyphs_for_terminal(*, ascii_only: bool = False) -> Glyphs:
    """The set that this terminal can show: ASCII when asked for, or when the locale or ``TERM`` cannot do UTF-8."""
    encoding = getattr(sys.__stderr__, "encoding", None) or locale.getpreferredencoding(do_setlocale=False)
    utf8 = encoding.lower().replace("-", "").replace("_", "") == "utf8"
    poor = os.environ.get("TERM", "") in {"dumb", "vt100", "vt220"}
    return ASCII if ascii_only or not utf8 or poor else UNICODE
