"""Real workers under a manifest that does not name their version: no new call, every live one to its end."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.support.processes import until
from tests.support.release import FLEET, Release, put_manifest


@pytest.fixture
def release(tmp_path) -> Release:
    return Release(tmp_path / "release")


@pytest.fixture
def obeying(release, operator):
    """Arguments of a worker that takes this operator's requests and this release's manifests."""
    return {"operator_keys": operator.keys, "fleet": FLEET, "release_keys": release.keys}


def forget_load(switchboard) -> None:
    """LiveKit has heard no load yet, as right after a registration, or while the word is on its way."""
    for session in switchboard.dispatcher._sessions.values():
        session.load = 0.0


async def test_a_gated_worker_passes_offers_on_keeps_its_calls_and_takes_calls_again(
    switchboard, release, operator, obeying, isolation
):
    old = await switchboard.start("old", isolation=isolation, **obeying)
    kept = await switchboard.held("booking-kept")
    await put_manifest(operator, [old], release.sign("v2"))
    shown = await old.snapshot()
    assert (shown.state, shown.accepting, shown.draining) == ("serving", False, False)
    assert (shown.manifest.seq, shown.manifest.allows, shown.livekit.reported_load) == (1, False, 1.0)
    record = switchboard.dispatcher.workers()[0]
    await until(lambda: switchboard.dispatcher.workers()[0].load == 1.0, what="LiveKit's knowing", within=5)
    assert record.available
    assert (await switchboard.call("booking-nobody")).loss == "no_bid"  # it looks full: it is not even asked

    asked = 0
    for number in range(40):
        forget_load(switchboard)  # its next report may come before the offer does: then it is not asked
        call = await switchboard.call(f"booking-refused-{number}")
        assert call.loss == "exhausted"  # passed on, not ended
        asked += len(call.offers)
        if asked == 3:
            break
    shown = await old.snapshot()
    assert shown.rejected == {"manifest": 3}
    assert (shown.active_sessions, shown.ledger.started) == (1, 1)
    (event,) = await old.audit("worker.rejected")  # at once, then once a minute
    assert (event["reason"], event["count"], event["result"]) == ("manifest", 1, "refused")

    await put_manifest(operator, [old], release.sign("v2", "v1"))
    assert (await old.serving()).state == "serving"
    await until(lambda: switchboard.dispatcher.workers()[0].load < 0.7, what="LiveKit's knowing", within=5)
    back = await switchboard.held("booking-back")
    await old.active(2)
    for call in (kept, back):
        switchboard.hang_up(call)
    ledger = (await old.active(0)).ledger
    assert (ledger.completed, ledger.dropped) == (2, 0)


async def test_an_offer_that_a_gated_worker_refuses_goes_to_the_version_that_is_named(
    switchboard, release, operator, obeying
):
    old = await switchboard.start("old", isolation="thread", **obeying)
    new = switchboard.launch("new", isolation="thread", deployment_version="v2", manifest_required=True, **obeying)
    await new.shows(lambda shown: shown.livekit.connected, what="is registered")
    assert not (await new.snapshot()).accepting  # no manifest, no calls
    await put_manifest(operator, [new, old], release.sign("v2"))
    await new.serving()
    calls = []
    while not any(len(call.offers) == 2 for call in calls):
        assert len(calls) < 40, "the old worker was never asked"
        forget_load(switchboard)
        calls.append(await switchboard.call(f"booking-{len(calls)}", length=0))
    assert {call.attributes["openrtc.version"] for call in calls} == {"v2"}
    assert (await old.snapshot()).rejected["manifest"] == sum(len(call.offers) == 2 for call in calls)


async def test_a_call_accepted_just_before_the_gate_closed_is_kept(switchboard, release, operator, obeying):
    """The request hook said yes; the manifest comes while the job is launched. The caller is answered still."""
    worker = await switchboard.start(isolation="process", **obeying)
    call = await switchboard.held("booking-1")  # assigned: its process is still launching it
    await put_manifest(operator, [worker], release.sign("v2"))
    assert (await worker.active(1)).accepting is False
    switchboard.hang_up(call)
    assert (await worker.active(0)).ledger.completed == 1


async def test_a_hook_that_thinks_while_the_gate_closes_does_not_let_the_caller_in(
    switchboard, release, operator, obeying
):
    """The gate is asked once more right before accepting."""
    worker = await switchboard.start(isolation="thread", hook=True, answer_timeout=2.4, **obeying)
    asked = asyncio.create_task(switchboard.call("booking-1", hook={"wait": 1.5}))
    await until(lambda: any(call.offers for call in switchboard.dispatcher.log.calls), what="the offer")
    await put_manifest(operator, [worker], release.sign("v2"))
    assert (await asked).loss == "exhausted"
    assert (await worker.snapshot()).rejected == {"manifest": 1}


async def test_a_gated_worker_drains_and_exits_like_any_other(switchboard, release, operator, obeying):
    worker = await switchboard.start(isolation="thread", **obeying)
    call = await switchboard.held("booking-1")
    await put_manifest(operator, [worker], release.sign("v2"))
    worker.program.signal(signal.SIGTERM)
    shown = await worker.state("draining")
    assert shown.manifest.allows is False
    switchboard.hang_up(call)
    assert await worker.exits() == 0


async def test_a_worker_that_reconnects_while_gated_takes_nothing(switchboard, release, operator, obeying):
    """A fresh registration counts as idle at LiveKit before its first report: the gate itself must hold."""
    worker = await switchboard.start(isolation="thread", **obeying)
    await put_manifest(operator, [worker], release.sign("v2"))
    await switchboard.dispatcher.stop()
    await switchboard.dispatcher.start()
    await until(switchboard.dispatcher.workers, what="the registration", within=30)
    for number in range(3):
        forget_load(switchboard)
        assert (await switchboard.call(f"booking-{number}")).loss in ("exhausted", "no_bid")
    shown = await worker.snapshot()
    assert shown.ledger.started == 0
    assert set(shown.rejected) <= {"manifest"}


async def test_the_control_endpoint_tells_what_is_wrong_with_a_manifest(
    switchboard, release, operator, obeying, tmp_path
):
    """Over HTTP, on a real worker: 403, 409 and 409, each audited once as a refused manifest."""
    worker = await switchboard.start(isolation="thread", **obeying)
    await put_manifest(operator, [worker], release.sign("v1", seq=5))
    wrong = {
        "fleet": release.sign("v2", fleet="production", seq=6),
        "key": Release(tmp_path / "other", "mallory").sign("v2", seq=6),
        "signature": Release(tmp_path / "other").sign("v2", seq=6),
        "format": "a.b.c",
        "seq": release.sign("v2", seq=4),
        "conflict": release.sign("v2", seq=5),
    }
    answers = {name: await operator.asks(worker, "manifest", manifest=token) for name, token in wrong.items()}
    found = {name: (status, body["reason"]) for name, (status, body) in answers.items()}
    assert found == {
        **dict.fromkeys(("fleet", "key", "signature", "format"), (403, "manifest")),
        "seq": (409, "seq"),
        "conflict": (409, "conflict"),
    }
    refused = await worker.audit("manifest.refused")
    assert [event["detail"].partition(":")[0] for event in refused] == list(wrong)
    assert {event["actor"] for event in refused} == {"alice"}
    assert await worker.audit("control.refused") == []
    assert (await worker.snapshot()).accepting
    status, body = await operator.asks(worker, "manifest", manifest=release.sign("v1", seq=5))
    assert (status, body["effect"]) == (202, "already")
