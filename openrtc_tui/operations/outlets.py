"""Where a manifest goes when workers are not given it directly: a file, or a program of the operator's own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final, Protocol

from openrtc_tui.fleet_specs import PublishExec, PublishFile
from openrtc_worker.contract.manifest import MAX_BYTES, ManifestRefused, read_unverified
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from openrtc_tui.operations.request import Outcome
    from openrtc_worker.contract.manifest import Manifest

EXEC_DEADLINE: Final = 60.0
"""Seconds that the program may take."""


class OutletError(Exception):
    """What is there now cannot be read, so nothing may be put in its place; one line for people."""


class Outlet(Protocol):
    async def current(self) -> Manifest | None:
        """The manifest that is there now; None when there is none, or nobody can tell. Raises OutletError."""
        ...

    async def publish(self, token: str) -> tuple[Outcome, str]:
        """Put *token* there; what came of it, and one line for people."""
        ...


def outlet_of(publish: PublishFile | PublishExec, *, folder: Path) -> Outlet:
    """The outlet that the fleet file names; programs run in *folder*."""
    return FileOutlet(publish.path) if isinstance(publish, PublishFile) else ExecOutlet(publish.argv, folder=folder)


class FileOutlet:
    """A file, replaced in one step, so that a reader finds the old manifest or the new one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def current(self) -> Manifest | None:
        return await asyncio.to_thread(self._read)

    async def publish(self, token: str) -> tuple[Outcome, str]:
        try:
            await asyncio.to_thread(self._replace, token)
        except OSError as error:
            return "refused", f"{self._path}: {(error.strerror or str(error)).lower()}"
        return "started", f"written to {self._path}"

    def _read(self) -> Manifest | None:
        try:
            with self._path.open("rb") as file:
                text = file.read(MAX_BYTES + 1).decode("ascii", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutletError(f"{self._path} cannot be read: {(error.strerror or str(error)).lower()}") from None
        try:
            return read_unverified(text) if text.strip() else None
        except ManifestRefused as refusal:
            raise OutletError(f"{self._path} is no manifest ({refusal.detail}): move it away") from None

    def _replace(self, token: str) -> None:
        fresh = self._path.with_name(f".{self._path.name}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class ExecOutlet:
    """A program that is given the manifest on its standard input, without a shell. Exit code 0 is a yes.

    It may be given the same manifest again when nobody knows what came of the first time.
    """

    def __init__(self, argv: tuple[str, ...], *, folder: Path, deadline: float = EXEC_DEADLINE) -> None:
        self._argv = argv
        self._folder = folder
        self._deadline = deadline

    async def current(self) -> Manifest | None:
        return None

    async def publish(self, token: str) -> tuple[Outcome, str]:
        name = self._argv[0]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd=self._folder,
                start_new_session=True,
            )
        except OSError as error:
            return "refused", f"{name} cannot be run: {(error.strerror or str(error)).lower()}"
        try:
            _, said = await asyncio.wait_for(process.communicate(token.encode() + b"\n"), self._deadline)
        except TimeoutError:
            return "unknown", f"{name} took more than {self._deadline:g} s and was ended"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode == 0:
            return "started", f"given to {name}"
        words = printable(said.decode("utf-8", "replace").strip().rpartition("\n")[2], 200)
        return "unknown", f"{name} ended with {process.returncode}{f': {words}' if words else ''}"
