"""Draining: whoever asks, the same happens once, and the live call finishes."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from tests.support.processes import members_of_group, until


async def begin_by_method(worker, operator):
    worker.program.tell("begin_drain")


async def begin_by_sigterm(worker, operator):
    worker.program.signal(signal.SIGTERM)


async def begin_by_sigint(worker, operator):
    worker.program.signal(signal.SIGINT)


async def begin_by_post(worker, operator):
    status, answer = await operator.asks(worker, "drain", reason="a rollout")
    assert (status, answer["effect"]) == (202, "started")


@pytest.mark.parametrize(
    ("begin", "source", "actor"),
    [
        (begin_by_method, "api", "system"),
        (begin_by_sigterm, "signal", "system"),
        (begin_by_sigint, "signal", "system"),
        (begin_by_post, "http", "alice"),
    ],
)
async def test_a_drain_begun_anyhow_finishes_the_live_call_and_passes_new_ones_on(  # noqa: PLR0917
    switchboard, operator, isolation, begin, source, actor
):
    old = await switchboard.start("old", isolation=isolation, operator_keys=operator.keys, drain_linger=3.0)
    kept = await switchboard.held("booking-kept")
    new = await switchboard.start("new", isolation="thread", deployment_version="v2")

    await begin(old, operator)
    shown = await old.shows(lambda s: s.draining, what="a drain")
    assert shown.state == "draining"
    assert not shown.accepting
    assert shown.livekit.reported_load == 1.0
    assert (shown.drain.source, shown.drain.actor) == (source, actor)
    taken = [await switchboard.call(f"booking-{number}", length=0.1) for number in range(3)]
    assert {call.attributes["openrtc.worker"] for call in taken} == {"new"}

    switchboard.hang_up(kept)
    drained = await old.state("drained")
    assert drained.ledger.started == drained.ledger.completed == 1
    started = await old.audit("deployment.drain_started")
    completed = await old.audit("deployment.drain_completed")
    assert [(e["source"], e["actor"], e["version"]) for e in started] == [(source, actor, "v1")]
    assert [(e["result"], e["completed"], e["cut"]) for e in completed] == [("ok", 1, 0)]
    assert await old.exits() == 0
    assert (await new.snapshot()).state == "serving"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_and_one_to_the_process_group_cut_nothing(switchboard, isolation, number):
    worker = await switchboard.start(isolation=isolation)
    call = await switchboard.held()
    worker.program.signal(number)
    await worker.state("draining")
    worker.program.signal(number)
    for _ in range(3):
        os.killpg(worker.program.process.pid, number)
        await asyncio.sleep(0.1)
    assert (await worker.ledger()).active == 1
    switchboard.hang_up(call)
    assert await worker.exits() == 0
    assert worker.log.count("drain begun") == 1


async def test_the_group_of_an_idle_worker_survives_sigterm_until_it_has_drained(switchboard):
    """systemd's default kill mode and tini -g signal forkserver, jobs and resource tracker too."""
    worker = await switchboard.start(isolation="process", drain_linger=3)
    group = members_of_group(worker.program.process.pid)
    assert len(group) > 3
    os.killpg(worker.program.process.pid, signal.SIGTERM)
    await worker.state("drained")
    assert set(group) <= set(members_of_group(worker.program.process.pid))
    assert await worker.exits() == 0
    await until(lambda: not members_of_group(worker.program.process.pid), what="the end of all its processes")


async def test_a_job_accepted_just_before_the_drain_is_kept(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation, hook=True)
    placed = asyncio.create_task(switchboard.held(hook={"wait": 0.0}))
    await worker.shows(lambda s: s.livekit.reported_load > 0, what="an accepted offer")
    worker.program.signal(signal.SIGTERM)
    call = await placed
    await worker.active(1)
    switchboard.hang_up(call)
    assert await worker.exits() == 0


async def test_an_offer_whose_hook_says_yes_after_the_drain_began_is_passed_on(switchboard, isolation):
    """The gate is asked again right before accepting."""
    old = await switchboard.start("old", isolation=isolation, hook=True, drain_linger=2)
    placed = asyncio.create_task(switchboard.call(length=0.2, hook={"wait": 1.0}))
    await old.program.has(event="hook_asked")
    old.program.signal(signal.SIGTERM)
    shown = await old.state("drained")
    call = await placed
    assert not call.assigned
    assert call.loss == "exhausted"  # refused without terminate: another worker would have been asked
    shown = await old.snapshot()
    assert shown.rejected == {"draining": 1}
    assert shown.ledger.started == 0
    assert await old.exits() == 0


async def test_livekit_is_told_full_within_the_beat_of_a_drain(switchboard, isolation):
    """The goal is 50 ms; the bound here is what a busy machine keeps."""
    worker = await switchboard.start(isolation=isolation, drain_linger=2)
    assert switchboard.dispatcher.workers()[0].available
    worker.program.signal(signal.SIGTERM)
    drain = (await worker.shows(lambda s: s.draining, what="a drain")).drain
    await until(lambda: not switchboard.dispatcher.workers()[0].available, within=2, what="told full")
    assert drain.started_at is not None


async def test_a_worker_that_reconnects_while_it_drains_stays_full_and_keeps_its_call(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation)
    call = await switchboard.held()
    worker.program.signal(signal.SIGTERM)
    await worker.state("draining")
    await switchboard.dispatcher.stop()
    await worker.shows(lambda s: not s.livekit.connected, what="a lost connection")
    await switchboard.dispatcher.start()
    await worker.shows(lambda s: s.livekit.connected, what="a new connection")
    await until(lambda: not switchboard.dispatcher.workers()[0].available, what="full again")
    assert (await switchboard.call("booking-late")).loss is not None
    switchboard.hang_up(call)
    assert await worker.exits() == 0


async def test_a_later_request_only_shortens_the_deadline(switchboard, operator, isolation):
    worker = await switchboard.start(isolation=isolation, operator_keys=operator.keys, drain_timeout=600)
    await switchboard.call(length=60)
    worker.program.signal(signal.SIGTERM)
    first = (await worker.state("draining")).drain
    status, answer = await operator.asks(worker, "drain", timeout=300)
    assert (status, answer["effect"]) == (202, "already")
    assert answer["snapshot"]["drain"]["deadline"] < first.deadline - 250
    assert answer["snapshot"]["drain"]["source"] == "signal"
    status, answer = await operator.asks(worker, "drain", timeout=500)
    assert answer["snapshot"]["drain"]["deadline"] < first.deadline - 250
    shortened = await worker.audit("deployment.drain_shortened")
    assert [(e["actor"], e["source"]) for e in shortened] == [("alice", "http")]
    await operator.asks(worker, "drain", timeout=1)
    assert await worker.exits() == 3
