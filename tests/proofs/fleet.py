"""One small fleet for one rollout: a dispatcher of its own, real workers, callers, and proxies that lose answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import random
import shutil
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.live import LiveFleet
from openrtc_worker.contract.keys import generate_operator_key
from openrtc_worker.local.dispatcher import Dispatcher
from openrtc_worker.local.platform import livekit_environment
from openrtc_worker.local.ports import ReservedPorts
from tests.support.processes import Program, until

if TYPE_CHECKING:
    from openrtc_worker.local.records import CallRecord

OLD, NEW = "v1.0.0", "v2.0.0"
CALLS_PER_SECOND = 8.0
LENGTHS = (0.5, 4.0)


class Zygote:
    """The process that workers are forked from, shared by all fleets of a test session."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self._program = Program.python("tests.proofs.zygote", name="zygote", directory=directory, env=env)

    async def start(self, **wanted: object) -> int:
        """The pid of a new worker, which is its process group too."""
        before = len(self._program.events(event="started", name=wanted["name"]))
        self._program.tell(json.dumps(wanted))
        events = await self._program.has(before + 1, event="started", name=wanted["name"], within=60)
        return int(events[-1]["pid"])

    def exit_code(self, pid: int) -> int | None:
        return next((event["code"] for event in self._program.events(event="exited", pid=pid)), None)

    def kill(self) -> None:
        self._program.kill()


