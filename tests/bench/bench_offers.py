"""How long a call waits that was offered to a worker which leaves, until another worker has it: real server.

Two workers, and between them and LiveKit a relay that notes each protocol message with its time. A worker that
drains (or is cordoned) tells LiveKit at once, so only calls of those few milliseconds are still offered to it; the
relay holds that word back, so that there are enough of them to measure. Measured is from the offer to the leaving
worker until LiveKit assigns the call to the other one; beside it, in the same run, the same for calls that were
offered to a serving worker. LiveKit's own fifth of a second of bidding comes before either.

Run it as ``python tests/bench/bench_offers.py [--calls N]``; it takes about a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.livekit.backend import place
from tests.livekit.binary import require_server
from tests.livekit.dashboard import ControlDesk
from tests.livekit.server import LiveKitServer
from tests.livekit.tap import Tap
from tests.livekit.workers import Crew
from tests.support.go_program import MissingProgramError
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.livekit.tap import Step
    from tests.livekit.workers import PoolWorker

AGENT = "bench"
CALLS_A_SECOND = 20
LEAVING = "leaving"


def seconds_to_assignment(steps: Sequence[Step], first: str | None) -> float | None:
    """From the first offer to the assignment; None if another worker than *first* had that offer."""
    offer = next((step for step in steps if step.kind == "offered"), None)
    taken = next((step for step in steps if step.kind == "assigned"), None)
    if offer is None or taken is None or offer.worker != (first or offer.worker):
        return None
    return taken.at - offer.at


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


class Bench:
    """One run. Phases place calls at an even rate and read from the relay what became of them."""

    def __init__(self, server: LiveKitServer, tap: Tap, calls: int) -> None:
        self._server = server
        self._tap = tap
        self._calls = calls

    async def phase(self, name: str, *, first: str | None = None) -> list[float]:
        """Place the calls of one phase; the times of those that were offered to *first* first (None: to anybody)."""
        begin = len(self._tap.steps)
        async with self._server.api() as client:
            for number in range(self._calls):
                await place(client, f"{name}-{number}", agent_name=AGENT, metadata=json.dumps({"hold": 0.5}))
                await asyncio.sleep(1 / CALLS_A_SECOND)
        await until(lambda: self._assigned(begin) == self._calls, what=f"an answer to each call of {name}")
        jobs: dict[str, list[Step]] = {}
        for step in self._tap.steps[begin:]:
            jobs.setdefault(step.job_id, []).append(step)
        times = [seconds_to_assignment(steps, first) for steps in jobs.values()]
        measured = [seconds for seconds in times if seconds is not None]
        assert len(measured) >= self._calls / 5, (
            f"{name}: only {len(measured)} of {self._calls} calls were offered so"
        )
        return measured

    def _assigned(self, begin: int) -> int:
        return sum(step.kind == "assigned" for step in self._tap.steps[begin:])


async def measure(server: LiveKitServer, directory: Path, calls: int) -> dict[str, list[float]]:
    """Seconds from offer to assignment: ``serving``, ``cordoned``, ``draining``."""
    desk = ControlDesk(directory)
    crew = Crew(
        server,
        directory,
        agent_name=AGENT,
        isolation="thread",
        max_concurrent_sessions=1000,
        operator_keys=desk.public_key,
    )
    tap = Tap(server)
    try:
        async with desk, tap.running():
            leaving = crew.start(LEAVING, "v1", url=tap.url(LEAVING))
            crew.start("staying", "v2", url=tap.url("staying"))
            await crew.serving()
            bench = Bench(server, tap, calls)
            # thread pools, the forkserver and caches are warm after this
            await bench.phase("warm")
            found = {"serving": await bench.phase("serving")}

            await _keeps_a_call(server, leaving)
            tap.withheld.add(LEAVING)
            answer = await desk.ask("cordon", leaving)
            assert answer.done, answer.detail
            found["cordoned"] = await bench.phase("cordoned", first=LEAVING)
            leaving.program.signal(signal.SIGTERM)
            await leaving.shows(lambda shown: shown.draining, what="drains")
            found["draining"] = await bench.phase("draining", first=LEAVING)
            return found
    finally:
        await crew.aclose(quiet=True)


async def _keeps_a_call(server: LiveKitServer, worker: PoolWorker) -> None:
    """Give the worker one long call: without any it would be drained at once, and gone."""
    await worker.active(0)
    async with server.api() as client:
        for number in range(20):
            await place(client, f"long-{number}", agent_name=AGENT, metadata=json.dumps({"hold": 600}))
            await asyncio.sleep(0.7)
            if worker.ledger.active == 1:
                return
    raise AssertionError("20 calls, and the leaving worker was never chosen")


def report(found: dict[str, list[float]]) -> None:
    """One line a phase, in milliseconds, with the ratio to a call that was not passed on."""
    base = percentile(found["serving"], 0.5)
    print("a call offered to a worker until one has it (LiveKit's real server, ms)")
    print(f"{'first offered to a worker that is':36}{'calls':>6}{'p50':>8}{'p99':>8}{'max':>8}{'p50 ratio':>11}")
    for state, seconds in found.items():
        row = [percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds)]
        figures = "".join(f"{1000 * value:8.1f}" for value in row)
        print(f"{state:36}{len(seconds):6d}{figures}{row[0] / base:11.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200, help="calls placed in each phase (about half are measured)")
    arguments = parser.parse_args()
    try:
        binary = require_server(lambda line: print(f"==> {line}", flush=True))
    except MissingProgramError as missing:
        print(f"skipped: {missing}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        server = LiveKitServer(binary, Path(folder))
        server.start()
        try:
            report(asyncio.run(measure(server, Path(folder), arguments.calls)))
        finally:
            server.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
