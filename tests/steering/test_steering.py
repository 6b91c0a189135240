"""Steering on real workers: two operators, a good version that refuses, a boot that starts anew, a full disk."""

from __future__ import annotations

import asyncio
import errno
import shutil

import msgspec
import pytest

from openrtc_tui.operations.intent import confirm, intend
from openrtc_tui.operations.plans.plan import Objection
from openrtc_tui.operations.plans.progress import INTENT
from openrtc_tui.steering import Steering
from openrtc_tui.watched import CannotSteer
from openrtc_worker.contract import chain
from tests.steering.steered_fleet import FLEET, PATIENCE, as_json, carried_out, heard, journal, told, until

EVERYTHING = b""


def seqs(view):
    return {row.key: row.snapshot.manifest and row.snapshot.manifest.seq for row in view.rows if row.snapshot}


@pytest.fixture
def full_disk(monkeypatch):
    """What finds no space, while it is in here: lines of a journal that contain it."""
    write = chain.writer.write_all
    full = []

    def write_all(descriptor, data):
        if any(each in data for each in full):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(descriptor, data)

    monkeypatch.setattr(chain.writer, "write_all", write_all)
    return full


async def test_of_two_operators_the_later_is_told_what_changed(fleet, tmp_path, monkeypatch):
    await fleet.start({"a-1": "v1", "b-1": "v2"})
    live, other = fleet.live(), None
    monkeypatch.setenv("OPENRTC_STATE_DIR", str(tmp_path / "another machine"))
    other = fleet.live()
    async with live.running(), other.running():
        await asyncio.gather(heard(live), heard(other))
        mine, theirs = Steering(live), Steering(other)
        my_plan = await mine.plan("promote", version="v1")
        assert (await carried_out(theirs, "promote", version="v2")).word == "done"
        run = await asyncio.wait_for(mine.carry_out(my_plan), PATIENCE)
        assert run.word == "failed"
        assert "manifest 1, which names v2, was published meanwhile" in run.why
        stale = await mine.plan("promote", version="v2")
        again = await carried_out(mine, "promote", version="v1")
        assert again.word == "done", "whoever has looked again may decide anew"
        assert set(seqs(live.view()).values()) == {2}
        run = await asyncio.wait_for(mine.carry_out(stale), PATIENCE)
        assert (run.word, "manifest 2, which names v1" in run.why) == ("failed", True), (
            "nor over one's own other plan"
        )


async def test_of_two_operators_at_the_same_moment_not_both_win_and_callers_find_somebody(
    fleet, tmp_path, monkeypatch
):
    await fleet.start({"a-1": "v1", "b-1": "v2"})
    live = fleet.live()
    monkeypatch.setenv("OPENRTC_STATE_DIR", str(tmp_path / "another machine"))
    other = fleet.live()
    async with live.running(), other.running():
        await asyncio.gather(heard(live), heard(other))
        mine, theirs = Steering(live), Steering(other)
        plans = await mine.plan("promote", version="v1"), await theirs.plan("promote", version="v2")
        runs = await asyncio.wait_for(asyncio.gather(mine.carry_out(plans[0]), theirs.carry_out(plans[1])), PATIENCE)
        words = [run.word for run in runs]
        assert words.count("done") <= 1, as_json(runs)
        assert all(run.why for run in runs if run.word != "done")
        assert (await fleet.board.call("a caller", length=0.1)).assigned


SHORT_OF_ROOM = Objection(code="not_enough_room", text="room for 1 call, 2 are live", blocks=True, override="SHORT")


@pytest.mark.parametrize("typed_away", [(), (SHORT_OF_ROOM,)], ids=["plain", "short of room"])
async def test_a_manifest_that_the_good_version_does_not_take_closes_nobody(fleet, tmp_path, typed_away):
    """Whoever typed that little room is enough has not typed that nobody at all is."""
    (tmp_path / "no keys").mkdir()
    shutil.copy(tmp_path / "operators" / "alice.pub.pem", tmp_path / "no keys")
    await fleet.start({"b-1": "v2"})
    fleet.launch("a-1", "v1", release_keys=str(tmp_path / "no keys"))
    await fleet.workers["a-1"].serving()
    fleet.write()
    live = fleet.live()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        plan = msgspec.structs.replace(await steering.plan("promote", version="v1"), objections=typed_away)
        run = await asyncio.wait_for(steering.carry_out(plan), PATIENCE)
        assert run.word == "failed"
        assert "took manifest 1: the other version was left as it is" in run.why
        assert live.view().row("b-1").accepting
        assert (await fleet.board.call("a caller", length=0.1)).assigned


async def test_a_boot_that_starts_anew_without_the_manifest_is_given_it_again(fleet):
    await fleet.start({"a-1": "v1", "b-1": "v2"})
    live = fleet.live()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        tending = asyncio.create_task(steering.tend())
        assert (await carried_out(steering, "promote", version="v2")).word == "done"
        fleet.workers["a-1"].program.kill()
        shutil.rmtree(fleet.directory / "state-a-1")
        fleet.launch("a-1", "v1")
        await fleet.workers["a-1"].shows(lambda shown: shown.livekit.connected, what="is registered")
        fleet.write()
        await until(live, lambda view: seqs(view).get("a-1") == 1 and view.row("a-1").accepting is False)
        given = ["op.intent manifest a-1", "op.outcome manifest a-1 started"]
        await until(live, lambda _: told(list(chain.read_chain(live.journal.path)))[-2:] == given)
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)


