"""The hard cap, with real callers: exactly as many calls as there is room for, and no caller held by mistake."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.livekit.callers import Callers
from tests.livekit.workers import Crew

if TYPE_CHECKING:
    from pathlib import Path

    from tests.livekit.server import LiveKitServer

# LiveKit tries a call for 3 s; who has no agent then never gets one
NOBODY_COMES = 4.0


@pytest.mark.parametrize("isolation", ["process", "thread"])
@pytest.mark.parametrize(("callers", "capacity"), [(24, 20), (12, 6)])
async def test_a_worker_takes_exactly_its_capacity(
    livekit: LiveKitServer, tmp_path: Path, isolation: str, callers: int, capacity: int
) -> None:
    name = f"capacity-{isolation}-{capacity}"
    crew = Crew(livekit, tmp_path, agent_name=name, isolation=isolation, max_concurrent_sessions=capacity)
    line = Callers(livekit, agent_name=name, prefix=name)
    try:
        worker = crew.start("only", "v1")
        await crew.serving()
        await line.many(callers)
        await worker.active(capacity)
        await asyncio.sleep(NOBODY_COMES)
        assert sum(caller.answered for caller in line) == capacity
        assert (worker.ledger.started, worker.ledger.active) == (capacity, capacity)
        assert worker.ledger.offers_lost == worker.ledger.launch_failed == 0
        await line.hang_up()
        await worker.active(0)
        assert worker.ledger.completed == capacity
        assert worker.ledger.balanced
    finally:
        await line.aclose()
        await crew.aclose()
