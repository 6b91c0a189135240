"""A deployment platform of one machine: starts real worker processes, stops them, and restarts none.

Each worker has a process group (and session) of its own, so that stopping it ends its job processes too, and a
SIGTERM from a terminal reaches nobody by accident. It also holds the reading end of a pipe from us: when we are gone
without a goodbye, even by SIGKILL, the worker sees the pipe close and ends its own group (``worker``). That is how
nothing is left behind; PR_SET_PDEATHSIG would end calls whenever the thread that started them does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

# of our own environment, what a worker must not take over: another LiveKit, other settings, a proxy on the way
_NOT_INHERITED = ("LIVEKIT_", "OPENRTC_", "KUBERNETES_")
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"})


def livekit_environment(*, url: str, api_key: str, api_secret: str) -> dict[str, str]:
    """The environment of a worker for this server: ours, without what would lead it elsewhere."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_NOT_INHERITED) and name not in _PROXIES
    }
    return {
        **inherited,
        "LIVEKIT_URL": url,
        "LIVEKIT_API_KEY": api_key,
        "LIVEKIT_API_SECRET": api_secret,
        # about 250 MB less in each worker: nothing here runs a model
        "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """One worker to run: its name (``worker_id``), its version and where its control endpoint listens."""

    name: str
    version: str
    control_port: int

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self.control_port}"


class WorkerProcess:
    """One worker process, from its start to its exit code."""

    def __init__(self, spec: WorkerSpec, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self._process = process
        self._end = asyncio.create_task(self._reap(), name=f"reap-{spec.name}")

    @property
    def pid(self) -> int:
        """Also the number of its process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end, and of its process group, and return the exit code."""
        return await asyncio.shield(self._end)

    def signal(self, number: signal.Signals) -> None:
        """Signal the worker itself, not its job processes; nothing happens when it has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    def kill_group(self) -> None:
        """SIGKILL the worker and its job processes; nothing happens when it has ended."""
        if self._process.returncode is None:
            self._kill()

    async def _reap(self) -> int:
        code = await self._process.wait()
        self._kill()  # job processes must not outlive their worker, however it ended
        return code

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # the group is empty
            os.killpg(self.pid, signal.SIGKILL)


class ProcessPlatform:
    """Runs ``program`` once per worker. Output goes to ``NAME.log`` in *logs*; ``environment`` is all they inherit.

    ``program`` gives the arguments after the Python interpreter for a spec.
    """

    def __init__(
        self,
        program: Callable[[WorkerSpec], list[str]],
        *,
        logs: Path,
        environment: Mapping[str, str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._program = program
        self._logs = logs
        self._environment = dict(environment)
        self._sleep = sleep
        self._workers: list[WorkerProcess] = []
        self._closed = False
        self._starting = asyncio.Lock()

    @property
    def workers(self) -> tuple[WorkerProcess, ...]:
        """Every worker ever started, in order; one that ended stays in the list and is never started again."""
        return tuple(self._workers)

    async def start(self, spec: WorkerSpec) -> WorkerProcess:
        """Start a worker. Raises RuntimeError once ``stop`` was called, OSError when no process can be had."""
        async with self._starting:
            if self._closed:
                raise RuntimeError("the platform was stopped: nothing is started any more")
            with (self._logs / f"{spec.name}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *self._program(spec),
                    stdin=asyncio.subprocess.PIPE,  # never written to: it closes when we are gone
                    stdout=log,
                    stderr=log,
                    env={**self._environment, "OPENRTC_WORKER_ID": spec.name},
                    start_new_session=True,
                )
            worker = WorkerProcess(spec, process)
            self._workers.append(worker)
            return worker

    async def stop(self, *, grace: float = 2.0) -> None:
        """SIGTERM every worker, SIGKILL what is left of their groups *grace* seconds later, and wait for the end."""
        async with self._starting:  # one that is being made right now is stopped too
            self._closed = True
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        ends: asyncio.Future[Any] = asyncio.gather(*(worker.wait() for worker in self._workers))
        patience: asyncio.Future[Any] = asyncio.ensure_future(self._sleep(grace))
        await asyncio.wait({ends, patience}, return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()
        for worker in self._workers:
            worker.kill_group()
        await ends