async def test_a_full_disk_stops_acting_with_a_clear_message_and_watching_goes_on(fleet, full_disk):
    await fleet.start({"a-1": "v1", "a-2": "v1", "b-1": "v2"})
    live = fleet.live()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        full_disk.append(EVERYTHING)
        asks = confirm(intend(live.view(), ["a-1"], "drain"), live.view()).asks
        (answer,) = (await live.send(asks)).answers
        assert answer.outcome == "unreached"
        assert "no space left on device; free some space, then try again" in answer.detail
        plan = await steering.plan("promote", version="v2")
        with pytest.raises(CannotSteer, match="no space left on device"):
            await steering.carry_out(plan)
        call = await fleet.board.held("still-seen")
        await until(live, lambda view: sum(row.calls or 0 for row in view.rows) == 1)
        assert not any(row.snapshot.draining or seqs(live.view())[row.key] for row in live.view().rows)
        full_disk.clear()
        assert (await asyncio.wait_for(steering.carry_out(plan), PATIENCE)).word == "done"
        fleet.board.hang_up(call)
    assert told(journal(live))[0] == "plan.begun", "nothing of the full disk is left in it"


@pytest.mark.parametrize("first_lost", [b'"op.outcome"', b'"step.done"'], ids=["the outcome", "the step"])
async def test_a_disk_that_fills_up_in_the_middle_leaves_a_plan_that_is_resumed(fleet, full_disk, first_lost):
    await fleet.start({"a-1": "v1", "b-1": "v2"}, after_drain="wait")
    live = fleet.live()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        plan = await steering.plan("drain", version="v1")
        held = await fleet.board.held("long-call")
        holder = held.attributes["openrtc.version"]
        running = asyncio.create_task(steering.carry_out(plan))
        full_disk.append(first_lost)
        await until(live, lambda view: view.row("a-1").snapshot.draining)
        if holder == "v1":
            fleet.board.hang_up(held)
        run = await asyncio.wait_for(running, PATIENCE)
        assert (run.word, "no space left on device" in run.why) == ("interrupted", True), as_json(run)
        full_disk.clear()
        await steering.recall()
        assert [each.plan.plan_id for each in steering.interrupted()] == [plan.plan_id]
        run = await asyncio.wait_for(steering.resume(plan.plan_id), PATIENCE)
        assert run.word == "done"
        assert steering.interrupted() == ()
    drains = [each for each in journal(live) if each["event"] == INTENT]
    assert [each["target"] for each in drains] == ["a-1"]


async def test_one_plan_at_a_time_and_an_aborted_one_says_what_was_not_done(fleet):
    await fleet.start({"a-1": "v1", "b-1": "v2"}, after_drain="wait")
    live, second = fleet.live(), fleet.live()
    async with live.running(), second.running():
        await asyncio.gather(heard(live), heard(second))
        call = await fleet.board.held("talk")
        version = call.attributes["openrtc.version"]
        steering, other = Steering(live), Steering(second)
        plan = await steering.plan("drain", version=version)
        running = asyncio.create_task(steering.carry_out(plan))
        await until(live, lambda view: any(row.snapshot.draining for row in view.rows))
        with pytest.raises(CannotSteer, match=f"carried out now: plan {plan.plan_id} of alice, process"):
            await carried_out(other, "promote", version=version)
        await other.recall()
        assert other.interrupted() == (), "it runs elsewhere"
        steering.abort()
        run = await asyncio.wait_for(running, PATIENCE)
        assert (run.word, bool(run.not_done)) == ("aborted", True)
        await other.recall()
        assert other.interrupted() == ()
        fleet.board.hang_up(call)


class FakePods:
    """A platform that keeps something on pods, and hears when it is to be taken away."""

    name, ends_other = "pods", True

    def __init__(self):
        self.did = []

    async def watch(self):
        for nothing in ():
            yield nothing

    async def keep_pods(self, _, record, __):
        await record("pod.cost", {"pod": "voice-1", "cost": 1})
        await asyncio.Event().wait()  # and is killed before it can take anything away

    async def let_pods_go(self, record):
        self.did.append("let go")
        await record("pod.cost_removed", {"pod": "voice-1"})

    async def close(self):
        self.did.append("close")


async def interrupted(fleet, live, steering):
    """A plan whose dashboard was closed while it waits for the end of a call; the plan and the call."""
    call = await fleet.board.held("talk")
    plan = await steering.plan("drain", version=call.attributes["openrtc.version"])
    running = asyncio.create_task(steering.carry_out(plan))
    await until(live, lambda view: any(row.snapshot.draining for row in view.rows))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert steering.run.word == "interrupted"
    return plan, call