class LosingProxy:
    """Stands before one control endpoint, and loses the answer to the next request that acts when it is told to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.lose_next = False
        self.lost = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._relay(client, to_client)
        except (OSError, asyncio.CancelledError):  # cancelled at the end only, and the server logs what a task raises
            pass
        finally:
            self._tasks.discard(task)
            to_client.transport.abort()

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        worker, to_worker = await asyncio.open_connection("127.0.0.1", self._port)
        acted = asyncio.Event()

        async def up() -> None:
            while chunk := await client.read(65536):
                if chunk.startswith((b"POST ", b"PUT ")) and self.lose_next:
                    self.lose_next = False
                    acted.set()
                to_worker.write(chunk)
                await to_worker.drain()
            to_worker.close()

        async def down() -> None:
            while chunk := await worker.read(65536):
                if acted.is_set():
                    self.lost += 1
                    return
                to_client.write(chunk)
                await to_client.drain()

        try:
            ups, downs = asyncio.create_task(up()), asyncio.create_task(down())
            await asyncio.wait({ups, downs}, return_when=asyncio.FIRST_COMPLETED)
            for each in (ups, downs):
                each.cancel()
            await asyncio.gather(ups, downs, return_exceptions=True)
        finally:
            to_worker.transport.abort()


@dataclass(slots=True)
class Member:
    """One worker of a fleet, over all its boots."""

    name: str
    version: str
    port: int
    proxy: LosingProxy
    url_port: int = 0
    pids: list[int] = field(default_factory=list)

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pids[-1], number)


class SmallFleet:
    """Two workers of each version, or as many as asked for."""

    def __init__(self, zygote: Zygote, seed: int, *, workers: int = 2) -> None:
        self.zygote = zygote
        self.rng = random.Random(seed)
        # short: a worker's sockets live in it
        self.directory = Path(tempfile.mkdtemp(prefix="or-"))
        self._hangups = self.directory / "hangups"
        self.dispatcher = Dispatcher(f"key{seed}", "a-secret-of-more-than-32-characters", rng=random.Random(seed))
        self._ports = ReservedPorts(2 * workers)
        named = [(letter, version, n) for letter, version in (("a", OLD), ("b", NEW)) for n in range(workers)]
        self.members = [
            Member(f"{letter}-{number}", version, port, LosingProxy(port))
            for (letter, version, number), port in zip(named, self._ports, strict=True)
        ]
        self.placed: list[asyncio.Task[CallRecord]] = []
        self._callers: asyncio.Task[None] | None = None
        self._lives: set[asyncio.Task[None]] = set()

    def of(self, version: str) -> list[Member]:
        return [member for member in self.members if member.version == version]

    async def open(self) -> None:
        await self.dispatcher.start()
        (self.directory / "keys").mkdir()
        _, public = generate_operator_key("oncall", self.directory)
        public.rename(self.directory / "keys" / public.name)
        for member in self.members:
            member.url_port = await member.proxy.start()
        lines = [
            f"fleet: rollout-{self.directory.name}",
            "refresh: 500ms",
            f"operator: {{name: oncall, key_file: {self.directory / 'oncall.pem'}}}",
            f"rollout: {{from: {OLD}, to: {NEW}}}",
            "workers:",
            *(f"  - {{name: {each.name}, url: 'http://127.0.0.1:{each.url_port}'}}" for each in self.members),
        ]
        (self.directory / "fleet.yaml").write_text("\n".join(lines) + "\n")

    async def close(self) -> None:
        if self._callers is not None:
            self._callers.cancel()
        pids = [pid for member in self.members for pid in member.pids]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        await until(lambda: not any(self.runs(pid) for pid in pids), what="the end of all workers")
        await asyncio.gather(*(each for each in (self._callers,) if each), *self.placed, return_exceptions=True)
        for member in self.members:
            await member.proxy.stop()
        await self.dispatcher.stop()
        self._ports.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    async def start(self, member: Member) -> None:
        """Start a boot of *member*, at the same address as the one before."""
        state = self.directory / f"state-{member.name}"
        state.mkdir(exist_ok=True)
        board = self.dispatcher
        env = livekit_environment(url=board.url, api_key=board.api_key, api_secret=board.api_secret)
        kept = {name: env[name] for name in env if name.startswith("LIVEKIT_")}
        pid = await self.zygote.start(
            name=f"{self.directory.name}-{member.name}",
            log=str(self.directory / f"{member.name}.log"),
            hangups=str(self._hangups),
            env={**kept, "OPENRTC_WORKER_ID": member.name, "TMPDIR": str(self.directory)},
            arguments={
                "deployment_version": member.version,
                "control_port": member.port,
                "isolation": "thread",
                "operator_keys": str(self.directory / "keys"),
                "state_dir": str(state),
                "drain_timeout": 30,
                "drain_linger": 0.5,
                "after_drain": "exit",
            },
        )
        member.pids.append(pid)

    async def serving(self, count: int) -> None:
        def what() -> str:
            logs = (f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(self.directory.glob("*.log")))
            return "\n".join((f"{count} registrations; the workers wrote", *logs))

        await until(lambda: len(self.dispatcher.workers()) == count, within=60, what=what)

    def live_fleet(self) -> LiveFleet:
        """A dashboard's, opened now."""
        return LiveFleet(load_fleet_file(self.directory / "fleet.yaml"))

    # -- callers ------------------------------------------------------------------------------------------------

    def call(self) -> None:
        metadata = json.dumps({"agent": "booking", "call_seconds": self.rng.uniform(*LENGTHS)})
        dispatch = self.dispatcher.dispatch(f"room-{len(self.placed)}", metadata=metadata)
        self.placed.append(asyncio.create_task(dispatch))

    def start_callers(self) -> None:
        async def place() -> None:
            while True:
                self.call()
                await asyncio.sleep(self.rng.expovariate(CALLS_PER_SECOND))

        self._callers = asyncio.create_task(place())

    def stop_callers(self) -> None:
        if self._callers is not None:
            self._callers.cancel()

    # -- what truly happened ------------------------------------------------------------------------------------

    def runs(self, pid: int) -> bool:
        return self.zygote.exit_code(pid) is None

    def dropped(self, version: str | None = None, *, before: float = math.inf) -> list[CallRecord]:
        """Calls given to a worker (of *version*) that was gone *before* then, with their callers on the phone."""
        hung_up = self._hung_up()
        return [call for call in self._without_end(version, before=before) if call.room not in hung_up]

    def untold(self) -> list[CallRecord]:
        """Calls whose callers had hung up when their worker was gone, and whose end the dispatcher never heard of.

        Nobody was dropped, but a worker that is killed in the moment between may not have written it down, and then
        nobody can know: to count such a call is as right as not to. The moment is the job's teardown, some 10 ms, and
        0.2 s at most with the machine full; no margin is drawn around it, as the callers' own word is exact.
        """
        hung_up = self._hung_up()
        return [call for call in self._without_end() if call.room in hung_up]

    def _hung_up(self) -> set[str]:
        """The rooms in which callers have hung up, by their own word."""
        return set(self._hangups.read_text().split()) if self._hangups.exists() else set()

    def _without_end(self, version: str | None = None, *, before: float = math.inf) -> list[CallRecord]:
        """Calls given to a worker (of *version*) that was gone *before* then: nobody will report their end."""
        gone = {
            worker.worker_id
            for worker in self.dispatcher.log.workers
            if worker.left_at is not None and worker.left_at < before
        }
        return [
            call
            for call in self.dispatcher.log.calls
            if call.open and call.holder in gone and version in (None, call.attributes.get("openrtc.version"))
        ]

    def unanswered(self) -> list[CallRecord]:
        return [call for call in self.dispatcher.log.calls if call.loss is not None]
