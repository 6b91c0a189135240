"""The WebSocket at ``/agent``: who may connect, the registration that comes first, then both directions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web
from google.protobuf.message import DecodeError
from livekit.protocol import agent, models

from openrtc_worker.local import tokens
from openrtc_worker.local.session import ProtocolError, WorkerSession, pong

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_worker.local.call_log import CallLog

logger = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 0.5
_AGENT_PROTOCOL = 1

SERVER_INFO = models.ServerInfo(
    edition=models.ServerInfo.Edition.Standard,
    version="openrtc-embedded",
    agent_protocol=_AGENT_PROTOCOL,
    region="embedded, no media",
    node_id="ND_embedded",
)


class Connection:
    """One worker's WebSocket. ``run`` lasts as long as the connection does."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, *, log: CallLog, clock: Callable[[], float]
    ) -> None:
        self._request = request
        self._socket = socket
        self._log = log
        self._clock = clock
        # a frozen worker stops reading: what we tell it waits here, and nobody else waits for it
        self._outgoing: asyncio.Queue[agent.ServerMessage] = asyncio.Queue()

    @property
    def response(self) -> web.WebSocketResponse:
        """What aiohttp's handler has to return once ``run`` is over."""
        return self._socket

    async def run(
        self,
        *,
        join: Callable[[WorkerSession], None],
        leave: Callable[[WorkerSession], None],
        register_within: float,
    ) -> None:
        """Register the worker, then take its messages until it leaves or says what the protocol does not allow."""
        writer = asyncio.create_task(self._write(), name="worker-writer")
        session: WorkerSession | None = None
        try:
            async with asyncio.timeout(register_within):
                session = await self._register()
            if session is None:
                return
            join(session)
            while (message := await self._read()) is not None:
                session.handle(message)
        except ProtocolError as error:
            logger.warning("closing the connection of a worker: %s", error)
        except TimeoutError:
            logger.warning("closing a connection that did not register in %.0f s", register_within)
        finally:
            if session is not None:
                session.close()
                leave(session)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _register(self) -> WorkerSession | None:
        """Wait for the registration and answer it before anything else; None when the worker left instead."""
        while (message := await self._read()) is not None:
            match message.WhichOneof("message"):
                case "ping":
                    self._outgoing.put_nowait(pong(message.ping, now=self._clock()))
                case "register":
                    session = WorkerSession(
                        message.register, log=self._log, send=self._outgoing.put_nowait, clock=self._clock
                    )
                    answer = agent.RegisterWorkerResponse(worker_id=session.worker_id, server_info=SERVER_INFO)
                    self._outgoing.put_nowait(agent.ServerMessage(register=answer))
                    return session
                case kind:
                    raise ProtocolError(f"a worker sent {kind or 'an unknown message'} before it registered")
        return None

    async def _read(self) -> agent.WorkerMessage | None:
        """The next message, or None when the connection ended. Raises :class:`ProtocolError`."""
        frame = await self._socket.receive()
        if frame.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return None
        if frame.type is not WSMsgType.BINARY:
            raise ProtocolError("the embedded dispatcher reads protobuf frames only, not JSON")
        try:
            return agent.WorkerMessage.FromString(frame.data)
        except DecodeError as error:
            raise ProtocolError(f"not a worker message: {error}") from error

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):  # the reader sees the end of the connection too, and acts on it
            while True:
                message = await self._outgoing.get()
                await self._socket.send_bytes(message.SerializeToString())

    async def close(self) -> None:
        """End the connection; a worker that does not answer the goodbye is cut off."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._socket.close()
        if self._request.transport is not None:
            self._request.transport.abort()


async def accept(
    request: web.Request, *, api_key: str, api_secret: str, log: CallLog, clock: Callable[[], float]
) -> Connection:
    """Check the token and answer the upgrade. Raises the HTTP error that LiveKit answers in each case."""
    try:
        grants = tokens.verify(request.headers.get("Authorization"), api_key=api_key, api_secret=api_secret)
    except tokens.UnauthorizedError as error:
        raise web.HTTPUnauthorized(text=str(error)) from error
    socket = web.WebSocketResponse(timeout=_CLOSE_TIMEOUT)
    if not socket.can_prepare(request).ok:
        raise web.HTTPNotFound
    if grants is None or not grants.agent:
        raise web.HTTPUnauthorized(text="permissions denied")
    await socket.prepare(request)
    return Connection(request, socket, log=log, clock=clock)
