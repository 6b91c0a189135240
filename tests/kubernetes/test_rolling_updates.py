"""Real rolling updates with calls all the while: whom Kubernetes ends when, and that no caller is lost by it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import aiohttp

from tests.kubernetes.line import Line
from tests.kubernetes.namespace import eventually
from tests.support.ports import free_port
from tests.support.worker_process import Operator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kubernetes.voice import Voice
    from tests.support.worker_process import Switchboard

LATE = 8.0


async def test_a_version_that_registers_8_s_late_loses_no_call(voice: Voice, board: Switchboard) -> None:
    """Its port is open and it is alive, but not ready: until it is registered the old version is left alone."""
    [old] = await voice.deploy("v1", replicas=1)
    port = free_port()
    async with contextlib.AsyncExitStack() as relays, Line(board) as line:
        await voice.apply("v2", replicas=1, env={"LIVEKIT_URL": f"ws://127.0.0.1:{port}"})
        [new] = await eventually(lambda: voice.workers("v2"), what="the pod of v2")
        shown = await new.shows(lambda shown: shown.state == "starting", what="answers, not yet registered")
        assert not shown.accepting
        waited_since = time.monotonic()
        async with aiohttp.ClientSession() as http:
            while time.monotonic() < waited_since + LATE:
                async with http.get(f"{new.url}/healthz") as alive, http.get(f"{new.url}/readyz") as ready:
                    assert (alive.status, ready.status) == (200, 503)
                await line.more_on("v1", 5)
        assert voice.namespace.events(event="term") == []
        assert not line.by_version()["v2"]
        await relays.enter_async_context(relay(port, board))
        await voice.serving("v2", 1)
        await voice.gone(old)
        await line.more_on("v2")
        await line.stop()
        await line.nobody_was_lost()


async def test_a_pod_drained_over_http_stays_drained_and_does_not_come_back(
    voice: Voice, board: Switchboard, tmp_path: Path
) -> None:
    """Its ReplicaSet would start another one of the old version; so it waits, idle, for the rollout's SIGTERM."""
    alice = Operator(tmp_path / "keys")
    drained, other = await voice.deploy("v1", env={"OPENRTC_OPERATOR_KEYS": alice.keys})
    async with Line(board) as line:
        status, answer = await alice.asks(drained, "drain")
        assert (status, answer["effect"]) == (202, "started")
        await drained.state("drained")
        before = (await other.ledger()).started
        await line.more_on("v1", 30)
        assert (await other.ledger()).started >= before + 30
        assert (await drained.snapshot()).state == "drained"
        pods = {pod["metadata"]["uid"]: pod for pod in await voice.namespace.pods()}
        assert set(pods) == {drained.uid, other.uid}
        assert pods[drained.uid]["status"]["phase"] == "Running"
        assert pods[drained.uid]["status"]["containerStatuses"][0]["restartCount"] == 0
        assert len(voice.namespace.events(event="started")) == 2
        await voice.deploy("v2")
        await voice.gone(drained)
    await line.nobody_was_lost()
    assert [each["code"] for each in voice.namespace.events(event="exited", uid=drained.uid)] == [0]


@contextlib.asynccontextmanager
async def relay(port: int, board: Switchboard) -> AsyncIterator[None]:
    """From now on the dispatcher can be reached at *port* too."""
    target = int(board.dispatcher.url.rpartition(":")[2])
    open_ends: set[asyncio.StreamWriter] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ends.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for end in open_ends:
            end.close()
