"""Fixtures for tests on real worker processes: an embedded dispatcher, and both ways to isolate a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.worker_process import Operator, Switchboard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def switchboard(tmp_path: Path) -> AsyncIterator[Switchboard]:
    board = Switchboard(tmp_path)
    await board.open()
    yield board
    await board.close()


@pytest.fixture(params=["process", "thread"])
def isolation(request: pytest.FixtureRequest) -> str:
    """Every promise holds in both."""
    return request.param


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "operators")
