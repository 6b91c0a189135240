"""One pod as one process: start, restarts, and the end that Kubernetes gives it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.kubernetes.api import ApiError
from tests.kubernetes.container import ContainerError, Surroundings, container_of, start_of
from tests.kubernetes.probes import Probes
from tests.support.processes import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.kubernetes.api import Api, Object

MINIMUM_GRACE = 2.0
"""What a container always gets between SIGTERM and SIGKILL, also when preStop has used the grace up."""

DEFAULT_GRACE = 30.0
LONGEST_BACK_OFF = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What all pods of the node share. ``say`` records one event; ``hurry`` shortens the restarts' back-off."""

    api: Api
    http: aiohttp.ClientSession
    cluster: tuple[str, str]
    folder: Path
    logs: Path
    say: Callable[..., None]
    hurry: float = 0.1


class RunningPod:
    """A pod that is bound to this node. :meth:`run` lives until the pod is gone from the API."""

    def __init__(self, node: Node, pod: Object, *, ip: str, number: int) -> None:
        self._node = node
        self._pod = pod
        self._path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        self._around = Surroundings(folder=node.folder / str(number), ip=ip, cluster=node.cluster)
        self._process: asyncio.subprocess.Process | None = None
        self._ready = False
        self._restarts = 0
        self._began: str | None = None
        self._since: dict[str, tuple[str, str]] = {}
        self._ending = asyncio.Event()
        self._kill_at: float | None = None  # on the loop's clock
        self._deadline_moved = asyncio.Event()

    @property
    def namespace(self) -> str:
        return str(self._pod["metadata"]["namespace"])

    def saw(self, pod: Object) -> None:
        """Take the newest object. A deletion's grace counts from when it is first seen; a later one only shortens."""
        self._pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self.end(within=float(pod["metadata"].get("deletionGracePeriodSeconds", DEFAULT_GRACE)))

    def end(self, *, within: float) -> None:
        """End it, with SIGKILL after *within* seconds at the latest."""
        kill_at = asyncio.get_running_loop().time() + within
        if self._kill_at is None or kill_at < self._kill_at - 1:  # an update of the same deletion is no new one
            self._kill_at = kill_at
            self._deadline_moved.set()
        self._ending.set()

    def kill_now(self) -> None:
        """SIGKILL to all its processes, for the kubelet's own end."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        shutil.rmtree(self._around.folder, ignore_errors=True)

    async def run(self) -> None:
        try:
            phase, state = await self._lives()
            self._ready = False
            await self._publish(phase, state)
            await self._ending.wait()
            with contextlib.suppress(ApiError):
                await self._node.api.delete(self._path, grace=0)
            self._say("deleted")
        finally:
            self.kill_now()

    # -- lives of the container ---------------------------------------------------------------------------------

    async def _lives(self) -> tuple[str, Object]:
        """Start the container, and again as the restart policy says; returns the pod's last phase and state."""
        while True:
            if not await self._started():
                return "Failed", _waiting("ContainerCreating")
            code = await self._one_life()
            state = _terminated(code, self._began)
            again = self._pod["spec"].get("restartPolicy", "Always")
            if self._ending.is_set() or again == "Never" or (again == "OnFailure" and code == 0):
                return "Succeeded" if code == 0 else "Failed", state
            self._restarts += 1
            await self._publish("Running", _waiting("CrashLoopBackOff"))
            # the first restart comes at once, then after 10 s, 20 s, 40 s …
            delay = 0.0 if self._restarts == 1 else min(10.0 * 2 ** (self._restarts - 2), LONGEST_BACK_OFF)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), delay * self._node.hurry)
            if self._ending.is_set():
                return "Failed", state

    async def _started(self) -> bool:
        """Start the process; tries again until its Secrets are there. False: the pod was deleted meanwhile."""
        while not self._ending.is_set():
            try:
                start = await start_of(self._pod, self._around, self._node.api)
            except ContainerError as error:
                self._say("refused", why=str(error))
                await self._publish("Pending", _waiting("CreateContainerConfigError", str(error)))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), 1.0)
                continue
            name = self._pod["metadata"]["name"]
            with (self._node.logs / f"{self.namespace}.{name}.log").open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *start.command,
                    env=start.env,
                    cwd=REPOSITORY,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._began = _now()
            self._say("started", pid=self._process.pid)
            await self._publish("Running", {"running": {"startedAt": self._began}})
            return True
        return False

    async def _one_life(self) -> int:
        """From a started process to its exit code."""
        assert self._process is not None
        probes = Probes(
            container_of(self._pod),
            self._around.ip,
            self._node.http,
            on_ready=self._readiness,
            on_failed=self._liveness_failed,
        )
        probing = asyncio.create_task(probes.run())
        ending = asyncio.create_task(self._ending.wait())
        died = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({ending, died}, return_when=asyncio.FIRST_COMPLETED)
            if not died.done():
                await self._end_process()
            code = await died
        finally:
            for task in (probing, ending, died):
                task.cancel()
            await asyncio.gather(probing, ending, died, return_exceptions=True)
        with contextlib.suppress(ProcessLookupError):  # a container ends with its first process
            os.killpg(self._process.pid, signal.SIGKILL)
        self._ready = False
        self._say("exited", code=code)
        return code

    async def _readiness(self, ready: bool) -> None:
        if ready != self._ready:
            self._ready = ready
            self._say("ready" if ready else "unready")
            await self._publish("Running", {"running": {"startedAt": self._began}})

    async def _liveness_failed(self) -> None:
        """The container is killed and started again; a pod that is ending anyway is left to its own end."""
        if self._ending.is_set():
            return
        self._say("liveness")
        assert self._process is not None
        self._signal(signal.SIGTERM)
        grace = self._pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace)
            return
        self._signal(signal.SIGKILL)

    # -- the end ------------------------------------------------------------------------------------------------

    async def _end_process(self) -> None:
        """preStop, SIGTERM to the first process, the grace, SIGKILL to all that is left."""
        assert self._process is not None
        hook = container_of(self._pod).get("lifecycle", {}).get("preStop")
        if hook is not None:
            self._say("prestop")
            sleeping = asyncio.create_task(asyncio.sleep(hook["sleep"]["seconds"]))
            await self._before_the_deadline(sleeping)
            sleeping.cancel()
        self._say("term", grace=self._left())
        self._signal(signal.SIGTERM)
        minimum = asyncio.create_task(asyncio.sleep(MINIMUM_GRACE))
        dying = asyncio.create_task(self._process.wait())
        await self._before_the_deadline(dying)
        await asyncio.wait({dying, minimum}, return_when=asyncio.FIRST_COMPLETED)
        minimum.cancel()
        if not dying.done():
            dying.cancel()
            self._say("kill")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _before_the_deadline(self, task: asyncio.Task[Any]) -> None:
        """Wait for *task* until the grace is over, which a second deletion may bring nearer."""
        while not task.done() and (left := self._left()) > 0:
            self._deadline_moved.clear()
            moved = asyncio.create_task(self._deadline_moved.wait())
            await asyncio.wait({task, moved}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()

    def _left(self) -> float:
        assert self._kill_at is not None
        return max(0.0, self._kill_at - asyncio.get_running_loop().time())

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    # -- what the API is told -----------------------------------------------------------------------------------

    async def _publish(self, phase: str, state: Object) -> None:
        running = "running" in state
        conditions = {
            "PodScheduled": True,
            "Initialized": True,
            "ContainersReady": self._ready,
            "Ready": self._ready,
        }
        image = self._pod["spec"]["containers"][0].get("image", "")
        status = {
            "phase": phase,
            "podIP": self._around.ip,
            "podIPs": [{"ip": self._around.ip}],
            "hostIP": "127.0.0.1",
            "startTime": self._pod["metadata"]["creationTimestamp"],
            "conditions": [self._condition(kind, holds) for kind, holds in conditions.items()],
            "containerStatuses": [
                {
                    "name": self._pod["spec"]["containers"][0]["name"],
                    "image": image,
                    "imageID": f"process://{image}",
                    "containerID": f"process://{self._process.pid if self._process else 0}",
                    "ready": self._ready,
                    "started": running,
                    "restartCount": self._restarts,
                    "state": state,
                }
            ],
        }
        with contextlib.suppress(ApiError, aiohttp.ClientError, TimeoutError):  # gone, or the API server is
            await self._node.api.patch(f"{self._path}/status", {"status": status})

    def _condition(self, kind: str, holds: bool) -> Object:
        """With the time of its last change: minReadySeconds counts from there."""
        status = "True" if holds else "False"
        if self._since.get(kind, ("", ""))[0] != status:
            self._since[kind] = (status, _now())
        return {"type": kind, "status": status, "lastTransitionTime": self._since[kind][1]}

    def _say(self, event: str, **facts: object) -> None:
        metadata = self._pod["metadata"]
        self._node.say(
            event,
            at=time.time(),
            namespace=metadata["namespace"],
            pod=metadata["name"],
            uid=metadata["uid"],
            ip=self._around.ip,
            **facts,
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def _terminated(code: int, began: str | None) -> Object:
    return {
        "terminated": {
            "exitCode": code if code >= 0 else 128 - code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": began,
            "finishedAt": _now(),
        }
    }
