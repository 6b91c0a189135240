"""Waiting for what a worker shows, wherever it runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_worker.contract.snapshot import RuntimeSnapshot

POLL = 0.03


class ShowingWorker(ABC):
    """A worker whose snapshots can be read; one that cannot be reached now is asked again."""

    __slots__ = ()
    name: str

    @abstractmethod
    async def snapshot(self) -> RuntimeSnapshot:
        """Its snapshot, from the endpoint."""

    @abstractmethod
    def said(self) -> str:
        """The end of what it wrote, for a failure's message."""

    @property
    def running(self) -> bool:
        """Whether it can still show anything."""
        return True

    async def shows(
        self, condition: Callable[[RuntimeSnapshot], object], *, what: str, within: float = 40.0
    ) -> RuntimeSnapshot:
        """Wait for a snapshot that fulfils *condition*."""
        deadline = time.monotonic() + within
        shown: RuntimeSnapshot | None = None
        while time.monotonic() < deadline and self.running:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                shown = await self.snapshot()
                if condition(shown):
                    return shown
            await asyncio.sleep(POLL)
        raise AssertionError(f"{self.name} never showed: {what}\nlast: {shown and shown.to_dict()}\n{self.said()}")

    async def serving(self) -> RuntimeSnapshot:
        return await self.shows(lambda shown: shown.accepting, what="takes calls")

    async def active(self, count: int) -> RuntimeSnapshot:
        return await self.shows(lambda shown: shown.active_sessions == count, what=f"{count} live calls")

    async def state(self, name: str) -> RuntimeSnapshot:
        return await self.shows(lambda shown: shown.state == name, what=f"the state {name}")
