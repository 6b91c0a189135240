"""The fleet file: which workers there are, how they are reached, who the operator is.

Everything wrong with it is told at once, each with file and line, and then nothing starts. Secrets stand in files
or in the environment, never here; the files named are held to the permission rules of the control endpoint's page.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.fleet_shapes import MANIFEST_KEY, OPERATOR_KEY, WEBHOOK_KEY, fleet_shape
from openrtc_tui.fleet_specs import FleetFile, OperatorSpec, RolloutSpec, TlsSpec, WorkerSpec
from openrtc_tui.yaml_tree import Problem, Reading, compose

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

_SIGNING_KEYS: Final = frozenset({OPERATOR_KEY, MANIFEST_KEY, WEBHOOK_KEY})
"""Files that hold a key to act with: who only watches need not have them."""


class FleetFileError(Exception):
    """The fleet file cannot be used. ``problems`` has all that is wrong, by line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def load_fleet_file(path: Path | str, *, acting: bool = True, environ: Mapping[str, str] = os.environ) -> FleetFile:
    """Read and check the fleet file at *path*, and that the files and variables it names can be used.

    Args:
        path: relative paths in the file are relative to the folder of this one.
        acting: False where nothing is ever asked of a worker: then the keys that sign need not be there.
        environ: where the variables that it names are looked up.

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
    _check_named_files(reading, acting=acting and not (fleet and fleet.read_only))
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
        **fleet_shape(Path()).schema(),
    }


def _result(fleet: FleetFile | None, reading: Reading) -> FleetFile:
    if fleet is None or reading.problems:
        raise FleetFileError(tuple(sorted(set(reading.problems))))
    return fleet


def _check_named_files(reading: Reading, *, acting: bool) -> None:
    if not reading.files:
        return
    from openrtc_worker.contract.keys import KeyFileError, load_private_key, read_public_file, read_secret_file

    for named in reading.files:
        signs = named.where in _SIGNING_KEYS
        if signs and not acting:
            continue
        try:
            if signs:
                load_private_key(named.path)
            elif named.secret or b"PRIVATE KEY" in read_public_file(named.path):
                read_secret_file(named.path)  # a certificate may have its key in the same file
        except KeyFileError as error:
            hint = "; without the key you can still watch: --read-only" if signs else ""
            reading.problem(named.line, f"{named.where}: {error}{hint}")


def _parse(text: str, path: Path) -> tuple[FleetFile | None, Reading]:
    reading = Reading(str(path), path.parent)
    root = compose(text, reading)
    if root is None:
        if not reading.problems:
            reading.problem(1, "the file is empty; `openrtc-tui init` writes one to start from")
        return None, reading
    return fleet_shape(path).read(root, "", reading), reading
