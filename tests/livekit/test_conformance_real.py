"""A real LiveKit server does with real workers what the embedded dispatcher claims that it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.livekit.backend import RealBackend
from tests.livekit.server import LiveKitServer
from tests.support.conformance import WorkerProtocolConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest


class TestRealLiveKit(WorkerProtocolConformance):
    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    async def backend(
        self, server_binary: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> AsyncIterator[RealBackend]:
        server = LiveKitServer(server_binary, tmp_path_factory.mktemp("conformance"))
        server.start()
        try:
            yield RealBackend(server)
        finally:
            server.kill()
