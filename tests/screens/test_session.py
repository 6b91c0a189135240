"""The whole dashboard over a real fleet file and real HTTP: from a key to the request that a worker gets."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC
from typing import TYPE_CHECKING

import msgspec
import pytest

from openrtc_tui.app import DeployApp
from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.screens.details import DetailsScreen
from openrtc_tui.screens.main import MainScreen
from openrtc_tui.session import DemoSession, FleetSession
from openrtc_tui.watched import CannotWatch, ReadFailed
from openrtc_tui.widgets.paint import Look
from openrtc_worker.contract.keys import generate_operator_key
from openrtc_worker.contract.snapshot import LiveKitInfo, encode_json
from tests.support.fake_worker import Exchange, FakeWorker, reply, snapshot
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path

    from textual.pilot import Pilot


def serving(boot: str, active: int = 2):
    said = snapshot(
        boot=boot,
        active=active,
        accepting=True,
        max_sessions=10,
        livekit=LiveKitInfo(connected=True, agent_name="booking"),
    )
    return msgspec.structs.replace(said, worker_id=f"{boot}-id")


def worker(boot: str) -> FakeWorker:
    fake = FakeWorker()
    fake.shown = serving(boot)
    sessions = {"boot_id": boot, "sessions": [{"job_id": "AJ_1", "room": "room-1", "agent": "booking"}]}
    events = {
        "events": [{"seq": 1, "timestamp": 1.0, "event": "deployment.started", "actor": "a\x1b[31m"}],
        "next": 1,
    }
    fake.scripts = {
        "/v1/events": fake.serve_events,
        "/v1/sessions": reply(200, encode_json(sessions)),
        "/v1/audit": reply(200, encode_json(events)),
    }
    return fake


def write_fleet(directory: Path, workers: dict[str, FakeWorker], *, operator: bool = True) -> Path:
    lines = ["fleet: session-fleet", "refresh: 200ms"]
    if operator:
        if not (directory / "alice.pem").exists():
            generate_operator_key("alice", directory)
        lines.append("operator: {name: alice, key_file: alice.pem}")
    lines.append("workers:")
    lines += [f"  - {{name: {name}, url: {fake.url}}}" for name, fake in workers.items()]
    path = directory / "fleet.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def main(app: DeployApp) -> MainScreen:
    screen = app.screen_stack[0]
    assert isinstance(screen, MainScreen)
    return screen


def states(app: DeployApp) -> dict[str, str]:
    return {row.key: str(row.state) for row in main(app).table.rows}


async def serving_all(pilot: Pilot) -> None:
    await until(lambda: set(states(pilot.app).values()) == {"serving"}, what="every worker serving")


async def test_d_and_y_drain_the_worker_and_its_effect_is_seen(tmp_path: Path) -> None:
    one, two = worker("boot-1"), worker("boot-2")

    async def drain(exchange: Exchange) -> None:
        body = json.loads(exchange.asked.body)
        two.shown = msgspec.structs.replace(two.shown, seq=2, draining=True, state="draining")
        answer = {"op_id": body["op_id"], "effect": "started", "snapshot": two.shown.to_dict()}
        await exchange.reply(202, encode_json(answer))

    two.scripts["/v1/drain"] = drain
    async with one, two:
        session = FleetSession(load_fleet_file(write_fleet(tmp_path, {"w-1": one, "w-2": two})))
        app = DeployApp(session, Look(zone=UTC))
        async with app.run_test(size=(120, 40)) as pilot:
            await serving_all(pilot)
            await pilot.press("j", "d", "y")
            await until(lambda: states(app)["w-2"] == "draining", what="the drain seen")
            assert states(app)["w-1"] == "serving"
            await until(lambda: "started" in main(app).results.text(), what="the result")
        asked = [asked for asked in two.asked if asked.path == "/v1/drain"]
        assert len(asked) == 1
        assert json.loads(asked[0].body)["expect"]["boot_id"] == "boot-2"
        assert asked[0].headers["authorization"].startswith("Bearer ")
        assert not [asked for asked in one.asked if asked.method == "POST"]


async def test_details_are_read_from_the_worker_itself_and_cleaned(tmp_path: Path) -> None:
    one = worker("boot-1")
    async with one:
        session = FleetSession(load_fleet_file(write_fleet(tmp_path, {"w-1": one})))
        app = DeployApp(session, Look(zone=UTC))
        async with app.run_test(size=(120, 40)) as pilot:
            await serving_all(pilot)
            await pilot.press("enter")
            screen = app.screen
            assert isinstance(screen, DetailsScreen)
            await until(lambda: "deployment.started" in screen.page.text(), what="the audit events")
            assert "room-1" in screen.page.text()
            assert "\x1b" not in screen.page.text()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (reply(404), "this worker does not tell"),
        (reply(500), "HTTP 500"),
        (reply(200, b"\xff"), "makes no sense"),
        (reply(200, b'{"sessions": 3}'), "makes no sense"),
    ],
    ids=["missing", "error", "no text", "wrong shape"],
)
async def test_details_that_cannot_be_read_say_why(tmp_path: Path, script, said: str) -> None:
    one = worker("boot-1")
    one.scripts |= {"/v1/sessions": script, "/v1/audit": script}
    async with one:
        session = FleetSession(load_fleet_file(write_fleet(tmp_path, {"w-1": one})))
        app = DeployApp(session, Look(zone=UTC))
        async with app.run_test(size=(120, 40)) as pilot:
            await serving_all(pilot)
            await pilot.press("enter")
            screen = app.screen
            assert isinstance(screen, DetailsScreen)
            await until(lambda: said in screen.page.text().partition("LIVE CALLS")[2], what=said)


async def test_an_edited_fleet_file_is_taken_over_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    one, two = worker("boot-1"), worker("boot-2")
    async with one, two:
        path = write_fleet(tmp_path, {"w-1": one})
        app = DeployApp(FleetSession(load_fleet_file(path)), Look(zone=UTC))
        async with app.run_test(size=(120, 40)) as pilot:
            await serving_all(pilot)
            write_fleet(tmp_path, {"w-1": one, "w-2": two})
            await until(lambda: set(states(app)) == {"w-1", "w-2"}, what="the second worker")
            path.write_text("workers: 3\n")
            await until(lambda: "last good one holds" in main(app).header.text(), what="the problem in the header")
            assert set(states(app)) == {"w-1", "w-2"}


async def test_without_an_operator_there_are_no_keys_that_act(tmp_path: Path) -> None:
    one = worker("boot-1")
    async with one:
        session = FleetSession(load_fleet_file(write_fleet(tmp_path, {"w-1": one}, operator=False)))
        app = DeployApp(session, Look(zone=UTC))
        async with app.run_test(size=(120, 40)) as pilot:
            await serving_all(pilot)
            assert "[RO]" in main(app).header.text()
            await pilot.press("d", "c", "D")
            assert app.screen is main(app)


async def test_before_watching_begins_the_fleets_workers_are_there(tmp_path: Path) -> None:
    one = worker("boot-1")
    async with one:
        session = FleetSession(load_fleet_file(write_fleet(tmp_path, {"w-1": one})))
        assert [(row.key, str(row.state)) for row in session.view().rows] == [("w-1", "starting")]
        assert session.operator == "alice"
        assert not session.read_only
        assert session.beat == 0.2
        with pytest.raises(ReadFailed):
            await session.sessions("w-1")


async def test_a_fleet_that_cannot_be_watched_ends_the_dashboard_in_words(tmp_path: Path) -> None:
    one = worker("boot-1")
    async with one:
        session = FleetSession(load_fleet_file(write_fleet(tmp_path, {"w-1": one})))
        (tmp_path / "alice.pem").unlink()  # between the check and the start
        with pytest.raises(CannotWatch, match=r"alice\.pem"):
            await session.run()
        app = DeployApp(session, Look(zone=UTC))
        async with app.run_test():
            await until(lambda: app.return_code == 1, what="the end")
        with pytest.raises(CannotWatch, match=r"alice\.pem"):
            await DemoSession(session.file, read_only=False, news=list).run()


async def test_news_of_the_embedded_fleet_goes_to_the_event_lines(tmp_path: Path) -> None:
    one = worker("boot-1")
    news = [
        [
            {"event": "worker", "name": "w-1", "version": "v1", "state": "starting", "pid": 1},
            {"event": "worker", "name": "w-2", "state": "exited", "exit_code": 3},
            {"event": "worker", "name": "w-1", "state": "exited", "exit_code": 0},
            {"event": "ready"},
            {"event": "failed", "message": "no room"},
            {"event": "gone"},
        ]
    ]
    async with one:
        file = load_fleet_file(write_fleet(tmp_path, {"w-1": one}))
        session = DemoSession(file, read_only=True, news=lambda: news.pop() if news else [])
        running = asyncio.create_task(session.run())
        try:
            await until(lambda: any("is gone" in line.text for line in session.view().events), what="the news")
            said = " / ".join(line.text for line in session.view().events)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    for part in ("simulated calls, no media", "w-1 is being started", "w-2 ended", "has been started", "no room"):
        assert part in said
    assert "process of w-1 ended" not in said
