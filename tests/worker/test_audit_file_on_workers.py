"""AuditFile under a real worker: its chain outlives whatever ends the worker."""

from __future__ import annotations

import signal

from openrtc_worker.contract.chain import read_chain, verify_chain
from tests.support.processes import until


def events(path):
    return [each["event"] for each in read_chain(path)] if path.exists() else []


async def test_boots_that_are_drained_and_killed_write_one_chain(switchboard, operator, tmp_path):
    path = tmp_path / "log" / "audit.jsonl"
    first = await switchboard.start(isolation="process", audit_file=str(path), operator_keys=operator.keys)
    await operator.asks(first, "cordon", reason="a look")
    first.program.signal(signal.SIGTERM)
    assert await first.exits() == 0
    ended = ["deployment.started", "worker.cordoned", "deployment.drain_started", "deployment.drain_completed"]
    assert events(path) == ended
    second = await switchboard.start(isolation="process", audit_file=str(path), operator_keys=operator.keys)
    await until(lambda: len(events(path)) == 5, within=30, what="the second boot in the file")
    second.program.signal(signal.SIGKILL)
    await second.exits()
    third = await switchboard.start(isolation="process", audit_file=str(path), operator_keys=operator.keys)
    await until(lambda: len(events(path)) == 6, within=30, what="the third boot in the file")
    assert (await third.snapshot()).findings == []
    found = list(read_chain(path))
    assert [each["event"] for each in found] == [*ended, "deployment.started", "deployment.started"]
    assert [each["seq"] for each in found] == [1, 2, 3, 4, 1, 1]
    assert len({each["boot_id"] for each in found}) == 3
    assert verify_chain(path).is_ok


async def test_a_second_worker_on_the_same_file_is_a_finding_and_takes_calls_all_the_same(switchboard, tmp_path):
    path = tmp_path / "audit.jsonl"
    await switchboard.start(isolation="thread", audit_file=str(path))
    await until(lambda: len(events(path)) == 1, within=30, what="the first worker in the file")
    second = await switchboard.start("w2", isolation="thread", audit_file=str(path))
    shown = await second.shows(lambda s: s.findings, what="a finding")
    assert shown.findings == ["audit_sink_failing"]
    assert second.log.count("another process") > 0
    assert (await switchboard.call(length=0.2)).assigned
    assert events(path) == ["deployment.started"]
    assert verify_chain(path).is_ok
