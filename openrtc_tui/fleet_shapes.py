"""The shapes that a fleet file is read against: every key, what may stand there, and how it fits together."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from openrtc_tui.fleet_specs import (
    DEFAULT_EXEC_TIMEOUT,
    DEFAULT_REFRESH,
    DEFAULT_WAVE,
    ExecSpec,
    FleetFile,
    KubernetesSpec,
    LocalSpec,
    ManifestSpec,
    MembershipSpec,
    OperatorSpec,
    PlatformSpec,
    PublishExec,
    PublishFile,
    RolloutSpec,
    SecretRef,
    TlsSpec,
    WebhookSpec,
    WorkerSpec,
)
from openrtc_tui.yaml_shapes import (
    Duration,
    EnvName,
    Fields,
    FilePath,
    Flag,
    ListOf,
    Mapped,
    OneOf,
    ShortOr,
    Text,
    Values,
    Whole,
)
from openrtc_worker.contract.snapshot import VERSION_PATTERN

if TYPE_CHECKING:
    from pathlib import Path

    from openrtc_tui.yaml_tree import Reading

OPERATOR_KEY: Final = "operator.key_file"
MANIFEST_KEY: Final = "manifest.key_file"
WEBHOOK_KEY: Final = "rollback.webhook.key_file"

_NAME = Text("a name of up to 64 characters without spaces and #", r"[^\s#-][^\s#]{0,63}")
_OPERATOR = Text("a name of up to 64 letters, digits and ._-", r"[A-Za-z0-9._-]{1,64}")
_VERSION = Text("a version of letters, digits and ._+-", VERSION_PATTERN.pattern)
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def _url_problem(text: str) -> str | None:
    """What keeps *text* from being the address of a control endpoint, or None."""
    found = _address_problem(text)
    if found is None and urlsplit(text).path not in {"", "/"}:
        return "it has a path"
    return found or ("it has a query or a fragment" if "?" in text or "#" in text else None)


def _webhook_problem(text: str) -> str | None:
    """What keeps *text* from being the address of a webhook, or None."""
    return _address_problem(text) or ("it has a fragment" if "#" in text else None)


def _address_problem(text: str) -> str | None:
    """What is wrong with scheme, host and port of *text*, or None."""
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        return f"no URL ({error})"
    wrong = {
        "the scheme is not http or https": parts.scheme not in _DEFAULT_PORTS,
        "there is no host": not host,
        "a user or password may not stand in it": "@" in parts.netloc,
        "the port is not 1 to 65535": port == 0 or parts.netloc.endswith(":"),
    }
    found = next((what for what, is_so in wrong.items() if is_so), None)
    if found or host is None:
        return found
    if "[" in parts.netloc:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return "the address in brackets is not IPv6"
    elif not _HOST.fullmatch(host):
        return "the host is not a host name"
    return None


_WEBHOOK_URL = Text("the address of a webhook, such as https://ci.example/rollback", r"\S{1,1000}", _webhook_problem)
_URL = Text("the address of a control endpoint, such as http://10.0.0.11:9464", r"\S{1,300}", _url_problem)


def _normal_url(text: str) -> tuple[str, str]:
    """``(url, host:port)`` with scheme and host in lower case, and without what says nothing."""
    parts = urlsplit(text)
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    host = parts.hostname or ""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{parts.scheme}://{authority}", authority


def _check_tls(values: Values) -> None:
    if "key" in values.lines and "cert" not in values.lines:
        values.problem("key", "a key without cert; expected both, or a cert that holds its key")


def _build_tls(values: Values) -> TlsSpec:
    return TlsSpec(values.get("ca"), values.get("cert"), values.get("key"))


_TLS = Fields(
    "tls",
    {"ca": FilePath(secret=False), "cert": FilePath(secret=False), "key": FilePath(secret=True)},
    _build_tls,
    check=_check_tls,
)


def _check_worker(values: Values) -> None:
    if "tls" in values.lines and str(values.get("url", "https")).lower().startswith("http:"):
        values.problem("tls", "given for an http:// address; expected https://")


def _build_worker(values: Values) -> WorkerSpec:
    url, authority = _normal_url(values.get("url"))
    return WorkerSpec(values.get("name", authority), url, values.get("region"), values.get("tls"), values.line)


@dataclass(frozen=True, slots=True)
class _PlainWorker:
    """A worker given as its address alone."""

    def read(self, node: Any, where: str, reading: Reading) -> WorkerSpec | None:
        text = _URL.read(node, where, reading)
        if text is None:
            return None
        url, authority = _normal_url(text)
        return WorkerSpec(authority, url, line=node.start_mark.line + 1)

    def schema(self) -> dict[str, Any]:
        return _URL.schema()


_WORKER = ShortOr(
    _PlainWorker(),
    Fields(
        "a worker",
        {"name": _NAME, "url": _URL, "region": _NAME, "tls": _TLS},
        _build_worker,
        required=("url",),
        check=_check_worker,
    ),
    "a worker: its URL, or a mapping with url, name, region, tls",
)


def _check_rollout(values: Values) -> None:
    if "from" in values.values and values.get("from") == values.get("to"):
        values.problem("to", f"the same version as from ({values.get('to')}); expected two versions")


_ROLLOUT = Fields(
    "rollout",
    {"from": _VERSION, "to": _VERSION},
    lambda values: RolloutSpec(values.get("from"), values.get("to")),
    required=("from", "to"),
    check=_check_rollout,
)
_OPERATOR_FIELDS = Fields(
    "operator",
    {"name": _OPERATOR, "key_file": FilePath(secret=True)},
    lambda values: OperatorSpec(values.get("name"), values.get("key_file")),
    required=("name", "key_file"),
)
_DRAIN = Fields(
    "drain",
    {"timeout": Duration(1, 7 * 86_400), "wave": Whole(1, 1_000)},
    lambda values: (values.get("timeout"), values.get("wave", DEFAULT_WAVE)),
)

_ARGUMENT = Text("an argument of up to 1,000 characters on one line", r".{0,1000}")
_PROGRAM = ListOf(_ARGUMENT, "a list of a program and its arguments, such as [./rollback.sh, '{to}']", least=1)
_SECRET: OneOf[SecretRef] = OneOf(
    "a secret",
    {
        "env": Mapped(EnvName(), lambda name: SecretRef(env=name)),
        "file": Mapped(FilePath(secret=True), lambda path: SecretRef(file=path)),
    },
    quiet=True,
)
_MEMBERSHIP = Fields(
    "membership",
    {"masters": ListOf(_SECRET, "a list of at least one secret, such as [{env: VOICE_MEMBERSHIP_MASTER}]", least=1)},
    lambda values: MembershipSpec(values.get("masters")),
    required=("masters",),
)


def _put(_: str) -> Literal["put"]:
    return "put"


_PUBLISH: ShortOr[Literal["put"] | PublishFile | PublishExec] = ShortOr(
    Mapped(Text("put, {file: PATH} or {exec: [PROGRAM, …]}", "put"), _put),
    OneOf(
        "publish",
        {"file": Mapped(FilePath(secret=False, there=False), PublishFile), "exec": Mapped(_PROGRAM, PublishExec)},
    ),
    "put, {file: PATH} or {exec: [PROGRAM, …]}",
)
_MANIFEST = Fields(
    "manifest",
    {"key_file": FilePath(secret=True), "publish": _PUBLISH},
    lambda values: ManifestSpec(values.get("key_file"), values.get("publish", "put")),
    required=("key_file",),
)
_OBJECT_NAME = Text("a name as Kubernetes has them", r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_KUBERNETES = Fields(
    "kubernetes",
    {
        "namespace": _OBJECT_NAME,
        "deployment": _OBJECT_NAME,
        "kubeconfig": FilePath(secret=False),
        "context": Text("the name of a context"),
    },
    lambda values: KubernetesSpec(
        values.get("namespace"), values.get("deployment"), values.get("kubeconfig"), values.get("context")
    ),
    required=("namespace", "deployment"),
)
_WEBHOOK = Fields(
    "webhook",
    {"url": _WEBHOOK_URL, "key_file": FilePath(secret=True)},
    lambda values: WebhookSpec(values.get("url"), values.get("key_file")),
    required=("url", "key_file"),
)
_EXEC: ShortOr[ExecSpec] = ShortOr(
    Mapped(_PROGRAM, ExecSpec),
    Fields(
        "exec",
        {"argv": _PROGRAM, "timeout": Duration(1, 86_400)},
        lambda values: ExecSpec(values.get("argv"), values.get("timeout", DEFAULT_EXEC_TIMEOUT)),
        required=("argv",),
    ),
    "a list of a program and its arguments, or a mapping with argv and timeout",
    listed=True,
)
_ROLLBACK: OneOf[PlatformSpec] = OneOf(
    "rollback",
    {
        "kubernetes": _KUBERNETES,
        "webhook": _WEBHOOK,
        "exec": _EXEC,
        "local": Mapped(FilePath(secret=False, there=False), LocalSpec),
    },
)


def _check_fleet(values: Values) -> None:
    if "read_token_env" in values.lines and "read_token_file" in values.lines:
        values.problem("read_token_file", "given beside read_token_env; keep one")
    by_key: dict[str, WorkerSpec] = {}
    by_url: dict[str, WorkerSpec] = {}
    for worker in values.get("workers", ()):
        same_key = by_key.setdefault(worker.key, worker)
        same_url = by_url.setdefault(worker.url, worker)
        if same_url is not worker:
            twice = f"the address {worker.url} is given twice, first in line {same_url.line}"
        elif same_key is not worker:
            twice = f"the name {worker.key} is given twice, first in line {same_key.line}"
        else:
            continue
        values.reading.problem(worker.line, f"workers: {twice}; expected each once")


def fleet_shape(path: Path) -> Fields[FleetFile]:
    """What a fleet file at *path* looks like."""
    return Fields(
        "a fleet file",
        {
            "fleet": Text("the fleet's name, up to 64 characters", r".{1,64}"),
            "workers": ListOf(_WORKER, "a list of workers (may be empty: [])"),
            "refresh": Duration(0.2, 30),
            "read_only": Flag(),
            "operator": _OPERATOR_FIELDS,
            "read_token_env": EnvName(),
            "read_token_file": FilePath(secret=True),
            "tls": _TLS,
            "rollout": _ROLLOUT,
            "drain": _DRAIN,
            "membership": _MEMBERSHIP,
            "manifest": _MANIFEST,
            "rollback": _ROLLBACK,
        },
        partial(_build_fleet, path),
        required=("fleet", "workers"),
        later=("discover", "livekit", "rescue", "notify"),
        check=_check_fleet,
    )


def _build_fleet(path: Path, values: Values) -> FleetFile:
    drain_timeout, drain_wave = values.get("drain", (None, DEFAULT_WAVE))
    return FleetFile(
        path=path,
        name=values.get("fleet"),
        workers=values.get("workers"),
        refresh=values.get("refresh", DEFAULT_REFRESH),
        read_only=values.get("read_only", False),
        operator=values.get("operator"),
        read_token_env=values.get("read_token_env"),
        read_token_file=values.get("read_token_file"),
        tls=values.get("tls"),
        rollout=values.get("rollout"),
        drain_timeout=drain_timeout,
        drain_wave=drain_wave,
        membership=values.get("membership"),
        manifest=values.get("manifest"),
        rollback=values.get("rollback"),
    )
