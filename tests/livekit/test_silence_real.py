"""What nobody says: workers that are frozen, dead, or cut off."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

from tests.livekit.callers import Callers
from tests.livekit.workers import Crew
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.livekit.server import LiveKitServer


async def test_offers_that_waited_in_a_frozen_worker_are_refused(livekit: LiveKitServer, tmp_path: Path) -> None:
    """Whoever answers them gets a call that LiveKit has given up; the live call goes on all the while."""
    crew = Crew(livekit, tmp_path, agent_name="frozen", isolation="process")
    line = Callers(livekit, agent_name="frozen", prefix="frozen")
    try:
        worker = crew.start("frozen", "v1")
        await crew.serving()
        talking = await line.call()
        await line.answered()
        worker.program.signal(signal.SIGSTOP)
        unlucky = await line.many(4)
        await asyncio.sleep(4)
        worker.program.signal(signal.SIGCONT)
        await worker.shows(lambda shown: sum((shown.rejected or {}).values()) == 4, what="refused what had waited")
        assert worker.shown is not None
        assert worker.shown.rejected == {"stale_offer": 4}
        assert not any(caller.answered for caller in unlucky), "LiveKit offers a call once"
        assert not talking.lost_agent
        assert (worker.ledger.started, worker.ledger.offers_lost) == (1, 0)
        again = await line.call()
        await line.answered([again])
    finally:
        worker.program.signal(signal.SIGCONT)
        await line.aclose()
        await crew.aclose()


async def test_a_dead_workers_callers_hear_silence_and_get_nobody(livekit: LiveKitServer, tmp_path: Path) -> None:
    """LiveKit notices after about 20 s, and gives the caller no other agent though one is there."""
    crew = Crew(livekit, tmp_path, agent_name="dead", isolation="thread")
    line = Callers(livekit, agent_name="dead", prefix="dead")
    try:
        dead = crew.start("dead", "v1")
        await crew.serving()
        await line.many(2)
        await line.answered()
        crew.start("well", "v1")
        await crew.serving()
        os.kill(dead.program.process.pid, signal.SIGKILL)
        died = time.monotonic()
        await until(lambda: all(caller.lost_agent for caller in line), within=45, what="LiveKit to notice")
        silence = [caller.agents[0].left_at - died for caller in line if caller.agents[0].left_at]
        print(f"seconds until LiveKit noticed: {', '.join(f'{seconds:.1f}' for seconds in silence)}")
        assert all(10 < seconds < 40 for seconds in silence), silence
        await asyncio.sleep(3)
        assert [len(caller.agents) for caller in line] == [1, 1]
    finally:
        await line.aclose()
        await crew.aclose()
