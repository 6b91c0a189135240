"""TCP and TLS for httpcore on plain asyncio.

httpcore's own backend (anyio) arms a cancel scope and registers the socket with the selector for each read, which
is half of the cost of an event stream. This one is an ``asyncio.Protocol`` with a buffer, knows whether anything
was written, and resolves names in threads that never hold up the end of the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, Final

import httpcore

from openrtc_tui.http.resolve import Address, resolve
from openrtc_tui.http.wire import Wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from openrtc_tui.http.gather import Gather

_ONE_OF_MANY: Final = 1.0
"""Seconds given to each address of a name but the last, so that a dead first one does not eat the deadline."""


class TcpBackend(httpcore.AsyncNetworkBackend):
    """Makes one connection and remembers its stream."""

    def __init__(self, gather: Gather | None = None) -> None:
        self._gather = gather
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
                            self.stream = await self._open(address)
                            return self.stream
                self.stream = await self._open(addresses[-1])
                return self.stream
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def _open(self, address: Address) -> TcpStream:
        family, where = address
        loop = asyncio.get_running_loop()
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, where)
            _, wire = await loop.create_connection(lambda: Wire(self._gather), sock=sock)
        except BaseException:
            sock.close()
            raise
        return TcpStream(wire)


class TcpStream(httpcore.AsyncNetworkStream):
    """One connection, as httpcore wants it.

    ``written`` tells whether any byte was handed to the network, ``heard`` whether any came back.
    """

    def __init__(self, wire: Wire) -> None:
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
