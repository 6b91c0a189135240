"""Requests and event streams: bounded in time and size, without proxies, redirects or cookies."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, cast

import httpx

from openrtc_tui.http.access import OPEN, Access
from openrtc_tui.http.body import decoder_for
from openrtc_tui.http.failure import HttpFailure
from openrtc_tui.http.transport import ACCESS, ALONE, LINE, TROUBLE, UNHURRIED, Line, OneConnectionTransport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

_SAFE: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer. ``headers`` has lower-case keys; ``body`` is decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpStream:
    """An answer whose body is read as it comes."""

    def __init__(self, response: httpx.Response, idle: float) -> None:
        self._response = response
        self._idle = idle
        self.status = response.status_code
        self.headers: Mapping[str, str] = dict(response.headers)

    def chunks(self) -> AsyncGenerator[bytes]:
        """The body's bytes, cut anywhere; ends when the other side ends the body.

        Raises:
            HttpFailure: ``timeout`` after *idle* seconds without a byte, ``broken``, ``tls`` or ``garbage``.
        """
        return _decoded(self._response, f"silent for {self._idle:g} s")


class Http:
    """The one way out.

    Args:
        default: how workers are reached for which a call does not say otherwise.
    """

    def __init__(self, *, default: Access | None = None) -> None:
        self._default = default or OPEN
        self._client = httpx.AsyncClient(
            transport=OneConnectionTransport(),
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": "openrtc-tui", "Accept-Encoding": "identity"},
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float = 5.0,
        max_bytes: int = 1 << 20,
        access: Access | None = None,
    ) -> HttpResponse:
        """Ask once and read the whole answer; any status is an answer.

        A request that only reads may use a kept connection and is asked again when that turns out to be dead. Any
        other goes once, over a new connection, so that a refused connection is certain to have done nothing.

        *deadline* is in seconds, for all of it, name look-up and TLS included; *max_bytes* bounds the decoded body.

        Raises:
            HttpFailure: no whole answer came; ``sent`` tells whether the request may have arrived.
        """
        request = self._build(method, url, body, headers, access, alone=method not in _SAFE)
        try:
            async with asyncio.timeout(deadline):
                response = await self._client.send(request, stream=True)
                try:
                    content = await _read(response, max_bytes)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise _too_late(request, deadline) from None
        return HttpResponse(response.status_code, dict(response.headers), content)

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        deadline: float = 5.0,
        idle: float = 30.0,
        unhurried: bool = False,
        access: Access | None = None,
    ) -> AsyncIterator[HttpStream]:
        """Open a GET whose body has no end, on a connection of its own.

        *deadline* is in seconds until the answer's head is there; *idle* in seconds that the body may stay silent.
        What an *unhurried* stream receives may wait for 50 ms, to be read in one go with that of others.

        Raises:
            HttpFailure: no answer came.
        """
        request = self._build("GET", url, None, headers, access, alone=True, unhurried=unhurried, read_timeout=idle)
        try:
            async with asyncio.timeout(deadline):
                response = await self._client.send(request, stream=True)
        except TimeoutError:
            raise _too_late(request, deadline) from None
        try:
            yield HttpStream(response, idle)
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close every connection. Requests that are under way fail as *broken*."""
        await self._client.aclose()

    def _build(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        access: Access | None,
        *,
        alone: bool,
        unhurried: bool = False,
        read_timeout: float | None = None,
    ) -> httpx.Request:
        if self._client.is_closed:
            raise HttpFailure("broken", "the dashboard is closing")
        access = access or self._default
        extensions: dict[str, Any] = {
            ACCESS: access,
            ALONE: alone,
            UNHURRIED: unhurried,
            "timeout": {"read": read_timeout},
        }
        sent_headers = dict(headers or {})
        if access.read_token is not None and method in _SAFE:
            sent_headers.setdefault("Authorization", f"Bearer {access.read_token}")
        try:
            request = self._client.build_request(
                method, url, content=body, headers=sent_headers, extensions=extensions
            )
        except UnicodeEncodeError:  # never its text: it may hold a token
            raise HttpFailure("garbage", "the request has a header that HTTP does not allow") from None
        except httpx.InvalidURL as error:
            raise HttpFailure("name", f"{url} is no address: {error}") from None
        if request.url.scheme not in {"http", "https"} or not request.url.host:
            raise HttpFailure("name", f"{url} is no address: http:// or https:// and a host are needed")
        return request


def _too_late(request: httpx.Request, deadline: float) -> HttpFailure:
    line: Line | None = request.extensions.get(LINE)
    sent = line is not None and line.sent
    return HttpFailure("timeout", f"no {'answer' if sent else 'connection'} within {deadline:g} s", sent=sent)


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    parts = []
    room = max_bytes
    async with aclosing(_decoded(response, "nothing was heard in time")) as chunks:
        async for chunk in chunks:
            room -= len(chunk)
            if room < 0:
                raise HttpFailure("garbage", f"the answer is larger than {max_bytes:,} bytes", sent=True)
            parts.append(chunk)
    return b"".join(parts)


async def _decoded(response: httpx.Response, silence: str) -> AsyncGenerator[bytes]:
    decode = decoder_for(response.headers.get("content-encoding", ""))
    line: Line = response.request.extensions[LINE]
    try:
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            if decode is None:
                yield chunk
            else:
                for piece in decode(chunk):
                    yield piece
    except TROUBLE as error:
        failure = line.failure(error)
        raise HttpFailure(
            failure.kind, silence if failure.kind == "timeout" else failure.detail, sent=True
        ) from error
