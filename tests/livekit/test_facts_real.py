"""Facts about LiveKit's server that the worker library rests on and that no other test here shows."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from typing import TYPE_CHECKING

from openrtc_worker.probe import Answer, Credentials, probe
from tests.livekit.backend import RealBackend
from tests.support.conformance import Workers
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.livekit.server import LiveKitServer


async def test_a_plain_request_tells_a_wrong_secret_from_a_dead_server(livekit: LiveKitServer) -> None:
    good = Credentials(url=livekit.url, api_key=livekit.api_key, api_secret=livekit.api_secret)
    assert (await probe(good))[0] is Answer.WELCOME
    wrong_secret = dataclasses.replace(good, api_secret="x" * 40)
    assert (await probe(wrong_secret))[0] is Answer.REFUSED
    unknown_key = dataclasses.replace(good, api_key="somebody")
    assert (await probe(unknown_key))[0] is Answer.REFUSED
    dead = dataclasses.replace(good, url=f"ws://127.0.0.1:{free_port(socket.SOCK_STREAM)}")
    assert (await probe(dead))[0] is Answer.UNREACHABLE


async def test_the_only_workers_drain_loses_calls_of_the_moment_before_it(
    livekit: LiveKitServer, tmp_path: Path
) -> None:
    """The server collects bids for 200 ms: a call of 100 ms before the drain is offered to nobody any more."""
    backend = RealBackend(livekit)
    workers = Workers(backend, tmp_path)
    try:
        only = workers.start("only", agent_name="bidding")
        await workers.up()
        await backend.place_call("well-before", agent_name="bidding")
        await only.has(event="started", room="well-before")
        await backend.place_call("just-before", agent_name="bidding")
        await asyncio.sleep(0.1)
        only.tell("drain")
        await only.has(event="sent", message="update_worker", status="WS_FULL")
        await backend.settled("just-before")
        assert workers.offered("just-before") == []
    finally:
        workers.kill()
