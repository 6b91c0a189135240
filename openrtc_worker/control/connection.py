"""Connections: how many, and how long each may take. What aiohttp leaves open-ended is bounded here."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from openrtc_worker.contract.snapshot import encode_json
from openrtc_worker.control.problems import Refusal
from openrtc_worker.control.settings import ControlError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from openrtc_worker.control.limits import ControlLimits

_BUSY_BODY: Final = encode_json(
    {
        "type": "urn:openrtc:problem:too_many_connections",
        "title": "Too many connections",
        "status": 503,
        "detail": "all connections of the control endpoint are in use",
        "reason": "too_many_connections",
    }
)
BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%s"
) % (len(_BUSY_BODY), _BUSY_BODY)
DEAD_PEER_MILLISECONDS: Final = 30_000

logger = logging.getLogger("openrtc.control")


def drop(transport: asyncio.WriteTransport | None) -> None:
    """End a connection whose peer takes nothing, with a reset: what it has not read is not kept for it either."""
    if transport is None:
        return
    peer = transport.get_extra_info("socket")
    if peer is not None:
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Connection(web.RequestHandler):
    """One HTTP connection.

    aiohttp ends one that is idle, or drips its headers, after ``idle`` seconds. It would wait for ever for a peer
    that takes no answer, answers garbage as plain text and logs a traceback for each: that is mended here.
    """

    def __init__(self, manager: web.Server, limits: ControlLimits, roster: set[Connection]) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle,
            lingering_time=limits.linger,
            auto_decompress=False,  # the signed hash is of the bytes that were sent
            access_log=None,  # type: ignore[arg-type]  # as aiohttp's own documentation turns it off
        )
        self._write_seconds = limits.write
        self._roster = roster

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there, its TLS handshake done."""
        super().connection_made(transport)
        self._roster.add(self)
        if isinstance(transport, asyncio.WriteTransport):
            # Nothing waits in the process: a write is done when the kernel has it, so a deadline on it means
            # something, and a slow reader costs no memory. Not 0: asyncio's TLS transport then pauses at nothing.
            transport.set_write_buffer_limits(high=1, low=0)
        peer = transport.get_extra_info("socket")
        if peer is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # a laptop that was closed sends no FIN; without this its streams would hold their places for minutes
            with contextlib.suppress(OSError):
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MILLISECONDS)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The socket is closed, and what was written before is with the kernel."""
        super().connection_lost(exc)
        self._roster.discard(self)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer; a peer that does not take it is dropped."""
        try:
            async with asyncio.timeout(self._write_seconds):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            drop(self.transport)
            return resp, True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's text for a person is not ours
    ) -> web.StreamResponse:
        """Answer what is no HTTP request, or an error of ours, as a problem."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            # the client left, or the answer had begun: nothing can be said any more
            raise ConnectionResetError from exc
        if status < 500:
            refusal = Refusal("bad_request", "the bytes received are not an HTTP request")
        else:
            logger.error("the control endpoint failed on a request from %s", request.remote, exc_info=exc)
            refusal = Refusal("internal", "the worker failed on this request; its log has the reason")
        response = refusal.response()
        response.force_close()
        return response


_BACKLOG = 128
_PAUSE = 1.0
"""Seconds without accepting after it failed."""


class Listener:
    """Accepts connections within a cap; handshakes count, so that a flood cannot use up the file descriptors.

    Args:
        handler: answers one request.
        limits: of the endpoint.
        tls: to serve with; None for plain HTTP.
    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        limits: ControlLimits,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._http = web.Server(handler)
        self._limits = limits
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._arriving: set[asyncio.Task[None]] = set()
        self._open: set[Connection] = set()

    @property
    def addresses(self) -> list[tuple[Any, ...]]:
        """The addresses that are bound."""
        return [listening.getsockname() for listening in self._sockets]

    async def start(self, host: str, port: int) -> None:
        """Bind and accept.

        Raises:
            ControlError: the address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as error:
            raise ControlError(f"control_host {host!r} is no address of this machine: {error.strerror}") from None
        places = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
        if port == 0:  # a name of two addresses would get two ports; the older protocol is the one all clients try
            places = sorted(places, key=lambda place: place[0] != socket.AF_INET)[:1]
        try:
            for family, address in places:
                self._sockets.append(_listen(family, address))
        except OSError as error:
            self._close_sockets()
            raise _bind_error(error, host, port) from None
        for listening in self._sockets:
            loop.add_reader(listening, self._accept, listening)

    async def aclose(self) -> None:
        """Accept no more, let running answers end, and close every connection."""
        self._close_sockets()
        arriving = tuple(self._arriving)
        for task in arriving:
            task.cancel()
        if arriving:
            await asyncio.wait(arriving)
        self._http.pre_shutdown()
        await self._http.shutdown(self._limits.goodbye)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.goodbye):
                while self._open:  # noqa: ASYNC110 - once, at exit: a TLS peer is told before its socket closes
                    await asyncio.sleep(0.01)
        for connection in tuple(self._open):
            drop(connection.transport)

    def _accept(self, listening: socket.socket) -> None:
        """Take what waits. A reader of the loop, no task: a task that is cancelled may lose a socket it just took."""
        for _ in range(_BACKLOG):
            try:
                client, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # out of file descriptors: accepting goes on when there may be room again
                logger.warning("a connection to the control endpoint could not be accepted: %s", error)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                loop.call_later(_PAUSE, self._resume, listening)
                return
            client.setblocking(False)
            self._admit(client)

    def _resume(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _admit(self, client: socket.socket) -> None:
        if len(self._open) + len(self._arriving) >= self._limits.connections:
            if self._tls is None:
                with contextlib.suppress(OSError):
                    client.send(BUSY)
            client.close()
            return
        task = asyncio.create_task(self._connect(client))
        self._arriving.add(task)
        task.add_done_callback(functools.partial(self._arrived, client))

    async def _connect(self, client: socket.socket) -> None:
        timeouts: dict[str, float] = {}
        if self._tls is not None:
            timeouts = {"ssl_handshake_timeout": self._limits.handshake, "ssl_shutdown_timeout": self._limits.goodbye}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Connection(self._http, self._limits, self._open), client, ssl=self._tls, **timeouts
            )
        except OSError as error:
            logger.debug("a client left before it was connected: %s", error)

    def _arrived(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        self._arriving.discard(task)
        if task.cancelled():  # perhaps before its first step, when nothing owned the socket yet
            client.close()

    def _close_sockets(self) -> None:
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets = []


def _listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    listening = socket.create_server(address, family=family, backlog=_BACKLOG)
    listening.setblocking(False)
    return listening


def _bind_error(error: OSError, host: str, port: int) -> ControlError:
    if error.errno == errno.EADDRINUSE:
        return ControlError(
            f"control port {port} on {host} is taken by another process: stop it, or set another port with"
            " control_port= or OPENRTC_CONTROL_PORT (0 takes any free one)"
        )
    return ControlError(f"control port {port} on {host} cannot be bound: {(error.strerror or str(error)).lower()}")
