"""``R`` on a real Deployment, from the plan to its verdict, with callers all the while."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.live import LiveFleet
from openrtc_tui.operations.platforms.kubernetes.costs import COST
from openrtc_tui.steering import Steering
from openrtc_worker.contract.chain import read_chain, verify_chain
from openrtc_worker.contract.keys import generate_operator_key
from tests.kubernetes.line import Line
from tests.kubernetes.namespace import eventually
from tests.kubernetes.operators import operator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from tests.kubernetes.voice import Voice
    from tests.support.worker_process import Switchboard

PATIENCE = 90.0


class FleetOfPods:
    """A fleet file that names the pods there are, written anew as they come and go."""

    def __init__(self, voice: Voice, directory: Path) -> None:
        self.file = directory / "fleet.yaml"
        self._voice = voice
        for folder, who in (("operators", "alice"), ("releases", "release")):
            (directory / folder).mkdir()
            generate_operator_key(who, directory / folder)
        self.settings = {
            "fleet": "tests",
            "operator_keys": str(directory / "operators"),
            "release_keys": str(directory / "releases"),
        }

    async def write(self) -> None:
        workers = await self._voice.workers()
        listed = "".join(f"  - {{name: {worker.name}, url: '{worker.url}'}}\n" for worker in workers)
        namespace = self._voice.namespace
        text = (
            f"fleet: tests\nrefresh: 200ms\nworkers:\n{listed}"
            "rollout: {from: v2, to: v1}\n"
            "operator: {name: alice, key_file: operators/alice.pem}\n"
            "manifest: {key_file: releases/release.pem}\n"
            f"rollback: {{kubernetes: {{namespace: {namespace.name}, deployment: voice,"
            f" kubeconfig: '{namespace.kubeconfig('alice')}'}}}}\n"
        )
        if not self.file.exists() or self.file.read_text() != text:
            fresh = self.file.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(self.file)

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        async def keep() -> None:
            while True:
                await self.write()
                await asyncio.sleep(0.2)

        await self.write()
        task = asyncio.create_task(keep())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_rollback_starts_the_good_version_switches_and_drains_without_losing_a_call(
    voice: Voice, board: Switchboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENRTC_STATE_DIR", str(tmp_path / "state"))
    namespace = voice.namespace
    fleet = FleetOfPods(voice, tmp_path)
    await (await operator(namespace)).close()
    [old] = await voice.deploy("v1", replicas=1, grace=3700, **fleet.settings)
    [bad] = await voice.deploy("v2", replicas=1, grace=3700, **fleet.settings)
    await voice.gone(old)
    async with fleet.kept():
        live = LiveFleet(load_fleet_file(fleet.file))
        async with live.running(), Line(board) as line:
            await eventually(lambda: _ready(live, bad.name), what="the worker of v2")
            call = await board.held("room-1")
            steering = Steering(live)
            plan = await steering.plan("rollback", version="v1", reason="v2 is deaf")
            assert not plan.blocked, plan.objections
            carrying = asyncio.create_task(steering.carry_out(plan))
            await eventually(lambda: _has_cost(voice, bad.name), what="a deletion cost of the pod with a call")
            [good] = await voice.serving("v1", 1)
            await line.more_on("v1")
            await bad.state("draining")
            before = line.by_version()["v2"]
            await line.more_on("v1")
            assert line.by_version()["v2"] == before
            board.hang_up(call)
            async with asyncio.timeout(PATIENCE):
                run = await carrying
            assert run.word == "done", run
            await line.__aexit__()
            await line.nobody_was_lost()
            assert live.journal is not None
            path = live.journal.path
    assert verify_chain(path).is_ok
    events = [record["event"] for record in read_chain(path)]
    assert "pod.cost" in events
    [ended] = [record for record in read_chain(path) if record["event"] == "deployment.rolled_back"]
    assert (ended["result"], ended["confirmed"], ended["possible"]) == ("proven", 0, 0)
    starts = [each for each in read_chain(path) if each["event"] == "op.intent" and each.get("action") == "start"]
    [start] = starts
    deployment = await namespace.get("deployment", "voice")
    assert deployment["metadata"]["annotations"]["openrtc.rollback-op"] == start["op_id"]
    pod = await namespace.get("pod", good.name)
    assert COST not in pod["metadata"].get("annotations", {})
    assert namespace.events(event="kill") == []


async def _ready(live: LiveFleet, name: str) -> bool:
    return any(row.target == name and row.ready_to_take for row in live.view().rows)


async def _has_cost(voice: Voice, name: str) -> bool:
    pods = await voice.namespace.pods()
    return any(pod["metadata"]["name"] == name and COST in pod["metadata"].get("annotations", {}) for pod in pods)
