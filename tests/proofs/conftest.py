"""One process for the session, from which the workers of all rollouts are forked; and a fleet that is steered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.proofs.fleet import Zygote
from tests.steering.steered_fleet import SteeredFleet, steered_fleet
from tests.support.processes import clean_env

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    env = clean_env(LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE="0")
    zygote = Zygote(tmp_path_factory.mktemp("zygote"), env)
    try:
        yield zygote
    finally:
        zygote.kill()


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[SteeredFleet]:
    async with steered_fleet(tmp_path) as made:
        yield made
