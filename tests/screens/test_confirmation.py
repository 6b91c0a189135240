"""The confirmation: easy to leave, never confirmed by accident. Each clause of the design's *Keys* is a test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

import msgspec
import pytest
from textual import events

from openrtc_tui.app import DeployApp
from openrtc_tui.operations.intent import intend
from openrtc_tui.screens.confirm import ConfirmScreen
from openrtc_tui.screens.dialog import CancelButton
from openrtc_tui.screens.main import MainScreen
from openrtc_tui.widgets.confirmation import fact_lines
from openrtc_tui.widgets.paint import Look, width_of
from openrtc_worker.contract.snapshot import Limits
from tests.screens import fleets
from tests.screens.fakes import FakeSession

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from openrtc_tui.state.view import FleetView, WorkerRow

STEADY = fleets.STEADY


def app_on(view=STEADY, **session) -> tuple[DeployApp, FakeSession]:
    fake = FakeSession(view, **session)
    return DeployApp(fake, Look(zone=UTC)), fake


def dialog(pilot: Pilot) -> ConfirmScreen:
    screen = pilot.app.screen
    assert isinstance(screen, ConfirmScreen)
    return screen


def value(pilot: Pilot, field: str) -> str:
    return pilot.app.screen.query_one(field).value


async def test_names_worker_version_calls_tenants_deadline_and_the_room_that_stays() -> None:
    app, _ = app_on()
    async with app.run_test() as pilot:
        await pilot.press("j", "d")
        said = dialog(pilot).title_line.text() + dialog(pilot).facts.text()
    for part in ("voice-a-2", "v1.0.0", "4 calls", "3m51s", "acme 3", "globex 1", "1h", "49 on v1.0.0"):
        assert part in said


async def test_cancel_has_the_focus_and_enter_cancels() -> None:
    app, session = app_on()
    async with app.run_test() as pilot:
        await pilot.press("d")
        assert isinstance(app.focused, CancelButton)
        await pilot.press("enter")
        assert isinstance(app.screen, MainScreen)
    assert session.sent == []


async def test_y_confirms() -> None:
    app, session = app_on()
    async with app.run_test() as pilot:
        await pilot.press("j", "d", "y")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
    assert [(ask.action, ask.key, ask.boot_id) for ask in session.sent] == [("drain", "voice-a-2", "boot-voice-a-2")]


@pytest.mark.parametrize("key", ["d", "D", "c", "q", "space", "j", "s", "z"])
async def test_a_repeated_or_foreign_key_does_nothing(key: str) -> None:
    app, session = app_on()
    async with app.run_test() as pilot:
        await pilot.press("d", key, key, key)
        dialog(pilot)
        assert len(app.screen_stack) == 2
    assert session.sent == []


async def test_escape_cancels_from_everywhere() -> None:
    app, session = app_on()
    async with app.run_test() as pilot:
        await pilot.press("d", "escape")
        assert isinstance(app.screen, MainScreen)
        await pilot.press("d", "tab", *"why", "escape")
        assert isinstance(app.screen, MainScreen)
        await pilot.press("D", *"v1", "escape")
        assert isinstance(app.screen, MainScreen)
    assert session.sent == []


async def test_in_the_reason_letters_are_text_and_enter_goes_back_to_cancel() -> None:
    app, session = app_on()
    async with app.run_test() as pilot:
        await pilot.press("d", "shift+tab", *"yd", "enter")
        assert value(pilot, "#reason") == "yd"
        assert isinstance(app.focused, CancelButton), "enter went back to Cancel"
        dialog(pilot)  # and did not press it
        assert session.sent == []
        await pilot.press("y")
        await pilot.pause()
    assert [ask.reason for ask in session.sent] == ["yd"]


async def press_at_once(app: DeployApp, pilot: Pilot, *keys: str) -> None:
    """Keys that are all there before the first of them is handled: a fast hand, or a busy machine."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))
    for _ in keys:
        await pilot.pause()
    await pilot.pause()


@pytest.mark.parametrize("keys", [("enter", "y"), ("escape", "y"), ("enter", "enter"), ("enter", "escape")])
async def test_once_cancelled_no_key_confirms_it_and_none_ends_the_app(keys: tuple[str, ...]) -> None:
    app, session = app_on()
    async with app.run_test() as pilot:
        await pilot.press("d")
        await press_at_once(app, pilot, *keys)
        assert isinstance(app.screen_stack[0], MainScreen)
        assert not isinstance(app.screen, ConfirmScreen)
    assert session.sent == []


