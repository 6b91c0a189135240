"""How calls end on a real server, and where each is counted."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from livekit import api

from tests.livekit.callers import Callers
from tests.livekit.workers import Crew
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from openrtc_worker.contract.snapshot import LedgerCounts
    from tests.livekit.callers import Caller
    from tests.livekit.server import LiveKitServer
    from tests.livekit.workers import PoolWorker


class Endings:
    """One worker in one isolation mode; every test adds calls to its ledger and says where they must go."""

    isolation: str

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    async def worker(
        self, livekit: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
    ) -> AsyncIterator[PoolWorker]:
        directory = tmp_path_factory.mktemp(f"endings-{self.isolation}")
        crew = Crew(livekit, directory, agent_name=f"endings-{self.isolation}", isolation=self.isolation)
        try:
            worker = crew.start("only", "v1")
            await crew.serving()
            yield worker
        finally:
            await crew.aclose()

    @pytest_asyncio.fixture(loop_scope="class")
    async def line(
        self, livekit: LiveKitServer, worker: PoolWorker, request: pytest.FixtureRequest
    ) -> AsyncIterator[Callers]:
        prefix = f"{self.isolation}-{request.node.name}"
        line = Callers(livekit, agent_name=f"endings-{self.isolation}", prefix=prefix)
        try:
            yield line
        finally:
            await line.aclose()
            await worker.active(0)

    async def test_a_hangup_is_completed(self, worker: PoolWorker, line: Callers) -> None:
        before = worker.ledger
        await _answered_calls(line, 2)
        await line.hang_up()
        await _grows(worker, before, completed=2)

    async def test_a_deleted_room_is_completed_and_not_cut(
        self, livekit: LiveKitServer, worker: PoolWorker, line: Callers
    ) -> None:
        """Many agents hang up this way."""
        before = worker.ledger
        [caller] = await _answered_calls(line, 1)
        async with livekit.api() as client:
            await client.room.delete_room(api.DeleteRoomRequest(room=caller.room_name))
        await _grows(worker, before, completed=1)

    async def test_an_agent_that_is_taken_out_is_removed(
        self, livekit: LiveKitServer, worker: PoolWorker, line: Callers
    ) -> None:
        before = worker.ledger
        [caller] = await _answered_calls(line, 1)
        assert caller.agent is not None
        async with livekit.api() as client:
            await client.room.remove_participant(
                api.RoomParticipantIdentity(room=caller.room_name, identity=caller.agent.identity)
            )
        await _grows(worker, before, removed=1)
        await until(lambda: caller.lost_agent, what="the caller to see it")

    async def test_an_error_in_the_agents_code_is_failed(self, worker: PoolWorker, line: Callers) -> None:
        before = worker.ledger
        await line.call()
        await line.call(metadata=json.dumps({"fail": True}))
        await line.answered()
        healthy, unlucky = line.all
        await unlucky.room.local_participant.publish_data(b"fail now")
        await _grows(worker, before, failed=1)
        assert not healthy.lost_agent
        await line.hang_up()
        await _grows(worker, before, failed=1, completed=1)


@pytest.mark.asyncio(loop_scope="class")
class TestEndingsOfProcesses(Endings):
    isolation = "process"

    async def test_a_killed_job_process_is_crashed_and_hurts_nobody_else(
        self, worker: PoolWorker, line: Callers
    ) -> None:
        before = worker.ledger
        await _answered_calls(line, 3)
        os.kill(await worker.job_process(line.all[1].room_name), signal.SIGKILL)
        await _grows(worker, before, crashed=1)
        await line.hang_up()
        await _grows(worker, before, crashed=1, completed=2)


@pytest.mark.asyncio(loop_scope="class")
class TestEndingsOfThreads(Endings):
    isolation = "thread"


@pytest.mark.parametrize("isolation", ["process", "thread"])
async def test_what_is_left_at_the_deadline_is_cut(livekit: LiveKitServer, tmp_path: Path, isolation: str) -> None:
    """The worker says so by its exit code, and the callers' rooms are left."""
    name = f"deadline-{isolation}"
    crew = Crew(livekit, tmp_path, agent_name=name, isolation=isolation, drain_timeout=2.0)
    line = Callers(livekit, agent_name=name, prefix=name)
    try:
        worker = crew.start("only", "v1")
        await crew.serving()
        await _answered_calls(line, 3)
        await line.all[0].hang_up()
        await worker.active(2)
        worker.program.signal(signal.SIGTERM)
        assert await worker.exits() == 3
        assert (worker.ledger.completed, worker.ledger.cut, worker.ledger.active) == (1, 2, 0)
        assert worker.ledger.balanced
        assert {event["room"] for event in worker.audited("call.cut")} == {each.room_name for each in line.all[1:]}
        assert [caller.lost_agent for caller in line] == [False, True, True]
    finally:
        await line.aclose()
        await crew.aclose()


async def _answered_calls(line: Callers, count: int) -> list[Caller]:
    await line.many(count)
    await line.answered()
    return line.all


async def _grows(worker: PoolWorker, before: LedgerCounts, **ends: int) -> None:
    """The ledger gets exactly these ends beside what it had, and balances."""
    names = ("completed", "failed", "removed", "cut", "crashed", "lost")
    wanted = {name: (getattr(before, name) or 0) + ends.get(name, 0) for name in names}
    await worker.shows(
        lambda shown: all(getattr(shown.ledger, name) == wanted[name] for name in ends), what=f"{ends} more"
    )
    assert {name: getattr(worker.ledger, name) for name in names} == wanted
    assert worker.ledger.balanced
