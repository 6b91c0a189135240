"""Promote and roll back on a real server: what was closed gets no caller, and no caller is left alone."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import TYPE_CHECKING

from tests.livekit.callers import Callers
from tests.livekit.dashboard import ControlDesk
from tests.livekit.workers import Crew
from tests.support.processes import until
from tests.support.release import FLEET, Release

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.livekit.server import LiveKitServer
    from tests.livekit.workers import PoolWorker

ROUNDS = 3
CALLERS_A_PHASE = 6
ARRIVE_EVERY = 0.3
TALK = (1.0, 4.0)

HEAD_START = 0.25
"""Seconds between the answer of a worker that opened and LiveKit's knowing of it, on a busy machine."""


async def test_three_promotions_and_rollbacks_leave_no_caller_alone(livekit: LiveKitServer, tmp_path: Path) -> None:
    seed = int(os.environ.get("OPENRTC_SEED") or random.randrange(10**6))
    print(f"seed {seed} (OPENRTC_SEED={seed} repeats it)")
    rng, desk, release = random.Random(seed), ControlDesk(tmp_path), Release(tmp_path / "release")
    crew = Crew(
        livekit,
        tmp_path,
        agent_name="manifest",
        isolation="thread",
        max_concurrent_sessions=40,
        operator_keys=desk.public_key,
        fleet=FLEET,
        release_keys=release.keys,
        manifest_required=True,
    )
    line = Callers(livekit, agent_name="manifest", prefix="manifest")
    try:
        async with desk:
            workers = {
                version: [crew.start(f"{version}-{letter}", version) for letter in "ab"] for version in ("v1", "v2")
            }
            for worker in crew.all:
                await worker.shows(
                    lambda shown: bool(shown.livekit and shown.livekit.connected), what="is registered"
                )
                assert worker.state == "serving"
            token = release.sign("v1")
            await asyncio.gather(*(_put(desk, worker, token) for worker in crew.all))
            enough = asyncio.Event()
            arriving = asyncio.create_task(_keep_calling(line, rng, enough))
            closed: list[tuple[str, float, float]] = []
            since = time.monotonic()
            for version in ("v2", "v1") * ROUNDS:
                await _more(line, CALLERS_A_PHASE)
                old = "v1" if version == "v2" else "v2"
                closed.append((version, since, time.monotonic()))
                since = await _switch(desk, release.sign(version), opened=workers[version], closed=workers[old])
            await _more(line, CALLERS_A_PHASE)
            closed.append(("v2", since, time.monotonic()))
            enough.set()
            await arriving

            assert {len(caller.agents) for caller in line} == {1}
            assert not any(caller.lost_agent for caller in line), f"seed {seed}"
            wrong = [
                caller.room_name
                for caller in line
                for version, begin, end in closed
                if caller.version == version and begin < caller.dialled_at < caller.agents[0].came_at < end
            ]
            assert wrong == [], f"seed {seed}: answered by a version that was closed"
            assert min(line.versions()["v1"], line.versions()["v2"]) >= ROUNDS * CALLERS_A_PHASE // 2
            print(f"{len(line.all)} callers, {line.versions()}")

            await line.hang_up()
            for worker in crew.all:
                await worker.active(0)
                assert worker.ledger.completed == worker.ledger.started
                assert worker.ledger.dropped == worker.ledger.launch_failed == worker.ledger.offers_lost == 0
                assert len(worker.audited("manifest.accepted")) == 1 + 2 * ROUNDS
            assert sum(worker.ledger.started or 0 for worker in crew.all) == len(line.all)
    finally:
        await line.aclose()
        await crew.aclose()


async def _switch(
    desk: ControlDesk, token: str, *, opened: Sequence[PoolWorker], closed: Sequence[PoolWorker]
) -> float:
    """Open one version, then close the other, whose live calls go on; returns since when nobody lands there."""
    await asyncio.gather(*(_put(desk, worker, token) for worker in opened))
    await asyncio.sleep(HEAD_START)
    talking = [(worker, (await worker.snapshot()).active_sessions) for worker in closed]
    await asyncio.gather(*(_put(desk, worker, token) for worker in closed))
    assert sum(count for _, count in talking) > 0, "nobody was talking to the version that was closed"
    return time.monotonic()


async def _put(desk: ControlDesk, worker: PoolWorker, token: str) -> None:
    answer = await desk.ask("manifest", worker, manifest=token)
    assert answer.outcome == "started", answer


async def _keep_calling(line: Callers, rng: random.Random, enough: asyncio.Event) -> None:
    """Callers come at random moments and talk for a random while."""
    async with asyncio.TaskGroup() as calls:
        while not enough.is_set():
            calls.create_task(_one_call(line, rng.uniform(*TALK)))
            await asyncio.sleep(rng.uniform(0.5, 1.5) * ARRIVE_EVERY)


async def _one_call(line: Callers, seconds: float) -> None:
    caller = await line.call()
    await line.answered([caller])
    await asyncio.sleep(seconds)
    await caller.hang_up()


async def _more(line: Callers, count: int) -> None:
    """Wait until so many callers more have come and are answered."""
    known = len(line.all)
    await until(
        lambda: sum(caller.answered for caller in line.all[known:]) >= count, what=f"{count} more callers answered"
    )