async def test_enter_pressed_twice_confirms_a_typed_text_once() -> None:
    app, session = app_on(two_versions())
    async with app.run_test() as pilot:
        await pilot.press("D", *"v1.0.0")
        await press_at_once(app, pilot, "enter", "enter")
        assert isinstance(app.screen, MainScreen)
    assert [ask.key for ask in session.sent] == ["voice-a-1", "voice-a-2"]


@pytest.mark.parametrize("keys", [("d", "d"), ("D", "D"), ("d", "enter"), ("d", "question_mark"), ("c", "d")])
async def test_keys_pressed_before_the_dialog_came_up_open_nothing_on_top_of_it(keys: tuple[str, ...]) -> None:
    app, session = app_on()
    async with app.run_test() as pilot:
        await press_at_once(app, pilot, *keys)
        assert [type(screen) for screen in app.screen_stack] == [MainScreen, ConfirmScreen]
    assert session.sent == []


@pytest.mark.parametrize("key", ["enter", "question_mark"])
async def test_a_page_opens_once_however_fast_its_key_is_repeated(key: str) -> None:
    app, _ = app_on()
    async with app.run_test() as pilot:
        await press_at_once(app, pilot, key, key)
        assert len(app.screen_stack) == 2


async def test_nothing_is_asked_when_the_fleet_file_became_read_only_while_the_dialog_was_open() -> None:
    app, session = app_on()
    async with app.run_test() as pilot:
        await pilot.press("d")
        session.read_only = True
        await pilot.press("y")
        await pilot.pause()
        main = app.screen
        assert isinstance(main, MainScreen)
        said = main.results.text()
    assert session.sent == []
    assert "not asked" in said
    assert "watching only" in said


async def test_tab_reaches_the_reason() -> None:
    app, _ = app_on()
    async with app.run_test() as pilot:
        await pilot.press("d", "tab")
        assert app.focused is not None
        assert app.focused.id == "reason"


async def test_a_whole_version_is_typed_exactly() -> None:
    app, session = app_on(fleets.MID_DRAIN)
    taking = len([row for row in fleets.MID_DRAIN.rows if row.version == "v1.0.0"])
    assert taking
    app, session = app_on(two_versions())
    async with app.run_test() as pilot:
        await pilot.press("D")
        assert app.focused is not None
        assert app.focused.id == "challenge"
        await pilot.press("y", "enter")
        dialog(pilot)
        assert value(pilot, "#challenge") == "y"
        await pilot.press("backspace", *"v1.0.", "enter")
        dialog(pilot)
        await pilot.press("0", "space", "enter")
        dialog(pilot)
        await pilot.press("backspace", "enter")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
    assert [ask.key for ask in session.sent] == ["voice-a-1", "voice-a-2"]


async def test_y_never_confirms_where_something_has_to_be_typed() -> None:
    app, session = app_on(two_versions())
    async with app.run_test() as pilot:
        await pilot.press("D", *"v1.0.0", "tab", "tab")
        assert isinstance(app.focused, CancelButton)
        await pilot.press("y")
        dialog(pilot)
        await pilot.press("enter")
        assert isinstance(app.screen, MainScreen)
    assert session.sent == []


async def test_enter_in_the_reason_confirms_what_was_typed_and_else_goes_to_what_is_missing() -> None:
    app, session = app_on(two_versions())
    async with app.run_test() as pilot:
        await pilot.press("D", "tab", *"why", "enter", "enter")
        screen = dialog(pilot)
        assert app.focused is not None
        assert app.focused.id == "challenge"
        assert screen.challenge_prompt.text().strip() == "Not typed yet. Type v1.0.0 to drain:"
        assert session.sent == []
        await pilot.press(*"v1.0.0", "tab", "enter")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
    assert [(ask.key, ask.reason) for ask in session.sent] == [("voice-a-1", "why"), ("voice-a-2", "why")]


async def test_what_enter_does_stands_beside_what_it_does_wherever_the_focus_is() -> None:
    app, _ = app_on(two_versions())
    async with app.run_test() as pilot:
        await pilot.press("d")
        screen = dialog(pilot)
        assert (screen.cancel.text(), screen.label.text()) == ("[ enter Cancel ]", "y  Drain")
        await pilot.press("tab")
        assert screen.cancel.text().strip() == "[ Cancel ]"
        assert screen.label.text().split() == ["enter", "Back", "y", "Drain"]


