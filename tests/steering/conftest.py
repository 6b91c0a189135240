"""A real fleet for each test that steers one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.steering.steered_fleet import SteeredFleet, steered_fleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[SteeredFleet]:
    async with steered_fleet(tmp_path) as made:
        yield made
