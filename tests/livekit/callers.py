"""Callers: real participants of LiveKit's Python SDK, each in a room of its own.

Forty cost one process about 190 MB, 3 s to connect and a quarter of a core while they talk.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from livekit import api, rtc

from tests.livekit.presence import RTC_CONFIG, be_seen
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.livekit.server import LiveKitServer

# A connection costs a tenth of a second of one core; more at once make each other late.
CONNECTING_AT_ONCE = 6


@dataclass(slots=True)
class AgentOnTheLine:
    """An agent as its caller saw it. Times are monotonic seconds."""

    identity: str
    attributes: dict[str, str]
    came_at: float
    left_at: float | None = None

    @property
    def version(self) -> str | None:
        return self.attributes.get("openrtc.version")


@dataclass(slots=True)
class Caller:
    """Somebody who calls. ``lost_agent`` says whether an agent went away while the caller was on the line."""

    room_name: str
    room: rtc.Room = field(default_factory=rtc.Room)
    agents: list[AgentOnTheLine] = field(default_factory=list)
    dialled_at: float = 0.0
    hung_up: bool = False
    lost_agent: bool = False
    end: str | None = None
    """Why LiveKit ended the connection; None while it stands."""

    def __post_init__(self) -> None:
        self.room.on("participant_connected", self._came)
        self.room.on("participant_disconnected", self._left)
        self.room.on("disconnected", self._ended)

    async def dial(self, server: LiveKitServer, dispatch: api.RoomAgentDispatch | None) -> None:
        """Join the room, and with it ask for the agent."""
        self.dialled_at = time.monotonic()
        token = server.token(self.room_name, f"caller-{self.room_name}", agents=[dispatch] if dispatch else [])
        await self.room.connect(server.url, token, rtc.RoomOptions(auto_subscribe=False, rtc_config=RTC_CONFIG))
        for participant in self.room.remote_participants.values():  # an agent that was faster than we are
            self._came(participant)
        await be_seen(self.room.local_participant)

    async def hang_up(self) -> None:
        self.hung_up = True
        await self.room.disconnect()

    @property
    def answered(self) -> bool:
        return bool(self.agents)

    @property
    def agent(self) -> AgentOnTheLine | None:
        """The agent that is on the line now."""
        return next((agent for agent in self.agents if agent.left_at is None), None)

    @property
    def version(self) -> str | None:
        """The deployment version of the agent that answered."""
        return self.agents[0].version if self.agents else None

    @property
    def seconds_to_answer(self) -> float:
        return self.agents[0].came_at - self.dialled_at

    def _came(self, participant: rtc.RemoteParticipant) -> None:
        if participant.kind != rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            return
        if all(agent.identity != participant.identity or agent.left_at is not None for agent in self.agents):
            attributes = dict(participant.attributes)
            self.agents.append(AgentOnTheLine(participant.identity, attributes, time.monotonic()))

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        for agent in self.agents:
            if agent.identity == participant.identity and agent.left_at is None:
                agent.left_at = time.monotonic()
                self.lost_agent = self.lost_agent or not self.hung_up

    def _ended(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self.end = rtc.DisconnectReason.Name(reason)


class Callers:
    """The callers of one test. Rooms are ``PREFIX-1``, ``PREFIX-2``, …; *agent_name* is who is to answer."""

    def __init__(self, server: LiveKitServer, *, agent_name: str, prefix: str) -> None:
        self.prefix = prefix
        self.all: list[Caller] = []
        self._server = server
        self._agent_name = agent_name
        self._numbers = itertools.count(1)
        self._connecting = asyncio.Semaphore(CONNECTING_AT_ONCE)

    def __iter__(self) -> Iterator[Caller]:
        return iter(self.all)

    async def call(self, *, metadata: str = "", deployment: str = "") -> Caller:
        """One more caller, who has joined but is not answered yet."""
        caller = Caller(f"{self.prefix}-{next(self._numbers)}")
        self.all.append(caller)
        dispatch = api.RoomAgentDispatch(agent_name=self._agent_name, metadata=metadata, deployment=deployment)
        async with self._connecting:
            await caller.dial(self._server, dispatch)
        return caller

    async def many(self, count: int, *, metadata: str = "") -> list[Caller]:
        """*count* callers at about the same time."""
        return list(await asyncio.gather(*(self.call(metadata=metadata) for _ in range(count))))

    async def answered(self, callers: list[Caller] | None = None, *, within: float = 40.0) -> None:
        """Wait until each of them has (or had) an agent."""
        waiting = self.all if callers is None else callers
        await until(
            lambda: all(caller.answered for caller in waiting),
            within=within,
            what=f"an agent for each of {len(waiting)} callers of {self.prefix}",
        )

    def versions(self) -> dict[str | None, int]:
        """How many callers were answered by which version; None counts those without a tagged agent."""
        found: dict[str | None, int] = {}
        for caller in self.all:
            found[caller.version] = found.get(caller.version, 0) + 1
        return found

    async def hang_up(self, callers: list[Caller] | None = None) -> None:
        leaving = [caller for caller in (self.all if callers is None else callers) if not caller.hung_up]
        await asyncio.gather(*(caller.hang_up() for caller in leaving))

    async def aclose(self) -> None:
        """Everybody hangs up; what the SDK says of it at the end of a test is nobody's matter."""
        for caller in self.all:
            with contextlib.suppress(Exception):
                await caller.hang_up()
