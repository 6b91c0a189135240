"""The on-call engineer of a rollout: a dashboard that drains the old version until nothing of it is left."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from openrtc_tui.operations.intent import confirm, intend
from openrtc_tui.state.view import VerdictWord, WorkerState

if TYPE_CHECKING:
    from openrtc_tui.live import LiveFleet
    from openrtc_tui.state.view import FleetView, Verdict, WorkerRow
    from tests.proofs.fleet import SmallFleet

_NEWS_TAKES = 1.0
"""Seconds in which a broken connection is noticed; on a busy machine it takes some."""


async def ask_to_drain(live: LiveFleet, version: str) -> None:
    """Drain every worker of *version* that can be asked now, as ``D`` does."""
    await live.changed(0.5)
    view = live.view()
    keys = [row.key for row in view.rows if row.version == version and not row.closed]
    intent = intend(view, keys, "drain", whole_version=version)
    if intent.subjects:
        confirmed = confirm(intent, live.view(), reason="rollout")
        if confirmed.asks:
            await live.send(confirmed.asks)


class OnCall:
    """Opens a dashboard on *fleet*; :meth:`reopen` is what a closed terminal and a new one are."""

    def __init__(self, fleet: SmallFleet) -> None:
        self._fleet = fleet
        self._stack = AsyncExitStack()
        self._open = asyncio.Lock()
        self.live: LiveFleet
        self.false_proofs: list[str] = []
        """Rooms of dropped calls with PROVEN on the screen."""

    async def __aenter__(self) -> Self:
        self.live = await self._stack.enter_async_context(self._fleet.live_fleet().running())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def reopen(self) -> None:
        async with self._open:
            await self._stack.aclose()
            await self.__aenter__()

    async def drain(self, version: str) -> None:
        """Ask again and again, until no process of *version* runs."""
        while any(self._fleet.runs(member.pids[-1]) for member in self._fleet.of(version)):
            async with self._open:
                await ask_to_drain(self.live, version)
            await asyncio.sleep(0.2)

    def view(self) -> FleetView:
        return self.live.view()

    async def watch(self) -> None:
        """Look at the screen all the time, until cancelled: PROVEN may never stand there once a call was dropped."""
        while True:
            rollout = self.view().rollout
            if rollout is not None and rollout.verdict.word is VerdictWord.PROVEN:
                known = time.time() - _NEWS_TAKES
                self.false_proofs += [call.room for call in self._fleet.dropped(before=known)]
            await asyncio.sleep(0.05)

    async def verdict(self, within: float) -> Verdict:
        """The rollout's verdict once nothing can change it any more, or what it is after *within* seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while True:
            view = self.view()
            assert view.rollout is not None, "a fleet that names its rollout has one"
            verdict = view.rollout.verdict
            pending = verdict.word is VerdictWord.OPEN or any(_is_pending(row) for row in view.rows)
            if not pending or loop.time() > until:
                return verdict
            await self.live.changed(0.5)


def _is_pending(row: WorkerRow) -> bool:
    """Whether silence alone will change what is said of it."""
    silent = row.last_failure is not None and not row.settled
    return silent or row.state in (WorkerState.STALE, WorkerState.STARTING)
