"""The embedded fleet: a dispatcher, callers, and workers of two versions, from the first start to the last end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from openrtc_worker.local.calls import CallProfile, follow, schedule
from openrtc_worker.local.dispatcher import Dispatcher
from openrtc_worker.local.leaving import leaving
from openrtc_worker.local.platform import ProcessPlatform, WorkerProcess, WorkerSpec, livekit_environment
from openrtc_worker.local.platform_door import Begun, PlatformDoor
from openrtc_worker.local.ports import ReservedPorts
from openrtc_worker.local.progress import calls_ended_message
from openrtc_worker.local.run_directory import Rollout, RunDirectory
from openrtc_worker.local.worker import AGENTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path
    from typing import Literal

    from openrtc_worker.local.calls import SimulatedCall
    from openrtc_worker.local.progress import Progress

FLEET = "demo"
FROM_VERSION = "v1.0.0"
TO_VERSION = "v2.0.0"

_TENANTS = {"acme": 5.0, "globex": 3.0, "initech": 2.0}
_TARGET_SHARE = 0.6
"""How much of one version's capacity the callers take, in the long run."""

_LONGEST_TMPDIR = 64
"""Characters of a TMPDIR in which multiprocessing can still make its sockets, whose paths may have about 100."""

_OPENING = 25.0
_PAUSE_BEFORE_NEW_VERSION = 5.0
_READY_POLL = 0.1
_READY_TIMEOUT = aiohttp.ClientTimeout(total=2)


