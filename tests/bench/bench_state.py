"""What the pure core costs: folding one observation, and one picture of a fleet. Run it by hand, alone:

python tests/bench/bench_state.py [WORKERS]
"""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING

from openrtc_tui.state.fleet import Fleet, fold, view
from openrtc_tui.state.observation import HeartbeatSeen, SnapshotSeen, Target, TargetsSeen
from openrtc_worker.contract.snapshot import DrainInfo, LedgerCounts, LiveKitInfo, RuntimeSnapshot, State

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_700_000_000.0
FRAMES = 5
"""Pictures taken a second."""


def snapshot(index: int, calls: int, now: float) -> RuntimeSnapshot:
    leaving = index % 2 == 0
    return RuntimeSnapshot(
        deployment_version="v1.0.0" if leaving else "v2.0.0",
        draining=leaving,
        active_sessions=calls,
        timestamp=now,
        uptime_seconds=600.0 + now - START,
        total_sessions_started=100 + calls,
        sessions_by_agent={"booking": calls},
        sessions_by_tenant={"acme": calls},
        worker_id=f"voice-{index}",
        boot_id=f"boot-{index}",
        seq=1,
        state=State.DRAINING if leaving else State.SERVING,
        accepting=not leaving,
        max_sessions=50,
        load=calls / 50,
        ledger=LedgerCounts(
            started=100 + calls, completed=100, failed=0, removed=0, cut=0, crashed=0, lost=0, active=calls,
            launch_failed=0, offers_lost=0,
        ),
        oldest_session_seconds=90.0,
        drain=DrainInfo(source="http", actor="alice", started_at=START, deadline=START + 3600) if leaving else None,
        livekit=LiveKitInfo(connected=True, agent_name="booking", reported_load=0.3),
    )  # fmt: skip


def filled(workers: int) -> Fleet:
    fleet = Fleet("bench", beat=1.0)
    targets = tuple(Target(f"voice-{index}", f"http://10.0.0.1:{index}") for index in range(workers))
    fold(fleet, TargetsSeen(targets), START)
    for index in range(workers):
        fold(fleet, SnapshotSeen(f"voice-{index}", snapshot(index, 10, START), b"{}"), START)
    view(fleet, START)
    return fleet


def timed(run: Callable[[], None], count: int) -> float:
    """Microseconds of CPU per one of *count*."""
    begun = time.process_time()
    run()
    return (time.process_time() - begun) / count * 1e6


def fold_costs(workers: int) -> tuple[float, float]:
    """Microseconds per snapshot that changes something, and per heartbeat."""
    fleet = filled(workers)
    rng = random.Random(1)
    count = 20_000
    snapshots = [
        SnapshotSeen(f"voice-{index}", snapshot(index, rng.randrange(20), START + 1), b"{}")
        for index in (rng.randrange(workers) for _ in range(count))
    ]
    heartbeats = [HeartbeatSeen(f"voice-{rng.randrange(workers)}") for _ in range(count)]
    changing = timed(lambda: [fold(fleet, seen, START + 1) for seen in snapshots] and None, count)
    beating = timed(lambda: [fold(fleet, seen, START + 1) for seen in heartbeats] and None, count)
    return changing, beating


def view_cost(workers: int) -> float:
    """Microseconds per picture while 5 % of the workers change a second and each sends a heartbeat every 2 s."""
    fleet = filled(workers)
    rng = random.Random(2)
    spent, pictures = 0.0, 60 * FRAMES
    for frame in range(pictures):
        now = START + 1 + frame / FRAMES
        for index in range(frame % (2 * FRAMES), workers, 2 * FRAMES):
            fold(fleet, HeartbeatSeen(f"voice-{index}"), now)
        for _ in range(workers // 20 // FRAMES):
            index = rng.randrange(workers)
            fold(fleet, SnapshotSeen(f"voice-{index}", snapshot(index, rng.randrange(20), now), b"{}"), now)
        begun = time.process_time()
        view(fleet, now)
        spent += time.process_time() - begun
    return spent / pictures * 1e6


def main() -> None:
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    small, few = fold_costs(10), view_cost(10)
    large, many = fold_costs(workers), view_cost(workers)
    print(f"{workers} workers; in brackets the cost at 10")
    print(f"fold a snapshot:  {large[0]:6.1f} µs ({small[0]:.1f})")
    print(f"fold a heartbeat: {large[1]:6.1f} µs ({small[1]:.1f})")
    print(f"a picture:        {many:6.0f} µs ({few:.0f}), {many / workers:.2f} µs a worker")


if __name__ == "__main__":
    main()
