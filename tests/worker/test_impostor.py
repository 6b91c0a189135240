"""Real workers of v1 and v2, a real dashboard, and a worker of v1 that shows over HTTP what it read from v2."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import aiohttp

from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.live import LiveFleet
from openrtc_tui.operations.capacity import accepts
from openrtc_worker.contract.membership import derive_version_secret
from openrtc_worker.contract.snapshot import decode_snapshot
from tests.support.fake_worker import FakeWorker, event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from openrtc_tui.state.view import FleetView, WorkerRow
    from tests.support.fake_worker import Exchange
    from tests.support.worker_process import Switchboard

PATIENCE = 60


class Impostor(FakeWorker):
    """Passes on whatever *victim* answers, at each request anew; once that is gone, the last that it read."""

    def __init__(self, victim: str) -> None:
        super().__init__({"/v1/events": self._events})
        self._victim = victim
        self.read = b""

    async def _events(self, exchange: Exchange) -> None:
        try:
            async with aiohttp.ClientSession() as http, http.get(f"{self._victim}/v1/snapshot") as answer:
                self.read = await answer.read()
        except aiohttp.ClientError:
            pass
        await exchange.open_stream()
        await exchange.chunk(event("snapshot", self.read))
        await exchange.hold()


async def seen(live: LiveFleet, condition: Callable[[FleetView], Any]) -> FleetView:
    async with asyncio.timeout(PATIENCE):
        while not condition(view := live.view()):
            await live.changed(0.1)
    return view


def counts(row: WorkerRow | None) -> bool:
    assert row is not None
    return row.ready_to_take or accepts(row) or row.actionable


def codes(row: WorkerRow | None) -> set[str]:
    assert row is not None
    return {finding.code for finding in row.findings}


def fleet_file(folder: Path, master: str, workers: dict[str, str]) -> Path:
    held = folder / "master"
    held.write_text(master)
    held.chmod(0o600)
    lines = [f"  - {{name: {name}, url: {url!r}}}" for name, url in workers.items()]
    path = folder / "fleet.yaml"
    path.write_text("\n".join(["fleet: voice", "membership: {masters: [{file: master}]}", "workers:", *lines]) + "\n")
    return path


async def test_v1_cannot_pass_for_v2_with_what_it_holds_nor_with_what_it_read(
    switchboard: Switchboard, tmp_path: Path
) -> None:
    master = secrets.token_hex(16)
    own = {version: derive_version_secret(master, version) for version in ("v1", "v2")}
    liar = switchboard.launch("liar", deployment_version="v2", membership_secret=own["v1"], fleet="voice")
    good = switchboard.launch("good", deployment_version="v2", membership_secret=own["v2"], fleet="voice")
    old = switchboard.launch("old", deployment_version="v1", membership_secret=own["v1"], fleet="voice")
    for worker in (liar, good, old):
        await worker.serving()
    assert good.url is not None
    async with Impostor(good.url) as impostor:
        named = {"liar": liar.url, "good": good.url, "old": old.url, "impostor": impostor.url}
        live = LiveFleet(load_fleet_file(fleet_file(tmp_path, master, named)))
        async with live.running():
            view = await seen(live, lambda view: all(row.snapshot for row in view.rows))
            assert view.row("old").verified
            assert counts(view.row("old"))
            assert codes(view.row("liar")) == {"foreign"}
            for key in ("liar", "good", "impostor"):
                assert not counts(view.row(key)), key
            assert {"duplicate_id"} <= codes(view.row("good")) & codes(view.row("impostor"))
            rooms = {line.version: line.room for line in view.versions}
            assert (rooms["v2"], bool(rooms["v1"])) == (0, True)

            good.program.kill()  # what was read last is all there is from now on
            view = await seen(live, lambda view: view.row("good").state == "lost")
            assert not counts(view.row("impostor"))

        # a dashboard that never heard the real one does not take the old token for a moment's truth for long
        stale = decode_snapshot(impostor.read)
        assert stale.membership is not None
        late = LiveFleet(
            load_fleet_file(fleet_file(tmp_path, master, {"impostor": impostor.url})),
            clock=lambda: stale.membership.timestamp + 60,
        )
        async with late.running():
            view = await seen(late, lambda view: view.row("impostor").snapshot)
            assert codes(view.row("impostor")) == {"wrong_clock"}
            row = view.row("impostor")
            assert not row.ready_to_take
            assert not accepts(row)
