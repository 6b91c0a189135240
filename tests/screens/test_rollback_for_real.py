"""P and R on real workers: the keys move the calls, and what was done is seen and written down."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from openrtc_tui.app import DeployApp
from openrtc_tui.commands.dashboard import drains_go_on, last_words
from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.operations.journal import journal_path, state_folder
from openrtc_tui.screens.audit import AuditScreen
from openrtc_tui.screens.main import MainScreen
from openrtc_tui.screens.plan import PlanScreen
from openrtc_tui.session import FleetSession
from openrtc_tui.state.view import WorkerState
from openrtc_tui.widgets.paint import Look
from openrtc_worker.contract.chain import ChainWriter
from tests.steering.steered_fleet import SteeredFleet
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

PATIENCE = 30


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[SteeredFleet]:
    made = SteeredFleet(tmp_path)
    await made.board.open()
    yield made
    await made.board.close()


async def test_a_promotion_and_a_rollback_by_keys(fleet: SteeredFleet) -> None:
    await fleet.start({"a-1": "v1", "b-1": "v2"}, after_drain="wait")
    session = FleetSession(load_fleet_file(fleet.file), read_only=False)
    app = DeployApp(session, Look(zone=UTC))

    def main() -> MainScreen:
        screen = app.screen_stack[0]
        assert isinstance(screen, MainScreen)
        return screen

    def state(key: str) -> WorkerState | None:
        row = session.view().row(key)
        return row.state if row is not None else None

    async with app.run_test(size=(120, 40)) as pilot:

        def stands() -> str:
            screen = app.screen
            return screen.page.text() if isinstance(screen, PlanScreen) else main().results.text()

        async def seen(condition: Callable[[], bool], what: str) -> None:
            await until(condition, within=PATIENCE, what=lambda: f"{what}; there stands {stands()}")
            await pilot.pause()

        def planned() -> bool:
            return isinstance(app.screen, PlanScreen) and bool(app.screen.label.text())

        await seen(lambda: state("a-1") == state("b-1") == WorkerState.SERVING, "both versions")
        await pilot.press("P")
        await seen(planned, "the plan of a promotion")
        assert isinstance(app.screen, PlanScreen)
        if app.screen.version != "v2":
            await pilot.press("down")
            await seen(planned, "the plan for v2")
        await pilot.press("y")
        await seen(lambda: "DONE" in main().rollout.text(), "the promotion")
        assert state("a-1") is WorkerState.GATED
        call = await fleet.board.held("talk-1")
        assert call.attributes["openrtc.version"] == "v2"

        await pilot.press("escape", "R")
        await seen(planned, "the plan of a rollback")
        assert isinstance(app.screen, PlanScreen)
        assert app.screen.version == "v1", "the version that was active before"
        assert "1 call live on v2" in app.screen.page.text()
        await pilot.press(*"v1", "enter")
        await seen(lambda: "step 3 of 4" in main().rollout.text(), "the drain of v2")
        assert state("b-1") is WorkerState.DRAINING
        assert state("a-1") is WorkerState.SERVING
        fleet.board.hang_up(call)
        await seen(lambda: "DONE" in main().rollout.text(), "the end of the rollback")
        assert "PROVEN" in main().rollout.text()

        await pilot.press("a")
        await seen(lambda: isinstance(app.screen, AuditScreen) and app.screen.table.row_count > 20, "the trail")
        await pilot.press("slash", *"deployment.rolled_back")
        await pilot.pause()
        assert isinstance(app.screen, AuditScreen)
        assert app.screen.table.row_count == 1


async def test_whoever_leaves_while_a_plan_is_under_way_is_told_that_it_stands_still(fleet: SteeredFleet) -> None:
    await fleet.start({"a-1": "v1"}, after_drain="wait")
    call = await fleet.board.held("talk-1")
    session = FleetSession(load_fleet_file(fleet.file), read_only=False)
    app = DeployApp(session, Look(zone=UTC))
    async with app.run_test(size=(120, 40)) as pilot:

        def shown() -> bool:
            row = session.view().row("a-1")
            return session.steering is not None and row is not None and row.calls == 1

        def draining() -> bool:
            row = session.view().row("a-1")
            return row is not None and row.state is WorkerState.DRAINING

        await until(shown, within=PATIENCE, what="the call")
        assert session.steering is not None
        plan = await session.steering.plan("drain", version="v1")
        app._see_through(session.steering.carry_out(plan), plan)
        await until(draining, within=PATIENCE, what="the drain")
        await pilot.press("q")
    drains, stands = last_words(session, drains_go_on)
    assert drains == "The dashboard is closed; 1 worker goes on draining, with 1 call live."
    assert stands.startswith(
        "The drain of v1 stands still at step 1 of 2: `openrtc-tui resume`, or r in the dashboard"
    )
    fleet.board.hang_up(call)


async def test_a_read_only_dashboard_does_not_steer_and_shows_the_newest_of_the_journal(
    fleet: SteeredFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.ports = {"a-1": 9}
    fleet.write()
    session = FleetSession(load_fleet_file(fleet.file, acting=False), read_only=True)
    assert session.steering is None
    assert await session.journal() == ([], 0), "nothing was done yet"
    monkeypatch.setattr("openrtc_tui.session.MOST_JOURNALED", 3)
    path = journal_path(session.file.name, state_folder())
    with ChainWriter(path, exclusive=False) as writer:
        for number in range(5):
            writer.append({"event": f"told-{number}\x1b[2J"})
    records, total = await session.journal()
    assert total == 5
    assert [record["event"] for record in records] == [f"told-{number}[2J" for number in (2, 3, 4)]
