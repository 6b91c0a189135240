"""Every screen as it looks: fixed fleets at one fixed instant, at 120×40 and 80×24.

A change is looked at before it is accepted: ``pytest tests/screens/test_pictures.py --snapshot-update`` writes the
pictures anew, and the report of a failing run shows both.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest

from openrtc_tui.app import DeployApp
from openrtc_tui.operations.request import Answer, Ask
from openrtc_tui.widgets.glyphs import ASCII
from openrtc_tui.widgets.paint import Look
from openrtc_tui.widgets.palette import CONTRAST, LIGHT, PLAIN
from tests.screens import fleets
from tests.screens.fakes import FakeSession

if TYPE_CHECKING:
    from openrtc_tui.state.view import FleetView

Compare = Callable[..., bool]
WIDE, NARROW = (120, 40), (80, 24)


def screen(view: FleetView, *, look: Look | None = None, **session: Any) -> DeployApp:
    return DeployApp(FakeSession(view, **session), look or Look(zone=UTC))


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x40", "80x24"])
@pytest.mark.parametrize("name", ["empty", "steady", "mid_drain", "lost"])
def test_fleet(snap_compare: Compare, name: str, size: tuple[int, int]) -> None:
    """An empty fleet, a steady one, a rollout, and a lost worker with calls."""
    assert snap_compare(screen(getattr(fleets, name.upper())), terminal_size=size, press=["down"])


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x40", "80x24"])
def test_confirmation_of_one(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(screen(fleets.STEADY), terminal_size=size, press=["down", "d"])


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x40", "80x24"])
def test_confirmation_of_many(snap_compare: Compare, size: tuple[int, int]) -> None:
    keys = ["space", "down", "space", "down", "space", "d"]
    assert snap_compare(screen(fleets.STEADY), terminal_size=size, press=keys)


def test_confirmation_of_the_last_workers(snap_compare: Compare) -> None:
    """The longest confirmation fits into 80×24: everything marked, some left out, nobody left to take calls."""
    assert snap_compare(screen(fleets.MID_DRAIN), terminal_size=NARROW, press=["asterisk", "d"])


def test_confirmation_with_a_reason(snap_compare: Compare) -> None:
    keys = ["c", "tab", *"looks odd"]
    assert snap_compare(screen(fleets.STEADY), terminal_size=NARROW, press=keys)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x40", "80x24"])
def test_details(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(screen(fleets.MID_DRAIN), terminal_size=size, press=["down", "enter"])


def test_details_of_a_lost_worker(snap_compare: Compare) -> None:
    app = screen(fleets.LOST)
    session = app._session
    assert isinstance(session, FakeSession)
    session.live = None
    assert snap_compare(app, terminal_size=WIDE, press=["down", "down", "down", "enter"])


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x40", "80x24"])
def test_help(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(screen(fleets.MID_DRAIN), terminal_size=size, press=["question_mark"])


def test_filter_while_it_is_typed(snap_compare: Compare) -> None:
    assert snap_compare(screen(fleets.MID_DRAIN), terminal_size=WIDE, press=["slash", *"state:drain"])


def test_filter_sort_and_marks(snap_compare: Compare) -> None:
    keys = ["slash", *"state:drain", "enter", "space", "s", "s", "s", "s"]
    assert snap_compare(screen(fleets.MID_DRAIN), terminal_size=NARROW, press=keys)


def test_filter_that_finds_nothing(snap_compare: Compare) -> None:
    assert snap_compare(screen(fleets.MID_DRAIN), terminal_size=NARROW, press=["slash", *"nobody", "enter"])


def test_read_only(snap_compare: Compare) -> None:
    assert snap_compare(screen(fleets.MID_DRAIN, read_only=True), terminal_size=WIDE)


def test_results(snap_compare: Compare) -> None:
    """What was asked, one answer that was lost, and what was not asked any more."""

    def answer(ask: Ask) -> Answer:
        if ask.key == "voice-a-2":
            detail = "no answer came back (silent for 5 s): it may have taken the drain"
            return Answer(ask=ask, outcome="unknown", detail=detail)
        return Answer(ask=ask, outcome="started", detail="is draining")

    app = screen(fleets.STEADY)
    session = app._session
    assert isinstance(session, FakeSession)
    session.answer = answer
    keys = ["space", "down", "space", "down", "space", "d", "3", "enter"]
    assert snap_compare(app, terminal_size=WIDE, press=keys)


def test_palette_of_commands(snap_compare: Compare) -> None:
    assert snap_compare(screen(fleets.MID_DRAIN), terminal_size=NARROW, press=["ctrl+p"])


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x40", "80x24"])
@pytest.mark.parametrize(
    "look",
    [Look(palette=LIGHT, zone=UTC), Look(palette=CONTRAST, zone=UTC), Look(glyphs=ASCII, zone=UTC)],
    ids=["light", "contrast", "ascii"],
)
def test_look(snap_compare: Compare, look: Look, size: tuple[int, int]) -> None:
    assert snap_compare(screen(fleets.LOST, look=look), terminal_size=size, press=["down"])


@pytest.mark.parametrize("keys", [["down"], ["down", "c"]], ids=["main", "confirmation"])
def test_no_color(snap_compare: Compare, keys: list[str]) -> None:
    """Without colours: weight, words and signs carry it all."""
    assert snap_compare(screen(fleets.LOST, look=Look(palette=PLAIN, zone=UTC)), terminal_size=WIDE, press=keys)


def test_ascii_without_colours(snap_compare: Compare) -> None:
    look = Look(palette=PLAIN, glyphs=ASCII, zone=UTC)
    assert snap_compare(screen(fleets.STEADY, look=look), terminal_size=NARROW, press=["down", "d"])
