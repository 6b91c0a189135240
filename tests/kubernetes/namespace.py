"""One test's corner of the cluster: kubectl in it, what the kubelet did there, and its end."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from typing import TYPE_CHECKING, Any

import yaml

from tests.kubernetes.api import Api
from tests.support.processes import clean_env

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from tests.kubernetes.api import Object
    from tests.kubernetes.control_plane import ControlPlane

KUBECTL_WITHIN = 60.0
POLL = 0.05


class KubectlError(Exception):
    """kubectl said no: its exit ``code`` and what it wrote to stderr."""

    def __init__(self, command: Sequence[str], code: int | None, stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(command)}: exit code {code}\n{stderr}")
        self.code = code
        self.stderr = stderr


class Namespace:
    """A namespace of its own for one test. kubectl is the oracle: what it says is so."""

    def __init__(self, control_plane: ControlPlane, name: str) -> None:
        self.name = name
        self.control_plane = control_plane
        # the same answers as kubectl's, without a process for each look: tests look again and again
        self._api = Api(
            url=control_plane.url, token=control_plane.token("admin"), authority=str(control_plane.authority)
        )

    async def open(self) -> None:
        await self._api.__aenter__()
        await self.kubectl("create", "namespace", self.name)
        await eventually(self._has_service_account, what="the namespace's service account")

    async def close(self) -> None:
        """Delete it; its pods' processes are killed at once, whatever their grace."""

        async def empty() -> bool:
            return not await self.pods()

        try:
            await self.kubectl("delete", "namespace", self.name, "--wait=false")
            await eventually(empty, what=f"the end of all pods of {self.name}")
        finally:
            await self._api.__aexit__()

    def kubeconfig(self, user: str = "alice") -> Path:
        """A kubeconfig file of this user whose context names this namespace."""
        return self.control_plane.kubeconfig(user, namespace=self.name)

    async def kubectl(self, *command: str, user: str = "admin", stdin: str | None = None) -> str:
        """What ``kubectl COMMAND`` prints in this namespace.

        Raises:
            KubectlError: it ended with another code than 0.
        """
        process = await asyncio.create_subprocess_exec(
            str(self.control_plane.binary),
            "kubectl",
            *command,
            env=clean_env(KUBECONFIG=str(self.kubeconfig(user))),
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(KUBECTL_WITHIN):
                out, err = await process.communicate(None if stdin is None else stdin.encode())
        except TimeoutError:
            raise KubectlError(command, None, f"no end within {KUBECTL_WITHIN:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise KubectlError(command, process.returncode, err.decode())
        return out.decode()

    async def apply(self, *objects: Object, user: str = "admin") -> None:
        """``kubectl apply -f -``, as a pipeline does it."""
        await self.kubectl("apply", "-f", "-", user=user, stdin=yaml.safe_dump_all(objects))

    async def get(self, kind: str, name: str) -> Object:
        return json.loads(await self.kubectl("get", kind, name, "-o", "json"))

    async def all(self, kind: str, *, selector: str = "") -> list[Object]:
        """The objects of one kind, oldest first."""
        listed = await self.kubectl("get", kind, "-o", "json", "-l", selector)
        return _oldest_first(json.loads(listed))

    async def pods(self, *, selector: str = "") -> list[Object]:
        """The pods, terminating ones too, oldest first."""
        query = urllib.parse.quote(selector)
        return _oldest_first(await self._api.get(f"/api/v1/namespaces/{self.name}/pods?labelSelector={query}"))

    async def grant(self, user: str, *rules: tuple[Sequence[str], Sequence[str], Sequence[str]]) -> None:
        """Give *user* a Role of exactly these ``(apiGroups, resources, verbs)``, in place of an earlier one."""
        group = "rbac.authorization.k8s.io"
        listed = [{"apiGroups": list(g), "resources": list(r), "verbs": list(v)} for g, r, v in rules]
        await self.apply(
            {
                "apiVersion": f"{group}/v1",
                "kind": "Role",
                "metadata": {"name": f"test-{user}"},
                "rules": listed,
            },
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"test-{user}"},
                "roleRef": {"apiGroup": group, "kind": "Role", "name": f"test-{user}"},
                "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
            },
        )

    # -- what the kubelet did -----------------------------------------------------------------------------------

    def events(self, **having: object) -> list[dict[str, Any]]:
        """The kubelet's events of this namespace that have these values, in order.

        ``event`` is one of ``started`` (``pid``), ``ready``, ``unready``, ``liveness``, ``prestop``, ``term``
        (``grace``: seconds until SIGKILL), ``kill``, ``exited`` (``code``), ``deleted``, ``refused`` (``why``); each
        has ``at`` (Unix seconds), ``pod``, ``uid`` and ``ip``.
        """
        lines = self.control_plane.kubelet_events.read_text().split("\n")[:-1]
        events = [json.loads(line) for line in lines]
        wanted = {"namespace": self.name, **having}
        return [event for event in events if all(event.get(key) == value for key, value in wanted.items())]

    async def has(self, count: int = 1, *, within: float = 30.0, **having: object) -> list[dict[str, Any]]:
        """Wait until the kubelet has *count* such events of this namespace, and return them."""

        async def enough() -> list[dict[str, Any]]:
            found = self.events(**having)
            return found if len(found) >= count else []

        return await eventually(enough, within=within, what=f"{count} × {having} of {self.name}")

    def log(self, pod: str) -> str:
        """What the pod's processes wrote."""
        path = self.control_plane.logs / f"{self.name}.{pod}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def _has_service_account(self) -> bool:
        accounts = await self._api.get(f"/api/v1/namespaces/{self.name}/serviceaccounts")
        return bool(accounts["items"])


def _oldest_first(listed: Object) -> list[Object]:
    found: list[Object] = listed["items"]
    return sorted(found, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))


async def eventually(
    look: Callable[[], Awaitable[Any]], *, what: str | Callable[[], str], within: float = 30.0
) -> Any:
    """Look again and again until the answer is true, and return it; fails, naming *what*, after *within* seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not (found := await look()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {within:.0f} s in vain for: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(POLL)
    return found
