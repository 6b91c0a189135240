"""The other side of the HTTP contract, scripted byte by byte: a worker that can be as wrong as a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openrtc_worker.contract.snapshot import LedgerCounts, RuntimeSnapshot, encode_json

if TYPE_CHECKING:
    import ssl

HEARTBEAT = b":\n\n"


def snapshot(
    boot: str = "boot-1", seq: int = 1, active: int = 0, version: str = "v1.0.0", **more: Any
) -> RuntimeSnapshot:
    """A snapshot with what a reader looks at."""
    return RuntimeSnapshot(
        deployment_version=version,
        draining=more.pop("draining", False),
        active_sessions=active,
        schema=1,
        worker_id="worker-1",
        boot_id=boot,
        seq=seq,
        state=more.pop("state", "serving"),
        timestamp=time.time(),
        ledger=LedgerCounts(
            started=active,
            completed=0,
            failed=0,
            removed=0,
            cut=0,
            crashed=0,
            lost=0,
            active=active,
            launch_failed=0,
            offers_lost=0,
        ),
        **more,
    )


def event(name: str, body: RuntimeSnapshot | dict[str, Any] | bytes) -> bytes:
    """One server-sent event."""
    data = body if isinstance(body, bytes) else encode_json(body)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Exchange:
    """One request and whatever the script wants to make of it."""

    def __init__(self, asked: Asked, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        self.asked = asked
        self._writer = writer
        self._reader = reader

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """A whole answer that leaves the connection open."""
        head = f"HTTP/1.1 {status} Scripted\r\ncontent-length: {len(body)}\r\n"
        for name, value in headers.items():
            head += f"{name.replace('_', '-')}: {value}\r\n"
        await self.write(head.encode() + b"\r\n" + body)

    async def open_stream(self, content_type: str = "text/event-stream", **headers: str) -> None:
        """The head of an answer without an end."""
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n"
        for name, value in headers.items():
            head += f"{name.replace('_', '-')}: {value}\r\n"
        await self.write(head.encode() + b"\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end_stream(self) -> None:
        await self.write(b"0\r\n\r\n")

    async def hold(self) -> None:
        """Say nothing until the other side leaves."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(4096):
                pass

    def close(self) -> None:
        """End the connection, or half of it, without another word."""
        self._writer.close()

    def reset(self) -> None:
        """End the connection with RST, as a killed host does."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Exchange], Awaitable[None]]


async def hold(exchange: Exchange) -> None:
    """Accept, and say nothing."""
    await exchange.hold()


def reply(status: int = 200, body: bytes = b"", **headers: str) -> Script:
    """A script that answers always the same."""

    async def script(exchange: Exchange) -> None:
        await exchange.reply(status, body, **headers)

    return script


class FakeWorker:
    """A worker's control endpoint that does what its scripts say.

    ``scripts`` maps a path to a script; any other path is answered 404. ``asked`` has every request,
    ``connections`` the number of connections so far, ``open`` how many are open. With a ``greeting`` it says just
    that to the first bytes of each connection, whatever they are, and hangs up.
    """

    def __init__(
        self,
        scripts: dict[str, Script] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.scripts = scripts or {}
        self.asked: list[Asked] = []
        self.connections = 0
        self.port = 0
        self.greeting: bytes | None = None
        self._tls = tls
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: list[Exchange] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FakeWorker:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def open(self) -> int:
        return len(self._tasks)

    async def start(self) -> None:
        """Listen; after :meth:`stop` on the same port again."""
        self._server = await asyncio.start_server(self._accept, self._host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more and drop every connection."""
        if self._server is None:
            return
        self._server.close()
        await self.drop()
        await self._server.wait_closed()
        self._server = None

    async def drop(self) -> None:
        """Drop every connection, and go on listening."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # the usual worker

    async def serve_events(self, exchange: Exchange) -> None:
        """A script: an event stream on which :meth:`say` speaks; the newest snapshot first."""
        await exchange.open_stream()
        if self.shown is not None:
            await exchange.chunk(event("snapshot", self.shown))
        self._streams.append(exchange)
        try:
            await exchange.hold()
        finally:
            self._streams.remove(exchange)

    shown: RuntimeSnapshot | None = None

    @property
    def streams(self) -> int:
        return len(self._streams)

    async def say(self, data: bytes) -> None:
        """Send *data* to every event stream."""
        for stream in tuple(self._streams):
            await stream.chunk(data)

    async def show(self, shown: RuntimeSnapshot) -> None:
        """A new snapshot, to every event stream and to those to come."""
        self.shown = shown
        await self.say(event("snapshot", shown))

    async def say_bye(self, last: RuntimeSnapshot) -> None:
        """Take leave as a worker does that exits: the last word, flushed, then nobody listens."""
        await self.say(event("bye", last))
        for stream in tuple(self._streams):
            await stream.end_stream()
        await self.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.greeting is not None:
                await reader.read(1)
                writer.write(self.greeting)
                await writer.drain()
                writer.write_eof()
                await reader.read()
                return
            while True:
                exchange = Exchange(await self._read(reader), writer, reader)
                self.asked.append(exchange.asked)
                script = self.scripts.get(exchange.asked.path, reply(404))
                await script(exchange)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Asked(method, path, headers, body)
