"""An httpx transport that keeps one connection per worker.

httpcore's pool looks at every connection for every request, which is quadratic in the number of workers: 7 ms of
CPU a request at 100 of them. Here a request takes the kept connection of its worker, or a new one when that is busy,
gone, or not to be shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import httpcore
import httpx

from openrtc_tui.http.access import OPEN, Access, TlsContexts
from openrtc_tui.http.failure import HttpFailure, classify
from openrtc_tui.http.gather import Gather
from openrtc_tui.http.network import TcpBackend

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, AsyncIterator

ACCESS: Final = "openrtc.access"
"""Extension of a request: its :class:`Access`."""

ALONE: Final = "openrtc.alone"
"""Extension of a request: true when it wants a connection of its own, never used before or after."""

UNHURRIED: Final = "openrtc.unhurried"
"""Extension of a request with a connection of its own: true when its answer may be read together with others."""

GATHER_PAUSE: Final = 0.05
"""Seconds that what such requests receive waits at most."""

LINE: Final = "openrtc.line"
"""Extension that the transport sets: the :class:`Line` that carries, or carried, the request."""

TROUBLE: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
"""What httpcore raises when it is not our fault; anything else is, and passes as it is."""

_Place = tuple[str, bytes, int, Access]


class Line:
    """One connection to a worker."""

    def __init__(self, place: _Place, ssl_context: ssl.SSLContext | None, gather: Gather | None) -> None:
        scheme, host, port, _ = place
        self.place = place
        self.origin = httpcore.Origin(scheme.encode(), host, port)
        self.backend = TcpBackend(gather)
        self.connection = httpcore.AsyncHTTPConnection(
            origin=self.origin, ssl_context=ssl_context, network_backend=self.backend
        )

    @property
    def sent(self) -> bool:
        """Whether anything that was to be sent may have left."""
        return self.backend.stream is not None and self.backend.stream.written

    @property
    def ended(self) -> bool:
        """Whether the other side, or the network, ended it."""
        return self.backend.stream is not None and self.backend.stream.ended

    @property
    def _met_with_silence(self) -> bool:
        return self.backend.stream is not None and not self.backend.stream.heard

    async def aclose(self) -> None:
        """Close at once."""
        if self.backend.stream is not None:
            await self.backend.stream.aclose()

    async def wait_closed(self) -> None:
        """Wait until the socket is gone."""
        if self.backend.stream is not None:
            await self.backend.stream.wait_closed()

    def failure(self, error: Exception) -> HttpFailure:
        """What *error*, one of :data:`TROUBLE` raised on this line, means."""
        known = classify(error)
        if known is not None:
            kind, detail = known
        elif isinstance(error, httpcore.TimeoutException):
            kind, detail = "timeout", "nothing was heard in time"
        elif isinstance(error, httpcore.LocalProtocolError):  # never its text: it may hold a token
            kind, detail = "garbage", "the request has a header or path that HTTP does not allow"
        elif self.ended:
            kind, detail = "broken", "the connection was closed"
            if self._met_with_silence and self.place[0] == "https" and self.place[3].cert is None:
                # with TLS 1.3 a client learns only now that its lack of a certificate ended the handshake
                detail += " after TLS began; does the worker want a client certificate? (tls: cert, key)"
        else:
            kind, detail = "garbage", f"not HTTP: {error}"
        return HttpFailure(kind, detail, sent=self.sent)


class OneConnectionTransport(httpx.AsyncBaseTransport):
    """Speaks HTTP/1.1 to each worker over one kept connection, and over more only when that one is busy.

    Failures are raised as :class:`HttpFailure`.
    """

    def __init__(self) -> None:
        self._tls = TlsContexts()
        self._gather = Gather(GATHER_PAUSE)
        self._kept: dict[_Place, Line] = {}
        self._open: set[Line] = set()
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        place = (
            url.scheme,
            url.raw_host,
            url.port or (443 if url.scheme == "https" else 80),
            request.extensions.get(ACCESS, OPEN),
        )
        message = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=cast("httpx.AsyncByteStream", request.stream),
            extensions=request.extensions,
        )
        alone = request.extensions.get(ALONE, False)
        line = None if alone else await self._take(place)
        if line is not None:
            try:
                return await self._send(line, message, keep=True)
            except HttpFailure as failure:
                # The worker may have closed the kept connection at the moment when we wrote to it. What goes over
                # kept connections only reads, so asking again on a new one is safe.
                if failure.kind != "broken" or self._closed:
                    raise
        gather = self._gather if request.extensions.get(UNHURRIED, False) else None
        return await self._send(self._new(place, gather), message, keep=not alone)

    async def aclose(self) -> None:
        self._closed = True
        self._kept.clear()
        lines = tuple(self._open)
        for line in lines:
            await self._drop(line)
        for line in lines:
            await line.wait_closed()

    async def _send(self, line: Line, message: httpcore.Request, *, keep: bool) -> httpx.Response:
        message.extensions[LINE] = line
        try:
            answer = await line.connection.handle_async_request(message)
        except BaseException as error:
            await self._drop(line)
            if isinstance(error, TROUBLE):
                raise line.failure(error) from error
            raise
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(cast("AsyncIterable[bytes]", answer.stream), self, line, keep=keep),
            extensions=answer.extensions,
        )

    def _new(self, place: _Place, gather: Gather | None) -> Line:
        line = Line(place, self._tls.get(place[3]) if place[0] == "https" else None, gather)
        self._open.add(line)
        return line

    async def _take(self, place: _Place) -> Line | None:
        line = self._kept.pop(place, None)
        if line is not None and (line.connection.is_closed() or line.connection.has_expired()):
            await self._drop(line)
            return None
        return line

    async def give_back(self, line: Line, *, keep: bool) -> None:
        """A response on *line* is over: keep the line for the next request, or close it."""
        if keep and line.connection.is_idle() and not line.ended and line.place not in self._kept:
            self._kept[line.place] = line
        else:
            await self._drop(line)

    async def _drop(self, line: Line) -> None:
        self._open.discard(line)
        await line.aclose()


class _Body(httpx.AsyncByteStream):
    """A response's bytes as they come. Errors are httpcore's: :meth:`Line.failure` knows what they mean."""

    def __init__(
        self, stream: AsyncIterable[bytes], transport: OneConnectionTransport, line: Line, *, keep: bool
    ) -> None:
        self._stream = stream
        self._transport = transport
        self._line = line
        self._keep = keep

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            if hasattr(self._stream, "aclose"):
                await self._stream.aclose()
        finally:
            await self._transport.give_back(self._line, keep=self._keep)
