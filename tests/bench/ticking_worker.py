"""A worker that times its own loop, for ``bench_worker``: a real ``DeployServer`` with a 10 ms tick beside it.

Reads lines on stdin: ``start`` empties the ticks, ``report`` prints their intervals in seconds as one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from typing import TYPE_CHECKING

import openrtc_worker
from openrtc_worker import DeployServer

if TYPE_CHECKING:
    from livekit.agents import JobContext

TICK = 0.01

server = DeployServer(deployment_version="v1.0.0", num_idle_processes=1, drain_linger=0)
intervals: list[float] = []


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    ctx.shutdown()


async def tick() -> None:
    """Sleep 10 ms again and again, and note how long each round really took."""
    last = time.perf_counter()
    while True:
        await asyncio.sleep(TICK)
        now = time.perf_counter()
        intervals.append(now - last)
        last = now


def obey() -> None:
    for line in sys.stdin:
        if line.strip() == "start":
            intervals.clear()
        else:
            print(json.dumps({"intervals": list(intervals)}), flush=True)


ticks: list[asyncio.Task[None]] = []


def begin() -> None:
    ticks.append(asyncio.get_running_loop().create_task(tick()))


if __name__ == "__main__":
    server.on("worker_started", begin)
    threading.Thread(target=obey, daemon=True).start()
    sys.exit(openrtc_worker.run(server))
