"""A rollout with real callers on a real server: v1 drains, v2 takes over, nobody notices."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from openrtc_tui.state.view import VerdictWord, WorkerState
from openrtc_worker.contract.snapshot import State
from tests.livekit.callers import Callers
from tests.livekit.dashboard import ControlDesk, Watchman
from tests.livekit.server import rooms_with_agents
from tests.livekit.workers import Crew
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.livekit.callers import Caller
    from tests.livekit.server import LiveKitServer
    from tests.livekit.workers import PoolWorker

EARLY_CALLERS = 8
LATE_CALLERS = 24
ARRIVE_EVERY = 0.35


@pytest.mark.parametrize("isolation", ["process", "thread"])
async def test_a_rollout_loses_no_caller(livekit: LiveKitServer, tmp_path: Path, isolation: str) -> None:
    """One v1 is drained through the dashboard's client, one by SIGTERM, while new callers keep arriving."""
    name = f"rollout-{isolation}"
    desk = ControlDesk(tmp_path)
    crew = Crew(
        livekit,
        tmp_path,
        agent_name=name,
        isolation=isolation,
        max_concurrent_sessions=40,
        operator_keys=desk.public_key,
        drain_linger=1.0,
    )
    line = Callers(livekit, agent_name=name, prefix=name)
    try:
        async with desk, Watchman(rollout=("v1", "v2")) as watchman, livekit.api() as client:
            old = [crew.start("v1-a", "v1"), crew.start("v1-b", "v1")]
            watchman.look_at(old)
            await crew.serving()
            await line.many(EARLY_CALLERS)
            await line.answered()
            assert line.versions() == {"v1": EARLY_CALLERS}

            new = [crew.start("v2-a", "v2"), crew.start("v2-b", "v2")]
            watchman.look_at(new)
            await crew.serving()
            arriving = asyncio.create_task(_keep_calling(line))
            await until(lambda: len(line.all) >= EARLY_CALLERS + 5, what="the first callers of the rollout")
            answer = await desk.ask("drain", old[0])
            old[1].program.signal(signal.SIGTERM)
            assert answer.outcome == "started"
            assert answer.snapshot is not None
            assert answer.snapshot.draining
            await asyncio.gather(*(worker.in_state(State.DRAINING) for worker in old))
            drained_since = time.monotonic()
            await arriving
            await line.answered()

            late = [caller for caller in line if caller.dialled_at > drained_since]
            assert len(late) >= LATE_CALLERS // 3, "too few callers arrived after the drains to say anything"
            assert {caller.version for caller in late} == {"v2"}
            assert not any(caller.lost_agent for caller in line)
            await _counts_agree(crew.all, line, await rooms_with_agents(client, name))

            for worker in old:
                await _ends_with_its_last_call(worker, line)
                assert not any(caller.lost_agent for caller in line)
            for worker in new:
                assert worker.state == State.SERVING
            view = watchman.view()
            assert {row.state for row in view.rows if row.version == "v1"} == {WorkerState.EXITED}
            assert (view.verdict.word, view.verdict.possible) == (VerdictWord.PROVEN, 0), view.verdict_reason

            await line.hang_up()
            for worker in new:
                await worker.active(0)
            started = sum(worker.ledger.started or 0 for worker in crew.all)
            assert started == len(line.all)
            for worker in crew.all:
                assert worker.ledger.completed == worker.ledger.started
                assert worker.ledger.balanced
                assert worker.ledger.dropped == worker.ledger.launch_failed == worker.ledger.offers_lost == 0
    finally:
        await line.aclose()
        await crew.aclose()


async def _keep_calling(line: Callers) -> None:
    for _ in range(LATE_CALLERS):
        await line.call()
        await asyncio.sleep(ARRIVE_EVERY)


async def _counts_agree(workers: list[PoolWorker], line: Callers, rooms: dict[str, list]) -> None:
    """Workers, callers and LiveKit's room service say the same of who has which call."""
    by_service = Counter(agent.attributes["openrtc.worker"] for agents in rooms.values() for agent in agents)
    by_callers = Counter(caller.agent.attributes["openrtc.worker"] for caller in line if caller.agent)
    by_workers = Counter({worker.name: worker.ledger.active for worker in workers})
    assert by_service == by_callers == by_workers
    assert all(len(agents) == 1 for agents in rooms.values())
    boots = {worker.name: (worker.shown.boot_id, worker.shown.deployment_version) for worker in workers}
    for agents in rooms.values():
        tags = agents[0].attributes
        assert boots[tags["openrtc.worker"]] == (tags["openrtc.boot"], tags["openrtc.version"])


async def _ends_with_its_last_call(worker: PoolWorker, line: Callers) -> None:
    """A draining worker lives until its last caller hangs up, and then exits 0 with everything completed."""
    mine: list[Caller] = [caller for caller in line if caller.agents[0].attributes["openrtc.worker"] == worker.name]
    *others, last = mine
    await line.hang_up(others)
    await worker.active(1)
    assert worker.program.running
    assert worker.state == State.DRAINING
    assert last.agent is not None
    await last.hang_up()
    assert await worker.exits() == 0
    assert worker.bye is not None
    assert worker.bye.exit_code == 0
    assert worker.ledger.started == worker.ledger.completed == len(mine)
    assert worker.audited("deployment.drain_completed")
