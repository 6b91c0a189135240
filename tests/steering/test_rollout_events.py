"""A whole rollout, and a rollback, on real workers: exactly what is written on both sides, each thing once."""

from __future__ import annotations

import asyncio
import signal

import pytest

from openrtc_tui.state.view import WorkerState
from openrtc_tui.steering import Steering
from tests.steering.steered_fleet import PATIENCE, as_json, carried_out, heard, journal, told, until


def both(action, stage, *names, outcome="started"):
    """The lines of requests to *names* that were sent together: (intents, outcomes)."""
    if stage == "intent":
        return [f"op.intent {action} {name}" for name in names]
    return [f"op.outcome {action} {name} {outcome}" for name in names]


def a_publication(opened, closed):
    """The lines of a publication: who is opened has it before anybody is closed."""
    lines = ["op.intent publish tests"]
    for names in (opened, closed):
        lines += both("manifest", "intent", *names) + both("manifest", "outcome", *names)
    return [*lines, "op.outcome publish tests started"]


def sorted_requests(lines):
    """Lines of requests sorted within each publication's half and each wave: who is quicker does not matter."""
    result, run = [], []
    for line in [*lines, ""]:
        if line.startswith(("op.intent manifest", "op.outcome manifest", "op.intent drain", "op.outcome drain")):
            run.append(line)
            continue
        result += sorted(run, key=lambda each: (each.split()[2][0] != run[0].split()[2][0], each))
        run = []
        if line:
            result.append(line)
    return result


def pairs_up(records):
    """Every request has one intent, and after it one outcome."""
    for op_id in {record["op_id"] for record in records if "op_id" in record}:
        events = [record["event"] for record in records if record.get("op_id") == op_id]
        assert events == ["op.intent", "op.outcome"], (op_id, events)


async def done(steering, kind, **asked):
    run = await carried_out(steering, kind, **asked)
    assert run.word == "done", as_json(run)
    return run


def lines_of(records, plan_id):
    return sorted_requests(told([record for record in records if record["plan_id"] == plan_id]))


async def test_a_whole_rollout_writes_exactly_these_events(fleet):
    await fleet.start({"a-1": "v1", "a-2": "v1", "b-1": "v2"}, after_drain="wait")
    live = fleet.live()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        promoted = await done(steering, "promote", version="v2")
        call = await fleet.board.held("talk-1")
        assert call.attributes["openrtc.version"] == "v2", "v1 is gated"
        drained = await done(steering, "drain", version="v1", reason="rollout 7")
        audits = await fleet.audits()
        records = journal(live)
        fleet.board.hang_up(call)
    assert lines_of(records, promoted.plan.plan_id) == sorted_requests(
        [
            "plan.begun",
            "step.began 0",
            *a_publication(["b-1"], ["a-1", "a-2"]),
            "step.done 0",
            "step.began 1",
            "step.done 1",
            "plan.ended done",
        ]
    )
    assert lines_of(records, drained.plan.plan_id) == sorted_requests(
        [
            "plan.begun",
            "step.began 0",
            *both("drain", "intent", "a-1", "a-2"),
            *both("drain", "outcome", "a-1", "a-2"),
            "step.done 0",
            "step.began 1",
            "step.done 1",
            "deployment.completed",
            "plan.ended done",
        ]
    )
    pairs_up(records)
    completed = next(record for record in records if record["event"] == "deployment.completed")
    assert (completed["version"], completed["from_version"], completed["result"]) == ("v2", "v1", "proven")
    assert (completed["confirmed"], completed["possible"], completed["actor"]) == (0, 0, "alice")
    kept, opened = (
        ["deployment.started", "manifest.accepted"],
        ["deployment.drain_started", "deployment.drain_completed"],
    )
    assert {name: [event["event"] for event in events] for name, events in audits.items()} == {
        "a-1": kept + opened,
        "a-2": kept + opened,
        "b-1": kept,
    }
    joins(audits, records)


async def test_a_rollback_writes_exactly_these_events(fleet):
    await fleet.start({"a-1": "v1", "b-1": "v2", "b-2": "v2"}, after_drain="wait")
    live = fleet.live()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        await done(steering, "promote", version="v2")
        rolled = await done(steering, "rollback", reason="v2 hangs up on callers")
        call = await fleet.board.call("after", length=0.1)
        assert call.attributes["openrtc.version"] == "v1", "the good version takes the calls"
        audits, records = await fleet.audits(), journal(live)
    assert lines_of(records, rolled.plan.plan_id) == sorted_requests(
        [
            "plan.begun",
            "step.began 0",
            *a_publication(["a-1"], ["b-1", "b-2"]),
            "step.done 0",
            "step.began 1",
            "step.done 1",
            "step.began 2",
            *both("drain", "intent", "b-1", "b-2"),
            *both("drain", "outcome", "b-1", "b-2"),
            "step.done 2",
            "step.began 3",
            "step.done 3",
            "deployment.rolled_back",
            "plan.ended done",
        ]
    )
    pairs_up(records)
    back = next(record for record in records if record["event"] == "deployment.rolled_back")
    assert (back["version"], back["from_version"], back["reason"]) == ("v1", "v2", "v2 hangs up on callers")
    assert (back["result"], back["actor"], back["target"]) == ("proven", "alice", "tests")
    accepted = ["deployment.started", "manifest.accepted", "manifest.accepted"]
    ended = ["deployment.drain_started", "deployment.drain_completed"]
    assert {name: [event["event"] for event in events] for name, events in audits.items()} == {
        "a-1": accepted,
        "b-1": accepted + ended,
        "b-2": accepted + ended,
    }
    joins(audits, records)


@pytest.mark.parametrize(("end", "result"), [("hang up", "proven"), ("kill", "unproven")])
async def test_a_rollback_answers_for_the_workers_that_their_platform_has_told_to_end_before(fleet, end, result):
    await fleet.start({"a-1": "v1", "b-1": "v2", "b-2": "v2"})
    live = fleet.live()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        await done(steering, "promote", version="v2")
        call = await fleet.board.held("talk")
        await until(live, lambda view: any(row.calls for row in view.rows))
        [busy] = [row.key for row in live.view().rows if row.calls]
        fleet.workers[busy].program.signal(signal.SIGTERM)
        await until(live, lambda view: view.row(busy).state is WorkerState.DRAINING)
        plan = await steering.plan("rollback")
        rolling = asyncio.create_task(steering.carry_out(plan))
        if end == "kill":
            fleet.workers[busy].program.signal(signal.SIGKILL)
        else:
            fleet.board.hang_up(call)
        run = await asyncio.wait_for(rolling, PATIENCE)
        assert run.word == "done", as_json(run)
        records = journal(live)
    [back] = [record for record in records if record["event"] == "deployment.rolled_back"]
    assert (back["result"], back["confirmed"], back["possible"]) == (result, 0, 1 if end == "kill" else 0)


def joins(audits, records):
    """Every event that an operator caused on a worker has its request, of the same plan and actor, in the journal."""
    intents = {record["op_id"]: record for record in records if record["event"] == "op.intent"}
    caused = [event for events in audits.values() for event in events if event.get("op_id")]
    assert caused
    for event in caused:
        intent = intents[event["op_id"]]
        assert (intent["target"], intent["plan_id"], intent["actor"]) == (
            event["target"],
            event["plan_id"],
            event["actor"],
        )
        assert intent["timestamp"] <= event["timestamp"], "journaled before it was done"
