"""The audit of a real worker: every event reaches the sink, and the sink hurts nobody."""

from __future__ import annotations

import json
import signal


async def test_the_sink_has_every_event_in_order_when_the_process_is_gone(switchboard, operator, isolation, tmp_path):
    path = tmp_path / "audit.jsonl"
    worker = await switchboard.start(
        isolation=isolation, audit=str(path), operator_keys=operator.keys, drain_timeout=1, cut_grace=20
    )
    shown = await worker.snapshot()
    await switchboard.call("booking-cut")
    await operator.asks(worker, "cordon", reason="a look", plan_id="plan-1")
    await operator.asks(worker, "uncordon")
    worker.program.signal(signal.SIGTERM)
    assert await worker.exits() == 3
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["event"] for event in events] == [
        "deployment.started",
        "worker.cordoned",
        "worker.uncordoned",
        "deployment.drain_started",
        "call.cut",
        "deployment.drain_completed",
    ]
    assert {(e["version"], e["boot_id"], e["target"]) for e in events} == {("v1", shown.boot_id, "w1")}
    cordoned = events[1]
    assert (cordoned["actor"], cordoned["kid"], cordoned["plan_id"], cordoned["reason"]) == (
        "alice",
        "alice",
        "plan-1",
        "a look",
    )
    assert (events[-1]["result"], events[-1]["cut"], events[-1]["started"]) == ("cut", 1, 1)


async def test_a_sink_that_raises_is_a_finding_and_nothing_else(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation, sink_fails=True)
    shown = await worker.shows(lambda s: s.findings, what="a finding")
    assert shown.findings == ["audit_sink_failing"]
    call = await switchboard.call(length=0.2)
    assert call.assigned
    await worker.shows(lambda s: s.ledger.completed == 1, what="a completed call")
    assert worker.log.count("the audit sink failed") == 1
    worker.program.signal(signal.SIGTERM)
    assert await worker.exits() == 0


async def test_an_untagged_worker_says_so_once(switchboard):
    worker = await switchboard.start(isolation="thread", deployment_version=None)
    shown = await worker.snapshot()
    assert (shown.deployment_version, shown.findings) == (None, ["untagged"])
    assert worker.log.count("untagged") == 1
    call = await switchboard.call(length=60)
    assert "openrtc.version" not in call.attributes
    assert call.attributes["openrtc.worker"] == "w1"
