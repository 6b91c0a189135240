"""The main screen's keys, and that what is shown of them is what works."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

import pytest
from textual.command import CommandPalette

from openrtc_tui.app import DeployApp
from openrtc_tui.screens.details import DetailsScreen
from openrtc_tui.screens.help import HelpScreen
from openrtc_tui.screens.main import MainScreen
from openrtc_tui.widgets.paint import Look
from tests.screens import fleets
from tests.screens.fakes import FakeSession

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from openrtc_tui.state.view import FleetView

WIDE = (120, 40)


def make(view: FleetView = fleets.MID_DRAIN, **session) -> tuple[DeployApp, FakeSession]:
    fake = FakeSession(view, **session)
    return DeployApp(fake, Look(zone=UTC)), fake


def main(pilot: Pilot) -> MainScreen:
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, MainScreen)
    return screen


def names(pilot: Pilot) -> list[str]:
    return [row.key for row in main(pilot).table.rows]


async def test_the_filter_works_with_every_letter_and_stays_when_kept() -> None:
    app, session = make()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("slash", *"state:dr")
        assert names(pilot) == [f"voice-a-{number}" for number in range(1, 6)]
        await pilot.press("enter")
        assert "5 of 12 workers" in main(pilot).filter_line.text()
        await pilot.press("j", "d")
        assert app.screen is main(pilot), "voice-a-2 drains already: nothing to confirm"
        await pilot.press("escape", "escape")
        assert len(names(pilot)) == 12
    assert session.sent == []


async def test_escape_drops_a_filter_while_it_is_typed_and_letters_are_only_text() -> None:
    app, session = make()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("slash", *"dDcq?s z/")
        assert main(pilot).filter_line.text() == "/ dDcq?s z/"
        await pilot.press("escape")
        assert len(names(pilot)) == 12
        assert app.focused is main(pilot).table
    assert session.sent == []


async def test_s_sorts_by_one_column_after_the_other_and_comes_back() -> None:
    app, _ = make()
    async with app.run_test(size=WIDE) as pilot:
        own = names(pilot)
        seen = []
        for _ in range(7):
            await pilot.press("s")
            seen.append(names(pilot))
        assert seen[-1] == own
        assert seen[3][0] == "voice-a-3", "by calls, the most first"
        assert main(pilot).table.cursor == "voice-a-1", "the cursor stays on its worker"


async def test_z_shows_only_workers_with_a_finding() -> None:
    app, _ = make(fleets.LOST)
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("z")
        assert names(pilot) == ["voice-a-3", "voice-a-4"]
        await pilot.press("z")
        assert len(names(pilot)) == 12


async def test_marks_are_counted_also_where_a_filter_hides_them() -> None:
    app, _ = make()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("asterisk")
        assert "12 marked" in main(pilot).filter_line.text()
        await pilot.press("slash", *"voice-b", "enter")
        assert "12 marked (5 not shown)" in main(pilot).filter_line.text()
        await pilot.press("escape")
        assert "marked" not in main(pilot).filter_line.text()
        await pilot.press("space")
        assert "1 marked" in main(pilot).filter_line.text()


async def test_read_only_has_no_keys_that_act_and_says_so() -> None:
    app, session = make(read_only=True)
    async with app.run_test(size=WIDE) as pilot:
        assert "[RO]" in main(pilot).header.text()
        keys = main(pilot).keys.text()
        assert "Drain" not in keys
        assert "Cordon" not in keys
        await pilot.press("d", "D", "c", "space", "asterisk", "d")
        assert app.screen is main(pilot)
        assert main(pilot).table.marks == frozenset()
        await pilot.press("enter", "d", "c")
        assert isinstance(app.screen, DetailsScreen)
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = app.screen.page.text()
        assert "DETAILS" in text
        for word in ("Drain", "Cordon", "cordon"):
            assert word not in text
    assert session.sent == []


async def test_without_workers_the_keys_that_need_one_are_grey() -> None:
    app, session = make(fleets.EMPTY)
    async with app.run_test(size=WIDE) as pilot:
        shown = {key.description: key.enabled for key in main(pilot).keys._keys}
        assert not shown["Drain"]
        assert not shown["Details"]
        assert shown["Filter"]
        await pilot.press("d", "c", "D", "enter", "space", "asterisk")
        assert app.screen is main(pilot)
        session.shown = fleets.STEADY
        app._beat()
        await pilot.pause()
        shown = {key.description: key.enabled for key in main(pilot).keys._keys}
        assert shown["Drain"]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
async def test_the_last_line_fits_and_never_loses_help_and_quit(width: int) -> None:
    app, _ = make()
    async with app.run_test(size=(width, 24)) as pilot:
        text = main(pilot).keys.text()
        assert len(text) <= width
        assert text.rstrip().endswith("? Help  q Quit")


async def test_keys_in_the_last_line_can_be_clicked() -> None:
    app, _ = make()
    async with app.run_test(size=WIDE) as pilot:
        at = main(pilot).keys.text().index("enter")
        await pilot.click("KeyLine", offset=(at, 0))
        await pilot.pause()
        assert isinstance(app.screen, DetailsScreen)


async def test_every_key_of_the_help_is_bound_and_no_later_key_is_there_yet() -> None:
    app, _ = make()
    async with app.run_test(size=WIDE) as pilot:
        bound = set(main(pilot).active_bindings)
        assert not bound & {"g", "t", "U", "X"}
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        text = app.screen.page.text()
        for key in (
            "d",
            "c",
            "D",
            "enter",
            "/",
            "space",
            "*",
            "s",
            "z",
            "?",
            "q",
            "R",
            "P",
            "a",
            "j ↓",
            "k ↑",
            "esc",
            "y",
        ):
            assert any(line.startswith(f"{key} ") for line in text.splitlines()), key
        await pilot.press("escape")
        assert app.screen is main(pilot)


async def test_the_help_says_what_leaving_does_to_this_fleet() -> None:
    for leaving in (None, "Leave, and stop it all"):
        app = DeployApp(FakeSession(fleets.MID_DRAIN), Look(zone=UTC), leaving=leaving)
        async with app.run_test(size=WIDE) as pilot:
            await pilot.press("question_mark")
            assert isinstance(app.screen, HelpScreen)
            text = app.screen.page.text()
        assert ("drains go on" in text) == (leaving is None)
        assert ("stop it all" in text) == (leaving is not None)


async def test_the_command_palette_has_every_action_and_nothing_of_textuals_own() -> None:
    app, _ = make()
    async with app.run_test(size=WIDE) as pilot:
        commands = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        assert "palette" not in commands, "it is open"
        for title in ("Drain", "Cordon", "Drain version", "Details", "Filter", "Sort", "Findings", "Help", "Quit"):
            assert title in commands
        assert {"Theme: dark", "Theme: light", "Theme: contrast"} <= commands.keys()
        assert not commands.keys() & {"Screenshot", "Keys", "Maximize", "Theme"}
        await pilot.press("ctrl+p")
        assert isinstance(app.screen, CommandPalette)
        await pilot.press("escape")
        commands["Theme: light"]()
        await pilot.pause()
        assert app.theme == "light"
        assert main(pilot).look.palette.name == "light"


async def test_details_show_live_calls_and_audit_and_go_back() -> None:
    app, session = make()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("j", "enter")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, DetailsScreen)
        text = screen.page.text()
        for part in ("booking-4411", "3m51s", "globex", "none since", "deployment.drain_started", '"draining": true'):
            assert part in text
        session.shown = replace(session.shown, rows=session.shown.rows[2:])
        app._beat()
        assert "no longer in the fleet" in screen.title_line.text()
        await pilot.press("end", "pageup", "k", "home", "escape")
        assert app.screen is main(pilot)


async def test_a_theme_chosen_while_details_are_open_holds_everywhere() -> None:
    app, session = make()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        themes = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        themes["Theme: contrast"]()
        await pilot.pause()
        assert isinstance(app.screen, DetailsScreen)
        assert app.screen.look.palette.name == main(pilot).look.palette.name == "contrast"
        session.shown = replace(session.shown, rows=session.shown.rows[1:])
        app._beat()
        await pilot.pause()
        shown = {key.description: key.enabled for key in app.screen.keys._keys}
        assert not shown["Drain"], "there is nobody to drain any more"
        await pilot.press("question_mark", "escape", "c", "d")
        assert isinstance(app.screen, DetailsScreen)
    assert session.sent == []


async def test_the_fleets_order_of_keys_and_resizing_keep_the_cursor() -> None:
    app, _ = make()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("end")
        cursor = main(pilot).table.cursor
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert main(pilot).table.cursor == cursor
        table = main(pilot).table
        assert table.scroll_offset.y <= len(table.rows) - 1 < table.scroll_offset.y + table.size.height
        assert "to 12 of 12" in main(pilot).filter_line.text()


async def test_double_click_opens_the_details() -> None:
    app, _ = make()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.click("FleetTable", offset=(5, 3), times=2)
        await pilot.pause()
        assert isinstance(app.screen, DetailsScreen)
        assert app.screen.key == "voice-a-4"


async def test_q_leaves_at_once_and_ctrl_c_says_interrupted() -> None:
    app, _ = make()
    async with app.run_test() as pilot:
        await pilot.press("q")
    assert app.return_value == 0
    app, _ = make()
    async with app.run_test() as pilot:
        await pilot.press("d", "ctrl+c")
    assert app.return_value == 130


async def test_a_terminal_that_went_away_ends_the_dashboard() -> None:
    gone = [False]
    app = DeployApp(FakeSession(fleets.STEADY), Look(zone=UTC), terminal_gone=lambda: gone[0])
    async with app.run_test() as pilot:
        gone[0] = True
        app._beat()
        await pilot.pause()
    assert app.return_value == 129


async def test_the_header_says_what_is_wrong_with_the_watching() -> None:
    app, session = make(fleets.LOST)
    async with app.run_test(size=WIDE) as pilot:
        assert "11 of 12 heard" in main(pilot).header.text()
        session.trouble = "fleet.yaml:3: expected a list"
        app._beat()
        assert "last good one holds" in main(pilot).header.text()


async def test_hostile_text_is_shown_as_text_everywhere() -> None:
    """A name, a version, an event and a reason that look like markup reach every screen and break none."""
    name = "[/x][bold]"
    row = replace(fleets.STEADY.rows[0], key=name, target=name, version="v1[/]", last_failure="[red]no[/red]")
    event = replace(fleets.STEADY.events[0], text="[/] happened", detail="[link=x]")
    view = replace(
        fleets.STEADY, fleet="[/fleet]", rows=(row, *fleets.STEADY.rows), events=(event,), verdict_reason="[/why]"
    )
    app, session = make(view)
    session.live = None
    async with app.run_test(size=WIDE) as pilot:
        assert "[/fleet]" in main(pilot).header.text()
        assert "[/] happened" in main(pilot).events.text()
        assert "[/why]" in main(pilot).verdict.text()
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, DetailsScreen)
        assert name in app.screen.title_line.text()
        await pilot.press("escape", "d")
        await pilot.pause()
        assert "not asked" in main(pilot).results.text()


async def test_first_frame_does_not_wait_for_the_network() -> None:
    """The view is on screen before watching has begun."""
    order: list[str] = []

    class SlowSession(FakeSession):
        async def run(self) -> None:
            order.append(main_text())
            await super().run()

    app = DeployApp(SlowSession(fleets.STEADY), Look(zone=UTC))

    def main_text() -> str:
        screen = app.screen_stack[0]
        assert isinstance(screen, MainScreen)
        return screen.header.text()

    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        await pilot.pause()
    assert order
    assert "voice-prod" in order[0]
