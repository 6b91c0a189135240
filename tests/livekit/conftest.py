"""The real server, once for the session; without it one visible skip, or a failure where it is required."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.livekit.binary import require_server
from tests.livekit.server import LiveKitServer
from tests.support.real_server import RealServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = RealServer(
    folder=Path(__file__).parent,
    canary="test_a_real_livekit_server_is_at_hand",
    variable="OPENRTC_REQUIRE_LIVEKIT",
    require=require_server,
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a server keep one test of this folder, which says why nothing else runs."""
    SERVER.collected(config, items)


@pytest.fixture(scope="session")
def server_binary() -> Path:
    """The server's program; skips without one, or fails where ``OPENRTC_REQUIRE_LIVEKIT=1`` is set."""
    return SERVER.binary()


@pytest.fixture(scope="session")
def livekit(server_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveKitServer]:
    """The server that the tests share; each uses agent names and rooms of its own."""
    server = LiveKitServer(server_binary, tmp_path_factory.mktemp("livekit"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def own_livekit(server_binary: Path, tmp_path: Path) -> Iterator[LiveKitServer]:
    """A server for one test, which may kill and restart it."""
    server = LiveKitServer(server_binary, tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.kill()
