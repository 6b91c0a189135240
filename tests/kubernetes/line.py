"""Callers who never stop calling, and what became of each."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Self

from openrtc_worker.local.records import JobState
from tests.support.processes import until

if TYPE_CHECKING:
    from openrtc_worker.local.records import CallRecord
    from tests.support.worker_process import Switchboard

EVERY = 0.1
LENGTH = 0.5


class Line:
    """A new caller every tenth of a second while the block runs; each talks for half a second."""

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._placed: list[asyncio.Task[CallRecord]] = []
        self._caller: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._caller = asyncio.create_task(self._call_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Nobody calls any more; everybody who did has been answered or lost."""
        assert self._caller is not None
        self._caller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._caller
        await asyncio.gather(*self._placed)

    def by_version(self) -> Counter[str]:
        """How many of all calls so far each version took; lost ones count under ``""``."""
        return Counter(call.attributes.get("openrtc.version", "") for call in self._board.dispatcher.log.calls)

    async def more_on(self, version: str, count: int = 10) -> None:
        """Wait until *version* has taken so many more calls than now."""
        before = self.by_version()[version]
        await until(lambda: self.by_version()[version] >= before + count, within=60, what=f"calls on {version}")

    async def nobody_was_lost(self) -> None:
        """Wait for the end of every call there ever was: each found a worker and ended by its own hangup."""
        log = self._board.dispatcher.log
        await until(lambda: not any(call.open for call in log.calls), what="the end of every call")
        assert [call.loss for call in log.calls if not call.assigned] == []
        ends = Counter(call.reports[-1].state for call in log.calls)
        assert set(ends) == {JobState.SUCCESS}, ends

    async def _call_on(self) -> None:
        for number in itertools.count(1):
            call = self._board.dispatcher.dispatch(f"line-{number}", metadata=json.dumps({"length": LENGTH}))
            self._placed.append(asyncio.create_task(call))
            await asyncio.sleep(EVERY)
