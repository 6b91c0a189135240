"""The README's picture, from the running product: ``python -m tests.pictures`` (two minutes).

A real embedded fleet, the real dashboard without a terminal: it waits until both versions take calls, drains the old
one as an operator would, and writes ``snapshots/readme.svg`` once the drain is well under way.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from openrtc_tui.app import DeployApp
from openrtc_tui.embedded import FleetProcess
from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.session import DemoSession
from openrtc_tui.state.view import WorkerState
from openrtc_tui.widgets.glyphs import UNICODE
from openrtc_tui.widgets.paint import Look
from openrtc_tui.widgets.palette import DARK
from tests.support.processes import until

if TYPE_CHECKING:
    from textual.pilot import Pilot

PICTURE = Path(__file__).resolve().parents[1] / "snapshots" / "readme.svg"
WORKERS = 3
WATCHED = 30.0
"""Seconds of calls on both versions before the drain, for curves with something in them."""
DRAINED_FOR = 40.0


async def main() -> None:
    command = [sys.executable, "-m", "openrtc_worker.local", "--workers", str(WORKERS), "--seed", "11"]
    with FleetProcess(command) as fleet:
        file = load_fleet_file(fleet.wait_for_file())
        session = DemoSession(file, read_only=False, news=fleet.news)
        app = DeployApp(session, Look(palette=DARK, glyphs=UNICODE))
        async with app.run_test(size=(120, 32)) as pilot:
            await play(session, pilot)
            PICTURE.write_text(app.export_screenshot(title="openrtc-tui demo"), encoding="utf-8")
            print(f"written: {PICTURE.name}")
            await pilot.press("q")


async def play(session: DemoSession, pilot: Pilot[int]) -> None:
    """Wait for both versions, drain the old one, and let its calls fall."""

    def serving() -> int:
        return sum(row.state is WorkerState.SERVING for row in session.view().rows)

    await until(lambda: serving() == 2 * WORKERS, within=180, what="all workers")
    await asyncio.sleep(WATCHED)
    await pilot.press("D")
    await pilot.pause(0.5)
    await pilot.press(*"v1.0.0", "enter")
    await until(lambda: serving() == WORKERS, within=30, what="the drain of the old version")
    await asyncio.sleep(DRAINED_FOR)
    await pilot.press("escape", "j")
    await pilot.pause(0.5)


if __name__ == "__main__":
    asyncio.run(main())
