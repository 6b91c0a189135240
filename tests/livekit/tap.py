"""A relay between workers and LiveKit that notes each protocol message with its time.

Each worker connects at an address of its own (``ws://…/TAG``). The relay changes nothing, but it can hold back what a
worker says of its status: to LiveKit the worker then stays free while it is draining or cordoned, as in the
milliseconds before the word arrives, and is offered calls for as long as a measurement needs.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import aiohttp
from aiohttp import web
from livekit.protocol import agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.livekit.server import LiveKitServer

Kind = Literal["offered", "refused", "accepted", "assigned"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a job, at a monotonic time in seconds."""

    job_id: str
    worker: str
    kind: Kind
    at: float


class Tap:
    """The relay. ``steps`` is everything that happened, in order."""

    def __init__(self, server: LiveKitServer) -> None:
        self.steps: list[Step] = []
        self.withheld: set[str] = set()
        """Tags of the workers whose status does not get through."""
        self._server = server
        self._address = ""

    def url(self, tag: str) -> str:
        """What the worker *tag* has as LIVEKIT_URL."""
        return f"ws://{self._address}/{tag}"

    def of_job(self, job_id: str) -> list[Step]:
        return [step for step in self.steps if step.job_id == job_id]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Tap]:
        app = web.Application()
        app.router.add_get("/{tag}/agent", self._relay)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self._address = f"{host}:{port}"
            yield self
        finally:
            await runner.cleanup()

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        tag = request.match_info["tag"]
        headers = {"Authorization": request.headers.get("Authorization", "")}
        upstream_url = f"{self._server.url}/agent"
        async with aiohttp.ClientSession() as session:
            if request.headers.get("Upgrade", "").lower() != "websocket":  # a worker asks whether its key is good
                async with session.get(upstream_url.replace("ws", "http", 1), headers=headers) as answer:
                    return web.Response(status=answer.status)
            async with session.ws_connect(upstream_url, headers=headers, params=request.query) as upstream:
                worker = web.WebSocketResponse()
                await worker.prepare(request)
                pumps = [
                    asyncio.create_task(self._from_worker(tag, worker, upstream)),
                    asyncio.create_task(self._from_server(tag, upstream, worker)),
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                await worker.close()
                return worker

    async def _from_worker(
        self, tag: str, worker: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse
    ) -> None:
        async for frame in worker:
            message = agent.WorkerMessage.FromString(frame.data)
            kind = message.WhichOneof("message")
            if kind == "update_worker" and tag in self.withheld:
                continue
            if kind == "availability":
                self._note(
                    message.availability.job_id, tag, "accepted" if message.availability.available else "refused"
                )
            await upstream.send_bytes(frame.data)

    async def _from_server(
        self, tag: str, upstream: aiohttp.ClientWebSocketResponse, worker: web.WebSocketResponse
    ) -> None:
        async for frame in upstream:
            message = agent.ServerMessage.FromString(frame.data)
            kind = message.WhichOneof("message")
            if kind == "availability":
                self._note(message.availability.job.id, tag, "offered")
            elif kind == "assignment":
                self._note(message.assignment.job.id, tag, "assigned")
            await worker.send_bytes(frame.data)

    def _note(self, job_id: str, tag: str, kind: Kind) -> None:
        self.steps.append(Step(job_id, tag, kind, time.monotonic()))
