"""Readers of a streamed fleet as programs: ``python stream_clients.py NAME FD`` with the ports as JSON on stdin.

``raw``    asyncio protocols on sockets, chunks cut by hand
``stock``  httpx and httpcore as they come, one client per worker
``bare``   :class:`openrtc_tui.http.Http`
``gathered`` the same, reading many streams in one go as the dashboard does
``watch``  the dashboard's sources, fold, and a view four times a second; no screen

All of them decode events and snapshots by the same functions. On SIGUSR1 a program writes a line of JSON to FD: the
CPU seconds that it used so far, its size, and how much it has decoded.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from openrtc_tui.sources.sse import SseParser
from openrtc_worker.contract.snapshot import decode_snapshot
from tests.bench.descriptors import allow_files

counts = {"snapshots": 0, "beats": 0}


def answer_marks(descriptor: int) -> None:
    """Tell what this process used so far whenever it is asked."""

    def mark(*_: object) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        said = {"cpu": usage.ru_utime + usage.ru_stime, "rss_mb": usage.ru_maxrss / 1024, **counts}
        os.write(descriptor, json.dumps(said).encode() + b"\n")

    signal.signal(signal.SIGUSR1, mark)


class RawReader(asyncio.Protocol):
    """The least that a client can do."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.parser = SseParser()
        self.buffer = b""
        self.in_body = False

    def connection_made(self, transport: Any) -> None:
        transport.write(b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % self.port)

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data if self.buffer else data
        if not self.in_body:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self.buffer = head
                return
            self.in_body = True
        while data:
            size, found, rest = data.partition(b"\r\n")
            length = int(size, 16) if found else 0
            if not found or len(rest) < length + 2:
                break
            decode(self.parser, rest[:length])
            data = rest[length + 2 :]
        self.buffer = data


def decode(parser: SseParser, chunk: bytes) -> None:
    for frame in parser.feed(chunk):
        if frame.event == b"snapshot":
            decode_snapshot(frame.data)
            counts["snapshots"] += 1
        else:
            counts["beats"] += 1


async def raw(ports: list[int]) -> None:
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_connection(lambda port=port: RawReader(port), "127.0.0.1", port)


async def bare(ports: list[int], *, unhurried: bool = False) -> None:
    from openrtc_tui.http import Http

    http = Http()

    async def follow(port: int) -> None:
        parser = SseParser()
        async with http.stream(
            f"http://127.0.0.1:{port}/v1/events", deadline=30.0, idle=7.0, unhurried=unhurried
        ) as stream:
            async for chunk in stream.chunks():
                decode(parser, chunk)

    await run_all(follow, ports)


async def gathered(ports: list[int]) -> None:
    await bare(ports, unhurried=True)


async def stock(ports: list[int]) -> None:
    import httpx

    ssl_context = httpx.create_ssl_context()

    async def follow(port: int) -> None:
        parser = SseParser()
        async with (
            httpx.AsyncClient(verify=ssl_context, trust_env=False, timeout=30.0) as client,
            client.stream("GET", f"http://127.0.0.1:{port}/v1/events") as response,
        ):
            async for chunk in response.aiter_bytes():
                decode(parser, chunk)

    await run_all(follow, ports)


async def run_all(follow: Any, ports: list[int]) -> None:
    async with asyncio.TaskGroup() as group:
        for port in ports:
            group.create_task(follow(port))
            await asyncio.sleep(0.001)


async def watch(ports: list[int]) -> None:
    from openrtc_tui.http import Http
    from openrtc_tui.sources import Watch
    from openrtc_tui.sources.inbox import Inbox
    from openrtc_tui.state.fleet import Fleet, fold, view
    from openrtc_tui.state.observation import HeartbeatSeen, Target

    fleet = Fleet("bench", beat=1.0, rollout=("v1.0.0", "v2.0.0"))
    inbox = Inbox(partial(fold, fleet), time.time)

    def put(seen: Any) -> None:
        inbox.put(seen)
        counts["beats" if isinstance(seen, HeartbeatSeen) else "snapshots"] += 1

    watching = Watch(Http(), put=put, beat=1.0)
    targets = [Target(f"voice-{index:04d}", f"http://127.0.0.1:{port}") for index, port in enumerate(ports)]
    watching.set_targets(targets, lambda _: None)
    async with asyncio.TaskGroup() as group:
        group.create_task(watching.run())
        while True:
            inbox.empty()
            view(fleet, time.time())
            await asyncio.sleep(0.25)


async def main(name: str) -> None:
    import gc

    ports = json.loads(sys.stdin.readline())
    allow_files(len(ports) + 100)
    asyncio.get_running_loop().add_reader(0, lambda: os.read(0, 4096) or os._exit(0))
    reading = asyncio.create_task(CLIENTS[name](ports))
    await asyncio.sleep(2.0)
    gc.freeze()  # as the dashboard does after its start
    await reading
    await asyncio.Event().wait()


CLIENTS = {"raw": raw, "stock": stock, "bare": bare, "gathered": gathered, "watch": watch}

if __name__ == "__main__":
    answer_marks(int(sys.argv[2]))
    asyncio.run(main(sys.argv[1]))
