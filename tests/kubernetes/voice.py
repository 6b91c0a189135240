"""A Deployment of real workers on the embedded dispatcher, and each of its pods as a worker that can be asked."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openrtc_worker.contract.snapshot import LedgerCounts, RuntimeSnapshot, decode_snapshot
from tests.kubernetes.namespace import Namespace, eventually
from tests.support.shown import ShowingWorker

if TYPE_CHECKING:
    import aiohttp

    from tests.kubernetes.api import Object
    from tests.support.worker_process import Switchboard

VERSION_LABEL = "app.kubernetes.io/version"
CONTROL_PORT = 9464
APP = "voice"


@dataclass(frozen=True, slots=True)
class PodWorker(ShowingWorker):
    """A worker in a pod. It can be asked as ``tests.support.worker_process.Operator`` asks one."""

    name: str
    uid: str
    version: str
    ip: str
    namespace: Namespace = field(repr=False)
    _http: aiohttp.ClientSession = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://{self.ip}:{CONTROL_PORT}"

    async def snapshot(self) -> RuntimeSnapshot:
        async with self._http.get(f"{self.url}/v1/snapshot") as response:
            return decode_snapshot(await response.read())

    async def ledger(self) -> LedgerCounts:
        counts = (await self.snapshot()).ledger
        assert counts is not None
        return counts

    def said(self) -> str:
        return self.namespace.log(self.name)[-3000:]


class Voice:
    """The Deployment ``voice`` of one test. A rollout is an ``apply`` of another version, as a pipeline does it."""

    def __init__(self, namespace: Namespace, board: Switchboard, http: aiohttp.ClientSession) -> None:
        self.namespace = namespace
        self.board = board
        self._http = http

    # -- what is applied ----------------------------------------------------------------------------------------

    def deployment(
        self,
        version: str,
        *,
        replicas: int = 2,
        grace: int = 120,
        min_ready: int = 0,
        env: dict[str, str] | None = None,
        **worker: Any,
    ) -> Object:
        """The Deployment as an object, to apply as it is or changed.

        Args:
            version: of the label and of the workers.
            replicas: pods.
            grace: ``terminationGracePeriodSeconds``.
            min_ready: ``minReadySeconds``.
            env: further environment of the container; a variable of the same name replaces ours.
            worker: further arguments of the pool.
        """
        fields = {
            "OPENRTC_WORKER_ID": "metadata.name",
            "POD_NAME": "metadata.name",
            "POD_UID": "metadata.uid",
            "POD_NAMESPACE": "metadata.namespace",
            "NODE_NAME": "spec.nodeName",
            # all pods share this machine's network
            "OPENRTC_CONTROL_HOST": "status.podIP",
            "DEPLOYMENT_VERSION": f"metadata.labels['{VERSION_LABEL}']",
        }
        values = {
            "OPENRTC_GRACE_SECONDS": str(grace),
            "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0",
            "WORKER": json.dumps(worker),
            **(env or {}),
        }
        container = {
            "name": "worker",
            "image": f"registry.example/voice:{version}",
            "command": ["python", "-m", "tests.kubernetes.pod_program"],
            "ports": [{"name": "control", "containerPort": CONTROL_PORT}],
            "envFrom": [{"secretRef": {"name": "livekit"}}],
            "env": [
                *({"name": name, "value": value} for name, value in values.items()),
                *(
                    {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
                    for name, path in fields.items()
                    if name not in values
                ),
            ],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "control"}, "periodSeconds": 1},
            "startupProbe": {
                "httpGet": {"path": "/healthz", "port": "control"},
                "periodSeconds": 1,
                "failureThreshold": 60,
            },
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": "control"}, "timeoutSeconds": 5},
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": APP, "labels": {"app.kubernetes.io/name": APP}},
            "spec": {
                "replicas": replicas,
                "minReadySeconds": min_ready,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
                "selector": {"matchLabels": {"app.kubernetes.io/name": APP}},
                "template": {
                    "metadata": {"labels": {"app.kubernetes.io/name": APP, VERSION_LABEL: version}},
                    "spec": {"terminationGracePeriodSeconds": grace, "containers": [container]},
                },
            },
        }

    def livekit_secret(self) -> Object:
        """Where the workers find the embedded dispatcher, as the Secret ``livekit``."""
        board = self.board.dispatcher
        values = {
            "LIVEKIT_URL": board.url,
            "LIVEKIT_API_KEY": board.api_key,
            "LIVEKIT_API_SECRET": board.api_secret,
        }
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "livekit"}, "data": data}

    async def apply(self, version: str, **arguments: Any) -> None:
        """Roll *version* out (see :meth:`deployment`) and return at once."""
        await self.namespace.apply(self.livekit_secret(), self.deployment(version, **arguments))

    async def deploy(self, version: str, *, replicas: int = 2, **arguments: Any) -> list[PodWorker]:
        """Roll *version* out and wait until all its workers take calls."""
        await self.apply(version, replicas=replicas, **arguments)
        return await self.serving(version, replicas)

    # -- what is there ------------------------------------------------------------------------------------------

    async def workers(self, version: str | None = None) -> list[PodWorker]:
        """The workers that run, those of terminating pods included; oldest first."""
        return [self._worker(pod) for pod in await self._pods(version) if "podIP" in pod["status"]]

    async def serving(self, version: str, count: int, *, within: float = 60.0) -> list[PodWorker]:
        """Wait until Kubernetes holds exactly *count* pods of *version* ready and they take calls."""

        async def ready() -> list[PodWorker]:
            lives = [pod for pod in await self._pods(version) if "deletionTimestamp" not in pod["metadata"]]
            if len(lives) != count or not all(_is_ready(pod) for pod in lives):
                return []
            return [self._worker(pod) for pod in lives]

        workers: list[PodWorker] = await eventually(
            ready, within=within, what=lambda: f"{count} ready pods of {version}; {self.told()}"
        )
        for worker in workers:
            await worker.serving()
        return workers

    async def rolled_out(self, *, within: float = 90.0) -> None:
        """Wait until ``kubectl rollout status`` says success."""
        await self.namespace.kubectl("rollout", "status", f"deployment/{APP}", f"--timeout={within:.0f}s")

    async def gone(self, worker: PodWorker, *, within: float = 60.0) -> None:
        """Wait until the pod and all its processes are gone."""
        await self.namespace.has(event="deleted", uid=worker.uid, within=within)

    async def _pods(self, version: str | None) -> list[Object]:
        labels = f"app.kubernetes.io/name={APP}"
        return await self.namespace.pods(
            selector=labels if version is None else f"{labels},{VERSION_LABEL}={version}"
        )

    def _worker(self, pod: Object) -> PodWorker:
        metadata = pod["metadata"]
        version = metadata["labels"].get(VERSION_LABEL, "")
        ip = pod["status"]["podIP"]
        return PodWorker(metadata["name"], metadata["uid"], version, ip, self.namespace, self._http)

    def told(self) -> str:
        """The kubelet's last events, for messages."""
        return "\n".join(f"{event['event']} {event['pod']}" for event in self.namespace.events()[-12:])


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
