"""Workers of the tests: real ``AgentPool`` processes, watched over their own control endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from typing import TYPE_CHECKING, Any

import aiohttp

from openrtc_worker.contract.snapshot import LedgerCounts, RuntimeSnapshot, State, decode_snapshot
from tests.support.leash import leashed
from tests.support.ports import free_port
from tests.support.processes import Program, livekit_env, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.livekit.server import LiveKitServer


class PoolWorker:
    """One worker process. Its event stream is followed from its start to its end.

    ``snapshots``, ``audit`` and ``bye`` are what the stream brought; ``shown`` is the newest snapshot.
    """

    def __init__(
        self,
        server: LiveKitServer,
        *,
        name: str,
        directory: Path,
        agent_name: str,
        url: str | None = None,
        **pool: Any,
    ) -> None:
        self.name = name
        self.port = free_port(socket.SOCK_STREAM)
        self.url = f"http://127.0.0.1:{self.port}"
        self.snapshots: list[RuntimeSnapshot] = []
        self.audit: list[dict[str, Any]] = []
        self.bye: RuntimeSnapshot | None = None
        arguments = {"agent_name": agent_name, "control_port": self.port, "drain_linger": 0.5, **pool}
        self.program = Program(
            leashed([sys.executable, "-m", "tests.livekit.pool_worker", json.dumps(arguments)]),
            name=name,
            directory=directory,
            env=livekit_env(
                url=url or server.url,
                api_key=server.api_key,
                api_secret=server.api_secret,
                OPENRTC_WORKER_ID=name,
            ),
        )
        self._follower = asyncio.create_task(self._follow(), name=f"follow {name}")

    # -- what it says of itself -------------------------------------------------------------------------------

    @property
    def shown(self) -> RuntimeSnapshot | None:
        return self.snapshots[-1] if self.snapshots else None

    @property
    def state(self) -> str | None:
        return self.shown.state if self.shown else None

    @property
    def ledger(self) -> LedgerCounts:
        """The newest ledger that was shown."""
        assert self.shown is not None
        assert self.shown.ledger is not None
        return self.shown.ledger

    async def snapshot(self) -> RuntimeSnapshot:
        """The snapshot as it is this moment."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/v1/snapshot") as response:
            assert response.status == 200
            return decode_snapshot(await response.read())

    async def shows(self, condition: Callable[[RuntimeSnapshot], bool], *, what: str, within: float = 40.0) -> None:
        """Wait for a snapshot that fulfils *condition*."""
        try:
            await until(lambda: self._fulfils(condition) or not self.program.running, within=within, what=what)
            assert self._fulfils(condition), f"ended before: {what}"
        except AssertionError as missed:
            shown = self.shown and self.shown.to_dict()
            raise AssertionError(f"{self.name}: {missed}\nit shows {shown}\n{self.program.tail()}") from None

    def _fulfils(self, condition: Callable[[RuntimeSnapshot], bool]) -> bool:
        return self.shown is not None and condition(self.shown)

    async def serving(self) -> None:
        """Wait until it is registered with LiveKit and takes calls."""
        await self.shows(lambda shown: bool(shown.accepting), what="takes calls")

    async def active(self, count: int) -> None:
        await self.shows(lambda shown: shown.active_sessions == count, what=f"{count} live calls")

    async def in_state(self, state: State) -> None:
        await self.shows(lambda shown: shown.state == state, what=f"is {state.value}")

    async def exits(self, *, within: float = 30.0) -> int:
        """Wait for its end and for the end of its stream; returns the exit code."""
        code = await self.program.exit_code(within=within)
        await asyncio.wait([self._follower], timeout=5)
        return code

    def audited(self, event_type: str) -> list[dict[str, Any]]:
        return [event for event in self.audit if event["event"] == event_type]

    # -- what is done to it -----------------------------------------------------------------------------------

    async def job_process(self, room: str) -> int:
        """The process that has the call in *room* (the worker's own where calls are threads)."""
        [said] = await self.program.has(event="talking", room=room)
        return int(said["pid"])

    async def aclose(self) -> None:
        self._follower.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._follower
        self.program.kill()

    # -- the stream -------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=2)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while self.bye is None:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with session.get(f"{self.url}/v1/events") as response:
                        async for kind, data in server_sent_events(response):
                            self._heard(kind, data)
                if not self.program.running:
                    return
                await asyncio.sleep(0.05)

    def _heard(self, kind: str, data: bytes) -> None:
        if kind == "audit":
            self.audit.append(json.loads(data))
            return
        snapshot = decode_snapshot(data)
        self.snapshots.append(snapshot)
        if kind == "bye":
            self.bye = snapshot


async def server_sent_events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, bytes]]:
    """The events of a stream as ``(type, data)``; comments are left out."""
    kind, data = "", b""
    buffer = b""
    async for chunk in response.content.iter_any():
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            name, _, value = line.partition(b":")
            if name == b"event":
                kind = value.strip().decode()
            elif name == b"data":
                data = value.strip()
            elif not line and kind:
                yield kind, data
                kind, data = "", b""


class Crew:
    """The workers of one test, all of one agent name."""

    def __init__(self, server: LiveKitServer, directory: Path, *, agent_name: str, **pool: Any) -> None:
        self.agent_name = agent_name
        self.all: list[PoolWorker] = []
        self._server = server
        self._directory = directory
        self._pool = pool

    def start(self, name: str, version: str, **pool: Any) -> PoolWorker:
        worker = PoolWorker(
            self._server,
            name=name,
            directory=self._directory,
            agent_name=self.agent_name,
            deployment_version=version,
            **{**self._pool, **pool},
        )
        self.all.append(worker)
        return worker

    async def serving(self) -> None:
        await asyncio.gather(*(worker.serving() for worker in self.all))

    async def aclose(self, *, quiet: bool = False) -> None:
        """End what is left of them; unless *quiet*, show what they wrote last (pytest shows it of a failed test)."""
        for worker in self.all:
            await worker.aclose()
            if not quiet:
                print(f"--- {worker.name}\n{worker.program.tail()}")
