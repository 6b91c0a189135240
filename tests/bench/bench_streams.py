"""What watching costs: CPU of a dashboard over 1,000 event streams of which 5 % change each second.

One simulated fleet, in a process of its own, serves every client of a run: a listener per worker, real HTTP with chunked
server-sent events, heartbeats as the control endpoint sends them. Each client is a process, so that its CPU is its own:

``raw``    asyncio protocols on sockets, chunks cut by hand, the same decoding of events and snapshots
``stock``  httpx and httpcore as they come (their own network backend), the same decoding
``bare``   :class:`openrtc_tui.http.Http`, the same decoding: what fetching alone costs the dashboard
``fold``   the dashboard without its screen: sources, fold, and a view on each beat
``full``   ``openrtc-tui FLEET`` itself in a pseudo-terminal of 120×40

CPU is measured from the moment when every worker has been heard, for the same time each, and printed as milliseconds per
second with the ratios. Run it as ``python tests/bench/bench_streams.py [--workers N] [--seconds T]``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import pty
import random
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Any

HEARTBEAT = 2.0
SETTLE = 2.0
"""Seconds between the last worker heard and the start of the measurement."""
CONNECT_LIMIT = 20.0


# ------------------------------------------------------------------------------------------------ the simulated fleet


def snapshot_bytes(index: int, seq: int, active: int) -> bytes:
    """A snapshot with every key, of the size that workers send."""
    from openrtc_worker.contract.snapshot import (
        LedgerCounts,
        Limits,
        LiveKitInfo,
        PlatformInfo,
        ResidentSet,
        RuntimeSnapshot,
        encode_json,
    )

    old = index % 2 == 0
    return encode_json(
        RuntimeSnapshot(
            deployment_version="v1.0.0" if old else "v2.0.0",
            draining=False,
            active_sessions=active,
            timestamp=time.time(),
            uptime_seconds=3600.0 + seq,
            registered_agents=2,
            total_sessions_started=100 + seq,
            total_session_failures=0,
            last_routed_agent="support",
            sessions_by_agent={"support": active - active // 3, "sales": active // 3},
            sessions_by_tenant={"acme": active // 2, "globex": active - active // 2},
            resident_set=ResidentSet(bytes=300_000_000, metric="rss", description="resident set of the process"),
            schema=1,
            worker_id=f"voice-{index:04d}",
            boot_id=f"boot-{index:04d}-0123456789abcdef",
            seq=seq,
            state="serving",
            accepting=True,
            max_sessions=20,
            load=active / 20,
            ledger=LedgerCounts(
                started=100 + seq,
                completed=100 + seq - active,
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
            oldest_session_seconds=400.0,
            session_ages=[1, 1, 2, 2, 1, 0, 0, 0, 0],
            loop_lag_ms=0.4,
            limits=Limits(drain_timeout=3600.0, cut_grace=5.0, drain_linger=2.0, after_drain="exit"),
            livekit=LiveKitInfo(
                worker_id=f"AW_{index:012d}",
                connected=True,
                connected_since=time.time() - 3600,
                agent_name="",
                sdk="1.8.9",
                reported_load=active / 40,
            ),
            platform=PlatformInfo(kind="kubernetes", namespace="voice", pod=f"voice-{index:04d}", node="node-1"),
            findings=[],
        )
    )


def chunk_of(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)


class Stream(asyncio.Protocol):
    """A worker's side of one connection: answers any GET with its event stream."""

    def __init__(self, fleet: Fleet, index: int) -> None:
        self.fleet = fleet
        self.index = index
        self.transport: Any = None
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.head += data
        if b"\r\n\r\n" not in self.head:
            return
        self.head = b""
        self.transport.write(HEAD + self.fleet.event(self.index))
        self.fleet.streams[self.index] = self
        if len(self.fleet.streams) == self.fleet.workers:
            print("all", flush=True)
        self.beat()

    def beat(self) -> None:
        if not self.transport.is_closing():
            loop = asyncio.get_running_loop()
            loop.call_later(HEARTBEAT * self.fleet.rng.uniform(0.9, 1.1), self.beat)
            self.transport.write(b"3\r\n:\n\n\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.fleet.streams.get(self.index) is self:
            del self.fleet.streams[self.index]


class Fleet:
    def __init__(self, workers: int, share: float) -> None:
        self.rng = random.Random(7)
        self.workers = workers
        self.changes_per_second = workers * share
        self.streams: dict[int, Stream] = {}
        self.seq = [0] * workers

    def event(self, index: int) -> bytes:
        self.seq[index] += 1
        seq = self.seq[index]
        data = snapshot_bytes(index, seq, self.rng.randrange(0, 20))
        return chunk_of(b"event: snapshot\nid: boot-%04d:%d\ndata: %b\n\n" % (index, seq, data))

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        ports = []
        for index in range(self.workers):
            server = await loop.create_server(lambda index=index: Stream(self, index), "127.0.0.1", 0)
            ports.append(server.sockets[0].getsockname()[1])
        print(json.dumps(ports), flush=True)
        loop.add_reader(0, lambda: os.read(0, 4096) or os._exit(0))  # the bench is gone: end
        began, made = loop.time(), 0
        while True:
            await asyncio.sleep(0.01)
            due = int((loop.time() - began) * self.changes_per_second)
            for _ in range(min(due - made, 50)):
                stream = self.streams.get(self.rng.randrange(self.workers))
                if stream is not None:
                    stream.transport.write(self.event(stream.index))
            made = due


# ------------------------------------------------------------------------------------------------ the clients


class Gauge:
    """CPU of this process between the moment when all were heard (and settled) and the end of the window."""

    def __init__(self, workers: int, seconds: float) -> None:
        self.missing = set(range(workers))
        self.seconds = seconds
        self.all_heard = asyncio.Event()
        self.events = 0
        self.beats = 0

    def snapshot(self, index: int) -> None:
        self.events += 1
        if self.missing:
            self.missing.discard(index)
            if not self.missing:
                self.all_heard.set()

    async def measure(self) -> dict[str, float]:
        began = time.monotonic()
        try:
            async with asyncio.timeout(CONNECT_LIMIT):
                await self.all_heard.wait()
        except TimeoutError:
            sys.exit(f"{len(self.missing)} workers were not heard within {CONNECT_LIMIT:g} s")
        connected = time.monotonic() - began
        await asyncio.sleep(SETTLE)
        self.events = self.beats = 0
        start, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(self.seconds)
        seconds = time.monotonic() - start
        return {
            "ms_per_second": (time.process_time() - cpu) / seconds * 1000,
            "snapshots": self.events / seconds,
            "beats": self.beats / seconds,
            "connected_after": connected,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


class RawStream(asyncio.Protocol):
    """The least that a client can do: cut the chunks, decode what they hold."""

    def __init__(self, index: int, port: int, gauge: Gauge) -> None:
        from openrtc_tui.sources.sse import SseParser
        from openrtc_worker.contract.snapshot import decode_snapshot

        self.index = index
        self.port = port
        self.gauge = gauge
        self.parser = SseParser()
        self.decode = decode_snapshot
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
            self.take(rest[:length])
            data = rest[length + 2 :]
        self.buffer = data

    def take(self, chunk: bytes) -> None:
        for frame in self.parser.feed(chunk):
            if frame.event == b"snapshot":
                self.decode(frame.data)
                self.gauge.snapshot(self.index)
            else:
                self.gauge.beats += 1


async def client_raw(ports: list[int], gauge: Gauge) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    for index, port in enumerate(ports):
        await loop.create_connection(lambda index=index, port=port: RawStream(index, port, gauge), "127.0.0.1", port)
    return await gauge.measure()


async def read_bare(index: int, chunks: Any, gauge: Gauge) -> None:
    from openrtc_tui.sources.sse import SseParser
    from openrtc_worker.contract.snapshot import decode_snapshot

    parser = SseParser()
    async for chunk in chunks:
        for frame in parser.feed(chunk):
            if frame.event == b"snapshot":
                decode_snapshot(frame.data)
                gauge.snapshot(index)
            else:
                gauge.beats += 1


async def client_bare(ports: list[int], gauge: Gauge) -> dict[str, float]:
    from openrtc_tui.http import Http

    http = Http()

    async def follow(index: int, port: int) -> None:
        async with http.stream(f"http://127.0.0.1:{port}/v1/events", idle=7.0) as stream:
            await read_bare(index, stream.chunks(), gauge)

    return await run_readers([follow(index, port) for index, port in enumerate(ports)], gauge)


async def client_stock(ports: list[int], gauge: Gauge) -> dict[str, float]:
    import httpx

    ssl_context = httpx.create_ssl_context()

    async def follow(index: int, port: int) -> None:
        async with (
            httpx.AsyncClient(verify=ssl_context, trust_env=False, timeout=7.0) as client,
            client.stream("GET", f"http://127.0.0.1:{port}/v1/events") as response,
        ):
            await read_bare(index, response.aiter_bytes(), gauge)

    return await run_readers([follow(index, port) for index, port in enumerate(ports)], gauge)


async def run_readers(readers: list[Any], gauge: Gauge) -> dict[str, float]:
    tasks = []
    for reader in readers:
        tasks.append(asyncio.create_task(reader))
        await asyncio.sleep(0.001)
    return await gauge.measure()


async def client_fold(ports: list[int], gauge: Gauge) -> dict[str, float]:
    from openrtc_tui.state.fleet import Fleet as FleetState
    from openrtc_tui.state.fleet import fold, view

    from openrtc_tui.http import Http
    from openrtc_tui.sources import Watch
    from openrtc_tui.state.observation import HeartbeatSeen, SnapshotSeen, Target

    state = FleetState("bench", beat=1.0, rollout=("v1.0.0", "v2.0.0"))

    def put(seen: Any) -> None:
        fold(state, seen, time.time())
        if isinstance(seen, HeartbeatSeen):
            gauge.beats += 1
        elif isinstance(seen, SnapshotSeen):
            gauge.snapshot(int(seen.key))

    watch = Watch(Http(), put=put, beat=1.0)
    watch.set_targets(
        [Target(str(index), f"http://127.0.0.1:{port}") for index, port in enumerate(ports)], lambda key: None
    )

    async def look() -> None:
        while True:
            view(state, time.time())
            await asyncio.sleep(1.0)

    tasks = [asyncio.create_task(watch.run()), asyncio.create_task(look())]
    result = await gauge.measure()
    for task in tasks:
        task.cancel()
    return result


CLIENTS = {"raw": client_raw, "stock": client_stock, "bare": client_bare, "fold": client_fold}


def run_client(name: str, seconds: float) -> None:
    """The body of a client's process: ports on stdin, figures on stdout, then out without ceremony."""
    ports = json.loads(sys.stdin.readline())

    async def main() -> None:
        print(json.dumps(await CLIENTS[name](ports, Gauge(len(ports), seconds))), flush=True)
        if profile is not None:
            profile.disable()
            profile.dump_stats(os.environ["BENCH_PROFILE"])
        os._exit(0)

    profile = None
    if "BENCH_PROFILE" in os.environ:
        import cProfile

        profile = cProfile.Profile()
        profile.enable()
    asyncio.run(main())


# ------------------------------------------------------------------------------------------------ the whole dashboard

GAUGED_DASHBOARD = """
import os, resource, signal, sys
def mark(*_):
    usage = resource.getrusage(resource.RUSAGE_SELF)
    os.write(int(sys.argv[2]), f"{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss / 1024}\\n".encode())
signal.signal(signal.SIGUSR1, mark)
from openrtc_tui.cli import main
sys.exit(main([sys.argv[1]]))
"""
"""The program as users start it, which says on a pipe what it used so far whenever it gets SIGUSR1."""


def run_full(fleet: FleetProcess, seconds: float) -> dict[str, float]:
    """``openrtc-tui FLEET`` in a pseudo-terminal that is read as fast as it writes."""
    with tempfile.TemporaryDirectory() as folder:
        workers = "\n".join(
            f"  - {{name: voice-{index:04d}, url: 'http://127.0.0.1:{port}'}}"
            for index, port in enumerate(fleet.ports)
        )
        path = Path(folder, "fleet.yaml")
        path.write_text(
            f"fleet: bench\nrefresh: 1s\nworkers:\n{workers}\nrollout: {{from: v1.0.0, to: v2.0.0}}\n",
            encoding="utf-8",
        )
        terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        marks, mark = os.pipe()
        app = subprocess.Popen(
            [sys.executable, "-c", GAUGED_DASHBOARD, str(path), str(mark)],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            pass_fds=[mark],
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        )
        os.close(inner)
        os.close(mark)
        screen = bytearray()

        def watch_screen(until: float, stop: Any = lambda: False) -> None:
            while time.monotonic() < until and not stop():
                if select.select([terminal], [], [], 0.05)[0]:
                    try:
                        screen.extend(os.read(terminal, 1 << 16))
                    except OSError:  # the dashboard ended
                        sys.exit(f"the dashboard ended early:\n{screen[-2000:].decode(errors='replace')}")

        def used() -> tuple[float, float]:
            app.send_signal(signal.SIGUSR1)
            cpu, rss = os.read(marks, 100).split()
            return float(cpu), float(rss)

        try:
            began = time.monotonic()
            watch_screen(began + CONNECT_LIMIT, fleet.all_connected)
            connected = time.monotonic() - began
            watch_screen(time.monotonic() + SETTLE)
            written, (cpu, _), start = len(screen), used(), time.monotonic()
            watch_screen(start + seconds)
            (end_cpu, rss), span = used(), time.monotonic() - start
        finally:
            app.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                app.wait(5)
            app.kill()
            app.wait()
            os.close(terminal)
            os.close(marks)
        return {
            "ms_per_second": (end_cpu - cpu) / span * 1000,
            "screen_kb": (len(screen) - written) / span / 1024,
            "connected_after": connected,
            "rss_mb": rss,
        }


# ------------------------------------------------------------------------------------------------ one run


class FleetProcess:
    """The simulated fleet; ends when this process does."""

    def __init__(self, workers: int, share: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--fleet", "--workers", str(workers), "--share", str(share)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout
        self.ports: list[int] = json.loads(self._out.readline())

    def all_connected(self) -> bool:
        """Whether every worker has got its reader since this was asked last."""
        return bool(select.select([self._out], [], [], 0)[0] and self._out.readline())

    def forget(self) -> None:
        time.sleep(0.5)  # the last client's connections end
        while self.all_connected():
            pass

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(5)


def run_one(name: str, fleet: FleetProcess, seconds: float) -> dict[str, float]:
    if name == "full":
        return run_full(fleet, seconds)
    done = subprocess.run(
        [sys.executable, __file__, "--client", name, "--seconds", str(seconds)],
        input=json.dumps(fleet.ports) + "\n",
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=CONNECT_LIMIT + SETTLE + seconds + 20,
    )
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.05, help="of the workers that change each second")
    parser.add_argument("--seconds", type=float, default=6.0, help="measured for each client")
    parser.add_argument("--clients", default="raw,stock,bare,fold,full")
    parser.add_argument("--fleet", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    args = parser.parse_args()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * args.workers + 200
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted), hard)
        )
    if args.fleet:
        asyncio.run(Fleet(args.workers, args.share).serve())
    elif args.client:
        run_client(args.client, args.seconds)
    else:
        report(args.clients.split(","), args.workers, args.share, args.seconds)


def report(clients: list[str], workers: int, share: float, seconds: float) -> None:
    print(f"{workers} workers streamed, {share:.0%} changing a second, {seconds:g} s each")
    print(
        f"{'client':8}{'CPU ms/s':>10}{'of raw':>8}{'of bare':>9}{'snap/s':>8}{'beats/s':>9}{'all in s':>10}{'MB':>6}"
    )
    fleet = FleetProcess(workers, share)
    costs: dict[str, float] = {}
    try:
        for name in clients:
            fleet.forget()
            result = run_one(name, fleet, seconds)
            costs[name] = cost = result["ms_per_second"]
            over = [f"{cost / costs[base]:.2f}" if base in costs else "" for base in ("raw", "bare")]
            rates = [f"{result[rate]:.0f}" if rate in result else "" for rate in ("snapshots", "beats")]
            print(
                f"{name:8}{cost:10.1f}{over[0]:>8}{over[1]:>9}{rates[0]:>8}{rates[1]:>9}"
                f"{result['connected_after']:10.1f}{result['rss_mb']:6.0f}",
                flush=True,
            )
    finally:
        fleet.close()


if __name__ == "__main__":
    main()
