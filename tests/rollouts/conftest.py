"""One process for the session, from which all workers are forked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rollouts.fleet import Zygote
from tests.support.processes import clean_env

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    env = clean_env(LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE="0")
    zygote = Zygote(tmp_path_factory.mktemp("zygote"), env)
    try:
        yield zygote
    finally:
        zygote.kill()
