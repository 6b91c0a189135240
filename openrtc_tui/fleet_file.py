"""The fleet file: which workers there are, how they are reached, who the operator is.

Everything wrong with it is told at once, each with file and line, and then nothing starts. Secrets stand in files
or in the environment, never here; the files named are held to the permission rules of the control endpoint's page.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from openrtc_tui.fleet_specs import DEFAULT_REFRESH, FleetFile, OperatorSpec, RolloutSpec, TlsSpec, WorkerSpec
from openrtc_tui.yaml_shapes import Duration, EnvName, Fields, FilePath, Flag, ListOf, ScalarOr, Text, Values
from openrtc_tui.yaml_tree import Problem, Reading, compose
from openrtc_worker.contract.snapshot import VERSION_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FleetFile",
    "FleetFileError",
    "OperatorSpec",
    "Problem",
    "RolloutSpec",
    "TlsSpec",
    "WorkerSpec",
    "fleet_file_schema",
    "load_fleet_file",
    "parse_fleet_file",
]

MAX_BYTES: Final = 4 << 20
"""A fleet file above this size is refused unread; 5,000 workers take about half a megabyte."""


class FleetFileError(Exception):
    """The fleet file cannot be used. ``problems`` has all that is wrong, by line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def load_fleet_file(path: Path | str, *, acting: bool = True, environ: Mapping[str, str] = os.environ) -> FleetFile:
    """Read and check the fleet file at *path*, and that the files and variables it names can be used.

    Args:
        path: relative paths in the file are relative to the folder of this one.
        acting: False where nothing is ever asked of a worker: then the operator's key need not be there.
        environ: where ``read_token_env`` is looked up.

    Raises:
        FleetFileError: with everything that is wrong.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "; `openrtc-tui init` writes one to start from" if isinstance(error, FileNotFoundError) else ""
        problem = Problem(str(path), 1, f"cannot be read: {error.strerror}{hint}")
        raise FleetFileError((problem,)) from None
    if len(data) > MAX_BYTES:
        raise FleetFileError((Problem(str(path), 1, f"larger than {MAX_BYTES >> 20} MiB, so not a fleet file"),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FleetFileError((Problem(str(path), line, "not UTF-8 text"),)) from None
    fleet, reading = _parse(text, path)
    _check_named_files(reading, with_operator=acting and not (fleet and fleet.read_only))
    for variable in reading.variables:
        if not environ.get(variable.name):
            message = f"{variable.where}: {variable.name} is not set in the environment"
            reading.problem(variable.line, message)
    return _result(fleet, reading)


def parse_fleet_file(text: str, path: Path | str) -> FleetFile:
    """The fleet file that *text* is, without looking at any file it names.

    Raises:
        FleetFileError: with everything that is wrong.
    """
    return _result(*_parse(text, Path(path)))


def fleet_file_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of the fleet file, for editors; made from the shapes that read it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "OpenRTC Deploy fleet file",
        **_fleet_shape(Path()).schema(),
    }


def _result(fleet: FleetFile | None, reading: Reading) -> FleetFile:
    if fleet is None or reading.problems:
        raise FleetFileError(tuple(sorted(set(reading.problems))))
    return fleet


def _check_named_files(reading: Reading, *, with_operator: bool) -> None:
    if not reading.files:
        return
    from openrtc_worker.contract.keys import KeyFileError, load_private_key, read_public_file, read_secret_file

    for named in reading.files:
        is_operator = named.where == _OPERATOR_KEY
        if is_operator and not with_operator:
            continue
        try:
            if is_operator:
                load_private_key(named.path)
            elif named.secret or b"PRIVATE KEY" in read_public_file(named.path):
                read_secret_file(named.path)  # a certificate may have its key in the same file
        except KeyFileError as error:
            hint = "; without the key you can still watch: --read-only" if is_operator else ""
            reading.problem(named.line, f"{named.where}: {error}{hint}")


def _parse(text: str, path: Path) -> tuple[FleetFile | None, Reading]:
    reading = Reading(str(path), path.parent)
    root = compose(text, reading)
    if root is None:
        if not reading.problems:
            reading.problem(1, "the file is empty; `openrtc-tui init` writes one to start from")
        return None, reading
    return _fleet_shape(path).read(root, "", reading), reading


# -------------------------------------------------------------------------------------------- shapes

_NAME = Text("a name of up to 64 characters without spaces and #", r"[^\s#-][^\s#]{0,63}")
_OPERATOR = Text("a name of up to 64 letters, digits and ._-", r"[A-Za-z0-9._-]{1,64}")
_VERSION = Text("a version of letters, digits and ._+-", VERSION_PATTERN.pattern)
_OPERATOR_KEY: Final = "operator.key_file"
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def _url_problem(text: str) -> str | None:
    """What keeps *text* from being the address of a control endpoint, or None."""
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        return f"no URL ({error})"
    wrong = {
        "the scheme is not http or https": parts.scheme not in _DEFAULT_PORTS,
        "there is no host": not host,
        "a user or password may not stand in it": "@" in parts.netloc,
        "it has a path": parts.path not in {"", "/"},
        "it has a query or a fragment": "?" in text or "#" in text,
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


_WORKER = ScalarOr(
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
_DRAIN = Fields("drain", {"timeout": Duration(1, 7 * 86_400)}, lambda values: values.get("timeout"), later=("wave",))


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


def _fleet_shape(path: Path) -> Fields[FleetFile]:
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
        },
        partial(_build_fleet, path),
        required=("fleet", "workers"),
        later=("membership", "manifest", "discover", "rollback", "livekit", "rescue", "notify"),
        check=_check_fleet,
    )


def _build_fleet(path: Path, values: Values) -> FleetFile:
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
        drain_timeout=values.get("drain"),
    )
