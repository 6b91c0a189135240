"""The README's pictures, from the running product: ``python -m tests.pictures [rollout|rollback]`` (five minutes).

A real embedded fleet, the real dashboard without a terminal. ``rollout``: both versions take calls, the old one is
drained, ``snapshots/readme.svg``. ``rollback``: the new version was promoted and turns out bad; the plan before it is
confirmed is ``snapshots/rollback-plan.svg``, the rollback under way ``snapshots/rollback.svg``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from openrtc_tui.app import DeployApp
from openrtc_tui.embedded import FleetProcess
from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.operations.journal import STATE_DIR
from openrtc_tui.session import DemoSession
from openrtc_tui.state.view import WorkerState
from openrtc_tui.widgets.glyphs import UNICODE
from openrtc_tui.widgets.paint import Look
from openrtc_tui.widgets.palette import DARK
from tests.support.processes import until

if TYPE_CHECKING:
    from textual.pilot import Pilot

PICTURES = Path(__file__).resolve().parents[1] / "snapshots"
WORKERS = 3
WATCHED = 30.0
"""Seconds of calls on both versions before anything is done, for curves with something in them."""
UNDER_WAY = 40.0
PROMOTED_FOR = 25.0


class Stage:
    """The demo as it runs, and a camera before it."""

    def __init__(self, session: DemoSession, app: DeployApp, pilot: Pilot[int]) -> None:
        self._session = session
        self._app = app
        self._pilot = pilot

    def serving(self) -> int:
        return sum(row.state is WorkerState.SERVING for row in self._session.view().rows)

    async def all_serve(self) -> None:
        await until(lambda: self.serving() == 2 * WORKERS, within=180, what="all workers")
        await asyncio.sleep(WATCHED)

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)
        await self._pilot.pause(0.5)

    def take(self, name: str) -> None:
        path = PICTURES / f"{name}.svg"
        path.write_text(self._app.export_screenshot(title="openrtc-tui demo"), encoding="utf-8")
        print(f"written: {path.name}")


async def rollout(stage: Stage) -> None:
    """Wait for both versions, drain the old one, and let its calls fall."""
    await stage.all_serve()
    await stage.press("D")
    await stage.press(*"v1.0.0", "enter")
    await until(lambda: stage.serving() == WORKERS, within=30, what="the drain of the old version")
    await asyncio.sleep(UNDER_WAY)
    await stage.press("escape", "j")
    stage.take("readme")


async def rollback(stage: Stage) -> None:
    """Promote the new version, find that it is bad, and go back while its calls end where they are."""
    await stage.all_serve()
    await stage.press("P")
    await stage.press("y")
    await until(lambda: stage.serving() == WORKERS, within=30, what="the promotion")
    await asyncio.sleep(PROMOTED_FOR)
    await stage.press("escape")
    await stage.press("R")
    await asyncio.sleep(1)
    stage.take("rollback-plan")
    await stage.press(*"v1.0.0", "enter")
    await asyncio.sleep(UNDER_WAY)
    stage.take("rollback")


PLAYS = {"rollout": rollout, "rollback": rollback}


async def show(name: str) -> None:
    command = [sys.executable, "-m", "openrtc_worker.local", "--workers", str(WORKERS), "--seed", "11"]
    with FleetProcess(command) as fleet, tempfile.TemporaryDirectory() as folder:
        os.environ[STATE_DIR] = folder  # the journal of the picture is nobody's
        file = load_fleet_file(fleet.wait_for_file())
        session = DemoSession(file, read_only=False, news=fleet.news)
        app = DeployApp(session, Look(palette=DARK, glyphs=UNICODE))
        async with app.run_test(size=(120, 32)) as pilot:
            await PLAYS[name](Stage(session, app, pilot))
            await pilot.press("q")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or PLAYS:
        asyncio.run(show(wanted))
