"""What being watched costs a worker, and how soon LiveKit knows of a drain.

Figure 1: the p99 of a 10 ms tick on the worker's own loop, with 10 scrapes of ``/metrics`` a second and 4 event
streams, over the same without any. Rounds with and without alternate in one process: the machine drifts for both.
Figure 2: from sending ``POST /v1/drain`` until the dispatcher has read "full" from the worker's WebSocket.

Run it as ``python -m tests.bench worker``; ``--rounds``, ``--seconds`` and ``--drains`` bound it (about a minute).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import aiohttp

from openrtc_worker.contract.control_token import sign_request
from openrtc_worker.contract.keys import generate_operator_key, load_private_key
from openrtc_worker.local.dispatcher import Dispatcher
from tests.support.processes import Program, livekit_env, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCRAPES_PER_SECOND = 10
STREAMS = 4


def p99(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


class Fleet:
    """A dispatcher and the workers that were started for it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key_file, _ = generate_operator_key("bench", directory / "keys")
        self.dispatcher = Dispatcher("key", secrets.token_hex(32))
        self.programs: list[Program] = []

    async def worker(self) -> tuple[Program, str]:
        """A registered worker, and its control endpoint's address."""
        name = f"worker-{len(self.programs)}"
        known = len(self.dispatcher.log.workers)
        env = livekit_env(
            url=self.dispatcher.url,
            api_key=self.dispatcher.api_key,
            api_secret=self.dispatcher.api_secret,
            OPENRTC_WORKER_ID=name,
            OPENRTC_CONTROL_PORT=str(free_port()),
            OPENRTC_OPERATOR_KEYS=str(self.directory / "keys"),
        )
        program = Program.python("tests.bench.ticking_worker", name=name, directory=self.directory, env=env)
        self.programs.append(program)
        await until(lambda: len(self.dispatcher.log.workers) > known, within=60, what=program.tail)
        return program, f"http://127.0.0.1:{env['OPENRTC_CONTROL_PORT']}"


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


async def watch(session: aiohttp.ClientSession, url: str) -> None:
    """Scrape and stream until cancelled."""

    async def scrape() -> None:
        while True:
            started = time.monotonic()
            async with session.get(f"{url}/metrics") as answer:
                await answer.read()
            await asyncio.sleep(max(0.0, 1 / SCRAPES_PER_SECOND - (time.monotonic() - started)))

    async def stream() -> None:
        async with session.get(f"{url}/v1/events", timeout=aiohttp.ClientTimeout(total=None)) as answer:
            async for _ in answer.content.iter_any():
                pass

    async with asyncio.TaskGroup() as group:
        group.create_task(scrape())
        for _ in range(STREAMS):
            group.create_task(stream())


async def measure_tick(fleet: Fleet, rounds: int, seconds: float) -> None:
    program, url = await fleet.worker()
    await asyncio.sleep(3)  # its idle process is up, its imports are done
    alone: list[float] = []
    watched: list[float] = []
    reports = 0
    async with aiohttp.ClientSession() as session:
        for _ in range(rounds):
            for into, busy in ((alone, False), (watched, True)):
                task = asyncio.create_task(watch(session, url)) if busy else None
                await asyncio.sleep(0.5)
                program.tell("start")
                await asyncio.sleep(seconds)
                program.tell("report")
                reports += 1
                lines = await program.has(reports, within=10)
                into.extend(lines[-1]["intervals"])
                if task is not None:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
    print(f"{'10 ms tick on the loop':<44}{'p50':>9}{'p99':>9}{'max':>9}   ticks")
    for name, values in (("alone", alone), (f"{SCRAPES_PER_SECOND} scrapes/s, {STREAMS} streams", watched)):
        row = (statistics.median(values), p99(values), max(values))
        print(f"  {name:<42}" + "".join(f"{1000 * value:7.2f}ms" for value in row) + f"   {len(values)}")
    print(f"  ratio of the p99: {p99(watched) / p99(alone):.3f}   (goal ≤ 1.25)")


async def measure_drain(fleet: Fleet, drains: int) -> None:
    key = load_private_key(fleet.key_file)
    took: list[float] = []
    async with aiohttp.ClientSession() as session:
        for _ in range(drains):
            known = {worker.worker_id for worker in fleet.dispatcher.log.workers}
            _, url = await fleet.worker()
            worker_id = next(w.worker_id for w in fleet.dispatcher.workers() if w.worker_id not in known)
            await asyncio.sleep(1)
            took.append(await drain(fleet, session, url, key, worker_id))
    print(
        f"drain request → LiveKit told full, {drains} workers: " + ", ".join(f"{1000 * t:.1f}" for t in took) + " ms"
    )
    print(f"  median {1000 * statistics.median(took):.1f} ms, max {1000 * max(took):.1f} ms   (goal ≤ 50 ms)")


async def drain(
    fleet: Fleet, session: aiohttp.ClientSession, url: str, key: Ed25519PrivateKey, livekit_id: str
) -> float:
    """Seconds from sending the request until the dispatcher has heard that the worker is full."""
    async with session.get(f"{url}/v1/snapshot") as answer:
        snapshot = await answer.json()
    op_id = uuid.uuid4().hex
    body = json.dumps({"op_id": op_id, "expect": {"boot_id": snapshot["boot_id"]}}).encode()
    token = sign_request(
        private_key=key,
        kid="bench",
        sub="bench",
        aud_worker_id=snapshot["worker_id"],
        aud_boot_id=snapshot["boot_id"],
        action="drain",
        op_id=op_id,
        body=body,
        now=time.time(),
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    started = time.perf_counter()
    request = asyncio.create_task(session.post(f"{url}/v1/drain", data=body, headers=headers))
    async with asyncio.timeout(10):
        while next(w for w in fleet.dispatcher.log.workers if w.worker_id == livekit_id).available:  # noqa: ASYNC110
            await asyncio.sleep(0.0005)  # the dispatcher lives in this loop and has no event for it
    took = time.perf_counter() - started
    answer = await request
    if answer.status != 202:
        raise RuntimeError(f"the drain was refused: {answer.status} {await answer.text()}")
    return took


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds without and with watchers (default 5)")
    parser.add_argument("--seconds", type=float, default=4, help="seconds of each (default 4)")
    parser.add_argument("--drains", type=int, default=5, help="workers that are drained (default 5)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "keys").mkdir()
        fleet = Fleet(Path(directory))
        await fleet.dispatcher.start()
        try:
            await measure_tick(fleet, args.rounds, args.seconds)
            await measure_drain(fleet, args.drains)
        finally:
            for program in fleet.programs:
                program.kill()
            await fleet.dispatcher.stop()


if __name__ == "__main__":
    asyncio.run(main())
