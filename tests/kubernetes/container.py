"""What a pod's container is started with: its environment, its command, its volumes.

A process has no file system of its own. A volume is a folder below the pod's own one, and wherever an environment
variable or an argument begins with the path that it is mounted at, that folder's path stands instead.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.kubernetes.api import ApiError
from tests.support.leash import leashed

if TYPE_CHECKING:
    from tests.kubernetes.api import Api, Object

# What stands for the image: this machine's programs, with the tests' own Python first.
_IMAGE: Final = {
    **{name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL") if name in os.environ},
    "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
    "PYTHONUNBUFFERED": "1",
}
_REFERENCE: Final = re.compile(r"\$(\$|\(([A-Za-z_][A-Za-z0-9_]*)\))")
_KEYED_FIELD: Final = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
# The service account admission mounts it into every pod.
_TOKEN_VOLUME: Final = "kube-api-access-"


class ContainerError(Exception):
    """The container cannot be started as it is described."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a container's process is started."""

    command: list[str]
    env: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the node adds. ``folder`` is the pod's own, ``cluster`` host and port of the API server."""

    folder: Path
    ip: str
    cluster: tuple[str, str]


def container_of(pod: Object) -> Object:
    """The one container that is modelled.

    Raises:
        ContainerError: there are more, or something beside it that a process kubelet cannot do.
    """
    spec = pod["spec"]
    if len(spec["containers"]) > 1 or spec.get("initContainers"):
        raise ContainerError("the process kubelet runs one container of a pod, without init containers")
    container: Object = spec["containers"][0]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if "httpGet" not in container.get(name, {"httpGet": {}}):
            raise ContainerError(f"the process kubelet asks by httpGet only: {name}")
    if "sleep" not in container.get("lifecycle", {}).get("preStop", {"sleep": {}}):
        raise ContainerError("the process kubelet knows a preStop that sleeps, and no other")
    return container


async def start_of(pod: Object, around: Surroundings, api: Api) -> Start:
    """Write the pod's volumes and work out command and environment.

    Raises:
        ContainerError: a Secret or ConfigMap is missing, or something is asked for that is not modelled.
    """
    return await _Preparation(pod, around, api).start()