class FleetError(Exception):
    """The fleet cannot run; the message is for whoever started it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """What to run: *workers* of each version, with *capacity* calls each. ``drain_timeout`` in seconds."""

    workers: int = 3
    capacity: int = 12
    isolation: Literal["process", "thread"] = "process"
    seed: int = 1
    drain_timeout: int = 600

    def specs(self, ports: Iterable[int]) -> tuple[WorkerSpec, ...]:
        """The workers in the order of their start: those of the old version first."""
        named = [
            (f"voice-{letter}-{number}", version)
            for letter, version in (("a", FROM_VERSION), ("b", TO_VERSION))
            for number in range(1, self.workers + 1)
        ]
        return tuple(
            WorkerSpec(name=name, version=version, control_port=port)
            for (name, version), port in zip(named, ports, strict=True)
        )

    def profile(self) -> CallProfile:
        """Callers that keep one version a little over half full, more at first, so that there is something to see."""
        shape = CallProfile(per_second=1.0, agents=dict.fromkeys(AGENTS, 1.0), tenants=_TENANTS)
        live_calls = _TARGET_SHARE * self.capacity * self.workers
        return CallProfile(
            per_second=live_calls / shape.mean_length,
            opening=_OPENING,
            opening_per_second=live_calls / _OPENING,
            agents={AGENTS[0]: 2.0, AGENTS[1]: 1.0},
            tenants=_TENANTS,
        )


class EmbeddedFleet:
    """Runs a :class:`FleetPlan` in a directory; ``run`` lasts until it is told to stop."""

    def __init__(
        self,
        plan: FleetPlan,
        directory: RunDirectory,
        *,
        progress: Progress,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._progress = progress
        self._clock = clock
        self._sleep = sleep
        self._ports = ReservedPorts(2 * plan.workers)
        self._specs = plan.specs(self._ports)
        self._running: dict[str, WorkerProcess] = {}
        self._again: set[WorkerProcess] = set()
        self._starting = asyncio.Lock()
        self._listed = 0
        self._platform: ProcessPlatform | None = None
        self._tasks: asyncio.TaskGroup | None = None
        api_key = f"API{secrets.token_hex(6)}"
        self.dispatcher = Dispatcher(api_key, secrets.token_hex(24), rng=random.Random(plan.seed))

    async def run(self, stopped: Awaitable[str]) -> None:
        """Start everything, keep the callers coming, and take everything down once *stopped* tells a reason."""
        self._directory.prepare(self._specs)
        await self.dispatcher.start()
        platform = self._platform = self._new_platform()
        self._write_files()
        door = await self._open_door()
        work = asyncio.create_task(self._work(), name="fleet")
        ending = asyncio.ensure_future(stopped)
        try:
            await asyncio.wait({work, ending}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work  # it goes on for ever, so this raises what went wrong
            self._progress.say("stopping", reason=ending.result())
        finally:
            ending.cancel()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            if door is not None:
                await door.stop()
            ended = await self._take_down(platform)
            self._ports.close()
            self._progress.say("stopped", calls_ended=ended, message=calls_ended_message(ended))

    def _new_platform(self) -> ProcessPlatform:
        dispatcher = self.dispatcher
        environment = livekit_environment(
            url=dispatcher.url, api_key=dispatcher.api_key, api_secret=dispatcher.api_secret
        )
        temporary = str(self._directory.temporary)
        if len(temporary) <= _LONGEST_TMPDIR:
            environment["TMPDIR"] = temporary
        return ProcessPlatform(self._program, logs=self._directory.logs, environment=environment, sleep=self._sleep)

    def _program(self, spec: WorkerSpec) -> list[str]:
        plan = self._plan
        return [
            *("-m", "openrtc_worker.local.worker"),
            *("--version", spec.version),
            *("--control-port", str(spec.control_port)),
            *("--capacity", str(plan.capacity)),
            *("--drain-timeout", str(plan.drain_timeout)),
            *("--isolation", plan.isolation),
            *("--operator-keys", str(self._directory.operator_keys)),
            *("--state-dir", str(self._directory.state_dir(spec.name))),
            *("--fleet", FLEET),
            *("--membership-secret-file", str(self._directory.secret_file(spec.version))),
            *("--release-keys", str(self._directory.release_keys)),
        ]

    def _write_files(self) -> None:
        dispatcher = self.dispatcher
        self._directory.write_livekit_env(
            url=dispatcher.url, api_key=dispatcher.api_key, api_secret=dispatcher.api_secret
        )
        self._progress.say(
            "fleet",
            fleet_file=str(self._list_workers(1)),
            directory=str(self._directory.path),
            livekit_url=dispatcher.url,
            media=False,
            workers=[{"name": s.name, "version": s.version, "url": s.control_url} for s in self._specs],
        )

    def _list_workers(self, count: int) -> Path:
        """Write the fleet file with the first *count* workers: a worker is listed when it is about to be started."""
        self._listed = max(self._listed, count)
        rollout = Rollout(
            fleet=FLEET,
            from_version=FROM_VERSION,
            to_version=TO_VERSION,
            drain_timeout=self._plan.drain_timeout,
        )
        return self._directory.write_fleet_file(self._specs[: self._listed], rollout=rollout)

    # -- as a deployment platform (platform_door) ---------------------------------------------------------------

    async def _open_door(self) -> PlatformDoor | None:
        path = self._directory.platform_socket
        if path is None:
            return None
        door = PlatformDoor(self, path)
        await door.start()
        return door

    def versions(self) -> dict[str, dict[str, int]]:
        """Each version, with its ``workers`` and how many of them are ``running``."""
        return {
            version: {
                "workers": len(specs),
                "running": sum(spec.name in self._running for spec in specs),
            }
            for version in (FROM_VERSION, TO_VERSION)
            if (specs := self._of(version))
        }

    async def start_version(self, version: str) -> Begun:
        """Start the workers of *version* that do not run, where they ran before; those that drain when they are gone.

        Raises:
            KeyError: there is no such version.
            OSError: no process can be had.
            RuntimeError: the fleet is being stopped.
        """
        specs = self._of(version)
        if not specs:
            raise KeyError(version)
        out = set(await leaving(self._running[spec.name] for spec in specs if spec.name in self._running))
        # one whose process ended meanwhile counts here until its end is noticed, which starts it again
        self._again |= (again := out & set(self._running.values()))
        wanted = [spec for spec in specs if spec.name not in self._running]
        for spec in wanted:
            self._list_workers(self._specs.index(spec) + 1)
            await self._start(spec)
        later = {worker.spec.name for worker in again}
        return Begun(
            started=tuple(spec.name for spec in wanted),
            again=tuple(spec.name for spec in specs if spec.name in later),
        )

    def _of(self, version: str) -> list[WorkerSpec]:
        return [spec for spec in self._specs if spec.version == version]

    async def _start(self, spec: WorkerSpec) -> WorkerProcess:
        """Start *spec*, unless it runs; its end is watched."""
        async with self._starting:  # the fleet's own course may be at this one too
            running = self._running.get(spec.name)
            if running is not None:
                return running
            if self._platform is None or self._tasks is None:
                raise RuntimeError("the fleet is not up yet")
            worker = self._running[spec.name] = await self._platform.start(spec)
            self._tell(spec, "starting", pid=worker.pid)
            self._tasks.create_task(self._watch_end(worker), name=f"watch-{spec.name}")
            return worker

    # -- its own course -----------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Bring the workers up one after another, with callers from the first that serves, and never return."""
        async with aiohttp.ClientSession(timeout=_READY_TIMEOUT) as http, asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for number, spec in enumerate(self._specs):
                if number == self._plan.workers:
                    await self._sleep(_PAUSE_BEFORE_NEW_VERSION)
                self._list_workers(number + 1)
                worker = await self._start(spec)
                # one at a time: a start costs seconds of CPU, and the first row matters most
                served = await self._until_ready(worker, http)
                if number > 0:
                    continue
                if not served:
                    raise FleetError(f"{spec.name} ended before it took calls: {self._last_words(spec)}")
                tasks.create_task(self._callers(), name="callers")
            self._progress.say("ready")
            await asyncio.Event().wait()

    async def _until_ready(self, worker: WorkerProcess, http: aiohttp.ClientSession) -> bool:
        """Wait until the worker is registered with the dispatcher; False when it has ended instead."""
        while worker.exit_code is None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{worker.spec.control_url}/readyz") as response:
                    if response.ok:
                        self._tell(worker.spec, "serving")
                        return True
            await self._sleep(_READY_POLL)
        return False

    def _last_words(self, spec: WorkerSpec) -> str:
        """The last line of a worker's log, which says why it ended."""
        lines = (self._directory.logs / f"{spec.name}.log").read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")

    async def _watch_end(self, worker: WorkerProcess) -> None:
        code = await worker.wait()
        del self._running[worker.spec.name]
        self._tell(worker.spec, "exited", exit_code=code)
        if worker in self._again:  # while the fleet is up: its end cancels this watch before it ends any worker
            self._again.remove(worker)
            try:
                await self._start(worker.spec)
            except OSError as error:
                self._tell(worker.spec, "not_started", message=str(error))

    async def _callers(self) -> None:
        calls = schedule(self._plan.profile(), self._plan.seed)
        await follow(calls, self._place, clock=self._clock, sleep=self._sleep)

    async def _place(self, call: SimulatedCall) -> None:
        await self.dispatcher.dispatch(call.room, metadata=call.metadata)

    async def _take_down(self, platform: ProcessPlatform) -> int:
        """Stop workers and dispatcher; returns the number of calls that this ended."""
        connected = {worker.worker_id for worker in self.dispatcher.workers()}
        live = [call.job_id for call in self.dispatcher.log.calls if call.open and call.holder in connected]
        await platform.stop()
        ended = sum(self.dispatcher.log.call(job_id).open for job_id in live)
        await self.dispatcher.stop()
        return ended

    def _tell(self, spec: WorkerSpec, state: str, **more: object) -> None:
        self._progress.say("worker", name=spec.name, version=spec.version, state=state, **more)
