"""A dashboard that did not start the plan: it shows the way that the calls go, and does not offer the way back."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from openrtc_tui.steering import Steering
from tests.steering.steered_fleet import PATIENCE, as_json, carried_out, heard, until


def way(live):
    """From where to where the rollout goes."""
    rollout = live.view().rollout
    return rollout and (rollout.from_version, rollout.to_version)


@asynccontextmanager
async def dashboard(fleet):
    """One that is open, with its steering, as the screen has it."""
    live = fleet.live()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        tending = asyncio.create_task(steering.tend())
        try:
            yield live, steering
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)


async def held_by(fleet, version):
    """A call on that version, which alone takes calls."""
    call = await fleet.board.held("talk")
    assert call.attributes["openrtc.version"] == version
    return call


async def test_a_rollback_that_another_process_carries_out_is_shown_as_it_goes_and_turns_the_rollout_round(fleet):
    await fleet.start({"a-1": "v1", "b-1": "v2"}, after_drain="wait")
    fleet.more = "rollout: {from: v1, to: v2}"
    fleet.write()
    live = fleet.live()
    async with live.running(), dashboard(fleet) as (open_all_along, watching):
        await heard(live)
        acting = Steering(live)
        assert (await carried_out(acting, "promote", version="v2")).word == "done"
        await until(open_all_along, lambda _: watching.left is None and way(open_all_along) == ("v1", "v2"))
        call = await held_by(fleet, "v2")
        plan = await acting.plan("rollback", version="v1")
        running = asyncio.create_task(acting.carry_out(plan))
        await until(
            open_all_along, lambda view: view.row("b-1").snapshot.draining and watching.elsewhere() is not None
        )
        await until(open_all_along, lambda _: "call" in watching.elsewhere().doing)
        run = watching.elsewhere()
        assert (run.plan, run.word, run.why) == (plan, "elsewhere", ""), as_json(run)
        assert run.by.startswith("alice, process ")
        assert watching.interrupted() == ()
        assert acting.elsewhere() is None, "it is its own"
        assert way(open_all_along) == way(live) == ("v2", "v1")
        assert open_all_along.view().rollout.started_at == live.view().rollout.started_at == plan.made_at
        async with dashboard(fleet) as (opened_meanwhile, second):
            await until(opened_meanwhile, lambda _: second.elsewhere() is not None)
            assert way(opened_meanwhile) == ("v2", "v1")
        fleet.board.hang_up(call)
        assert (await asyncio.wait_for(running, PATIENCE)).word == "done"
        await until(open_all_along, lambda _: watching.elsewhere() is None)
        ended = ("Roll back from v2 to v1: done", "carried out elsewhere by alice")
        await until(open_all_along, lambda view: ended in [(line.text, line.detail) for line in view.events])
        assert way(open_all_along) == ("v2", "v1")
        async with dashboard(fleet) as (opened_later, _):
            await until(opened_later, lambda _: way(opened_later) == ("v2", "v1"))
        assert (await watching.plan("rollback")).to_version == "v2", "there is no other"
        (warning,) = [each for each in (await watching.plan("rollback")).objections if each.code == "left_before"]
        assert (warning.text, warning.blocks) == ("v2 is what the last rollback left", False)
        fleet.workers["b-1"].program.kill()
        fleet.launch("b-1", "v2")
        await fleet.workers["b-1"].shows(lambda shown: shown.livekit.connected, what="is registered")
        fleet.write()
        await until(live, lambda view: view.row("b-1").ready_to_take)
        assert (await carried_out(acting, "promote", version="v2")).word == "done"
        await until(open_all_along, lambda _: way(open_all_along) == ("v1", "v2"))
        assert watching.left is None, "somebody said that it is good after all"
        async with dashboard(fleet) as (opened_later, _):
            assert way(opened_later) == ("v1", "v2")


async def test_a_rollback_that_was_aborted_is_gone_on_with_and_not_taken_back_by_itself(fleet):
    await fleet.start({"a-1": "v1", "b-1": "v2"}, after_drain="wait")
    live = fleet.live()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        assert (await carried_out(steering, "promote", version="v2")).word == "done"
        call = await held_by(fleet, "v2")
        assert (await steering.plan("rollback")).to_version == "v1"
        running = asyncio.create_task(carried_out(steering, "rollback"))
        await until(live, lambda view: view.row("b-1").snapshot.draining)
        steering.abort()
        assert (await running).word == "aborted"
        again = await steering.plan("rollback")
        assert (again.from_version, again.to_version) == ("v2", "v1")
        assert not [each for each in again.objections if each.code == "left_before"]
        back = await steering.plan("rollback", version="v2")
        assert (back.from_version, back.to_version) == ("v1", "v2")
        assert [each.code for each in back.objections].count("left_before") == 1
        fleet.board.hang_up(call)


async def test_a_rollback_that_did_nothing_turns_nothing_round(fleet, tmp_path, monkeypatch):
    await fleet.start({"a-1": "v1", "b-1": "v2"}, after_drain="wait")
    fleet.more = "rollout: {from: v1, to: v2}"
    fleet.write()
    live = fleet.live()
    monkeypatch.setenv("OPENRTC_STATE_DIR", str(tmp_path / "another machine"))
    other = fleet.live()
    async with live.running(), other.running():
        await asyncio.gather(heard(live), heard(other))
        mine, theirs = Steering(live), Steering(other)
        plan = await mine.plan("rollback", version="v1", bad="v2")
        assert (await carried_out(theirs, "promote", version="v2")).word == "done"
        run = await asyncio.wait_for(mine.carry_out(plan), PATIENCE)
        assert run.word == "failed", as_json(run)
        assert way(live) == ("v1", "v2")
        assert mine.left is None
