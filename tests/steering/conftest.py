"""A real fleet for each test that steers one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.steering.steered_fleet import SteeredFleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[SteeredFleet]:
    made = SteeredFleet(tmp_path)
    await made.board.open()
    yield made
    await made.board.close()
