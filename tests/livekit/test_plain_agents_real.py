"""Plain ``Agent`` classes in the pool's own session, in real rooms: they end with the hangup, and only with it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.livekit.callers import Callers
from tests.support.leash import leashed
from tests.support.processes import Program, livekit_env, until
from tests.support.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.livekit.server import LiveKitServer

AGENT = {"metadata": json.dumps({"agent": "silent", "tenant": "acme"})}


@pytest.fixture(params=["process", "thread"])
async def worker(
    own_livekit: LiveKitServer, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[WorkerProcess]:
    arguments = {
        "agent_name": "plain",
        "control_port": 0,
        "drain_linger": 0.5,
        "deployment_version": "v1",
        "isolation": request.param,
    }
    program = Program(
        leashed([sys.executable, "-m", "tests.livekit.plain_worker", json.dumps(arguments)]),
        name="plain",
        directory=tmp_path,
        env=livekit_env(url=own_livekit.url, api_key=own_livekit.api_key, api_secret=own_livekit.api_secret),
    )
    async with aiohttp.ClientSession() as http:
        worker = WorkerProcess("plain", program, http)
        try:
            await worker.serving()
            yield worker
        finally:
            program.kill()


@pytest.fixture
async def line(own_livekit: LiveKitServer) -> AsyncIterator[Callers]:
    line = Callers(own_livekit, agent_name="plain", prefix="plain")
    yield line
    await line.aclose()


async def test_a_hangup_ends_the_session_and_its_job_at_once(worker: WorkerProcess, line: Callers) -> None:
    """livekit alone would wait for the room to be closed, 20 s later, and a drain with it."""
    caller = await line.call(**AGENT)
    await line.answered()
    shown = await worker.shows(
        lambda s: s.active_sessions == 1 and s.sessions_without_caller == 0, what="the caller on the line"
    )
    assert shown.sessions_by_agent == {"silent": 1}
    assert shown.sessions_by_tenant == {"acme": 1}
    async with asyncio.timeout(20):
        while [session["callers"] for session in await worker.sessions()] != [1]:  # noqa: ASYNC110 - HTTP
            await asyncio.sleep(0.05)
    await caller.hang_up()
    await worker.shows(lambda s: s.ledger.completed == 1 and not s.active_sessions, what="completed", within=15)


async def test_a_restart_of_livekit_hangs_up_nobody(
    own_livekit: LiveKitServer, worker: WorkerProcess, line: Callers
) -> None:
    """Our own side reconnects: livekit reports every caller as gone, without a reason, and as come again."""
    callers = [await line.call(**AGENT) for _ in range(3)]
    await line.answered()
    await worker.active(3)
    worker.program.signal(signal.SIGTERM)
    await worker.state("draining")
    own_livekit.kill()
    await worker.shows(lambda s: not s.livekit.connected, what="the loss")
    own_livekit.start()
    await worker.shows(lambda s: s.livekit.connected, what="a new registration", within=60)
    await until(lambda: all(caller.agent is not None for caller in callers), what="every agent back", within=60)
    shown = await worker.snapshot()
    assert (shown.active_sessions, shown.ledger.started, shown.state) == (3, 3, "draining")
    await line.hang_up()
    assert await worker.exits(within=60) == 0


async def test_an_agent_that_cannot_be_made_is_a_failed_call(worker: WorkerProcess, line: Callers) -> None:
    await line.call(metadata=json.dumps({"agent": "broken"}))
    shown = await worker.shows(lambda s: s.ledger.failed == 1, what="a failed call")
    assert "constructor failed" in (shown.last_error or "")
