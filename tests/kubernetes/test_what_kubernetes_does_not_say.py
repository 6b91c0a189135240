"""What Kubernetes says is not what callers live through: the dashboard's view of the same moments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from openrtc_tui.state.view import VerdictWord
from tests.kubernetes.namespace import eventually
from tests.kubernetes.operators import operator
from tests.kubernetes.overseer import Overseer, finding

if TYPE_CHECKING:
    from tests.kubernetes.voice import Voice
    from tests.support.worker_process import Switchboard


async def test_the_dashboard_says_terminating_with_calls_live_while_kubectl_says_success(
    voice: Voice, board: Switchboard
) -> None:
    namespace = voice.namespace
    [old] = await voice.deploy("v1", replicas=1, grace=3700)
    async with Overseer(await operator(namespace), rollout=("v1", "v2")) as overseer:
        overseer.look_at([old])
        calls = [await board.held("room-1"), await board.held("room-2")]
        await old.active(2)
        [new] = await voice.deploy("v2", replicas=1, grace=3700)
        overseer.look_at([new])
        await voice.rolled_out()
        status = (await namespace.get("deployment", "voice"))["status"]
        assert (status["replicas"], status["updatedReplicas"]) == (1, 1)  # not a word of the two calls
        row = await overseer.row(old, lambda row: finding(row, "terminating"), what="that it is being ended")
        text = finding(row, "terminating")
        assert re.fullmatch(r"terminating, 2 calls live, killed in 1h\d\dm unless empty", text), text
        assert overseer.view().verdict.word is VerdictWord.OPEN
        for call in calls:
            board.hang_up(call)
        await voice.gone(old)

        async def proven() -> bool:
            return overseer.view().verdict.word is VerdictWord.PROVEN

        await eventually(proven, what=lambda: f"the proof; {overseer.view().verdict_reason}")


async def test_a_grace_that_is_too_short_is_a_finding_before_and_a_dropped_call_after(
    voice: Voice, board: Switchboard
) -> None:
    namespace = voice.namespace
    [old] = await voice.deploy("v1", replicas=1, grace=4)
    platform = await operator(namespace)
    async with Overseer(platform, rollout=("v1", "v2")) as overseer:
        overseer.look_at([old])
        row = await overseer.row(old, lambda row: finding(row, "grace_too_short"), what="the finding")
        assert finding(row, "grace_too_short").startswith("its platform kills it 4s after SIGTERM")
        call = await board.held("room-1")
        await old.active(1)
        [new] = await voice.deploy("v2", replicas=1, grace=4)
        overseer.look_at([new])
        found = await platform.preflight("v1", await platform.describe("v1"))
        assert "grace_too_short" in {objection.code for objection in found}
        await voice.rolled_out()
        await voice.gone(old)
        [killed] = namespace.events(event="kill", uid=old.uid)
        assert killed
        assert board.dispatcher.log.call(call.job_id).open, "nobody told the caller"

        async def violated() -> bool:
            return overseer.view().verdict.word is VerdictWord.VIOLATED

        await eventually(violated, what=lambda: f"the verdict; {overseer.view().verdict}", within=40.0)
        assert overseer.view().verdict.confirmed == 1


async def test_an_undo_while_both_versions_are_up_keeps_the_very_same_pods(voice: Voice, board: Switchboard) -> None:
    """Within ``minReadySeconds`` nothing of the old version has been told to end, and nothing has to start again."""
    namespace = voice.namespace
    [old] = await voice.deploy("v1", replicas=1, grace=3700)
    call = await board.held("room-1")
    await old.active(1)
    [bad] = await voice.deploy("v2", replicas=1, grace=3700, min_ready=300)
    platform = await operator(namespace)
    description = await platform.describe("v1")
    assert description.peak == 2
    assert any("minReadySeconds" in line for line in description.detail)
    await platform.roll_back("v1", token=description.token, op_id="op-1", reason="v2 is deaf")
    await platform.close()
    # it holds for v1 too, and its pod is young here: nothing of v2 ends before v1 counts as available
    await namespace.kubectl("patch", "deployment", "voice", "-p", '{"spec": {"minReadySeconds": 1}}')
    await voice.gone(bad)
    [kept] = await voice.serving("v1", 1)
    assert kept.uid == old.uid
    assert namespace.events(event="term", uid=old.uid) == []
    assert (await old.snapshot()).active_sessions == 1
    board.hang_up(call)


async def test_a_rollback_revives_nothing_and_up_to_three_times_the_replicas_run_at_once(
    voice: Voice, board: Switchboard
) -> None:
    """v1 ends with a call, v2 takes one, the rollback starts a new v1: three workers, and no call is lost."""
    namespace = voice.namespace
    [old] = await voice.deploy("v1", replicas=1, grace=3700)
    first = await board.held("room-1")
    await old.active(1)
    [bad] = await voice.deploy("v2", replicas=1, grace=3700)
    await old.state("draining")
    second = await board.held("room-2")
    await bad.active(1)
    platform = await operator(namespace)
    description = await platform.describe("v1")
    assert description.peak == 3
    await platform.roll_back("v1", token=description.token, op_id="op-1", reason="v2 is deaf")
    await platform.close()
    await bad.state("draining")
    [new] = await voice.serving("v1", 1)
    assert new.uid != old.uid
    assert len(await voice.workers()) == 3
    third = await board.held("room-3")
    await new.active(1)
    for call, worker in ((first, old), (second, bad)):
        assert (await worker.snapshot()).active_sessions == 1
        board.hang_up(call)
        await voice.gone(worker)
    board.hang_up(third)
    assert namespace.events(event="kill") == []
