"""Which running workers are on their way out: asked of each one's own control endpoint."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import aiohttp

from openrtc_worker.contract.snapshot import SnapshotError, decode_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openrtc_worker.local.platform import WorkerProcess

_TIMEOUT: Final = aiohttp.ClientTimeout(total=2)
_ALL_BUT_GONE: Final = 3.0
"""Seconds between the last answer of a worker that has drained and its exit, with slack for a busy machine."""


async def leaving(workers: Iterable[WorkerProcess]) -> list[WorkerProcess]:
    """Those of *workers* that drain, or have ended by now, in their order.

    One that gives no answer is either starting, and stays, or has all but ended: so it is given a moment to do so.
    """
    workers = list(workers)
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:
        found = await asyncio.gather(*(_leaves(worker, http) for worker in workers))
    return [worker for worker, leaves in zip(workers, found, strict=True) if leaves]


async def _leaves(worker: WorkerProcess, http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get(f"{worker.spec.control_url}/v1/snapshot") as response:
            return decode_snapshot(await response.read()).draining
    except (aiohttp.ClientError, TimeoutError, SnapshotError):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ALL_BUT_GONE):
                await worker.wait()
        return worker.exit_code is not None
