"""Finds out how to reach a cluster, as kubectl does: a file named, ``KUBECONFIG`` lists, the home's, the pod's own.

What is found but cannot be honoured here (an exec plugin of a later kind, impersonation) is refused in one line:
acting as somebody else than kubectl would is worse than not acting.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from openrtc_tui.operations.platforms.platform import PlatformError
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_OLD_EXEC: Final = ("client.authentication.k8s.io/v1beta1", "client.authentication.k8s.io/v1alpha1")
_ASK_KUBECTL: Final = "use `rollback: {exec: [kubectl, …]}` in the fleet file instead"
_LARGEST: Final = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecPlugin:
    """A program that prints a token (v1beta1 and v1alpha1 of the plugin's contract)."""

    api_version: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who asks. At most one way to prove it is set, beside a client certificate."""

    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    certificate: Path | bytes | None = field(default=None, repr=False)
    key: Path | bytes | None = field(default=None, repr=False)
    plugin: ExecPlugin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One cluster, who asks it, and the namespace of the context. ``ca`` is a file, or PEM itself."""

    server: str
    namespace: str = "default"
    ca: Path | bytes | None = None
    insecure: bool = False
    proxy: str | None = None
    credentials: Credentials = Credentials()
    found_in: str = ""
    """Where that stands, for messages."""


def find_cluster(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    environ: Mapping[str, str] = os.environ,
    home: Path | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Cluster:
    """The cluster that kubectl would talk to.

    Args:
        kubeconfig: this file and no other.
        context: this context of it, not the current one.
        environ: for ``KUBECONFIG`` and the pod's own ``KUBERNETES_SERVICE_HOST``.
        home: whose ``.kube/config`` is the last file looked for.
        service_account: the folder that a pod has its own account in.

    Raises:
        PlatformError: nothing found, not readable, or not something that can be honoured here.
    """
    files = _files(kubeconfig, environ, home or Path.home())
    merged = _Merged(files)
    if merged.empty and kubeconfig is None and context is None:
        inside = _in_cluster(environ, service_account)
        if inside is not None:
            return inside
    if merged.empty:
        looked = kubeconfig or environ.get("KUBECONFIG") or "~/.kube/config"
        raise PlatformError(f"no Kubernetes configuration found (looked at {looked})")
    return merged.cluster(context)


def _files(kubeconfig: Path | None, environ: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    if kubeconfig is not None:
        named = kubeconfig.expanduser()
        if not named.is_file():
            raise PlatformError(f"there is no kubeconfig {named}")
        return (named,)
    listed = [Path(part).expanduser() for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return tuple(path for path in listed or [home / ".kube" / "config"] if path.is_file())


def _in_cluster(environ: Mapping[str, str], account: Path) -> Cluster | None:
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    token = account / "token"
    if not host or not port or not token.is_file():
        return None
    try:
        namespace = (account / "namespace").read_text().strip()
    except (OSError, UnicodeDecodeError):
        namespace = ""
    return Cluster(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace or "default",
        ca=account / "ca.crt",
        # by file: the kubelet writes a new token there every hour
        credentials=Credentials(token_file=token),
        found_in="the pod's service account",
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    """One named entry of a kubeconfig, and the file that it stands in: relative paths are relative to that."""

    name: str
    values: dict[str, Any]
    source: Path

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise PlatformError(f"{self.source}: {printable(self.name)}: {key} is not a text")
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise PlatformError(f"{self.source}: {printable(self.name)}: {key} is neither true nor false")
        return value

    def path(self, key: str) -> Path | None:
        text = self.text(key)
        return None if text is None else self.source.parent / text

    def data(self, key: str) -> Path | bytes | None:
        """PEM given inline, which kubectl prefers, else the file."""
        inline = self.text(f"{key}-data")
        if inline is None:
            return self.path(key)
        try:
            return base64.b64decode(inline, validate=True)
        except binascii.Error as error:
            raise PlatformError(f"{self.source}: {printable(self.name)}: {key}-data is not base64") from error


class _Merged:
    """Several kubeconfigs as one: of each entry the first wins, and the first that names a current context."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._kinds: dict[str, dict[str, _Entry]] = {"clusters": {}, "users": {}, "contexts": {}}
        self._current: str | None = None
        self._files = ", ".join(map(str, files))
        for path in files:
            self._add(path)

    @property
    def empty(self) -> bool:
        return not any(self._kinds.values()) and self._current is None

    def _add(self, path: Path) -> None:
        for key, value in _load(path).items():
            if key == "current-context" and isinstance(value, str):
                self._current = self._current or value or None
            elif key in self._kinds and value is not None:
                for entry in _entries(path, key, value):
                    self._kinds[key].setdefault(entry.name, entry)

    def cluster(self, context: str | None) -> Cluster:
        name = context or self._current
        if name is None:
            raise PlatformError(f"{self._files}: no current context; name one: `context:` beside `deployment:`")
        where = self._entry("contexts", name)
        cluster = self._entry("clusters", where.text("cluster") or "")
        user = where.text("user")
        server = cluster.text("server")
        if server is None:
            raise PlatformError(f"{cluster.source}: the cluster {printable(cluster.name)} has no server")
        if cluster.text("tls-server-name"):
            raise PlatformError(f"{cluster.source}: tls-server-name is not supported here; {_ASK_KUBECTL}")
        return Cluster(
            server=server,
            namespace=where.text("namespace") or "default",
            ca=cluster.data("certificate-authority"),
            insecure=cluster.flag("insecure-skip-tls-verify"),
            proxy=cluster.text("proxy-url"),
            credentials=_credentials(self._entry("users", user)) if user else Credentials(),
            found_in=f"{where.source} ({printable(name)})",
        )

    def _entry(self, kind: str, name: str) -> _Entry:
        entry = self._kinds[kind].get(name)
        if entry is None:
            known = ", ".join(sorted(map(printable, self._kinds[kind]))) or "none"
            raise PlatformError(f"{self._files}: no {kind[:-1]} named {printable(name)!r}; there are: {known}")
        return entry


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise PlatformError(f"{path}: larger than {_LARGEST >> 20} MiB, no kubeconfig")
        content = yaml.safe_load(raw)
    except OSError as error:
        raise PlatformError(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise PlatformError(f"{path}: not YAML{f' (line {mark.line + 1})' if mark else ''}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PlatformError(f"{path}: not a kubeconfig")
    return content


def _entries(path: Path, kind: str, value: Any) -> list[_Entry]:
    found: list[_Entry] = []
    for item in value if isinstance(value, list) else [value]:
        inner = item.get(kind[:-1]) if isinstance(item, dict) else None
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not isinstance(inner, dict | None):
            raise PlatformError(f"{path}: {kind} has an entry without a name, or that is no mapping")
        found.append(_Entry(name, inner or {}, path))
    return found


def _credentials(user: _Entry) -> Credentials:
    label = f"{user.source}: user {printable(user.name)}"
    for key in ("as", "as-uid", "as-groups", "as-user-extra"):
        if user.values.get(key):
            raise PlatformError(f"{label}: impersonation ({key}) is not supported here; {_ASK_KUBECTL}")
    if user.values.get("auth-provider"):
        raise PlatformError(
            f"{label}: auth-provider is not supported, also not by kubectl since 1.26; {_ASK_KUBECTL}"
        )
    certificate, key_of = user.data("client-certificate"), user.data("client-key")
    if (certificate is None) != (key_of is None):
        raise PlatformError(f"{label}: client-certificate and client-key belong together, one of them is missing")
    token_file = user.path("tokenFile")
    token = user.text("token") if token_file is None else None
    known = token is not None or token_file is not None
    return Credentials(
        token=token,
        token_file=token_file,
        username=None if known else user.text("username"),
        password=None if known else user.text("password"),
        certificate=certificate,
        key=key_of,
        plugin=None if known else _plugin(label, user.values.get("exec")),
    )


def _plugin(label: str, value: Any) -> ExecPlugin | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("command"), str):
        raise PlatformError(f"{label}: exec has no command")
    kind = value.get("apiVersion")
    if kind not in _OLD_EXEC:
        raise PlatformError(
            f"{label}: its exec plugin is of {printable(str(kind))}, not supported here; {_ASK_KUBECTL}"
        )
    arguments = value.get("args") or []
    variables = value.get("env") or []
    try:
        return ExecPlugin(
            api_version=kind,
            argv=(value["command"], *map(str, arguments)),
            env=tuple((str(item["name"]), str(item["value"])) for item in variables),
        )
    except (TypeError, KeyError) as error:
        raise PlatformError(
            f"{label}: exec: args is not a list, or env has an entry without name and value"
        ) from error
