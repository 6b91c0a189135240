"""The real server, once for the session; without it one visible skip, or a failure where it is required."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.livekit.binary import require_server
from tests.livekit.server import LiveKitServer
from tests.support.go_program import MissingProgramError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
CANARY = "test_a_real_livekit_server_is_at_hand"

_problem: str | None = None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a server keep one test of this folder, which says why nothing else runs."""
    global _problem  # noqa: PLW0603 - one finding for the whole session
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    if not ours or config.option.collectonly:
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    try:
        require_server(lambda line: reporter.write_line(f"==> {line}") if reporter else None)
    except MissingProgramError as missing:
        _problem = str(missing)
        idle = [item for item in ours if item.name != CANARY]
        items[:] = [item for item in items if item not in idle]
        config.hook.pytest_deselected(items=idle)


@pytest.fixture(scope="session")
def server_binary() -> Path:
    """The server's program; skips without one, or fails where ``OPENRTC_REQUIRE_LIVEKIT=1`` is set."""
    if _problem is None:
        return require_server(print)
    if os.environ.get("OPENRTC_REQUIRE_LIVEKIT") == "1":
        pytest.fail(_problem, pytrace=False)
    pytest.skip(_problem)


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
