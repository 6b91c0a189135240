"""The terminal that the dashboard draws on: what it can show, and that it is left sane however the end comes.

Textual 8.2.8 dies at once on SIGTERM and SIGHUP, without leaving its screen, and waits for ever when the terminal is
gone and nobody reads what it writes. Here signals become an ordinary exit, a terminal that went away is noticed, and
what can no longer be written is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from typing import TYPE_CHECKING, Any, Final, TextIO

from textual.drivers.linux_driver import LinuxDriver

from openrtc_tui.widgets.glyphs import glyphs_for_terminal
from openrtc_tui.widgets.paint import Look
from openrtc_tui.widgets.palette import DARK, LIGHT, PALETTES, PLAIN, Palette

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

THEME_VARIABLE: Final = "OPENRTC_TUI_THEME"
SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_GONE: Final = select.POLLHUP | select.POLLERR


def look_of_terminal(*, ascii_only: bool = False, environ: Mapping[str, str] = os.environ) -> Look:
    """How to paint on this terminal.

    ``NO_COLOR`` (not empty) means no colour codes at all. ``OPENRTC_TUI_THEME`` names a theme; without it the
    background that ``COLORFGBG`` tells decides between dark and light.

    Raises:
        ValueError: there is no such theme; the text says which there are.
    """
    return Look(palette=_palette(environ), glyphs=glyphs_for_terminal(ascii_only=ascii_only))


def _palette(environ: Mapping[str, str]) -> Palette:
    wanted = environ.get(THEME_VARIABLE, "")
    if wanted and wanted not in PALETTES:
        raise ValueError(f"{THEME_VARIABLE}={wanted}: expected one of {', '.join(PALETTES)}")
    if environ.get("NO_COLOR"):
        return PLAIN
    if wanted:
        return PALETTES[wanted]
    # the last field is the background's colour of sixteen; 7 and 15 are the white ones
    return LIGHT if environ.get("COLORFGBG", "").rpartition(";")[2] in {"7", "15"} else DARK


def hung_up(descriptor: int = 0) -> bool:
    """Whether the terminal behind *descriptor* is gone. It asks the system and waits for nothing."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & _GONE for _, events in poll.poll(0))


class HardyFile:
    """A terminal to write to that may go away: what it does not take any more is dropped."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()


class HardyDriver(LinuxDriver):
    """Textual's driver, except that a terminal which is gone ends neither its writer nor the program."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # the driver's writing thread dies of the first error, and then every further write waits for it
        self._file: Any = HardyFile(self._file)

    def run_input_thread(self) -> None:
        """Read keys until the end, or until the terminal is gone: reading on would spin at full speed."""
        try:
            super().run_input_thread()
        except OSError:
            if not hung_up(self.fileno):
                raise


def on_signals(stop: Callable[[int], None]) -> Callable[[], None]:
    """Call *stop* with the exit code, 128 and the signal's number, when a signal asks to end; on the running loop.

    The function returned gives the signals back.
    """
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop, 128 + number)

    def give_back() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    return give_back
