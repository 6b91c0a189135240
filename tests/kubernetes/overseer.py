"""The dashboard's eyes on a Deployment: its watch of workers and of pods, folded into one view."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Self

from openrtc_tui.http import Http
from openrtc_tui.sources.watch import Watch
from openrtc_tui.state.fleet import Fleet, fold, view
from openrtc_tui.state.observation import PodsSeen, Target
from tests.kubernetes.namespace import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform
    from openrtc_tui.state.view import FleetView, WorkerRow
    from tests.kubernetes.voice import PodWorker


class Overseer:
    """Watches workers through the dashboard's sources, and pods through *platform*; closes both."""

    def __init__(self, platform: KubernetesPlatform, *, rollout: tuple[str, str]) -> None:
        self._platform = platform
        self._fleet = Fleet("pods", beat=1.0, rollout=rollout)
        self._targets: dict[str, Target] = {}

    async def __aenter__(self) -> Self:
        self._http = Http()
        self._watch = Watch(self._http, put=lambda seen: fold(self._fleet, seen, time.time()), beat=1.0)
        self._tasks = [asyncio.create_task(self._watch.run()), asyncio.create_task(self._watch_pods())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._http.aclose()
        await self._platform.close()

    async def _watch_pods(self) -> None:
        async with contextlib.aclosing(self._platform.watch()) as watch:
            async for pods in watch:
                fold(self._fleet, PodsSeen(pods), time.time())

    def look_at(self, workers: Iterable[PodWorker]) -> None:
        """Watch these workers too from now on."""
        self._targets |= {worker.name: Target(worker.name, worker.url) for worker in workers}
        self._watch.set_targets(list(self._targets.values()), lambda _key: None)

    def view(self) -> FleetView:
        return view(self._fleet, time.time())

    async def row(self, worker: PodWorker, condition: Callable[[WorkerRow], object], *, what: str) -> WorkerRow:
        """Wait until the newest row of this worker's target fulfils *condition*."""

        async def look() -> WorkerRow | None:
            rows = [row for row in self.view().rows if row.target == worker.name and condition(row)]
            return rows[0] if rows else None

        found: WorkerRow = await eventually(look, what=lambda: f"{what}; {self.view().rows}", within=40.0)
        return found


def finding(row: WorkerRow, code: str) -> str:
    """The text of a row's finding; empty when it has none of this code."""
    return next((each.text for each in row.findings if each.code == code), "")
