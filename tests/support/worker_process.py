"""Real worker processes on the embedded dispatcher: start one, watch its endpoint, signal it, await its end."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from openrtc_worker.contract.control_token import sign_request
from openrtc_worker.contract.keys import generate_operator_key, load_private_key
from openrtc_worker.contract.snapshot import LedgerCounts, RuntimeSnapshot, decode_snapshot
from openrtc_worker.local.dispatcher import Dispatcher, Timing
from tests.support.processes import Program, livekit_env, until
from tests.support.shown import ShowingWorker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openrtc_worker.local.records import CallRecord


class Switchboard:
    """An embedded dispatcher and the workers of one test."""

    def __init__(self, directory: Path, timing: Timing | None = None) -> None:
        self.directory = directory
        # short: sockets live in it; and taken away with whatever killed workers left
        self.scratch = Path(tempfile.mkdtemp(prefix="or-"))
        self.dispatcher = Dispatcher(f"key-{secrets.token_hex(4)}", secrets.token_hex(24), timing=timing)
        self.workers: list[WorkerProcess] = []
        self.programs: list[Program] = []
        self._http: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        await self.dispatcher.start()
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    async def close(self) -> None:
        for program in (*self.programs, *(worker.program for worker in self.workers)):
            program.kill()
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self._http is not None:
            await self._http.close()
        await self.dispatcher.stop()

    def launch(
        self, name: str = "w1", *, env: Mapping[str, str] | None = None, url: str | None = None, **arguments: Any
    ) -> WorkerProcess:
        """Start a worker program and return at once; *arguments* are those of ``pool_program``."""
        assert self._http is not None
        settings = {"control_port": 0, "drain_linger": 0.2, "after_drain": "exit", "deployment_version": "v1"}
        given = {**settings, **arguments}
        if "server" in arguments:
            given = {**arguments, "server": {**settings, **arguments["server"]}}
        program = Program(
            [sys.executable, "-m", "tests.support.pool_program", json.dumps(given)],
            name=name,
            directory=self.directory,
            env={**self.environment(name, url=url), **(env or {})},
        )
        worker = WorkerProcess(name, program, self._http)
        self.workers.append(worker)
        return worker

    def environment(self, name: str, *, url: str | None = None) -> dict[str, str]:
        """What a worker of this switchboard is started with."""
        board = self.dispatcher
        return livekit_env(
            url=url or board.url,
            api_key=board.api_key,
            api_secret=board.api_secret,
            OPENRTC_WORKER_ID=name,
            TMPDIR=str(self.scratch),
        )

    def program(self, name: str, *arguments: str, **env: str) -> Program:
        """Any Python program with a worker's environment; it is killed with the workers."""
        program = Program(
            [sys.executable, *arguments],
            name=name,
            directory=self.directory,
            env={**self.environment(name), **env},
        )
        self.programs.append(program)
        return program

    async def start(self, name: str = "w1", **arguments: Any) -> WorkerProcess:
        """Start a worker program and wait until it takes calls."""
        worker = self.launch(name, **arguments)
        await worker.serving()
        return worker

    async def held(self, room: str = "booking-held", **script: Any) -> CallRecord:
        """Place a call that lasts until :meth:`hang_up`, however long a busy machine takes for the rest."""
        call = await self.call(room, held=str(self._end_of(room)), **script)
        assert call.assigned
        return call

    def hang_up(self, call: CallRecord) -> None:
        """The caller of a held call hangs up."""
        assert self.dispatcher.log.call(call.job_id).open, "the call was ended by somebody else"
        self._end_of(call.room).touch()

    def _end_of(self, room: str) -> Path:
        return self.directory / f"{room}.hangup"

    async def call(self, room: str = "booking-1", *, agent_name: str = "", **script: Any) -> CallRecord:
        """Place one call; *script* is what it does, and what the request hook does with it."""
        return await self.dispatcher.dispatch(
            room, metadata=json.dumps(script) if script else "", agent_name=agent_name
        )


class WorkerProcess(ShowingWorker):
    """One worker process and its control endpoint."""

    def __init__(self, name: str, program: Program, http: aiohttp.ClientSession) -> None:
        self.name = name
        self.program = program
        self._http = http
        self._url: str | None = None

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """What it logged so far: on stderr, or on stdout under livekit's own command line."""
        return "".join(path.read_text(errors="replace") for path in (self.program.err, self.program.out))

    @property
    def url(self) -> str | None:
        """Where its control endpoint listens, as soon as it said so."""
        if self._url is None:
            _, found, rest = self.log.partition("control endpoint: ")
            line, ended, _ = rest.partition("\n")
            if found and ended:
                self._url = line.split()[0].split('"')[0]  # livekit's command line logs JSON
        return self._url

    async def get(self, path: str) -> tuple[int, Any]:
        """The status and the JSON body of one GET."""
        await until(lambda: self.url or not self.program.running, what=lambda: f"the endpoint:\n{self.log}")
        async with self._http.get(f"{self.url}{path}") as response:
            return response.status, await response.json(content_type=None)

    async def snapshot(self) -> RuntimeSnapshot:
        await until(lambda: self.url or not self.program.running, what=lambda: f"the endpoint:\n{self.log}")
        async with self._http.get(f"{self.url}/v1/snapshot") as response:
            return decode_snapshot(await response.read())

    async def ledger(self) -> LedgerCounts:
        counts = (await self.snapshot()).ledger
        assert counts is not None
        assert counts.balanced
        return counts

    async def sessions(self) -> list[dict[str, Any]]:
        _, body = await self.get("/v1/sessions")
        return body["sessions"]

    async def audit(self, event: str) -> list[dict[str, Any]]:
        """The audit events of one type so far, from the endpoint."""
        _, body = await self.get("/v1/audit")
        return [each for each in body["events"] if each["event"] == event]

    @property
    def running(self) -> bool:
        return self.program.running

    def said(self) -> str:
        return self.program.tail()

    # -- acting -------------------------------------------------------------------------------------------------

    async def exits(self, *, within: float = 30.0) -> int:
        return await self.program.exit_code(within=within)


class Operator:
    """Somebody who may act: a key pair, of which workers get the public half."""

    def __init__(self, folder: Path, name: str = "alice") -> None:
        folder.mkdir(exist_ok=True)
        private, _ = generate_operator_key(name, folder)
        self.name = name
        self.keys = str(folder)
        self._key = load_private_key(private)

    async def asks(
        self, worker: WorkerProcess, action: str, *, op_id: str | None = None, **fields: Any
    ) -> tuple[int, dict[str, Any]]:
        """Send one signed request; returns the status and the answer's body."""
        shown = await worker.snapshot()
        op_id = op_id or f"op-{secrets.token_hex(6)}"
        body = json.dumps({"op_id": op_id, "expect": {"boot_id": shown.boot_id}, **fields}).encode()
        token = sign_request(
            private_key=self._key,
            kid=self.name,
            sub=self.name,
            aud_worker_id=shown.worker_id or "",
            aud_boot_id=shown.boot_id or "",
            action=action,
            op_id=op_id,
            body=body,
            now=time.time(),
        )
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        method = "PUT" if action == "manifest" else "POST"
        async with worker._http.request(method, f"{worker.url}/v1/{action}", data=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)
