"""A rollback whose steering process is killed at every line of its journal, and resumed: one effect each."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from openrtc_tui.steering import Steering
from openrtc_worker.contract.chain import read_chain, verify_chain
from openrtc_worker.local.ports import ReservedPorts
from tests.steering.steered_fleet import heard
from tests.support.processes import Program, clean_env

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_LIVES = 120


@pytest.fixture
def free_port() -> Iterator[int]:
    with ReservedPorts(1) as [port]:
        yield port


@pytest.mark.timeout(240)
@pytest.mark.parametrize("doom", [{"writes": 2, "when": "after"}, {"writes": 3, "when": "before"}], ids=json.dumps)
async def test_each_step_of_a_rollback_killed_and_resumed_has_one_effect(
    fleet, tmp_path, monkeypatch, free_port, doom
):
    """The good version does not run: it is named beside the bad one, started, waited for, named alone; then drains.

    Killed right after each line (intended, not done) and right before each (done, not written down). At every moment
    a caller finds somebody.
    """
    state = tmp_path / "state"
    monkeypatch.setenv("OPENRTC_STATE_DIR", str(state))
    log = tmp_path / "started.log"
    starter = tmp_path / "starter"
    starter.write_text(f'#!/bin/sh\necho "$OPENRTC_TO $OPENRTC_OP_ID" >> {log}\n')
    starter.chmod(0o700)
    fleet.ports["a-1"] = free_port
    fleet.more = f"rollback: {{exec: {{argv: [{starter}], timeout: 20s}}}}"
    await fleet.start({"b-1": "v2", "b-2": "v2"}, after_drain="wait")
    live = fleet.live()
    async with live.running():
        await heard(live)
        steering = Steering(live)
        await steering.carry_out(await steering.plan("promote", version="v2"))

    asked = json.dumps({"kind": "rollback", "version": "v1", "reason": "v2 is bad"})
    oncall = Program.python(
        "tests.proofs.oncall_program",
        *(str(fleet.file), asked, "1"),
        name="oncall",
        directory=tmp_path,
        env=clean_env(OPENRTC_STATE_DIR=str(state)),
    )
    fleet.board.programs.append(oncall)
    await oncall.has(event="ready")
    lives = 0
    while not oncall.events(event="ended"):
        lives += 1
        assert lives < MOST_LIVES, oncall.tail()
        oncall.tell(json.dumps(doom))
        over = asyncio.create_task(oncall.has(lives, event="life over", within=60))
        while not over.done():
            if log.exists() and "a-1" not in fleet.workers:
                fleet.launch("a-1", "v1", after_drain="wait")
            call = await fleet.board.call(f"caller-{lives}", length=0.05)
            assert call.assigned, f"a caller of life {lives} found nobody: {call}"
            await asyncio.sleep(0.05)
        await over
        assert not oncall.events(event="failed"), oncall.tail()
    assert [event["word"] for event in oncall.events(event="ended")] == ["done"], oncall.tail()
    assert lives > 15, "it was killed at every step"

    path = state / "journal-tests.jsonl"
    assert verify_chain(path).is_ok
    records = list(read_chain(path))
    counts = Counter((record["op_id"], record["event"]) for record in records if "op_id" in record)
    assert set(counts.values()) == {1}, "each request has one intent and at most one outcome"
    intents = [record for record in records if record["event"] == "op.intent"]
    outcomes = {record["op_id"] for record in records if record["event"] == "op.outcome"}
    assert [record for record in intents if record.get("plan_id") and record["op_id"] not in outcomes] == []
    asked_of = Counter(
        (record["action"], record["target"], record.get("manifest_seq"), record.get("plan_id")) for record in intents
    )
    assert set(asked_of.values()) == {1}, "nothing was asked under two identities"
    assert len(set(log.read_text().splitlines())) == 1, "the platform was asked for one thing, under one identity"
    audits = await fleet.audits()
    effects = {
        name: [(event["event"], event.get("manifest_seq")) for event in events if event.get("op_id")]
        for name, events in audits.items()
    }
    assert effects == {
        "a-1": [("manifest.accepted", 2), ("manifest.accepted", 3)],  # the first of them as soon as it was heard
        "b-1": [*(("manifest.accepted", seq) for seq in (1, 2, 3)), ("deployment.drain_started", None)],
        "b-2": [*(("manifest.accepted", seq) for seq in (1, 2, 3)), ("deployment.drain_started", None)],
    }
    ended = [record for record in records if record["event"] in {"deployment.rolled_back", "plan.ended"}]
    assert [record["event"] for record in ended] == ["plan.ended", "deployment.rolled_back", "plan.ended"]
