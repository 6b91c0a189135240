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
async def test_a_worker_with_room_for_20_takes_exactly_20_of_24(
    livekit: LiveKitServer, tmp_path: Path, isolation: str
) -> None:
    name = f"capacity-{isolation}"
    crew = Crew(livekit, tmp_path, agent_name=name, isolation=isolation, max_concurrent_sessions=20)
    line = Callers(livekit, agent_name=name, prefix=name)
    try:
        worker = crew.start("only", "v1")
        await crew.serving()
        await line.many(24)
        await worker.active(20)
        await asyncio.sleep(NOBODY_COMES)
        assert sum(caller.answered for caller in line) == 20
        assert (worker.ledger.started, worker.ledger.active) == (20, 20)
        assert worker.ledger.offers_lost == worker.ledger.launch_failed == 0
        await line.hang_up()
        await worker.active(0)
        assert worker.ledger.completed == 20
        assert worker.ledger.balanced
    finally:
        await line.aclose()
        await crew.aclose()
