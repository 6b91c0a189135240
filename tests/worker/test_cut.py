"""The deadline: what is left is cut, counted and said, whatever the call does about it."""

from __future__ import annotations

import signal

import pytest

from tests.support.processes import members_of_group, until

# the linger is what a busy machine may need to look once more
QUICK = {"drain_timeout": 1, "cut_grace": 2, "drain_linger": 3.0}


async def test_the_deadline_cuts_what_is_left_and_the_exit_code_says_so(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation, **{**QUICK, "cut_grace": 20})
    calls = [await switchboard.call(f"booking-{number}") for number in range(2)]
    short = await switchboard.call("booking-short", length=0)
    await worker.shows(lambda s: s.ledger.completed == 1, what="the short call completed")
    worker.program.signal(signal.SIGTERM)
    shown = await worker.shows(lambda s: s.draining and not s.active_sessions, what="no live call")
    assert shown.state == "draining"  # never *drained*: readers must not take it for a clean end
    assert (shown.ledger.cut, shown.ledger.completed, shown.ledger.balanced) == (2, 1, True)
    cut = await worker.audit("call.cut")
    assert {(event["room"], event["job"]) for event in cut} == {(call.room, call.job_id) for call in calls}
    completed = await worker.audit("deployment.drain_completed")
    assert [(event["result"], event["cut"]) for event in completed] == [("cut", 2)]
    assert await worker.exits() == 3
    # the cut reached the jobs' own sockets: livekit alone would have let each entrypoint wait for 15 s
    assert {event["job"] for event in worker.program.events(event="cancelled")} == {c.job_id for c in calls}
    assert short.assigned


@pytest.mark.parametrize("stubborn", ["block", "swallow"])
async def test_a_job_that_cannot_be_ended_is_killed_at_the_hard_cap(switchboard, isolation, stubborn):
    worker = await switchboard.start(isolation=isolation, **QUICK)
    call = await switchboard.call("booking-stubborn", do=stubborn)
    polite = await switchboard.call("booking-polite")
    await worker.program.has(2, event="call")
    worker.program.signal(signal.SIGTERM)
    shown = await worker.shows(lambda s: s.draining and not s.active_sessions, what="no live call")
    assert (shown.ledger.cut, shown.ledger.balanced) == (2, True)
    cut = await worker.audit("call.cut")
    assert {event["job"] for event in cut} == {call.job_id, polite.job_id}
    assert await worker.exits() == 5
    await until(lambda: not members_of_group(worker.program.process.pid), what="the end of all its processes")


async def test_the_bye_carries_the_exit_code(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation, **QUICK)
    await switchboard.call(do="swallow")
    await worker.program.has(event="call")
    async with worker._http.get(f"{worker.url}/v1/events") as stream:
        worker.program.signal(signal.SIGTERM)
        said = (await stream.read()).decode()
    _, _, bye = said.rpartition("event: bye")
    assert '"exit_code":5' in bye
    assert '"state":"exited"' in bye
    assert await worker.exits() == 5


async def test_a_hangup_before_the_deadline_whose_clean_up_passes_it_is_completed(switchboard, isolation):
    """The job said how it ended; the cut that comes while it cleans up changes nothing."""
    worker = await switchboard.start(isolation=isolation, drain_timeout=3, cut_grace=20)
    call = await switchboard.held(cleanup=4.5)
    await worker.program.has(event="call")
    worker.program.signal(signal.SIGTERM)
    switchboard.hang_up(call)
    assert await worker.exits() == 0
    assert "the drain's deadline passed" in worker.log
