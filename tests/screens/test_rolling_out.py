"""P and R: the plan is seen before anything is done, and only what was confirmed is carried out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

import msgspec
import pytest

from openrtc_tui.app import DeployApp
from openrtc_tui.screens.ask import AskScreen
from openrtc_tui.screens.dialog import CancelButton
from openrtc_tui.screens.main import MainScreen
from openrtc_tui.screens.plan import PlanScreen
from openrtc_tui.widgets.paint import Look
from tests.screens import plans
from tests.screens.fakes import FakeSession, FakeSteering

if TYPE_CHECKING:
    from openrtc_tui.operations.plans.plan import Plan
    from openrtc_tui.state.view import FleetView


def on(*known: Plan, view: FleetView = plans.GATED, read_only: bool = False) -> tuple[DeployApp, FakeSteering]:
    """The dashboard over this view, and a steering that has these plans."""
    session = FakeSession(view, read_only=read_only)
    steering = session.steering or FakeSteering()
    for plan in known:
        steering.plans[plan.kind, plan.to_version] = plan
        if plan.kind == "rollback":
            steering.plans.setdefault(("rollback", None), plan)
    return DeployApp(session, Look(zone=UTC)), steering


def plan_screen(app: DeployApp) -> PlanScreen:
    screen = app.screen
    assert isinstance(screen, PlanScreen)
    return screen


def main_screen(app: DeployApp) -> MainScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, MainScreen)
    return screen


# ---------------------------------------------------------------------------------------------- what it shows


async def test_a_rollback_goes_to_the_version_before_and_shows_what_on_call_wants_to_know() -> None:
    app, steering = on(plans.COLD_ROLLBACK)
    async with app.run_test(size=(120, 50)) as pilot:
        await pilot.press("R")
        await pilot.pause()
        screen = plan_screen(app)
        said = screen.page.text()
        assert "Roll back to v1.0.0?" in screen.title_line.text()
        assert "v1.0.0" in screen.challenge_prompt.text()
    assert steering.wanted == [("rollback", None)], "which version it is, the fleet's own memory says"
    assert "27 calls live on v2.0.0, the oldest for 3m31s; none is moved." in said
    assert "Raise" in said, "the warnings"
    assert "manifest 8" in said, "the one after the one that holds"
    assert "manifest 9" in said
    assert "7  watch v2.0.0" in said
    assert ["v1.0.0", "none", "75"] in [line.split() for line in said.splitlines()], "room now and after"
    assert "Up to 9 workers run at once meanwhile." in said


async def test_a_promotion_offers_the_versions_with_ready_workers_that_do_not_have_the_calls_alone() -> None:
    third = plans.holding(replace(plans.GATED.rows[0], key="voice-c-1", version="v3.0.0"), 7, "v2.0.0")
    unready = replace(third, key="voice-d-1", version="v4.0.0", ready_to_take=False)
    back = msgspec.structs.replace(plans.PROMOTE, to_version="v1.0.0", from_version="v2.0.0")
    other = msgspec.structs.replace(back, to_version="v3.0.0")
    app, steering = on(back, other, view=replace(plans.GATED, rows=(*plans.GATED.rows, third, unready)))
    async with app.run_test() as pilot:
        await pilot.press("P")
        await pilot.pause()
        assert "Promote v1.0.0?" in plan_screen(app).title_line.text()
        assert "1 of 2" in plan_screen(app).title_line.text()
        await pilot.press("down")
        await pilot.pause()
        assert "Promote v3.0.0?" in plan_screen(app).title_line.text()
        await pilot.press("down")
        await pilot.pause()
        assert plan_screen(app).version == "v1.0.0"
    assert steering.wanted == [("promote", "v1.0.0"), ("promote", "v3.0.0"), ("promote", "v1.0.0")]


async def test_nothing_to_promote_is_said_without_a_dialog() -> None:
    rows = tuple(replace(row, ready_to_take=False) for row in plans.GATED.rows)
    app, steering = on(view=replace(plans.GATED, rows=rows))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("P")
        await pilot.pause()
        assert "no other version has a worker that is ready" in main_screen(app).results.text()
    assert steering.wanted == []


async def test_the_dialog_opens_before_the_plan_is_there_and_can_be_left_meanwhile() -> None:
    app, steering = on(plans.ROLLBACK)
    steering.hold = asyncio.Event()
    async with app.run_test() as pilot:
        await pilot.press("R")
        screen = plan_screen(app)
        assert "Looking at the workers" in screen.page.text()
        await pilot.press("y", "y")
        assert app.screen is screen, "nothing can be confirmed yet"
        await pilot.press("enter")
        assert isinstance(app.screen, MainScreen), "Cancel has the focus"
        steering.hold.set()
        await pilot.pause()
    assert steering.carried_out == []


async def test_why_there_is_no_plan_is_said_where_it_was_asked_for() -> None:
    app, _ = on()
    async with app.run_test() as pilot:
        await pilot.press("R")
        await pilot.pause()
        assert "no worker of None was heard" in plan_screen(app).page.text()
        await pilot.press("enter")
        assert isinstance(app.screen, MainScreen)


# ------------------------------------------------------------------------------------------------- confirming


async def test_a_rollback_is_carried_out_when_its_version_was_typed_exactly() -> None:
    app, steering = on(plans.ROLLBACK)
    async with app.run_test() as pilot:
        await pilot.press("R")
        await pilot.pause()
        await pilot.press("y", "enter")
        assert plan_screen(app).challenge.value == "y", "letters are text here"
        await pilot.press("backspace", *"v1.0.", "enter")
        plan_screen(app)
        assert steering.carried_out == []
        await pilot.press("0", "enter")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
    assert [plan.plan_id for plan in steering.carried_out] == [plans.ROLLBACK.plan_id]


async def test_enter_pressed_twice_carries_a_plan_out_once() -> None:
    app, steering = on(plans.ROLLBACK)
    async with app.run_test() as pilot:
        await pilot.press("R")
        await pilot.pause()
        await pilot.press(*"v1.0.0")
        screen = plan_screen(app)
        screen.action_confirm()
        screen.action_confirm()
        await pilot.pause()
    assert len(steering.carried_out) == 1


async def test_a_plan_without_a_challenge_takes_a_plain_yes_and_cancel_has_the_focus() -> None:
    back = msgspec.structs.replace(plans.PROMOTE, to_version="v1.0.0")
    app, steering = on(back)
    async with app.run_test() as pilot:
        await pilot.press("P")
        await pilot.pause()
        assert isinstance(app.focused, CancelButton)
        await pilot.press("P", "P", "d", "y")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
    assert steering.carried_out == [back]


@pytest.mark.parametrize("key", ["escape", "enter"])
async def test_a_plan_is_easily_left(key: str) -> None:
    back = msgspec.structs.replace(plans.PROMOTE, to_version="v1.0.0")
    app, steering = on(back)
    async with app.run_test() as pilot:
        await pilot.press("P")
        await pilot.pause()
        await pilot.press(key)
        assert isinstance(app.screen, MainScreen)
    assert steering.carried_out == []


async def test_the_reason_goes_with_the_plan() -> None:
    app, steering = on(plans.ROLLBACK)
    async with app.run_test() as pilot:
        await pilot.press("R")
        await pilot.pause()
        await pilot.press(*"v1.0.0", "tab", *"bad audio")
        assert "enter" in plan_screen(app).label.text(), "enter rolls back from here too"
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
    assert [plan.reason for plan in steering.carried_out] == ["bad audio"]


async def test_enter_in_the_reason_goes_to_the_version_while_that_is_not_typed_and_says_so() -> None:
    app, steering = on(plans.ROLLBACK)
    async with app.run_test() as pilot:
        await pilot.press("R")
        await pilot.pause()
        screen = plan_screen(app)
        await pilot.press("tab", *"bad audio")
        assert screen.label.text().split() == ["enter", "Back", "Roll", "back"]
        await pilot.press("enter", "enter")
        assert plan_screen(app) is screen, "a second enter neither cancels nor confirms"
        assert app.focused is screen.challenge
        assert screen.challenge_prompt.text().strip() == "Not typed yet. Type v1.0.0 to roll back:"
        await pilot.press(*"v1.0.")
        assert screen.challenge_prompt.text().strip() == "Type v1.0.0 to roll back:"
        await pilot.press("enter")
        assert screen.challenge_prompt.text().strip() == "Not the same. Type v1.0.0 to roll back:"
        await pilot.press("0", "tab", "enter")
        await pilot.pause()
    assert [plan.reason for plan in steering.carried_out] == ["bad audio"]


async def test_enter_in_the_reason_of_a_plan_with_nothing_to_type_goes_back_to_cancel() -> None:
    back = msgspec.structs.replace(plans.PROMOTE, to_version="v1.0.0")
    app, steering = on(back)
    async with app.run_test() as pilot:
        await pilot.press("P")
        await pilot.pause()
        assert plan_screen(app).cancel.text() == "[ enter Cancel ]", "what enter does is said where it does it"
        await pilot.press("tab", *"why", "enter")
        assert isinstance(app.focused, CancelButton)
        await pilot.press("y")
        await pilot.pause()
    assert [plan.reason for plan in steering.carried_out] == ["why"]


async def test_with_the_focus_on_cancel_enter_is_said_to_cancel_and_to_do_nothing_else() -> None:
    app, steering = on(plans.ROLLBACK)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("R")
        await pilot.pause()
        screen = plan_screen(app)
        await pilot.press(*"v1.0.0")
        assert (screen.cancel.text().strip(), screen.label.text()) == ("[ Cancel ]", "enter  Roll back")
        await pilot.press("tab", "tab")
        assert (screen.cancel.text(), screen.label.text()) == ("[ enter Cancel ]", "Roll back")
    assert steering.carried_out == []


@pytest.mark.parametrize(("key", "asked"), [("R", "rollback v1.0.0"), ("P", "promote v1.0.0")])
async def test_a_plan_that_was_cancelled_says_once_that_it_was_not_started(key: str, asked: str) -> None:
    known = plans.ROLLBACK if key == "R" else msgspec.structs.replace(plans.PROMOTE, to_version="v1.0.0")
    app, steering = on(known)
    async with app.run_test(size=(120, 40)) as pilot:
        for _ in range(2):
            await pilot.press(key)
            await pilot.pause()
            await pilot.press("escape")
            await pilot.pause()
        said = main_screen(app).results.text()
        assert [" ".join(line.split()) for line in said.splitlines()[1:]] == [f"{asked} not started"]
        await pilot.press(key)
        await pilot.pause()
        await pilot.press(*(known.challenge or "y"), *(["enter"] if known.challenge else []))
        await pilot.pause()
        assert "not started" not in main_screen(app).results.text(), "it was, after all"
    assert len(steering.carried_out) == 1


async def test_a_blocked_plan_says_why_and_can_only_be_left() -> None:
    app, steering = on(plans.BLOCKED)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("R")
        await pilot.pause()
        screen = plan_screen(app)
        assert "not possible now" in screen.title_line.text()
        assert "The Deployment is paused" in screen.page.text()
        assert screen.label.text() == ""
        assert not screen.challenge.display
        assert not screen.reason.display
        await pilot.press("y")
        screen.action_confirm()
        await pilot.pause()
        plan_screen(app)
        await pilot.press("enter")
        assert isinstance(app.screen, MainScreen)
    assert steering.carried_out == []


async def test_what_may_be_overridden_asks_for_its_word_and_says_so_in_the_reason() -> None:
    forced = msgspec.structs.replace(plans.OVERRIDE, to_version="v1.0.0")
    app, steering = on(forced)
    async with app.run_test() as pilot:
        await pilot.press("P")
        await pilot.pause()
        assert "Type SWITCH" in plan_screen(app).challenge_prompt.text()
        await pilot.press(*"v1.0.0", "enter")
        plan_screen(app)
        await pilot.press(*["backspace"] * 6, *"SWITCH", "tab", *"now")
        await pilot.press("shift+tab", "enter")
        await pilot.pause()
    assert [plan.reason for plan in steering.carried_out] == ["override room-short: now"]


async def test_what_was_typed_for_one_version_never_confirms_another() -> None:
    other = msgspec.structs.replace(plans.ROLLBACK, to_version="v0.9.0", challenge="v0.9.0")
    older = plans.holding(replace(plans.GATED.rows[0], key="voice-z-1", version="v0.9.0"), 7, "v2.0.0")
    app, steering = on(plans.ROLLBACK, other, view=replace(plans.GATED, rows=(*plans.GATED.rows, older)))
    async with app.run_test() as pilot:
        await pilot.press("R")
        await pilot.pause()
        await pilot.press(*"v1.0.0", "down")
        await pilot.pause()
        screen = plan_screen(app)
        assert (screen.version, screen.challenge.value) == ("v0.9.0", "")
        await pilot.press("enter")
        plan_screen(app)
        await pilot.press(*"v0.9.0", "enter")
        await pilot.pause()
    assert [plan.to_version for plan in steering.carried_out] == ["v0.9.0"]


async def test_a_plan_that_was_not_begun_says_why_and_stays_in_sight() -> None:
    app, steering = on(plans.ROLLBACK)
    steering.refusal = "another operator carries out a plan on this machine"
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("R")
        await pilot.pause()
        await pilot.press(*"v1.0.0", "enter")
        await pilot.pause()
        said = main_screen(app).results.text()
    assert "rollback v1.0.0" in said
    assert "another operator carries out a plan" in said


@pytest.mark.parametrize("key", ["R", "P", "A", "r"])
async def test_read_only_has_no_key_that_moves_calls(key: str) -> None:
    app, steering = on(plans.ROLLBACK, plans.PROMOTE, read_only=True)
    async with app.run_test() as pilot:
        assert "Rollback" not in main_screen(app).keys.text()
        await pilot.press(key)
        assert isinstance(app.screen, MainScreen)
    assert steering.wanted == []


# ----------------------------------------------------------------------------------- a plan under way, and its end


async def beat(app: DeployApp, pilot) -> str:
    app._beat()
    await pilot.pause()
    return main_screen(app).rollout.text()


async def test_a_plan_under_way_says_what_it_does_since_when_and_what_comes_next() -> None:
    app, steering = on(plans.ROLLBACK)
    async with app.run_test(size=(120, 40)) as pilot:
        assert await beat(app, pilot) == ""
        assert not main_screen(app).rollout.display, "without a plan there is no room taken"
        steering.run = plans.RUNNING
        said = await beat(app, pilot)
        await pilot.press("R", "P")
        assert isinstance(app.screen, MainScreen), "one plan at a time"
        assert "a plan is under way" in main_screen(app).results.text()
    assert "ROLLBACK  v2.0.0 → v1.0.0   step 3 of 4  for 54s, gives up in 29m" in said
    assert "now       drains v2.0.0, wave 1 of 1: 19 of 27 calls live on 3 workers" in said
    assert "next      watch v2.0.0 until its verdict is known" in said
    assert "A Abort" in said


async def test_a_plan_that_another_process_carries_out_is_seen_and_nothing_else_is_begun_meanwhile() -> None:
    app, steering = on(plans.ROLLBACK)
    steering.run = plans.DONE
    steering.others = plans.ELSEWHERE
    async with app.run_test(size=(120, 40)) as pilot:
        said = await beat(app, pilot)
        await pilot.press("R", "P", "A", "r")
        assert isinstance(app.screen, MainScreen), "one plan at a time, and this one is not ours"
        refused = "another plan is carried out now: rollback to v1.0.0 by alice, process 4711"
        assert main_screen(app).results.text().count(refused) == 2
        await pilot.press("escape", "escape")
        assert await beat(app, pilot) == said, "it is seen as long as it goes on"
        steering.others = None
        assert "DONE" in await beat(app, pilot)
    assert "ROLLBACK  v2.0.0 → v1.0.0   step 3 of 4  for 54s, gives up in 29m" in said
    assert "now       drains v2.0.0, wave 1 of 1: 19 of 27 calls live on 3 workers" in said
    assert "by        alice, process 4711: nothing is asked from here" in said
    assert "Abort" not in said
    assert "Dismiss" not in said
    assert (steering.wanted, steering.aborted, steering.resumed, steering.abandoned) == ([], 0, [], [])


async def test_what_the_last_rollback_left_is_the_last_choice_of_the_next() -> None:
    app, steering = on(plans.ROLLBACK, view=plans.left_behind())
    steering.left = "v2.0.0"
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("R")
        await pilot.pause()
        assert "Roll back to v1.0.0?" in plan_screen(app).title_line.text()
        assert "1 of 2" in plan_screen(app).title_line.text()
        await pilot.press("down")
    assert steering.wanted == [("rollback", None), ("rollback", "v2.0.0")]


async def test_aborting_asks_first_and_cannot_be_done_by_accident() -> None:
    app, steering = on()
    steering.run = plans.RUNNING
    async with app.run_test() as pilot:
        await beat(app, pilot)
        await pilot.press("A")
        assert isinstance(app.screen, AskScreen)
        assert isinstance(app.focused, CancelButton)
        await pilot.press("A", "enter")
        assert steering.aborted == 0
        await pilot.press("A", "y")
        await pilot.pause()
    assert steering.aborted == 1


async def test_a_plan_that_failed_says_what_was_and_was_not_done_until_it_is_dismissed() -> None:
    app, steering = on()
    steering.run = plans.FAILED
    async with app.run_test(size=(120, 40)) as pilot:
        said = await beat(app, pilot)
        await pilot.press("A")
        assert isinstance(app.screen, MainScreen), "nothing is left to abort"
        await pilot.press("escape")
        assert await beat(app, pilot) == ""
    assert "FAILED at step 3 of 7" in said
    assert "no worker of v1.0.0 was ready to take calls within 10m" in said
    assert "done      manifest 8 published" in said
    assert "not done  wait until enough workers of v1.0.0 are ready" in said
    assert "drain v2.0.0 in waves of 5" in said


async def test_an_interrupted_plan_is_resumed_after_a_question() -> None:
    app, steering = on()
    steering.stopped = (plans.INTERRUPTED,)
    async with app.run_test() as pilot:
        said = await beat(app, pilot)
        assert "INTERRUPTED at step 3 of 4" in said
        assert "r Resume" in said
        await pilot.press("r", "enter")
        assert steering.resumed == []
        await pilot.press("r", "y")
        await pilot.pause()
    assert steering.resumed == [plans.INTERRUPTED.plan.plan_id]


async def test_an_interrupted_plan_is_given_up_after_a_question() -> None:
    app, steering = on()
    steering.stopped = (plans.INTERRUPTED,)
    async with app.run_test() as pilot:
        await beat(app, pilot)
        await pilot.press("escape", "enter")
        assert await beat(app, pilot) != ""
        assert steering.abandoned == []
        await pilot.press("escape", "y")
        await pilot.pause()
        assert await beat(app, pilot) == ""
    assert steering.resumed == []
    assert steering.abandoned == [plans.INTERRUPTED.plan.plan_id]
