"""One TCP or TLS connection as an asyncio protocol with a buffer."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    import ssl

    from openrtc_tui.http.gather import Gather

_HIGH_WATER: Final = 1 << 18
"""Bytes buffered of a peer that sends faster than it is read, before reading pauses."""


class Wire(asyncio.Protocol):
    """Buffers what arrives and wakes the one reader; with a *gather*, together with the readers of other wires.

    ``ended`` tells whether the other side or the network ended the connection, ``gone`` is set once the socket is.
    """

    def __init__(self, gather: Gather | None = None) -> None:
        self._gather = gather
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
        if self._gather is None:
            self.wake()
        else:
            self._gather.wake(self)

    def eof_received(self) -> None:
        self.ended = True
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._error = self._error or exc
        self._transport = None
        self._stop_timer()
        self._writable.set()
        self.gone.set()
        self.wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # what the stream asks

    async def read(self, max_bytes: int, limit: float | None) -> bytes:
        while not self._chunks and not self.ended:  # a gathered wake-up may find that all was read already
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
        if self._chunks:  # it came in time and waits to be gathered
            self.wake()
        elif self._loop.time() >= self._read_by:
            self._reader.set_exception(TimeoutError("nothing was received in time"))
        elif self._read_by != float("inf"):
            self._timer = self._loop.call_at(self._read_by, self._look_at_clock)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        """Let the reader go on, if it waits."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
