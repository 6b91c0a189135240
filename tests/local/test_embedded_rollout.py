"""A rollout on the embedded dispatcher: the old version drains under a stream of callers, and none is lost."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import Counter
from typing import TYPE_CHECKING

from openrtc_worker.local.dispatcher import Dispatcher
from openrtc_worker.local.platform import ProcessPlatform, WorkerProcess, WorkerSpec, livekit_environment
from openrtc_worker.local.ports import ReservedPorts
from openrtc_worker.local.records import CallRecord, JobState
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path


def platform_for(dispatcher: Dispatcher, directory: Path) -> ProcessPlatform:
    """Real embedded workers, as the fleet runs them."""

    def program(spec: WorkerSpec) -> list[str]:
        return [
            *("-m", "openrtc_worker.local.worker"),
            *("--version", spec.version),
            *("--control-port", str(spec.control_port)),
            *("--capacity", "50"),
            *("--drain-timeout", "60"),
            *("--isolation", "thread"),
            *("--operator-keys", str(directory)),
            *("--state-dir", str(directory)),
        ]

    environment = livekit_environment(
        url=dispatcher.url, api_key=dispatcher.api_key, api_secret=dispatcher.api_secret
    )
    return ProcessPlatform(program, logs=directory, environment=environment)


async def callers(dispatcher: Dispatcher, placed: list[asyncio.Task[CallRecord]]) -> None:
    """A new caller every 50 ms, each for up to a second, until cancelled."""
    lengths = random.Random(11)
    while True:
        metadata = json.dumps({"agent": "booking", "tenant": "acme", "call_seconds": lengths.uniform(0.1, 1.0)})
        placed.append(asyncio.create_task(dispatcher.dispatch(f"booking-{len(placed)}", metadata=metadata)))
        await asyncio.sleep(0.05)


def taken_by(dispatcher: Dispatcher) -> Counter[str]:
    return Counter(call.attributes.get("openrtc.version", "") for call in dispatcher.log.calls if call.assigned)


async def test_the_old_version_drains_and_no_caller_is_lost(tmp_path):
    dispatcher = Dispatcher("devkey", "a-secret-of-more-than-32-characters", rng=random.Random(3))
    await dispatcher.start()
    platform = platform_for(dispatcher, tmp_path)
    placed: list[asyncio.Task[CallRecord]] = []
    ports = ReservedPorts(2)
    old, new = (
        WorkerSpec(name=name, version=version, control_port=port)
        for name, version, port in zip(("old", "new"), ("v1.0.0", "v2.0.0"), ports, strict=True)
    )
    stream: asyncio.Task[None] | None = None
    try:
        leaving: WorkerProcess = await platform.start(old)
        await until(lambda: len(dispatcher.workers()) == 1, what="the old version")
        stream = asyncio.create_task(callers(dispatcher, placed))
        await platform.start(new)
        await until(lambda: len(taken_by(dispatcher)) == 2, what="calls on both versions")
        leaving.signal(signal.SIGTERM)
        assert await leaving.wait() == 0
        before = taken_by(dispatcher)
        await until(lambda: taken_by(dispatcher)["v2.0.0"] > before["v2.0.0"] + 20, what="calls after the drain")
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
        await asyncio.gather(*placed)
        await until(lambda: not any(call.open for call in dispatcher.log.calls), what="the end of every call")
        calls = dispatcher.log.calls
        assert [call.loss for call in calls if not call.assigned] == []
        assert {call.reports[-1].state for call in calls} == {JobState.SUCCESS}
        assert taken_by(dispatcher)["v1.0.0"] == before["v1.0.0"], "it took no call after its end"
    finally:
        if stream is not None:
            stream.cancel()
        await platform.stop(grace=0.0)
        await dispatcher.stop()
        ports.close()
