"""A simulated fleet as a program: workers that stream their snapshots to any number of readers, cheaply.

Each worker is a listener of its own on loopback that answers any GET with real HTTP: chunked server-sent events with
the control endpoint's frames, a snapshot at once and on each change, a heartbeat every 2 s with a tenth of jitter.
Snapshots have every key and stay true to themselves: a change is a call that begins or ends.

Says one line of JSON on stdout: the ports. After that, ``all`` for each time that every worker has as many readers as
it was told to expect. It ends when its stdin closes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from openrtc_worker.contract.snapshot import (
    LedgerCounts,
    Limits,
    LiveKitInfo,
    PlatformInfo,
    ResidentSet,
    RuntimeSnapshot,
    encode_json,
)
from tests.bench.descriptors import allow_files

HEARTBEAT = 2.0
CAPACITY = 20
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


class Worker:
    """One worker and its readers."""

    def __init__(self, index: int, rng: random.Random) -> None:
        self.index = index
        self.rng = rng
        self.seq = 0
        self.active = rng.randrange(CAPACITY)
        self.started = 100 + self.active
        self.readers: set[Reader] = set()

    def change(self) -> None:
        """A call begins or ends."""
        if self.active == 0 or (self.active < CAPACITY and self.rng.random() < 0.5):
            self.active += 1
            self.started += 1
        else:
            self.active -= 1
        self.seq += 1
        event = self.event()
        for reader in self.readers:
            reader.transport.write(event)

    def event(self) -> bytes:
        data = encode_json(self.snapshot())
        return chunk(b"event: snapshot\nid: boot-%04d:%d\ndata: %b\n\n" % (self.index, self.seq, data))

    def snapshot(self) -> RuntimeSnapshot:
        active, started, now = self.active, self.started, time.time()
        return RuntimeSnapshot(
            deployment_version="v1.0.0" if self.index % 2 else "v2.0.0",
            draining=False,
            active_sessions=active,
            timestamp=now,
            uptime_seconds=3600.0 + self.seq,
            registered_agents=2,
            total_sessions_started=started,
            total_session_failures=0,
            last_routed_agent="support",
            sessions_by_agent={"support": active - active // 3, "sales": active // 3},
            sessions_by_tenant={"acme": active // 2, "globex": active - active // 2},
            resident_set=ResidentSet(bytes=300_000_000, metric="rss", description="resident set of the process"),
            schema=1,
            worker_id=f"voice-{self.index:04d}",
            boot_id=f"boot-{self.index:04d}-0123456789abcdef",
            seq=self.seq,
            state="serving",
            accepting=True,
            max_sessions=CAPACITY,
            load=active / CAPACITY,
            ledger=LedgerCounts(
                started=started,
                completed=started - active,
                failed=0,
                removed=0,
                cut=0,
                crashed=0,
                lost=0,
                active=active,
                launch_failed=0,
                offers_lost=0,
            ),
            rejected={"capacity": 0},
            sessions_without_caller=0,
            oldest_session_seconds=400.0 if active else None,
            session_ages=[0, 0, 0, 0, active, 0, 0, 0, 0],
            loop_lag_ms=0.4,
            limits=Limits(drain_timeout=3600.0, cut_grace=5.0, drain_linger=2.0, after_drain="exit"),
            livekit=LiveKitInfo(
                worker_id=f"AW_{self.index:012d}",
                connected=True,
                connected_since=now - 3600,
                agent_name="",
                sdk="1.8.9",
                reported_load=active / (2 * CAPACITY),
            ),
            platform=PlatformInfo(kind="kubernetes", namespace="voice", pod=f"voice-{self.index:04d}", node="node-1"),
            findings=[],
        )


class Reader(asyncio.Protocol):
    """A worker's side of one connection."""

    def __init__(self, fleet: Fleet, worker: Worker) -> None:
        self.fleet = fleet
        self.worker = worker
        self.transport: Any = None
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.head += data
        if b"\r\n\r\n" not in self.head or self in self.worker.readers:
            return
        self.transport.write(HEAD + self.worker.event())
        self.worker.readers.add(self)
        self.fleet.joined()
        self.beat()

    def beat(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"3\r\n:\n\n\r\n")
            pause = HEARTBEAT * self.fleet.rng.uniform(0.9, 1.1)
            asyncio.get_running_loop().call_later(pause, self.beat)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        if self in self.worker.readers:
            self.worker.readers.discard(self)
            self.fleet.readers -= 1


class Fleet:
    def __init__(self, workers: int, share: float, expected: int) -> None:
        self.rng = random.Random(7)
        self.workers = [Worker(index, self.rng) for index in range(workers)]
        self.changes_per_second = workers * share
        self.expected = expected * workers
        self.readers = 0

    def joined(self) -> None:
        self.readers += 1
        if self.readers >= self.expected:
            print("all", flush=True)

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        ports = []
        for worker in self.workers:
            server = await loop.create_server(lambda worker=worker: Reader(self, worker), "127.0.0.1", 0)
            ports.append(server.sockets[0].getsockname()[1])
        print(json.dumps(ports), flush=True)
        loop.add_reader(0, lambda: os.read(0, 4096) or os._exit(0))
        began, made = loop.time(), 0
        while True:
            await asyncio.sleep(0.01)
            due = int((loop.time() - began) * self.changes_per_second)
            for _ in range(min(due - made, 50)):
                self.rng.choice(self.workers).change()
            made = due


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--share", type=float, required=True, help="of the workers that change each second")
    parser.add_argument("--readers", type=int, required=True, help="expected of each worker")
    args = parser.parse_args()
    allow_files((args.readers + 1) * args.workers + 100)
    asyncio.run(Fleet(args.workers, args.share, args.readers).serve())
