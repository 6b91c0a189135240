"""LiveKit itself dies and comes back while a rollout is on its way."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from openrtc_worker.contract.snapshot import State
from tests.livekit.backend import place
from tests.livekit.callers import Callers
from tests.livekit.dashboard import ControlDesk
from tests.livekit.server import worker_known
from tests.livekit.workers import Crew
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.livekit.server import LiveKitServer

NEW_CALLS = 30


@pytest.mark.parametrize("isolation", ["process", "thread"])
async def test_a_restart_during_a_drain_ends_no_call_and_brings_no_new_one(
    own_livekit: LiveKitServer, tmp_path: Path, isolation: str
) -> None:
    """A draining worker registers again full and a cordoned one again loaded; live calls come back by themselves."""
    desk = ControlDesk(tmp_path)
    crew = Crew(
        own_livekit,
        tmp_path,
        agent_name="voice",
        isolation=isolation,
        operator_keys=desk.public_key,
        drain_linger=1.0,
    )
    line = Callers(own_livekit, agent_name="voice", prefix="outage")
    try:
        async with desk:
            draining, cordoned = crew.start("draining", "v1"), crew.start("cordoned", "v1")
            await crew.serving()
            await line.many(6)
            await line.answered()
            new = crew.start("new", "v2")
            await crew.serving()
            mine = {worker.name: worker.ledger.active for worker in (draining, cordoned)}
            assert all(mine.values()), "one of the two was never chosen"
            answer = await desk.ask("cordon", cordoned)
            assert answer.done
            draining.program.signal(signal.SIGTERM)
            await draining.in_state(State.DRAINING)

            own_livekit.kill()
            killed_at = time.monotonic()
            for worker in crew.all:
                await worker.shows(lambda shown: shown.livekit.connected is False, what="notices the loss")
            own_livekit.start()
            await worker_known(own_livekit, "voice", 3)
            await _all_talk_again(line, killed_at)
            # new calls at once: the first seconds of a registration are those in which it counts as free
            async with own_livekit.api() as client:
                for number in range(NEW_CALLS):
                    metadata = json.dumps({"hold": 1.0})
                    await place(client, f"after-{number}", agent_name="voice", metadata=metadata)
                    await asyncio.sleep(0.1)
            await until(lambda: new.ledger.started == NEW_CALLS, what="v2 to answer every new call")
            for worker in (draining, cordoned):
                assert worker.ledger.started == worker.ledger.active == mine[worker.name]
                assert worker.ledger.balanced
            assert draining.state == State.DRAINING
            assert cordoned.state == State.CORDONED

            await line.hang_up()
            assert await draining.exits() == 0
            await cordoned.active(0)
            for worker in (draining, cordoned):
                assert worker.ledger.completed == worker.ledger.started == mine[worker.name]
                assert worker.ledger.dropped == worker.ledger.offers_lost == 0
    finally:
        await line.aclose()
        await crew.aclose()


async def test_a_livekit_that_stays_away_loses_its_calls_and_nothing_else(
    own_livekit: LiveKitServer, tmp_path: Path
) -> None:
    """LiveKit's SDK tries for about 40 s; then each call is lost, in both modes, and the drain comes to its end."""
    crew = Crew(own_livekit, tmp_path, agent_name="voice")
    line = Callers(own_livekit, agent_name="voice", prefix="away")
    try:
        workers = [crew.start(isolation, "v1", isolation=isolation) for isolation in ("process", "thread")]
        await crew.serving()
        await line.many(6)
        await line.answered()
        mine = [worker.ledger.active for worker in workers]
        assert all(mine), "one of the two was never chosen"
        own_livekit.kill()
        for worker in workers:
            worker.program.signal(signal.SIGTERM)
            await worker.in_state(State.DRAINING)
        for worker, calls in zip(workers, mine, strict=True):
            assert await worker.exits(within=90) == 0
            assert (worker.ledger.lost, worker.ledger.active, worker.ledger.cut) == (calls, 0, 0)
            assert worker.ledger.balanced
    finally:
        await line.aclose()
        await crew.aclose()


async def _all_talk_again(line: Callers, killed_at: float) -> None:
    """Each caller has the agent back that it had before, and no second one."""
    await until(
        lambda: all(caller.agent is not None for caller in line), within=60, what="every caller's agent to be back"
    )
    for caller in line:
        assert len({agent.identity for agent in caller.agents}) == 1
        assert caller.end is None
    back = sorted(caller.agents[-1].came_at - killed_at for caller in line)
    print(f"agents back after the kill: {', '.join(f'{seconds:.1f}' for seconds in back)} s")