async def test_a_plan_that_another_dashboard_ends_meanwhile_is_not_gone_on_with_here(fleet, monkeypatch):
    await fleet.start({"a-1": "v1", "b-1": "v2"}, after_drain="wait")
    live, second = fleet.live(), fleet.live()
    async with live.running(), second.running():
        await asyncio.gather(heard(live), heard(second))
        mine, theirs = Steering(live), Steering(second)
        plan, call = await interrupted(fleet, live, mine)

        async def meanwhile():
            fleet.board.hang_up(call)
            assert (await theirs.resume(plan.plan_id)).word == "done"

        monkeypatch.setattr(mine, "_hear_all", meanwhile)
        with pytest.raises(CannotSteer, match="has ended"):
            await asyncio.wait_for(mine.resume(plan.plan_id), PATIENCE)
        assert mine.run is None, "nothing is left here to go on with or to give up"
    assert told(journal(live))[-1] == "plan.ended done"


async def test_a_plan_that_is_given_up_is_out_of_sight_and_leaves_nothing_on_pods(fleet):
    await fleet.start({"a-1": "v1", "b-1": "v2"}, after_drain="wait")
    live = fleet.live()
    async with live.running():
        await heard(live)
        platform = FakePods()
        steering = Steering(live, platform=platform)
        plan, call = await interrupted(fleet, live, steering)
        platform.did.clear()
        await steering.abandon(plan.plan_id)
        assert (steering.run, steering.interrupted()) == (None, ())
        assert platform.did == ["let go", "close"]
        fleet.board.hang_up(call)
    lines = journal(live)
    assert told(lines)[-3:] == ["plan.aborted", "pod.cost_removed", "plan.ended aborted"]
    assert lines[-2]["plan_id"] == plan.plan_id


class BrokenPods(FakePods):
    """A platform with an error of ours in it, the first time that its pods are watched."""

    watched = 0

    async def watch(self):
        self.watched += 1
        if self.watched == 1:
            raise ZeroDivisionError("nobody expected it")
        async for nothing in super().watch():
            yield nothing
        await asyncio.Event().wait()


async def test_an_error_of_ours_beside_the_plans_is_said_and_the_work_begun_anew(fleet):
    await fleet.start({"a-1": "v1"})
    live = fleet.live()

    async def at_once(_seconds):
        await asyncio.sleep(0)

    async with live.running():
        platform = BrokenPods()
        tending = asyncio.create_task(Steering(live, platform=platform, sleep=at_once).tend())
        await until(live, lambda _: platform.watched == 2)
        said = "pods are not watched for a moment: ZeroDivisionError: nobody expected it"
        await until(live, lambda view: said in [line.text for line in view.events])
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)


async def test_a_single_request_that_was_interrupted_is_settled_by_looking_and_never_sent_again(fleet, monkeypatch):
    await fleet.start({"a-1": "v1", "b-1": "v2"})
    live = fleet.live()
    async with live.running():
        view = await heard(live)
        asks = [confirm(intend(view, [key], "cordon"), view).asks[0] for key in ("a-1", "b-1")]
        for ask in asks:  # both intents are written; one request was sent, then the process was killed
            await live.journal.write(
                INTENT,
                target=ask.worker_id,
                result="pending",
                op_id=ask.op_id,
                action=ask.action,
                subject={"key": ask.key, "url": ask.url, "boot_id": ask.boot_id, "worker_id": ask.worker_id},
            )
        body = asks[0].body()
        token = live._operator.sign(asks[0], body, live._clock())
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        assert (await live.http.request("POST", f"{asks[0].url}/v1/cordon", body=body, headers=headers)).status == 202
        monkeypatch.setattr("openrtc_tui.operations.history.SETTLED_AFTER", -1.0)
        steering = Steering(live)
        tending = asyncio.create_task(steering.tend())
        async with asyncio.timeout(PATIENCE):
            while len(journal(live)) < 4:
                await live.changed(0.1)
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        outcomes = {record["op_id"]: record["outcome"] for record in journal(live)[2:]}
        assert outcomes == {asks[0].op_id: "started", asks[1].op_id: "unreached"}
        assert live.view().row("b-1").accepting, f"{FLEET}: what was not done then is not done now"


async def test_a_drain_needs_no_release_key_and_a_plan_that_was_given_up_is_over(fleet):
    await fleet.start({"a-1": "v1", "b-1": "v2"}, after_drain="wait")
    live = fleet.live()
    (fleet.directory / "releases" / "release.pem").unlink()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        call = await fleet.board.held("talk")
        plan = await steering.plan("drain", version=call.attributes["openrtc.version"])
        running = asyncio.create_task(steering.carry_out(plan))
        await until(live, lambda view: any(row.snapshot.draining for row in view.rows))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await steering.recall()
        assert [each.plan for each in steering.interrupted()] == [plan]
        await steering.abandon(plan.plan_id)
        assert steering.interrupted() == ()
        with pytest.raises(CannotSteer, match="has ended"):
            await steering.resume(plan.plan_id)
        with pytest.raises(CannotSteer, match="the release key cannot be used"):
            await carried_out(steering, "promote", version="v2")
        fleet.board.hang_up(call)
