"""A kubelet whose pods are processes of this machine: no containers, no root.

It registers one node, binds pods to it, and gives each pod a process and a loopback address of its own, so that all
can listen on one port. Modelled: environment, Secrets and ConfigMaps, emptyDir, HTTP probes, readiness, restarts with
back-off, a preStop that sleeps, SIGTERM, the grace of the deletion, SIGKILL. **Not** modelled, and nothing may be
concluded of it: images, control groups and their limits, several containers, exec and TCP probes, changed volumes of
running pods, the shutdown of a node. A namespace that is deleted is a test that is over: its pods are killed at once.

``python -m tests.kubernetes.kubelet``, with its arguments as JSON in ``KUBELET``: ``url``, ``token``, ``authority``,
``logs``. It writes what it does to stdout, one JSON object a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import urllib.parse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.kubernetes.api import Api, ApiError
from tests.kubernetes.pod import Node, RunningPod

if TYPE_CHECKING:
    from tests.kubernetes.api import Object

NODE = "processes"
LOST_AND_FOUND_GRACE = 2.0
"""For a pod that vanished from the API (deleted with grace 0) and whose process is still here."""


def say(event: str, **facts: object) -> None:
    os.write(1, (json.dumps({"event": event, **facts}) + "\n").encode())


class Kubelet:
    """All pods of the cluster, on the one node there is."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._pods: dict[str, RunningPod] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        # two test runs on one machine at once, with one port in all their pods
        self._network = f"127.{random.randrange(64, 128)}"
        self._first = random.randrange(0, 20_000)

    async def run(self) -> None:
        """Until cancelled; then every pod's processes are killed."""
        try:
            await self._register()
            say("registered")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_pods())
                tasks.create_task(self._watch_namespaces())
        finally:
            for pod in self._pods.values():
                pod.kill_now()
            for task in self._tasks:
                task.cancel()

    async def _register(self) -> None:
        with contextlib.suppress(ApiError):  # it is there from an earlier life
            labels = {"kubernetes.io/hostname": NODE}
            await self._node.api.create("/api/v1/nodes", {"metadata": {"name": NODE, "labels": labels}})
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now}
        room = {"pods": "1000", "cpu": "1000", "memory": "1000Gi"}
        status = {"conditions": [{**ready, "reason": "Processes"}], "capacity": room, "allocatable": room}
        await self._node.api.patch(f"/api/v1/nodes/{NODE}/status", {"status": status})

    async def _watch_pods(self) -> None:
        async for kind, pods in self._node.api.watch("/api/v1/pods"):
            if kind == "LISTED":
                for uid in self._pods.keys() - {pod["metadata"]["uid"] for pod in pods}:
                    self._pods[uid].end(within=LOST_AND_FOUND_GRACE)
            for pod in pods:
                if kind == "DELETED":
                    if running := self._pods.get(pod["metadata"]["uid"]):
                        running.end(within=LOST_AND_FOUND_GRACE)
                else:
                    await self._saw(pod)

    async def _saw(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._pods:
            self._pods[uid].saw(pod)
        elif "nodeName" not in pod["spec"]:
            if not pod["spec"].get("schedulingGates"):
                await self._bind(pod)
        elif pod["spec"]["nodeName"] == NODE:
            number = next(self._numbers)
            running = self._pods[uid] = RunningPod(self._node, pod, ip=self._address(number), number=number)
            running.saw(pod)
            task = asyncio.create_task(running.run(), name=pod["metadata"]["name"])
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._over(uid, done))

    def _over(self, uid: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._pods.pop(uid, None)
        if not task.cancelled() and task.exception() is not None:
            say("failed", task=task.get_name(), error=repr(task.exception()))

    async def _bind(self, pod: Object) -> None:
        metadata = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        }
        with contextlib.suppress(ApiError):  # it is bound or gone already
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
            await self._node.api.create(path, binding)

    async def _watch_namespaces(self) -> None:
        async for _, namespaces in self._node.api.watch("/api/v1/namespaces"):
            over = {each["metadata"]["name"] for each in namespaces if "deletionTimestamp" in each["metadata"]}
            for pod in self._pods.values():
                if pod.namespace in over:
                    pod.end(within=0)
                    pod.kill_now()

    def _address(self, number: int) -> str:
        place = self._first + number
        return f"{self._network}.{place // 250 % 250 + 1}.{place % 250 + 1}"


async def main() -> None:
    given = json.loads(os.environ["KUBELET"])
    cluster = urllib.parse.urlsplit(given["url"])
    logs = Path(given["logs"])
    logs.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="or-pods-"))  # short: sockets live in it
    loop = asyncio.get_running_loop()
    try:
        async with (
            Api(url=given["url"], token=given["token"], authority=given["authority"]) as api,
            aiohttp.ClientSession() as http,
        ):
            address = (cluster.hostname or "", str(cluster.port))
            kubelet = Kubelet(Node(api=api, http=http, cluster=address, folder=folder, logs=logs, say=say))
            task = asyncio.create_task(kubelet.run())
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await task
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
