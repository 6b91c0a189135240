"""From a key to requests and what is seen of them: always the worker that was meant, always told to the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

import msgspec

from openrtc_tui.app import DeployApp
from openrtc_tui.operations.request import Answer, Ask
from openrtc_tui.screens.confirm import ConfirmScreen
from openrtc_tui.screens.main import MainScreen
from openrtc_tui.state.view import FleetView, Verdict, VerdictWord, WorkerState
from openrtc_tui.widgets.paint import Look
from tests.screens import fleets
from tests.screens.fakes import FakeSession

if TYPE_CHECKING:
    from textual.pilot import Pilot

STEADY = fleets.STEADY


def make(view: FleetView = STEADY, **session) -> tuple[DeployApp, FakeSession]:
    fake = FakeSession(view, **session)
    return DeployApp(fake, Look(zone=UTC)), fake


def main(pilot: Pilot) -> MainScreen:
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, MainScreen)
    return screen


async def beat(app: DeployApp, pilot: Pilot) -> None:
    app._beat()
    await pilot.pause()


async def test_the_action_takes_the_worker_that_was_under_the_cursor_when_the_key_was_pressed() -> None:
    app, session = make()
    async with app.run_test() as pilot:
        await pilot.press("j", "d")
        session.shown = replace(STEADY, rows=tuple(reversed(STEADY.rows)))
        await beat(app, pilot)
        await pilot.press("y")
        await pilot.pause()
    assert [ask.key for ask in session.sent] == ["voice-a-2"]


async def test_nothing_is_sent_to_a_worker_that_was_restarted_while_the_confirmation_was_open() -> None:
    app, session = make()
    async with app.run_test() as pilot:
        await pilot.press("j", "d")
        changed = replace(STEADY.rows[1], boot_id="another-boot")
        session.shown = replace(STEADY, rows=(STEADY.rows[0], changed, *STEADY.rows[2:]))
        await pilot.press("y")
        await pilot.pause()
        text = main(pilot).results.text()
    assert session.sent == []
    assert "not asked" in text
    assert "another boot" in text


async def test_nothing_is_sent_when_the_worker_became_the_last_one_meanwhile() -> None:
    app, session = make()
    async with app.run_test() as pilot:
        await pilot.press("d")
        assert isinstance(app.screen, ConfirmScreen)
        alone = (STEADY.rows[0], *(replace(row, accepting=False) for row in STEADY.rows[1:]))
        session.shown = replace(STEADY, rows=alone)
        await pilot.press("y")
        await pilot.pause()
        text = main(pilot).results.text()
    assert session.sent == []
    assert "last accepting worker" in text


async def test_results_show_what_was_asked_the_answer_and_the_effect_until_they_are_dismissed() -> None:
    app, session = make()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "d", "y")
        await pilot.pause()
        assert "drain voice-a-2" in main(pilot).results.text()
        assert "started" in main(pilot).results.text()

        draining = fleets.worker(
            "voice-a-2", "v1.0.0", WorkerState.DRAINING, 3, oldest=240, deadline=fleets.AT + 3000
        )
        session.shown = replace(STEADY, rows=(STEADY.rows[0], draining, *STEADY.rows[2:]))
        await beat(app, pilot)
        assert "draining, 3 of 4 calls live, cut in 50m" in main(pilot).results.text()

        proven = Verdict(VerdictWord.PROVEN)
        drained = fleets.worker("voice-a-2", "v1.0.0", WorkerState.DRAINED, 0, verdict=proven)
        session.shown = replace(STEADY, rows=(STEADY.rows[0], drained, *STEADY.rows[2:]))
        await beat(app, pilot)
        assert "drained, dropped 0 PROVEN" in main(pilot).results.text()

        await pilot.press("j", "k")
        assert main(pilot).results.display
        await pilot.press("escape")
        assert main(pilot).results.text() == ""
        assert not main(pilot).results.display


async def test_a_cordon_that_was_taken_back_says_so_and_never_still_serving() -> None:
    cordoned = fleets.worker("voice-a-2", "v1.0.0", WorkerState.CORDONED, 3)
    app, session = make()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "c", "y")
        await pilot.pause()
        session.shown = replace(STEADY, rows=(STEADY.rows[0], cordoned, *STEADY.rows[2:]))
        await beat(app, pilot)
        assert "cordon voice-a-2  done       cordoned" in main(pilot).results.text()
        await pilot.press("c", "y")
        await pilot.pause()
        session.shown = STEADY
        await beat(app, pilot)
        lines = main(pilot).results.text().splitlines()
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "cordon voice-a-2 done taken back since",
        "uncordon voice-a-2 done takes calls",
    ]


async def test_a_request_under_way_is_shown_at_once_and_cannot_be_dismissed() -> None:
    app, session = make()
    session.hold = asyncio.Event()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("d", "y")
        await pilot.pause()
        assert "asking" in main(pilot).results.text()
        await pilot.press("escape", "escape")
        assert "asking" in main(pilot).results.text()
        session.hold.set()
        await pilot.pause()
        await pilot.pause()
        assert "started" in main(pilot).results.text()
        await pilot.press("escape")
        assert main(pilot).results.text() == ""


async def test_a_lost_answer_is_unknown_and_never_failed_and_stops_the_rest() -> None:
    app, session = make()

    def answer(ask: Ask) -> Answer:
        return Answer(ask=ask, outcome="unknown", detail="no answer came back: it may have taken the drain")

    session.answer = answer
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("space", "j", "space", "d", "2", "enter")
        await pilot.pause()
        text = main(pilot).results.text()
    assert "unknown" in text
    assert "not asked" in text
    assert "failed" not in text


async def test_what_was_unknown_is_known_once_the_worker_names_the_request() -> None:
    app, session = make()
    session.answer = lambda ask: Answer(ask=ask, outcome="unknown", detail="no answer came back")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "d", "y")
        await pilot.pause()
        assert "unknown" in main(pilot).results.text()

        draining = fleets.worker("voice-a-2", "v1.0.0", WorkerState.DRAINING, 3, oldest=240)
        session.shown = replace(STEADY, rows=(STEADY.rows[0], draining, *STEADY.rows[2:]))
        await beat(app, pilot)
        assert "unknown" in main(pilot).results.text(), "somebody else's drain proves nothing"

        assert draining.snapshot is not None
        assert draining.snapshot.drain is not None
        drain = msgspec.structs.replace(draining.snapshot.drain, op_id=session.sent[0].op_id)
        ours = replace(draining, snapshot=msgspec.structs.replace(draining.snapshot, drain=drain))
        session.shown = replace(STEADY, rows=(STEADY.rows[0], ours, *STEADY.rows[2:]))
        await beat(app, pilot)
        assert "unknown" not in main(pilot).results.text()
        assert "started" in main(pilot).results.text()


async def test_a_refusal_is_told_in_the_workers_own_words() -> None:
    app, session = make()
    session.answer = lambda ask: Answer(ask=ask, outcome="refused", detail="acting is off: set operator_keys")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("d", "y")
        await pilot.pause()
        text = main(pilot).results.text()
    assert "refused" in text
    assert "acting is off: set operator_keys" in text


async def test_what_cannot_be_asked_says_why_without_a_dialog() -> None:
    app, session = make(fleets.LOST)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "j", "j", "d")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
        assert "is lost" in main(pilot).results.text()
    assert session.sent == []


async def test_marks_end_with_the_action_that_they_were_for() -> None:
    app, _ = make()
    async with app.run_test() as pilot:
        await pilot.press("space", "j", "space", "d", "escape")
        assert len(main(pilot).table.marks) == 2, "a cancelled action keeps them"
        await pilot.press("d", "2", "enter")
        await pilot.pause()
        assert main(pilot).table.marks == frozenset()


async def test_more_results_than_fit_keep_those_that_need_a_look() -> None:
    rows = tuple(fleets.serving(f"voice-a-{number}", 1, 60, version="v1.0.0") for number in range(1, 12))
    app, session = make(replace(STEADY, rows=rows))
    session.answer = lambda ask: Answer(
        ask=ask, outcome="refused" if ask.key == "voice-a-10" else "started", detail="said so"
    )
    async with app.run_test(size=(120, 40)) as pilot:
        for _ in range(10):
            await pilot.press("space", "j")
        await pilot.press("d", *"10", "enter")
        await pilot.pause()
        lines = main(pilot).results.text().splitlines()
    assert len(lines) == 7
    assert any("voice-a-10" in line and "refused" in line for line in lines)
    assert "5 more" in lines[-1]


async def test_details_act_on_their_own_worker() -> None:
    app, session = make()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "j", "enter", "d", "y")
        await pilot.pause()
    assert [ask.key for ask in session.sent] == ["voice-a-3"]


async def test_draining_a_version_never_takes_marked_workers_instead_of_an_untagged_one() -> None:
    untagged = replace(STEADY.rows[0], version=None, actionable=False)
    app, session = make(replace(STEADY, rows=(untagged, *STEADY.rows[1:])))
    async with app.run_test() as pilot:
        await pilot.press("j", "space", "k", "D")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
        text = main(pilot).results.text()
    assert "has no version" in text
    assert session.sent == []
