"""A small HTTP door of our own beside ``/agent``, for programs that place calls or read the log from outside.

``POST /dispatch`` takes ``{room, agent_name?, deployment?, metadata?, room_metadata?}`` and answers with the call's
record once it is assigned or lost; ``GET /calls`` and ``GET /workers`` answer with the log, as JSON lists. Each
needs a bearer token of the dispatcher's key and secret that grants ``roomAdmin``, as LiveKit's own API does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
from aiohttp import web

from openrtc_worker.local import tokens

if TYPE_CHECKING:
    from openrtc_worker.local.call_log import CallLog
    from openrtc_worker.local.records import CallRecord


class _Place(msgspec.Struct, forbid_unknown_fields=True):
    room: str
    agent_name: str = ""
    deployment: str = ""
    metadata: str = ""
    room_metadata: str = ""


class Behind(Protocol):
    """What the door opens on: the dispatcher."""

    api_key: str
    api_secret: str
    log: CallLog

    async def dispatch(
        self, room: str, *, metadata: str, room_metadata: str, agent_name: str, deployment: str
    ) -> CallRecord: ...


class SideDoor:
    def __init__(self, dispatcher: Behind) -> None:
        self._dispatcher = dispatcher

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/dispatch", self._dispatch)
        app.router.add_get("/calls", self._calls)
        app.router.add_get("/workers", self._workers)

    async def _dispatch(self, request: web.Request) -> web.Response:
        self._authorize(request)
        try:
            place = msgspec.json.decode(await request.read(), type=_Place)
        except msgspec.DecodeError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        record = await self._dispatcher.dispatch(
            place.room,
            agent_name=place.agent_name,
            deployment=place.deployment,
            metadata=place.metadata,
            room_metadata=place.room_metadata,
        )
        return _json(record)

    async def _calls(self, request: web.Request) -> web.Response:
        self._authorize(request)
        return _json(self._dispatcher.log.calls)

    async def _workers(self, request: web.Request) -> web.Response:
        self._authorize(request)
        return _json(self._dispatcher.log.workers)

    def _authorize(self, request: web.Request) -> None:
        behind = self._dispatcher
        try:
            grants = tokens.verify(
                request.headers.get("Authorization"), api_key=behind.api_key, api_secret=behind.api_secret
            )
        except tokens.UnauthorizedError as error:
            raise web.HTTPUnauthorized(text=str(error)) from error
        if grants is None or not grants.room_admin:
            raise web.HTTPUnauthorized(text="a token that grants roomAdmin is needed")


def _json(answer: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")
