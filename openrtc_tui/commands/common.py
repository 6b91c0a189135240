"""What the commands have in common: opening the fleet, hearing it, and saying things."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_tui.fleet_file import FleetFileError, load_fleet_file
from openrtc_tui.live import KeyFileError, LiveFleet
from openrtc_tui.state.verdict import range_text
from openrtc_tui.state.view import VerdictWord
from openrtc_tui.widgets.words import clock_time, verdict_word

if TYPE_CHECKING:
    import argparse

    from openrtc_tui.state.view import FleetView, Verdict

HEARING: Final = 6.0
"""Seconds in which every worker that can be reached is heard: a request's deadline and a little."""

PACE: Final = 0.1
"""Seconds between two looks at a fleet that changes all the time."""

_EXITS: Final = {
    VerdictWord.PROVEN: Exit.DONE,
    VerdictWord.VIOLATED: Exit.DROPPED,
    VerdictWord.UNPROVEN: Exit.UNPROVEN,
    VerdictWord.OPEN: Exit.UNPROVEN,
}


def open_fleet(args: argparse.Namespace, *, acting: bool = False) -> LiveFleet:
    """The fleet that the arguments name, not yet watched.

    Raises:
        CommandError: the file, the operator's key or the read token cannot be used.
    """
    try:
        file = load_fleet_file(args.fleet, acting=acting)
        return LiveFleet(file, read_only=not acting)
    except (FleetFileError, KeyFileError) as error:
        raise CommandError(str(error)) from None


def check_operator(live: LiveFleet, action: str) -> None:
    """Raise CommandError where nothing can be asked: *action* says of what."""
    if live.file.read_only:
        raise CommandError(f"{live.file.path} says read_only: {action} is not asked of any worker", Exit.REFUSED)
    if live.operator is None:
        raise CommandError(
            f"{live.file.path} names no operator, so nothing can be asked;"
            " add operator: {name: NAME, key_file: NAME.pem}, `openrtc-tui keys new NAME` makes the key"
        )


async def hear_all(live: LiveFleet, within: float = HEARING) -> FleetView:
    """The view once every worker was heard, or failed to be reached, at least once."""
    until = time.monotonic() + within
    while True:
        view = live.view()
        left = until - time.monotonic()
        if left <= 0 or all(row.snapshot is not None or row.last_failure is not None for row in view.rows):
            return view
        await live.changed(left)


def exit_of(verdict: Verdict) -> Exit:
    """The exit code of a wait that ended with this verdict."""
    return _EXITS[verdict.word]


def verdict_text(verdict: Verdict) -> str:
    """``dropped 0 PROVEN`` and its like."""
    return f"dropped {range_text(verdict)} {verdict_word(verdict)}"


def note(text: str) -> None:
    """A message for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def tell(text: str) -> None:
    """A result or an event, on stdout at once: somebody may be reading line by line."""
    print(text, flush=True)


def tell_event(at: float, text: str) -> None:
    """An event with its time of day."""
    tell(f"{clock_time(at, None)}  {text}")
