"""A real LiveKit server as the conformance suite sees one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from livekit import api

if TYPE_CHECKING:
    from tests.livekit.server import LiveKitServer

# The server gives all workers of one call 3 s, a fifth of a second of it for bidding, and its client gives up then.
CALL_IS_OVER = 3.5

DECIDED = ("assigned job to worker", "no worker available to handle job")


class RealBackend:
    """A call is a dispatch into a room of its own, asked for over the API."""

    def __init__(self, server: LiveKitServer) -> None:
        self._server = server
        self._placed: dict[str, float] = {}
        self.url = server.url
        self.api_key = server.api_key
        self.api_secret = server.api_secret

    async def place_call(self, room: str, *, agent_name: str, deployment: str = "", metadata: str = "") -> None:
        async with self._server.api() as client:
            await place(client, room, agent_name=agent_name, deployment=deployment, metadata=metadata)
        self._placed[room] = time.monotonic()

    async def settled(self, room: str) -> None:
        """Until the server logs who has the call or that all refused; where it logs nothing, until its time is up."""
        over = self._placed[room] + CALL_IS_OVER
        while time.monotonic() < over:
            if any(line.get("room") == room and line["msg"] in DECIDED for line in self._server.log()):
                return
            await asyncio.sleep(0.1)

    async def restart(self) -> None:
        self._server.kill()
        self._server.start()


async def place(
    client: api.LiveKitAPI, room: str, *, agent_name: str, deployment: str = "", metadata: str = ""
) -> str:
    """Make the room and ask for an agent in it; returns the dispatch's id without waiting for an answer."""
    await client.room.create_room(api.CreateRoomRequest(name=room))
    dispatch = await client.agent_dispatch.create_dispatch(
        api.CreateAgentDispatchRequest(room=room, agent_name=agent_name, deployment=deployment, metadata=metadata)
    )
    return dispatch.id