async def test_several_marked_ask_for_their_number() -> None:
    app, session = app_on(two_versions())
    async with app.run_test() as pilot:
        await pilot.press("space", "j", "space", "d", "3", "enter")
        dialog(pilot)
        await pilot.press("backspace", "2", "enter")
        await pilot.pause()
    assert [ask.key for ask in session.sent] == ["voice-a-1", "voice-a-2"]


async def test_the_last_worker_asks_for_last_and_says_so_in_the_reason() -> None:
    app, session = app_on()
    async with app.run_test() as pilot:
        await pilot.press("asterisk", "d", *"4", "enter")
        assert "nobody" in dialog(pilot).facts.text()
        await pilot.press("backspace", *"LAST", "enter")
        await pilot.pause()
    assert len(session.sent) == 4
    assert all(ask.reason == "override last-worker:" for ask in session.sent)


async def test_mouse_cancels_and_confirms() -> None:
    app, session = app_on()
    async with app.run_test() as pilot:
        await pilot.press("d")
        await pilot.click(CancelButton)
        assert isinstance(app.screen, MainScreen)
        await pilot.press("d")
        await pilot.click("#confirm")
        await pilot.pause()
    assert [ask.key for ask in session.sent] == ["voice-a-1"]


async def test_mouse_does_not_confirm_before_the_text_is_right() -> None:
    app, session = app_on(two_versions())
    async with app.run_test() as pilot:
        await pilot.press("D", *"v1.0")
        await pilot.click("#confirm")
        dialog(pilot)
    assert session.sent == []


async def test_a_cordoned_worker_is_uncordoned() -> None:
    from dataclasses import replace

    from openrtc_tui.state.view import WorkerState

    cordoned = fleets.worker("voice-a-1", "v1.0.0", WorkerState.CORDONED, 3, oldest=60)
    view = replace(STEADY, rows=(cordoned, *STEADY.rows[1:]))
    app, session = app_on(view)
    async with app.run_test() as pilot:
        main = app.screen
        assert isinstance(main, MainScreen)
        assert "c Uncordon" in main.keys.text()
        await pilot.press("j")
        assert "c Cordon" in main.keys.text(), "the next worker takes calls"
        await pilot.press("k", "c")
        assert "Uncordon voice-a-1?" in dialog(pilot).title_line.text()
        await pilot.press("y")
        await pilot.pause()
    assert [ask.action for ask in session.sent] == ["uncordon"]


def two_versions():
    """Two workers of each of two versions, all serving."""
    from dataclasses import replace

    return replace(
        fleets.MID_DRAIN,
        rows=(
            fleets.serving("voice-a-1", 2, 60, version="v1.0.0"),
            fleets.serving("voice-a-2", 1, 60, version="v1.0.0"),
            fleets.serving("voice-b-1", 2, 60),
            fleets.serving("voice-b-2", 1, 60),
        ),
    )


def waiting(row: WorkerRow) -> WorkerRow:
    """The same worker, one that idles after its drain."""
    assert row.snapshot is not None
    limits = Limits(drain_timeout=3600, after_drain="wait")
    return replace(row, snapshot=msgspec.structs.replace(row.snapshot, limits=limits))


def said_of(view: FleetView, *keys: str) -> str:
    lines = fact_lines(intend(view, keys, "drain"), Look(zone=UTC), 66)
    for line in lines:
        assert width_of(line) <= 66
    return " ".join("".join(span.text for span in line) for line in lines)


def test_says_whether_a_drained_worker_exits_or_idles_until_its_platform_ends_it() -> None:
    first, second, *rest = STEADY.rows
    view = replace(STEADY, rows=(waiting(first), second, *rest))
    assert "until the platform ends it" in said_of(view, first.key)
    assert "exits" not in said_of(view, first.key)
    assert "finish, then exits." in said_of(view, second.key)
    assert "then exit; one of them only when the platform ends it." in said_of(view, first.key, second.key)
    all_wait = replace(view, rows=(waiting(first), waiting(second), *rest))
    assert "then stay drained, idle, until the platform ends them." in said_of(all_wait, first.key, second.key)
