"""Promote and roll back under a stream of calls: nobody lands on the version that was closed, and nobody is lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from openrtc_worker.local.dispatcher import Dispatcher
from openrtc_worker.local.records import Answer
from openrtc_worker.local.selection import TARGET_LOAD
from tests.support.processes import until
from tests.support.release import FLEET, Release, put_manifest
from tests.support.worker_process import Operator, Switchboard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from openrtc_worker.local.records import CallRecord
    from tests.support.worker_process import WorkerProcess

ROUNDS = 20
CALLS_PER_SECOND = 25.0
CALLS_A_PHASE = 8
OLD, NEW = "v1", "v2"


@dataclass(frozen=True, slots=True)
class Closed:
    """While this worker was closed: from the answer to its manifest until it was asked to open again."""

    name: str
    since: float
    until: float = float("inf")


class Stream:
    """Callers who keep coming at random moments and talk for a random while."""

    def __init__(self, board: Switchboard, rng: random.Random) -> None:
        self._board = board
        self._rng = rng
        self._numbers = itertools.count(1)
        self._placing: set[asyncio.Task[CallRecord]] = set()
        self.settled: list[CallRecord] = []

    async def run(self) -> None:
        while True:
            placing = asyncio.create_task(
                self._board.call(f"booking-{next(self._numbers)}", length=self._rng.uniform(0.05, 0.8))
            )
            self._placing.add(placing)
            placing.add_done_callback(self._note)
            await asyncio.sleep(self._rng.expovariate(CALLS_PER_SECOND))

    def _note(self, placing: asyncio.Task[CallRecord]) -> None:
        self._placing.discard(placing)
        if not placing.cancelled():
            self.settled.append(placing.result())

    async def more(self, count: int) -> None:
        """Wait until so many more callers have come from now on and know whether anybody answers."""
        now = time.time()
        await until(lambda: sum(call.placed_at > now for call in self.settled) >= count, what=f"{count} more calls")

    async def all_settled(self) -> None:
        await asyncio.gather(*self._placing)


class Fleet:
    """Workers of two versions, of which one may take calls at a time."""

    def __init__(self, board: Switchboard, operator: Operator, release: Release) -> None:
        self._board = board
        self._operator = operator
        self._release = release
        self._of = {
            version: [
                board.launch(
                    f"{version}-{letter}",
                    deployment_version=version,
                    isolation="thread",
                    operator_keys=operator.keys,
                    fleet=FLEET,
                    release_keys=release.keys,
                    manifest_required=True,
                )
                for letter in "ab"
            ]
            for version in (OLD, NEW)
        }
        self.closed: dict[str, Closed] = {}
        self.history: list[Closed] = []

    @property
    def workers(self) -> list[WorkerProcess]:
        return [worker for workers in self._of.values() for worker in workers]

    async def begin_with(self, version: str) -> None:
        """Registered, every one; only *version* takes calls."""
        for worker in self.workers:
            await worker.shows(lambda shown: shown.livekit.connected, what="is registered")
        await put_manifest(self._operator, self.workers, self._release.sign(version))
        for worker in self._of[version]:
            await worker.serving()
        await self._known(version)
        self._closed(NEW if version == OLD else OLD)

    async def switch_to(self, version: str) -> None:
        """Those that are to take calls are told first, and the others only once LiveKit knows of them.

        The other way round 3 of 326 callers got nobody: their dispatcher looked while everybody was full.
        """
        token = self._release.sign(version)
        for worker in self._of[version]:
            known = self.closed.pop(worker.name)
            self.history.append(Closed(known.name, known.since, until=time.time()))
        await put_manifest(self._operator, self._of[version], token)
        await self._known(version)
        other = NEW if version == OLD else OLD
        await put_manifest(self._operator, self._of[other], token)
        self._closed(other)

    async def _known(self, version: str) -> None:
        """Wait until LiveKit has heard that the workers of *version* take calls; they answer before that."""
        ids = {(await worker.snapshot()).livekit.worker_id for worker in self._of[version]}
        records = self._board.dispatcher.workers
        await until(
            lambda: all(record.load < TARGET_LOAD for record in records() if record.worker_id in ids),
            what="LiveKit's knowing",
        )

    def _closed(self, version: str) -> None:
        now = time.time()
        self.closed |= {worker.name: Closed(worker.name, now) for worker in self._of[version]}

    def landed_on_closed(self, calls: list[CallRecord]) -> list[CallRecord]:
        """Calls that a worker was offered after its manifest was accepted, and took all the same."""
        spans = [*self.history, *self.closed.values()]
        return [
            call
            for call in calls
            for offer in call.offers
            if offer.answer is Answer.ACCEPTED
            for span in spans
            if span.name == offer.attributes["openrtc.worker"] and span.since < offer.made_at < span.until
        ]


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[tuple[Switchboard, random.Random, int]]:
    seed = int(os.environ.get("OPENRTC_SEED") or random.randrange(10**6))
    print(f"seed {seed} (OPENRTC_SEED={seed} repeats it)")
    rng = random.Random(seed)
    switchboard = Switchboard(tmp_path)
    switchboard.dispatcher = Dispatcher("key", "a-secret-of-more-than-32-characters", rng=random.Random(seed))
    await switchboard.open()
    yield switchboard, rng, seed
    await switchboard.close()


async def test_promotions_and_rollbacks_lose_nobody_and_let_nobody_in_where_it_is_closed(board, tmp_path):
    """20 times v2 and back to v1 under some 25 calls a second: 0 land on what was closed, 0 find nobody."""
    switchboard, rng, seed = board
    fleet = Fleet(switchboard, Operator(tmp_path / "operators"), Release(tmp_path / "release"))
    await fleet.begin_with(OLD)
    callers = Stream(switchboard, rng)
    streaming = asyncio.create_task(callers.run())
    try:
        await callers.more(CALLS_A_PHASE)
        for _ in range(ROUNDS):
            for version in (NEW, OLD):
                await asyncio.sleep(rng.uniform(0, 0.2))
                await fleet.switch_to(version)
                await callers.more(CALLS_A_PHASE)
    finally:
        streaming.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await streaming
    await callers.all_settled()

    calls = list(switchboard.dispatcher.log.calls)
    lost = [(call.room, call.loss) for call in calls if not call.assigned]
    assert len(calls) >= ROUNDS * 2 * CALLS_A_PHASE
    assert lost == [], f"seed {seed}: {len(lost)} of {len(calls)} callers got nobody"
    assert fleet.landed_on_closed(calls) == [], f"seed {seed}"
    assert len(fleet.history) == ROUNDS * 2 * 2
    took = {version: sum(call.attributes["openrtc.version"] == version for call in calls) for version in (OLD, NEW)}
    assert min(took.values()) >= ROUNDS * CALLS_A_PHASE, f"seed {seed}: {took}"
    passed_on = sum(any(offer.answer is Answer.REFUSED for offer in call.offers) for call in calls)
    print(f"{len(calls)} calls, {took}, {passed_on} of them passed on by a worker that was closed")

    for worker in fleet.workers:
        await worker.active(0)
        ledger = await worker.ledger()
        assert ledger.completed == ledger.started
        assert ledger.launch_failed == ledger.offers_lost == 0
        assert len(await worker.audit("manifest.accepted")) == 1 + 2 * ROUNDS
        assert {event["reason"] for event in await worker.audit("worker.rejected")} <= {"manifest"}
