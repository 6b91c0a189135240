"""The little of Kubernetes' API that the kubelet needs: plain JSON, no model in between that could lose a field."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Object = dict[str, Any]

# A watch is closed by the server after this long, and begun again with a new list.
WATCH_SECONDS = 300


class ApiError(Exception):
    """The API server said no: its HTTP ``status`` and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """A client of one API server; use it as an async context manager."""

    def __init__(self, *, url: str, token: str, authority: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._tls = ssl.create_default_context(cafile=authority)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls)
        timeout = aiohttp.ClientTimeout(total=10)
        self._http = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def get(self, path: str) -> Object:
        return await self._ask("GET", path)

    async def create(self, path: str, body: Object) -> Object:
        return await self._ask("POST", path, body)

    async def patch(self, path: str, body: Object) -> Object:
        """A strategic merge patch: lists of conditions and containers are merged by their keys."""
        return await self._ask("PATCH", path, body, "application/strategic-merge-patch+json")

    async def delete(self, path: str, *, grace: int) -> Object:
        return await self._ask("DELETE", path, {"gracePeriodSeconds": grace})

    async def watch(self, path: str) -> AsyncIterator[tuple[str, list[Object]]]:
        """All objects under *path* for ever: ``("LISTED", all of them)`` first and again after each gap, then
        ``("ADDED" | "MODIFIED" | "DELETED", [one])``.
        """
        while True:
            try:
                listing = await self.get(path)
                yield "LISTED", listing["items"]
                version = listing["metadata"]["resourceVersion"]
                async for kind, each in self._changes(path, version):
                    yield kind, [each]
            except (ApiError, aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.5)

    async def _changes(self, path: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        assert self._http is not None
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(WATCH_SECONDS)}
        forever = aiohttp.ClientTimeout(total=None, sock_read=WATCH_SECONDS + 30)
        async with self._http.get(self._url + path, params=query, timeout=forever) as answer:
            buffer = b""
            async for chunk in answer.content.iter_any():  # a line may be longer than readline() takes
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    change = json.loads(line)
                    if change["type"] == "ERROR":  # 410: the version is too old
                        return
                    yield change["type"], change["object"]

    async def _ask(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json"
    ) -> Object:
        assert self._http is not None
        data = None if body is None else json.dumps(body)
        async with self._http.request(method, self._url + path, data=data, headers={"Content-Type": kind}) as answer:
            found: Object = await answer.json(content_type=None)
            if answer.status >= 400:
                raise ApiError(answer.status, str(found.get("message")))
            return found
