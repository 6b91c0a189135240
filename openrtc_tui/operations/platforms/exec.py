"""A program of the operator's own as a platform: an argument list without a shell, a time limit, its output shown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from openrtc_tui.fleet_specs import DEFAULT_EXEC_TIMEOUT
from openrtc_tui.operations.plans.plan import Objection
from openrtc_tui.operations.platforms.platform import Asked, Description, PlatformError, nothing_to_watch
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from openrtc_tui.state.observation import PodSeen

_LONGEST_LINE: Final = 4096
_SHOWN_LINES: Final = 3
_GRACE: Final = 5.0
"""Seconds between SIGTERM and SIGKILL of a program that takes too long."""

PLACEHOLDERS: Final = ("to", "op_id", "reason")


class ExecPlatform:
    """Runs *argv* to bring a version up.

    ``{to}``, ``{op_id}`` and ``{reason}`` in an argument are replaced; the environment has them too, as
    ``OPENRTC_TO``, ``OPENRTC_OP_ID`` and ``OPENRTC_REASON``. Exit code 0 is a yes. The program may be run again with
    the same ``op_id`` when nobody knows what came of the first run, so it must be able to do nothing twice.

    Args:
        argv: the program and its arguments; a relative path with a slash is relative to *folder*.
        folder: where it runs: the fleet file's folder.
        timeout: seconds, then it and what it started are ended.
        on_output: hears each line that it prints, printable.
    """

    name = "exec"
    ends_other = True  # nobody knows, and naming both versions until the good one is ready is right either way

    def __init__(
        self,
        argv: Sequence[str],
        *,
        folder: Path,
        timeout: float = DEFAULT_EXEC_TIMEOUT,
        on_output: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._argv = tuple(argv)
        self._folder = folder
        self._timeout = timeout
        self._on_output = on_output

    async def describe(self, version: str) -> Description:
        """What would be run; a program cannot be asked what there is."""
        return Description(detail=(f"would run: {' '.join(self._filled(version, op_id='OP_ID', reason=''))}",))

    async def preflight(self, version: str, description: Description) -> tuple[Objection, ...]:  # noqa: ARG002
        """Blocks when there is no such program; what it would do is not known, so that is a warning."""
        if self._program() is None:
            text = f"{self._argv[0]} is no program that can be run"
            return (Objection(code="exec_missing", text=text, blocks=True),)
        return (
            Objection(
                code="exec_unknown",
                text=f"what {self._argv[0]} would do is not known here: no dry run, no check of its rights",
            ),
        )

    async def roll_back(self, version: str, *, token: str, op_id: str, reason: str | None) -> Asked:  # noqa: ARG002
        """Run it to its end. Raises PlatformError when it cannot be run, takes too long, or says no."""
        program = self._program()
        if program is None:
            raise PlatformError(f"{self._argv[0]} is no program that can be run")
        arguments = self._filled(version, op_id=op_id, reason=reason or "")
        environment = {"OPENRTC_TO": version, "OPENRTC_OP_ID": op_id, "OPENRTC_REASON": reason or ""}
        # a pipe of our own: asyncio's process ends only when nobody holds its pipes any more, and what it leaves
        # running in the background may hold them for ever
        output, theirs = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *arguments[1:],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                cwd=self._folder,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except OSError as error:
            os.close(output)
            raise PlatformError(f"{self._argv[0]} cannot be run: {error.strerror}") from None
        finally:
            os.close(theirs)
        said = await self._attend(process, output)
        code = process.returncode
        if code == 0:
            return Asked(detail=said or f"{self._argv[0]} ended without a word")
        ended = f"exit code {code}" if code is not None and code > 0 else f"ended by signal {-(code or 0)}"
        raise PlatformError(f"{self._argv[0]}: {ended}{f': {said}' if said else ''}", happened=None)

    def watch(self) -> AsyncIterator[tuple[PodSeen, ...]]:
        """Nothing: a program shows no pods."""
        return nothing_to_watch()

    async def _attend(self, process: asyncio.subprocess.Process, output: int) -> str:
        """Read what it prints until it ends; returns its last lines as one."""
        last: deque[str] = deque(maxlen=_SHOWN_LINES)
        reading = asyncio.create_task(self._read(output, last))
        try:
            async with asyncio.timeout(self._timeout):
                await process.wait()
            await asyncio.wait({reading}, timeout=1.0)
        except TimeoutError:
            await _end(process)
            message = f"{self._argv[0]} took more than {self._timeout:g} s and was ended"
            raise PlatformError(message, happened=None) from None
        except asyncio.CancelledError:
            await _end(process)
            raise
        finally:
            reading.cancel()
            await asyncio.wait({reading})
        return " / ".join(last)

    async def _read(self, output: int, last: deque[str]) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb")
        )
        unsaid = b""
        try:
            while chunk := await reader.read(4096):
                *lines, unsaid = (unsaid + chunk).split(b"\n")
                unsaid = unsaid[-_LONGEST_LINE:]
                for line in filter(None, map(_shown, lines)):
                    last.append(line)
                    self._on_output(line)
            if line := _shown(unsaid):
                last.append(line)
                self._on_output(line)
        finally:
            transport.close()

    def _program(self) -> str | None:
        name = self._argv[0]
        if "/" in name:
            path = self._folder / Path(name).expanduser()
            return str(path) if path.is_file() and os.access(path, os.X_OK) else None
        return shutil.which(name)

    def _filled(self, version: str, *, op_id: str, reason: str) -> list[str]:
        """The arguments with their placeholders replaced, each once: what is put in is not looked at again."""
        values = dict(zip(PLACEHOLDERS, (version, op_id, reason), strict=True))
        return [_fill(argument, values) for argument in self._argv]


def _fill(argument: str, values: dict[str, str]) -> str:
    parts = argument.split("{")
    filled = parts[0]
    for part in parts[1:]:
        name, brace, rest = part.partition("}")
        filled += values[name] + rest if brace and name in values else "{" + part
    return filled


def _shown(line: bytes) -> str:
    return printable(line.decode("utf-8", "replace").strip(), 300)


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and a little later SIGKILL, to it and to all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await process.wait()
                break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
