"""A small real fleet that can be steered: two versions on the embedded dispatcher, an operator, a release key."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from openrtc_tui.commands.common import hear_all
from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.live import LiveFleet
from openrtc_worker.contract.chain import read_chain, verify_chain
from openrtc_worker.contract.keys import generate_operator_key
from tests.support.worker_process import Switchboard, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from openrtc_tui.operations.plans.plan import PlanKind, Run
    from openrtc_tui.state.view import FleetView
    from openrtc_tui.steering import Steering
    from openrtc_worker.local.dispatcher import Timing

FLEET = "tests"
PATIENCE = 60


@asynccontextmanager
async def steered_fleet(directory: Path) -> AsyncIterator[SteeredFleet]:
    """A fleet without workers, which end with it once it has some."""
    made = SteeredFleet(directory)
    await made.board.open()
    try:
        yield made
    finally:
        await made.board.close()


class SteeredFleet:
    """Workers that obey the operator ``alice`` and manifests of the key ``release``, and their fleet file."""

    def __init__(self, directory: Path, timing: Timing | None = None) -> None:
        self.directory = directory
        self.board = Switchboard(directory, timing)
        self.file = directory / "fleet.yaml"
        self.workers: dict[str, WorkerProcess] = {}
        self.ports: dict[str, int] = {}
        """Ports of workers that are in the fleet file before they run."""
        self.more = ""
        for folder in ("operators", "releases"):
            (directory / folder).mkdir()
        generate_operator_key("alice", directory / "operators")
        generate_operator_key("release", directory / "releases")

    async def start(self, names: dict[str, str], **settings: Any) -> None:
        """Start the workers *names* (each with its version) and wait until each can be asked."""
        for name, version in names.items():
            self.launch(name, version, **settings)
        await asyncio.gather(*(self.workers[name].shows(_is_up, what="is registered") for name in names))
        self.write()

    def launch(self, name: str, version: str, **settings: Any) -> WorkerProcess:
        given = {
            "deployment_version": version,
            "isolation": "thread",
            "operator_keys": str(self.directory / "operators"),
            "release_keys": str(self.directory / "releases"),
            "fleet": FLEET,
            "control_port": self.ports.get(name, 0),
            "state_dir": str(self.directory / f"state-{name}"),
        }
        worker = self.workers[name] = self.board.launch(name, **{**given, **settings})
        return worker

    def write(self) -> None:
        urls = {name: f"http://127.0.0.1:{port}" for name, port in self.ports.items()}
        urls |= {name: worker.url for name, worker in self.workers.items() if worker.url}
        lines = [f"  - {{name: {name}, url: '{url}'}}" for name, url in urls.items()]
        self.file.write_text(
            "\n".join(
                [
                    f"fleet: {FLEET}",
                    "workers:",
                    *lines,
                    "refresh: 200ms",
                    "operator: {name: alice, key_file: operators/alice.pem}",
                    "manifest: {key_file: releases/release.pem}",
                    self.more,
                ]
            )
        )

    def live(self, **options: Any) -> LiveFleet:
        return LiveFleet(load_fleet_file(self.file), **options)

    async def audits(self) -> dict[str, list[dict[str, Any]]]:
        """The audit events that each worker that still runs has, by its name."""
        running = {name: worker for name, worker in self.workers.items() if worker.program.running}
        pages = await asyncio.gather(*(worker.get("/v1/audit") for worker in running.values()))
        return {name: body["events"] for name, (_, body) in zip(running, pages, strict=True)}


def _is_up(shown: Any) -> bool:
    return bool(shown.livekit is not None and shown.livekit.connected)


async def heard(live: LiveFleet) -> FleetView:
    return await hear_all(live)


async def until(live: LiveFleet, condition: Callable[[FleetView], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition(live.view()):
            await live.changed(0.1)


async def carried_out(steering: Steering, kind: PlanKind, **asked: Any) -> Run:
    """What became of a plan of that *kind*, made and carried out."""
    return await asyncio.wait_for(steering.carry_out(await steering.plan(kind, **asked)), PATIENCE)


def journal(live: LiveFleet) -> list[dict[str, Any]]:
    """What the journal holds, after a look at its chain."""
    assert live.journal is not None
    assert verify_chain(live.journal.path).is_ok
    return list(read_chain(live.journal.path))


def told(records: list[dict[str, Any]]) -> list[str]:
    """The journal in few words: events with what they are about."""
    return [_words(record) for record in records]


def _words(record: dict[str, Any]) -> str:
    event = record["event"]
    if event.startswith("op."):
        who = record.get("subject", {}).get("key", record["target"]) if event == "op.intent" else record["target"]
        came = f" {record['outcome']}" if event == "op.outcome" else ""
        return f"{event} {record['action']} {who}{came}"
    if event.startswith("step."):
        return f"{event} {record['step']}"
    return f"{event} {record['word']}" if event == "plan.ended" else str(event)


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, default=str)
