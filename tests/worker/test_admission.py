"""Who is let in: the hard cap, the request hook, stale offers, routing, cordon. No refusal loses a call."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from openrtc_worker.local.dispatcher import Timing
from tests.support.processes import until
from tests.support.worker_process import Switchboard


async def test_a_burst_of_twelve_offers_at_capacity_six_takes_exactly_six(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation, max_concurrent_sessions=6)
    calls = await asyncio.gather(*(switchboard.call(f"booking-{number}") for number in range(12)))
    assert sum(call.assigned for call in calls) == 6
    shown = await worker.active(6)
    assert shown.load == 1.0
    assert shown.accepting  # being full does not change it
    assert shown.livekit.reported_load == pytest.approx(0.69)
    assert shown.rejected == {"capacity": 6}
    assert {call.loss for call in calls if not call.assigned} == {"exhausted"}  # passed on, had there been another


async def test_capacity_twenty_takes_exactly_twenty_of_twenty_four_callers(switchboard):
    """LiveKit takes a load of 0.7 for full: the reported one stays just below it up to the last place."""
    worker = await switchboard.start(isolation="thread", max_concurrent_sessions=20)
    calls = [await switchboard.call(f"booking-{number}") for number in range(24)]
    assert sum(call.assigned for call in calls) == 20
    assert (await worker.active(20)).ledger.started == 20


async def test_the_cap_holds_when_many_hooks_say_yes_at_once(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation, max_concurrent_sessions=3, hook=True)
    calls = await asyncio.gather(*(switchboard.call(f"booking-{n}", hook={"wait": 0.5}) for n in range(8)))
    assert sum(call.assigned for call in calls) == 3
    assert (await worker.active(3)).rejected == {"capacity": 5}


@pytest.mark.parametrize("slowness", ["wait", "block"])
async def test_a_slow_request_hook_is_refused_in_time_for_another_worker(switchboard, isolation, slowness):
    """LiveKit's three seconds are shared: a hook that thinks for longer than its time costs the caller the agent."""
    slow = await switchboard.start("slow", isolation=isolation, hook=True)
    alone = await switchboard.call("booking-alone", hook={slowness: 2.4})
    assert alone.loss == "exhausted"
    await switchboard.start("quick", isolation="thread")
    calls = [await switchboard.call(f"booking-{number}", hook={slowness: 2.4}) for number in range(3)]
    assert all(call.attributes["openrtc.worker"] == "quick" for call in calls)
    shown = await slow.snapshot()
    refused = sum(offer.worker_id == shown.livekit.worker_id for call in (alone, *calls) for offer in call.offers)
    assert shown.rejected == {"slow_request_hook": refused}
    assert shown.ledger.started == 0
    audited = await slow.audit("worker.rejected")
    assert (audited[0]["reason"], audited[0]["count"]) == ("slow_request_hook", 1)  # at once, then once a minute


@pytest.mark.parametrize(
    ("answer", "reason", "loss"),
    [
        ("reject", "user_rejected", "exhausted"),
        ("nothing", "user_rejected", "exhausted"),
        ("raise", "user_rejected", "exhausted"),
        ("terminate", "user_terminated", "terminated"),
    ],
)
async def test_a_hook_s_refusal_passes_the_call_on_unless_it_says_otherwise(switchboard, answer, reason, loss):
    worker = await switchboard.start(isolation="thread", hook=True)
    call = await switchboard.call(hook={"answer": answer})
    assert call.loss == loss
    assert (await worker.snapshot()).rejected == {reason: 1}


async def test_a_hook_s_yes_is_kept_with_its_own_attributes_and_ours(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation, hook=True)
    call = await switchboard.call(hook={"wait": 0.1}, length=60)
    shown = await worker.active(1)
    assert call.attributes["mine"] == "kept"
    assert call.attributes["openrtc.version"] == "v1"
    assert call.attributes["openrtc.boot"] == shown.boot_id
    assert call.attributes["openrtc.worker"] == "w1"
    await worker.program.has(event="hook_done")  # accept() returned: the job is launched


async def test_offers_that_waited_in_a_stalled_loop_are_refused_and_not_accepted(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation)
    worker.program.tell("block 2.7")
    call = await switchboard.call("booking-stale")
    assert call.loss is not None
    shown = await worker.shows(lambda s: s.rejected, what="a refusal")
    assert shown.rejected == {"stale_offer": 1}
    assert shown.loop_lag_ms > 2000
    assert (shown.ledger.started, shown.ledger.offers_lost) == (0, 0)
    later = await switchboard.call("booking-later", length=0.1)
    assert later.assigned


async def test_an_offer_that_livekit_gave_away_is_counted_and_frees_its_place_after_three_seconds(
    tmp_path, isolation
):
    """livekit waits 7.5 s for an assignment; the place is needed before that."""
    board = Switchboard(tmp_path, Timing(chain=1.0))
    await board.open()
    try:
        worker = await board.start(isolation=isolation, hook=True, max_concurrent_sessions=1)
        call = await board.call("booking-gone", hook={"wait": 1.2})
        assert call.loss == "timeout"
        await worker.shows(lambda s: s.livekit.reported_load > 0.6, what="a place taken by the pending offer")
        blocked = await board.call("booking-early")
        assert blocked.loss is not None
        freed = await worker.shows(lambda s: s.livekit.reported_load == 0, what="the place free again")
        assert freed.ledger.offers_lost == 0  # livekit still waits
        kept = await board.call("booking-kept")
        assert kept.assigned
        shown = await worker.shows(lambda s: s.ledger.offers_lost == 1, what="a lost offer")
        assert (shown.ledger.started, shown.ledger.active, shown.ledger.balanced) == (1, 1, True)
        lost = await worker.audit("call.offer_lost")
        assert [(event["room"], event["job"]) for event in lost] == [("booking-gone", call.job_id)]
    finally:
        await board.close()


