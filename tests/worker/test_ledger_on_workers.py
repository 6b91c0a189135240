"""The books of a real worker: how each call ended, in both isolation modes."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.support.processes import until


async def test_five_failing_calls_cut_no_healthy_one(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation)
    healthy = await switchboard.held("booking-healthy")
    for number in range(5):
        await switchboard.call(f"booking-{number}", do="raise")
    shown = await worker.shows(lambda s: s.ledger.failed == 5, what="five failed calls")
    assert shown.active_sessions == 1
    assert shown.total_session_failures == 5
    assert shown.last_error == "RuntimeError: the agent's own code failed"
    switchboard.hang_up(healthy)
    shown = await worker.shows(lambda s: s.ledger.completed == 1, what="the healthy one completed")
    assert shown.ledger.balanced


async def test_an_entrypoint_that_ends_by_a_cancellation_or_an_exit_of_its_own_is_a_failed_call(
    switchboard, isolation
):
    """Nobody answers the caller any more; livekit alone would keep the call for ever."""
    worker = await switchboard.start(isolation=isolation)
    for do in ("cancelled", "exit"):
        await switchboard.call(do=do)
    shown = await worker.shows(lambda s: s.ledger.failed == 2, what="two failed calls")
    assert shown.active_sessions == 0
    await worker.serving()  # and the next caller is answered


async def test_a_session_that_closes_with_an_error_before_its_entrypoint_returns_is_a_failed_call(switchboard):
    worker = await switchboard.start(isolation="thread")
    await switchboard.call(do="session")
    [closed] = await worker.program.has(event="closed")
    assert closed["reason"] == "error"
    shown = await worker.shows(lambda s: not s.active_sessions, what="no live call")
    assert (shown.ledger.failed, shown.ledger.completed) == (1, 0)
    assert "invalid key" in shown.last_error


async def test_a_killed_job_process_is_a_crashed_call_and_the_others_go_on(switchboard):
    worker = await switchboard.start(isolation="process")
    calls = [await switchboard.call(f"booking-{number}") for number in range(3)]
    pids = {event["job"]: event["pid"] for event in await worker.program.has(3, event="call")}
    os.kill(pids[calls[0].job_id], signal.SIGKILL)
    shown = await worker.shows(lambda s: s.ledger.crashed == 1, what="a crashed call")
    assert (shown.ledger.started, shown.active_sessions, shown.ledger.balanced) == (3, 2, True)
    assert shown.ledger.dropped == 1
    assert "crashed" in (shown.last_error or "")


async def test_a_call_that_livekit_ends_is_completed_not_cut(switchboard, isolation):
    """delete_room is how many agents hang up: livekit calls it 'parent process shutdown' all the same."""
    worker = await switchboard.start(isolation=isolation)
    call = await switchboard.call(length=60)
    await worker.program.has(event="call")
    worker.program.signal(signal.SIGTERM)
    await worker.state("draining")
    switchboard.dispatcher.terminate(call.job_id)
    assert await worker.exits(within=40) == 0


async def test_an_entrypoint_that_returns_without_a_room_is_a_completed_call_in_time(switchboard):
    """Its own background task may have yet to join; livekit alone would keep the call for ever."""
    worker = await switchboard.start(isolation="thread")
    await switchboard.call(do="return")
    later = await switchboard.call(do="later", length=2)
    assert later.assigned
    [said] = await worker.program.has(event="later")
    assert said["job"] == later.job_id  # it was let live for as long as its task took
    shown = await worker.shows(lambda s: s.ledger.completed == 2, what="both calls completed", within=40)
    assert shown.active_sessions == 0


async def test_the_books_balance_under_concurrent_calls_and_kills(switchboard):
    worker = await switchboard.start(isolation="process", max_concurrent_sessions=12)
    scripts = [{"length": 0.5}, {"do": "raise"}, {"do": "kill"}, {"length": 60}]
    calls = await asyncio.gather(
        *(switchboard.call(f"booking-{number}", **scripts[number % 4]) for number in range(12))
    )
    assert all(call.assigned for call in calls)
    shown = await worker.shows(
        lambda s: s.ledger.started == 12 and s.active_sessions == 3, what="three of twelve calls left", within=60
    )
    assert (shown.ledger.started, shown.ledger.completed, shown.ledger.failed, shown.ledger.crashed) == (12, 3, 3, 3)
    assert shown.ledger.balanced


async def test_calls_are_attributed_to_agent_and_tenant(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation, agents=["booking", "sales"])
    await switchboard.call("booking-1", tenant="acme")
    await switchboard.call("sales-1", tenant="acme")
    await switchboard.call("room", agent="sales")
    shown = await worker.active(3)
    assert shown.sessions_by_agent == {"booking": 1, "sales": 2}
    assert shown.sessions_by_tenant == {"acme": 2}
    assert shown.last_routed_agent == "sales"
    sessions = await worker.sessions()
    assert [(s["room"], s["agent"], s["tenant"], s["callers"]) for s in sessions] == [
        ("booking-1", "booking", "acme", None),
        ("sales-1", "sales", "acme", None),
        ("room", "sales", None, None),
    ]
    assert shown.sessions_without_caller == 0


async def test_the_next_boot_tells_what_became_of_the_calls_of_one_that_was_killed(switchboard, isolation, tmp_path):
    kept = {"isolation": isolation, "state_dir": str(tmp_path / "state"), "control_port": 0}
    first = await switchboard.start("w1", **kept)
    boot = (await first.snapshot()).boot_id
    assert (await first.snapshot()).previous_boot is None
    call = await switchboard.call("booking-open")
    done = await switchboard.call("booking-done", length=0.1)
    await first.shows(lambda s: s.ledger.completed == 1, what="a completed call")
    await until(lambda: done.job_id in _text(tmp_path / "state"), what="the call file")
    await until(lambda: '"end"' in _text(tmp_path / "state"), what="the end in the call file")
    os.killpg(first.program.process.pid, signal.SIGKILL)
    await first.exits()

    second = await switchboard.start("w1", **kept)
    previous = (await second.snapshot()).previous_boot
    assert (previous.boot_id, previous.clean_exit) == (boot, False)
    assert [(open_.room, open_.job) for open_ in previous.open_calls] == [("booking-open", call.job_id)]
    second.program.signal(signal.SIGTERM)
    assert await second.exits() == 0

    third = await switchboard.start("w1", **kept)
    previous = (await third.snapshot()).previous_boot
    assert (previous.open_calls, previous.clean_exit) == ([], True)


def _text(folder):
    return "".join(path.read_text() for path in folder.glob("*.jsonl"))
