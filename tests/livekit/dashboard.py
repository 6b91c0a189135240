"""The dashboard's own hands and eyes, without its screen: signed requests, and the watch with its verdict."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Self

from openrtc_tui.http import Http
from openrtc_tui.operations.control import ControlClient
from openrtc_tui.operations.operator import Operator
from openrtc_tui.operations.request import Answer, Ask
from openrtc_tui.sources.watch import Watch
from openrtc_tui.state.fleet import Fleet, fold, view
from openrtc_tui.state.observation import Target
from openrtc_worker.contract.keys import generate_operator_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from openrtc_tui.operations.request import Action
    from openrtc_tui.state.view import FleetView
    from tests.livekit.workers import PoolWorker


class ControlDesk:
    """The operator alice with a key of her own; workers get ``public_key`` as their ``operator_keys``."""

    def __init__(self, directory: Path) -> None:
        private_key, public_key = generate_operator_key("alice", directory)
        self.public_key = str(public_key)
        self._operator = Operator.load("alice", private_key)

    async def __aenter__(self) -> Self:
        self._http = Http()
        self._client = ControlClient(self._http, self._operator, lambda _key: None)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, action: Action, worker: PoolWorker, *, manifest: str | None = None) -> Answer:
        """Ask the boot that *worker* shows now."""
        shown = worker.shown
        assert shown is not None
        assert shown.worker_id is not None
        assert shown.boot_id is not None
        return await self._client.send(
            Ask(
                action=action,
                key=worker.name,
                url=worker.url,
                worker_id=shown.worker_id,
                boot_id=shown.boot_id,
                manifest=manifest,
            )
        )


class Watchman:
    """Somebody who watches the workers through the dashboard's sources and state."""

    def __init__(self, *, rollout: tuple[str, str]) -> None:
        self._fleet = Fleet("real", beat=1.0, rollout=rollout)
        self._targets: list[Target] = []

    async def __aenter__(self) -> Self:
        self._http = Http()
        self._watch = Watch(self._http, put=lambda seen: fold(self._fleet, seen, time.time()), beat=1.0)
        self._task = asyncio.create_task(self._watch.run(), name="watchman")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._http.aclose()

    def look_at(self, workers: Iterable[PoolWorker]) -> None:
        """Watch these workers too from now on."""
        self._targets += [Target(worker.name, worker.url) for worker in workers]
        self._watch.set_targets(self._targets, lambda _key: None)

    def view(self) -> FleetView:
        return view(self._fleet, time.time())