class _Preparation:
    def __init__(self, pod: Object, around: Surroundings, api: Api) -> None:
        self._pod = pod
        self._around = around
        self._api = api
        self._base = f"/api/v1/namespaces/{pod['metadata']['namespace']}"
        self._container = container_of(pod)

    async def start(self) -> Start:
        mounts = await self._mounts()
        host, port = self._around.cluster
        scratch = self._around.folder / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        env = {
            **_IMAGE,
            "TMPDIR": str(scratch),
            "HOSTNAME": self._pod["metadata"]["name"],
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
        }
        for source in self._container.get("envFrom", []):
            env.update(await self._all_of(source))
        for entry in self._container.get("env", []):
            env[entry["name"]] = _expanded(await self._value(entry), env)
        env = {name: _moved(value, mounts) for name, value in env.items()}
        words = [*self._container.get("command", []), *self._container.get("args", [])]
        words = [_moved(_expanded(word, env), mounts) for word in words]
        if not words or (program := shutil.which(words[0], path=env["PATH"])) is None:
            raise ContainerError(f"no such program: {words[0] if words else 'the image says the command'}")
        return Start(leashed([program, *words[1:]]), env)

    # -- environment --------------------------------------------------------------------------------------------

    async def _all_of(self, source: Object) -> dict[str, str]:
        prefix = source.get("prefix", "")
        kind = "secretRef" if "secretRef" in source else "configMapRef"
        data = await self._data("secrets" if kind == "secretRef" else "configmaps", source[kind])
        return {prefix + name: value.decode() for name, value in data.items()}

    async def _value(self, entry: Object) -> str:
        source = entry.get("valueFrom")
        if source is None:
            return str(entry.get("value", ""))
        if "fieldRef" in source:
            return self._field(source["fieldRef"]["fieldPath"])
        for kind, plural in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
            if kind in source:
                data = await self._data(plural, source[kind])
                if source[kind]["key"] not in data and not source[kind].get("optional"):
                    raise ContainerError(f"{plural} {source[kind]['name']} has no key {source[kind]['key']}")
                return data.get(source[kind]["key"], b"").decode()
        raise ContainerError(f"the process kubelet cannot fill in {entry['name']}: {source}")

    def _field(self, path: str) -> str:
        metadata, spec = self._pod["metadata"], self._pod["spec"]
        if keyed := _KEYED_FIELD.fullmatch(path):
            return str(metadata.get(keyed[1], {}).get(keyed[2], ""))
        fields = {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "metadata.uid": metadata["uid"],
            "spec.nodeName": spec["nodeName"],
            "spec.serviceAccountName": spec.get("serviceAccountName", ""),
            "status.podIP": self._around.ip,
            "status.hostIP": "127.0.0.1",
        }
        if path not in fields:
            raise ContainerError(f"the process kubelet does not know the field {path}")
        return str(fields[path])

    # -- volumes ------------------------------------------------------------------------------------------------

    async def _mounts(self) -> dict[str, Path]:
        """Write the volumes; returns by path of each mount the folder that stands for it."""
        volumes = {volume["name"]: volume for volume in self._pod["spec"].get("volumes", [])}
        mounts = {}
        for mount in self._container.get("volumeMounts", []):
            volume = volumes[mount["name"]]
            if volume["name"].startswith(_TOKEN_VOLUME):
                continue
            if "subPath" in mount:
                raise ContainerError("the process kubelet does not mount a subPath")
            folder = self._around.folder / "volumes" / volume["name"]
            folder.mkdir(parents=True, exist_ok=True)
            await self._fill(folder, volume)
            mounts[mount["mountPath"].rstrip("/")] = folder
        return mounts

    async def _fill(self, folder: Path, volume: Object) -> None:
        if "emptyDir" in volume:  # it lives as long as the pod, through every restart of the container
            return
        for kind, plural, name in (("secret", "secrets", "secretName"), ("configMap", "configmaps", "name")):
            if kind in volume:
                source = volume[kind]
                data = await self._data(plural, {**source, "name": source[name]})
                if "items" in source:
                    data = {item["path"]: data[item["key"]] for item in source["items"]}
                _write(folder, data, mode=source.get("defaultMode", 0o644))
                return
        raise ContainerError(f"the process kubelet has no such volume: {volume}")

    async def _data(self, plural: str, source: Object) -> dict[str, bytes]:
        try:
            found = await self._api.get(f"{self._base}/{plural}/{source['name']}")
        except ApiError as error:
            if error.status == 404 and source.get("optional"):
                return {}
            raise ContainerError(str(error)) from None
        data: dict[str, Any] = found.get("data") or {}
        if plural == "secrets":
            return {name: base64.b64decode(value) for name, value in data.items()}
        return {name: value.encode() for name, value in data.items()}


def _write(folder: Path, data: dict[str, bytes], *, mode: int) -> None:
    """As the real kubelet lays a volume out: files in a dated folder, ``..data`` links there, each name into it."""
    if os.geteuid() != 0:
        mode &= 0o700  # there root owns the files, and the pod's group may read them
    dated = folder / "..2026_01_01"
    dated.mkdir(exist_ok=True)
    for name, content in data.items():
        file = dated / name
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(content)
        file.chmod(mode)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    if not (folder / "..data").is_symlink():
        (folder / "..data").symlink_to(dated.name)


def _expanded(text: str, env: dict[str, str]) -> str:
    """``$(NAME)`` by its value where there is one; ``$$`` is a dollar."""
    return _REFERENCE.sub(lambda found: "$" if found[1] == "$" else env.get(found[2], found[0]), text)


def _moved(text: str, mounts: dict[str, Path]) -> str:
    for path, folder in mounts.items():
        if text == path or text.startswith(f"{path}/"):
            return str(folder) + text[len(path) :]
    return text
