"""A Unix socket on which the embedded fleet is asked, as a deployment platform is, to bring a version up.

One request a connection: a JSON line, answered by a JSON line. ``{"do": "describe"}`` is answered with ``versions``:
each version that can be started, with ``{workers, running}``. ``{"do": "start", "version", "op_id"}`` starts the
workers of that version that do not run, and is answered as soon as they are being started, with ``started`` (their
names), ``again`` (names of those that drain: each is started again where it is as soon as it has ended) and
``running``; the same ``op_id`` again is answered the same and starts nothing. What cannot be done is answered with
``error``, one line. The permissions of the socket say who may ask: its owner alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_PATH: Final = 100
"""Characters of a path that a Unix socket can still have on every system."""
_MAX_LINE: Final = 16 << 10
_PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Names of the workers that are being started now, and of those that are once their drain has ended."""

    started: tuple[str, ...]
    again: tuple[str, ...] = ()


class Behind(Protocol):
    """What the door opens on: the embedded fleet."""

    def versions(self) -> dict[str, dict[str, int]]:
        """Each version that can be started, with its ``workers`` and how many of them are ``running``."""
        ...

    async def start_version(self, version: str) -> Begun:
        """Start the workers of *version* that do not run, or drain. Raises KeyError for one that there is not."""
        ...


class PlatformDoor:
    """Serves *behind* at the socket *path*."""

    def __init__(self, behind: Behind, path: Path) -> None:
        self._behind = behind
        self._path = path
        self._server: asyncio.Server | None = None
        self._answered: dict[str, dict[str, Any]] = {}
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Listen. Raises OSError when the socket cannot be made."""
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=_MAX_LINE)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # whoever asks may hang up, be slow or say nonsense; the fleet goes on
        with contextlib.suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                line = await reader.readline()
                answer = await self._answer(line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "not a JSON line"}
        match asked:
            case {"do": "describe"}:
                return {"versions": self._behind.versions()}
            case {"do": "start", "version": str(version), "op_id": str(op_id)}:
                return await self._start(version, op_id)
        return {"error": "ask with do: describe, or do: start, version and op_id"}

    async def _start(self, version: str, op_id: str) -> dict[str, Any]:
        async with self._starting:  # a repeated request may come before the first is answered
            if op_id in self._answered:
                return self._answered[op_id]
            try:
                begun = await self._behind.start_version(version)
            except KeyError:
                known = ", ".join(self._behind.versions())
                return {"error": f"no version {version!r} here; there are {known}"}
            except (OSError, RuntimeError) as error:
                return {"error": f"no worker could be started: {error}"}
            answer = {
                "started": list(begun.started),
                "again": list(begun.again),
                "running": self._behind.versions()[version]["running"],
            }
            self._answered[op_id] = answer
            return answer
