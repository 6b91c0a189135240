"""What a worker does not take goes to another one, in time."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from tests.livekit.backend import place
from tests.livekit.callers import Callers
from tests.livekit.dashboard import ControlDesk
from tests.livekit.workers import Crew
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.livekit.server import LiveKitServer


async def test_a_cordon_under_120_room_creations_leaves_nobody_unanswered(
    livekit: LiveKitServer, tmp_path: Path
) -> None:
    desk = ControlDesk(tmp_path)
    crew = Crew(
        livekit,
        tmp_path,
        agent_name="cordon",
        isolation="thread",
        max_concurrent_sessions=200,
        operator_keys=desk.public_key,
    )
    try:
        left, right = crew.start("left", "v1"), crew.start("right", "v1")
        await crew.serving()
        metadata = json.dumps({"hold": 2.0})
        async with livekit.api() as client, desk:
            for number in range(120):
                await place(client, f"cordon-{number}", agent_name="cordon", metadata=metadata)
                if number == 40:
                    answer = await desk.ask("cordon", left)
                    assert answer.outcome == "started"
                    at_cordon = answer.snapshot.ledger.started
                await asyncio.sleep(0.03)
        await until(lambda: left.ledger.started + right.ledger.started == 120, what="an answer in each room")
        for worker in (left, right):
            assert worker.ledger.offers_lost == worker.ledger.launch_failed == 0
            await worker.active(0)
            assert worker.ledger.balanced
        assert at_cordon > 0
        # a job that was accepted before the cordon may start after it; nothing else may
        assert left.ledger.started - at_cordon <= 3
        assert left.state == "cordoned"
    finally:
        await crew.aclose()


async def test_an_answer_after_two_seconds_is_taken(livekit: LiveKitServer, tmp_path: Path) -> None:
    crew = Crew(livekit, tmp_path, agent_name="slow", isolation="thread")
    line = Callers(livekit, agent_name="slow", prefix="slow")
    try:
        worker = crew.start("slow", "v1", slow=2.0, answer_timeout=2.4)
        await crew.serving()
        await line.call()
        await line.answered()
        assert line.all[0].seconds_to_answer >= 2.0
        assert worker.ledger.started == 1
        assert worker.shown is not None
        assert worker.shown.rejected == {}
    finally:
        await line.aclose()
        await crew.aclose()


async def test_an_answer_that_would_come_too_late_is_a_refusal_in_time(
    livekit: LiveKitServer, tmp_path: Path
) -> None:
    """A hook that takes 2.8 s would lose the call; it is refused after 1.5 s, and another worker has it."""
    crew = Crew(livekit, tmp_path, agent_name="late", isolation="thread")
    line = Callers(livekit, agent_name="late", prefix="late")
    try:
        late, quick = crew.start("late", "v1", slow=2.8), crew.start("quick", "v1")
        await crew.serving()
        await line.many(10)
        await line.answered()
        assert late.ledger.started == 0
        assert quick.ledger.started == 10
        await late.shows(lambda shown: bool(shown.rejected), what="refused for its slow hook")
        assert late.shown is not None
        assert set(late.shown.rejected or {}) == {"slow_request_hook"}
        assert late.ledger.offers_lost == 0
        assert [event["reason"] for event in late.audited("worker.rejected")][:1] == ["slow_request_hook"]
    finally:
        await line.aclose()
        await crew.aclose()


async def test_an_offer_that_livekit_gave_up_is_counted_as_lost(livekit: LiveKitServer, tmp_path: Path) -> None:
    """Two slow hooks in a row are more than a call has: who is asked second says yes to nobody."""
    crew = Crew(livekit, tmp_path, agent_name="spent", isolation="thread")
    line = Callers(livekit, agent_name="spent", prefix="spent")
    try:
        first = crew.start("first", "v1", slow=9.0)
        second = crew.start("second", "v1", slow=2.2, answer_timeout=2.5)
        await crew.serving()
        await line.many(8)
        await until(
            lambda: second.ledger.started + (second.ledger.offers_lost or 0) == 8, what="all offers to be settled"
        )
        lost = [caller for caller in line if not caller.answered]
        assert lost, "first was never asked"
        assert first.ledger.started == 0
        assert second.ledger.offers_lost == len(lost)
        assert {event["room"] for event in second.audited("call.offer_lost")} == {each.room_name for each in lost}
    finally:
        await line.aclose()
        await crew.aclose()
