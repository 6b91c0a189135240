"""TCP and TLS for httpcore on plain asyncio.

httpcore's own backend (anyio) arms a cancel scope and registers the socket with the selector for each read, which
is half of the cost of an event stream. This one is an ``asyncio.Protocol`` with a buffer, knows whether anything
was written, and resolves names in threads that never hold up the end of the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import httpcore

from openrtc_tui.http.resolve import Address, resolve

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

_HIGH_WATER: Final = 1 << 18
"""Bytes buffered of a peer that sends faster than it is read, before reading pauses."""

_ONE_OF_MANY: Final = 1.0
"""Seconds given to each address of a name but the last, so that a dead first one does not eat the deadline."""


class TcpBackend(httpcore.AsyncNetworkBackend):
    """Makes one connection and remembers its stream."""

    def __init__(self) -> None:
        self.stream: TcpStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's interface
        local_address: str | None = None,  # noqa: ARG002  a setting of httpcore that is not used here
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002  likewise
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of *host* that answers. Raises httpcore's connect errors."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await resolve(host, port)
                for address in addresses[:-1]:
                    with contextlib.suppress(OSError):
                        async with asyncio.timeout(_ONE_OF_MANY):
                            self.stream = await _open(address)
                            return self.stream
                self.stream = await _open(addresses[-1])
                return self.stream
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error


class TcpStream(httpcore.AsyncNetworkStream):
    """One connection, as httpcore wants it.

    ``written`` tells whether any byte was handed to the network, ``heard`` whether any came back.
    """

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        self.written = False
        self.heard = False

    @property
    def ended(self) -> bool:
        """Whether the other side ended the connection, or the network did."""
        return self._wire.ended

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  httpcore's
        """The next bytes, at most *max_bytes*; empty at the end. Raises httpcore's read errors."""
        try:
            data = await self._wire.read(max_bytes, timeout)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error
        self.heard = self.heard or bool(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  httpcore's
        """Write all of *buffer*. Raises httpcore's write errors."""
        if not buffer:
            return
        self.written = True
        try:
            async with asyncio.timeout(timeout):
                await self._wire.write(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        self._wire.abort()

    async def wait_closed(self) -> None:
        """Wait until the socket is gone, after :meth:`aclose`."""
        await self._wire.gone.wait()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's interface
    ) -> httpcore.AsyncNetworkStream:
        """Turn the connection into TLS; the stream stays the same. Raises httpcore's connect errors."""
        try:
            async with asyncio.timeout(timeout):
                await self._wire.start_tls(ssl_context, server_hostname)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # httpcore asks this of idle connections: readable means that the peer closed it
            return self._wire.ended or self._wire.buffered
        return self._wire.about(info)


class _Wire(asyncio.Protocol):
    """Buffers what arrives and wakes the one reader."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._read_by = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.ended = False
        self.gone = asyncio.Event()

    @property
    def buffered(self) -> bool:
        return bool(self._chunks)

    def about(self, name: str) -> Any:
        return self._transport.get_extra_info(name) if self._transport else None

    # what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > _HIGH_WATER and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def eof_received(self) -> None:
        self.ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._error = self._error or exc
        self._transport = None
        self._stop_timer()
        self._writable.set()
        self.gone.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # what the stream asks

    async def read(self, max_bytes: int, limit: float | None) -> bytes:
        if not self._chunks and not self.ended:
            await self._wait(limit)
        if not self._chunks:
            if self._error is not None:
                raise self._error
            return b""
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self._size -= len(chunk)
        if self._paused and self._size <= _HIGH_WATER and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return chunk

    async def write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise self._error or BrokenPipeError("the connection is closed")
        self._transport.write(data)
        await self._writable.wait()

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        if self._transport is None:
            raise self._error or ConnectionResetError("the connection is closed")
        plain = self._transport
        try:
            secure = await self._loop.start_tls(plain, self, context, server_hostname=server_hostname)
            if secure is None:  # it was closed under the handshake
                raise ConnectionResetError("the connection is closed")  # noqa: TRY301  one way out for all of it
        except BaseException:
            # the handshake took our place at the socket, so nobody will tell us that it is gone
            plain.abort()
            self._loop.call_soon(self.connection_lost, None)
            raise
        self._transport = secure

    def abort(self) -> None:
        """Close without waiting for anything: nothing of ours is ever worth flushing to a worker."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    # One timer per connection, moved only when it fires: a stream reads a thousand times between two timeouts.

    async def _wait(self, limit: float | None) -> None:
        reader = self._reader = self._loop.create_future()
        if limit is None:
            self._read_by = float("inf")
        else:
            self._read_by = self._loop.time() + limit
            if self._timer is None or self._timer.when() > self._read_by:
                self._stop_timer()
                self._timer = self._loop.call_at(self._read_by, self._look_at_clock)
        try:
            await reader
        finally:
            self._reader = None

    def _look_at_clock(self) -> None:
        self._timer = None
        if self._reader is None or self._reader.done():
            return
        if self._loop.time() >= self._read_by:
            self._reader.set_exception(TimeoutError("nothing was received in time"))
        elif self._read_by != float("inf"):
            self._timer = self._loop.call_at(self._read_by, self._look_at_clock)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


async def _open(address: Address) -> TcpStream:
    family, where = address
    loop = asyncio.get_running_loop()
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, where)
        _, wire = await loop.create_connection(_Wire, sock=sock)
    except BaseException:
        sock.close()
        raise
    return TcpStream(wire)
