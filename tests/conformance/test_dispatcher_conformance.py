"""The embedded dispatcher does with real workers what a LiveKit server does."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest_asyncio

from openrtc_worker.local.dispatcher import Dispatcher
from tests.support.conformance import WorkerProtocolConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openrtc_worker.local.records import CallRecord


class EmbeddedBackend:
    """The embedded dispatcher as the suite sees a server."""

    def __init__(self) -> None:
        self.api_key = "devkey"
        self.api_secret = "a-secret-of-more-than-32-characters"
        self.dispatcher = Dispatcher(self.api_key, self.api_secret, rng=random.Random(7))
        self._calls: dict[str, asyncio.Task[CallRecord]] = {}

    @property
    def url(self) -> str:
        return self.dispatcher.url

    async def place_call(self, room: str, *, agent_name: str, deployment: str = "", metadata: str = "") -> None:
        call = self.dispatcher.dispatch(room, agent_name=agent_name, deployment=deployment, metadata=metadata)
        self._calls[room] = asyncio.create_task(call)

    async def settled(self, room: str) -> None:
        await self._calls[room]

    async def restart(self) -> None:
        await self.dispatcher.stop()
        await self.dispatcher.start()


class TestEmbeddedDispatcher(WorkerProtocolConformance):
    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    async def backend(self) -> AsyncIterator[EmbeddedBackend]:
        backend = EmbeddedBackend()
        await backend.dispatcher.start()
        try:
            yield backend
        finally:
            await backend.dispatcher.stop()
