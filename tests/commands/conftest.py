"""A fleet of real control endpoints, its file with an operator's key, and the program as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from openrtc_worker.contract.keys import generate_operator_key
from openrtc_worker.contract.snapshot import LedgerCounts, State
from openrtc_worker.control.connection import drop
from openrtc_worker.control.server import ControlServer
from openrtc_worker.control.settings import ControlSettings
from tests.control.fake_target import FakeTarget
from tests.support.processes import clean_env, until

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60
"""Seconds that a command may take on a busy machine; it takes about one."""


class Worker:
    """One worker: its real endpoint and the fake behind it."""

    def __init__(self, name: str, version: str, calls: int) -> None:
        self.name = name
        self.target = FakeTarget(worker_id=f"id-{name}", boot_id=f"boot-{name}")
        self._started = 5 + calls
        self.target.change(deployment_version=version)
        self.live(calls)

    def live(self, calls: int, *, state: State | None = None, **ended: int) -> None:
        """So many calls are live now, the others completed, but for what *ended* otherwise; the ledger balances."""
        counts = {"failed": 0, "removed": 0, "cut": 0, "crashed": 0, "lost": 0, **ended}
        completed = self._started - calls - sum(counts.values())
        ledger = LedgerCounts(
            started=self._started, completed=completed, active=calls, launch_failed=0, offers_lost=0, **counts
        )
        self.target.change(active_sessions=calls, ledger=ledger, state=state or self.target.snapshot.state)

    async def start(self, **settings: Any) -> None:
        self.server = ControlServer(self.target, settings=ControlSettings(port=0, **settings))
        await self.server.start()

    @property
    def asked(self) -> list[str]:
        return [call[0] for call in self.target.calls]

    async def until_asked(self, action: str) -> None:
        await until(lambda: action in self.asked, within=PATIENCE, what=f"{action} of {self.name}")

    def be_killed(self) -> None:
        """End as with ``kill -9``: nobody listens any more, and every connection is reset."""
        listener = self.server._listener
        assert listener
        listener._close_sockets()
        for connection in tuple(listener._open):
            drop(connection.transport)

    async def exit(self, **dropped: int) -> None:
        """The last call ends, and the process with it, as a worker's does."""
        self.live(0, state=State.DRAINED, **dropped)
        await self.server.say_bye(self.target.runtime_snapshot())
        await self.server.aclose()


@dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Running:
    """A command that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout
        return (await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)).decode()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    async def done(self) -> Done:
        out, err = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        assert self.process.returncode is not None
        return Done(self.process.returncode, (out or b"").decode(), (err or b"").decode())


class Bench:
    """A fleet in a folder of its own."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.file = folder / "fleet.yaml"
        self.workers: dict[str, Worker] = {}
        self.more = ""
        self._stack = stack
        _, self.public_key = generate_operator_key("alice", folder)

    async def add(self, name: str, version: str = "v1", calls: int = 0, **settings: Any) -> Worker:
        worker = self.workers[name] = Worker(name, version, calls)
        await worker.start(**{"operator_keys": self.public_key, **settings})
        self._stack.push_async_callback(worker.server.aclose)
        self.write()
        return worker

    def write(
        self, more: str = "operator: {name: alice, key_file: alice.pem}\n", urls: dict[str, str] | None = None
    ) -> None:
        known = {name: worker.server.url for name, worker in self.workers.items()} | (urls or {})
        lines = [f"  - {{name: {name}, url: '{url}'}}" for name, url in known.items()]
        self.file.write_text(
            "\n".join(["fleet: test", "workers:", *lines, more]) if lines else "fleet: test\nworkers: []\n"
        )

    async def start(self, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL, **options: Any) -> Running:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "openrtc_tui", *arguments),
            stdin=stdin,
            **{"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE, **options},
            cwd=self.folder,
            env=clean_env(COLUMNS="120"),
            process_group=0,
        )
        self._stack.callback(_end, process)
        return Running(process)

    async def pause(self) -> None:
        await asyncio.sleep(0.01)

    async def run(self, *arguments: str) -> Done:
        return await (await self.start(*arguments)).done()


def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
async def bench(tmp_path):
    async with AsyncExitStack() as stack:
        yield Bench(tmp_path, stack)


class Terminal:
    """A pty whose other end is a command's stdin and stderr."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.seen = b""

    async def until(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while text.encode() not in self.seen:
                self.seen += await asyncio.to_thread(os.read, self.ours, 4096)

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def close(self) -> None:
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    terminal.close()