async def test_cordon_is_reversible_and_cordoned_workers_pass_calls_on(switchboard, operator, isolation):
    worker = await switchboard.start("w1", isolation=isolation, operator_keys=operator.keys)
    status, answer = await operator.asks(worker, "cordon", reason="look at it")
    assert (status, answer["effect"], answer["snapshot"]["state"]) == (202, "started", "cordoned")
    # told at once, without waiting for livekit's next report
    await until(lambda: switchboard.dispatcher.workers()[0].load == 1.0, within=2, what="the load of a cordoned one")
    assert (await operator.asks(worker, "cordon"))[1]["effect"] == "already"
    assert (await switchboard.call("booking-1")).loss == "no_bid"
    assert (await worker.get("/readyz"))[0] == 200
    assert not (await worker.snapshot()).accepting

    await switchboard.start("w2", isolation="thread")
    calls = [await switchboard.call(f"booking-{number}", length=0.1) for number in range(10)]
    assert {call.attributes["openrtc.worker"] for call in calls} == {"w2"}

    status, answer = await operator.asks(worker, "uncordon")
    assert (status, answer["effect"], answer["snapshot"]["state"]) == (202, "started", "serving")
    assert (await operator.asks(worker, "uncordon"))[1]["effect"] == "already"
    calls = [await switchboard.call(f"booking-{number}", length=0.1) for number in range(20)]
    assert Counter(call.attributes["openrtc.worker"] for call in calls).keys() == {"w1", "w2"}
    events = [event for kind in ("cordoned", "uncordoned") for event in await worker.audit(f"worker.{kind}")]
    assert [(event["event"], event["actor"]) for event in events] == [
        ("worker.cordoned", "alice"),
        ("worker.uncordoned", "alice"),
    ]
    assert events[0]["reason"] == "look at it"


async def test_a_draining_worker_can_be_neither_cordoned_nor_uncordoned(switchboard, operator):
    worker = await switchboard.start(isolation="thread", operator_keys=operator.keys)
    await switchboard.call()
    await operator.asks(worker, "drain")
    for action in ("cordon", "uncordon"):
        status, answer = await operator.asks(worker, action)
        assert status == 409
        assert "one-way" in answer["detail"]


async def test_several_agents_are_routed_and_nobody_is_sent_to_a_default(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation, agents=["booking", "sales", "sales-eu"])
    for room, script in [
        ("sales-1", {"agent": "booking"}),  # job metadata before the room's prefix
        ("sales-eu-1", {}),  # the longest registered name before -
        ("sales-us-1", {}),
    ]:
        assert (await switchboard.call(room, **script)).assigned
    by_room = await switchboard.dispatcher.dispatch("booking-2", room_metadata='{"agent": "sales"}')
    assert by_room.assigned
    shown = await worker.active(4)
    assert shown.sessions_by_agent == {"booking": 1, "sales-eu": 1, "sales": 2}

    unknown = await switchboard.call("booking-3", agent="billing")
    assert unknown.loss == "exhausted"
    assert (await switchboard.call("salesroom")).loss == "exhausted"
    shown = await worker.snapshot()
    assert shown.rejected == {"unknown_agent": 1, "unrouted": 1}
    audited = await worker.audit("worker.rejected")
    assert [(event["reason"], event["count"]) for event in audited] == [("unknown_agent", 1), ("unrouted", 1)]


async def test_a_hook_that_fills_its_executor_delays_no_answer(switchboard, isolation):
    """livekit asks for the load in its loop's executor before every answer: user code has one of its own."""
    worker = await switchboard.start(isolation=isolation, hook=True)
    flooding = await switchboard.call("booking-flood", hook={"flood": 5}, length=0.1)
    assert flooding.assigned
    calls = [await switchboard.call(f"booking-{number}", length=0.1) for number in range(3)]
    assert all(call.assigned for call in calls)
    assert all(call.offers[-1].answered_at - call.offers[-1].made_at < 1.0 for call in calls)
    assert (await worker.snapshot()).rejected == {}


async def test_the_pool_s_own_drain_can_be_begun_in_the_request_hook(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation, hook=True, drain_linger=3)
    call = await switchboard.call(hook={"drain": True})
    assert call.loss == "exhausted"  # the yes came after the drain began, so it was passed on
    shown = await worker.state("drained")
    assert (shown.drain.source, shown.rejected) == ("api", {"draining": 1})
    assert await worker.exits() == 0


async def test_a_worker_with_a_routing_key_gets_only_dispatches_that_name_it(switchboard):
    """LiveKit's deployment is a key without a fall-back: it is opt-in, and never set from the version."""
    keyed = await switchboard.start("keyed", isolation="thread", dispatch_deployment="blue")
    assert (await switchboard.call("booking-any")).loss == "no_worker"
    named = await switchboard.dispatcher.dispatch("booking-blue", deployment="blue")
    assert named.attributes["openrtc.worker"] == "keyed"
    shown = await keyed.active(1)
    assert shown.livekit.deployment == "blue"
    assert [session["deployment"] for session in await keyed.sessions()] == ["blue"]
    await switchboard.start("plain", isolation="thread")
    call = await switchboard.call("booking-any-2", length=0.1)
    assert call.attributes["openrtc.worker"] == "plain"
