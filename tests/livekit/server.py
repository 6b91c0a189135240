"""A LiveKit server on loopback, as a child process of the tests."""

from __future__ import annotations

import json
import secrets
import socket
import time
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from livekit import api

from tests.support.leash import leashed
from tests.support.ports import free_port
from tests.support.processes import Program, clean_env, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path


class LiveKitServer:
    """One server at one address for its whole life; it can be killed and started again there.

    ``url`` is what workers and callers have as LIVEKIT_URL. The key is made for this one server.
    """

    def __init__(self, binary: Path, directory: Path) -> None:
        self.api_key = "devkey"
        self.api_secret = secrets.token_hex(20)
        self._binary = binary
        self._directory = directory
        self._lives = 0
        self._program: Program | None = None
        self._choose_ports()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.running

    def start(self) -> None:
        """Start it and wait until it answers (about 0.2 s). Blocking: call it from the main thread."""
        for _ in range(3):
            self._spawn()
            if self._answers(within=20.0):
                return
            # another program took a port in between; only a server that nobody knows yet may move
            problem = self._tail()
            self.kill()
            if self._lives > 1:
                break
            self._lives = 0
            self._choose_ports()
        raise AssertionError(f"LiveKit's server does not start:\n{problem}")

    def kill(self) -> None:
        """SIGKILL: neither workers nor callers hear a word."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    @asynccontextmanager
    async def api(self) -> AsyncIterator[api.LiveKitAPI]:
        """A client of its room service and agent dispatch service."""
        client = api.LiveKitAPI(self.url, self.api_key, self.api_secret)
        try:
            yield client
        finally:
            await client.aclose()  # type: ignore[no-untyped-call]

    def token(self, room: str, identity: str, *, agents: Sequence[api.RoomAgentDispatch] = ()) -> str:
        """A caller's ticket to *room*; *agents* are dispatched there when it comes."""
        token = api.AccessToken(self.api_key, self.api_secret).with_identity(identity)
        token = token.with_grants(api.VideoGrants(room_join=True, room=room))
        if agents:
            token = token.with_room_config(api.RoomConfiguration(agents=list(agents)))
        return token.to_jwt()

    def log(self) -> list[dict]:
        """What it wrote in this life, line by line (``msg``, ``ts``, ``room`` …)."""
        assert self._program is not None
        lines = self._program.err.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def _choose_ports(self) -> None:
        self.port = free_port(socket.SOCK_STREAM)
        self._media_port = free_port(socket.SOCK_DGRAM)

    def _spawn(self) -> None:
        self._lives += 1
        config = {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "keys": {self.api_key: self.api_secret},
            "logging": {"level": "info", "json": True},
            "rtc": {
                "udp_port": self._media_port,
                "tcp_port": 0,  # it would listen on every address of the machine
                "use_external_ip": False,
                "node_ip": "127.0.0.1",
                "enable_loopback_candidate": True,
                "interfaces": {"includes": ["lo"]},
                # Without one it sends clients to public servers: 40 threads a call wait for name servers. Its own
                # port in this place breaks media over UDP; nobody listens on this one.
                "stun_servers": ["127.0.0.1:9"],
            },
        }
        self._program = Program(
            leashed([str(self._binary)]),
            name=f"livekit-server-{self._lives}",
            directory=self._directory,
            env=clean_env(LIVEKIT_CONFIG=json.dumps(config)),
        )

    def _answers(self, *, within: float) -> bool:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and self.running:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2):
                    return True
            except OSError:
                time.sleep(0.02)
        return False

    def _tail(self) -> str:
        return self._program.tail() if self._program is not None else ""


async def rooms_with_agents(client: api.LiveKitAPI, prefix: str) -> dict[str, list[api.ParticipantInfo]]:
    """By room service: each room whose name starts so, with the agents that are in it."""
    listed = await client.room.list_rooms(api.ListRoomsRequest())
    found = {}
    for room in listed.rooms:
        if room.name.startswith(prefix):
            answer = await client.room.list_participants(api.ListParticipantsRequest(room=room.name))
            found[room.name] = [each for each in answer.participants if is_agent(each)]
    return found


def is_agent(participant: api.ParticipantInfo) -> bool:
    return participant.kind == api.ParticipantInfo.Kind.AGENT


async def worker_known(server: LiveKitServer, agent_name: str, count: int = 1) -> None:
    """Wait until the server has registered *count* workers of this name in this life."""

    def registered() -> int:
        return sum(
            line.get("msg") == "worker registered" and line.get("agentName") == agent_name for line in server.log()
        )

    await until(lambda: registered() >= count, what=f"{count} workers of {agent_name} at LiveKit")
