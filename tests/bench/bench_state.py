"""What the pure core costs: folding one observation, and one picture of a fleet. Run it by hand, alone:

python tests/bench/bench_state.py [WORKERS]
"""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING

from openrtc_tui.state.fleet import Fleet, fold, view
from openrtc_tui.state.observation import HeartbeatSeen, Observation, SnapshotSeen, Target, TargetsSeen
from openrtc_worker.contract.membership import FleetVerifier, derive_version_secret, sign_membership
from openrtc_worker.contract.snapshot import (
    DrainInfo,
    LedgerCounts,
    LiveKitInfo,
    MembershipClaim,
    RuntimeSnapshot,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

START = 1_700_000_000.0
DRAIN = DrainInfo(source="http", actor="alice", started_at=START, deadline=START + 3600)
VERSIONS = ("v1.0.0", "v2.0.0")
FRAMES = 5
"""Pictures taken a second."""

SECONDS = 60


class FakeWorkers:
    """Workers of two versions, half of them draining; each report is one call more or one less."""

    def __init__(self, count: int, *, master: str | None = None) -> None:
        self.count = count
        self.secrets = {version: derive_version_secret(master, version) for version in VERSIONS} if master else {}
        self.calls = [20] * count
        self.started = [20] * count
        self._rng = random.Random(1)

    def change(self, now: float) -> SnapshotSeen:
        """One worker starts or ends a call; the draining ones only end calls."""
        index = self._rng.randrange(self.count)
        if self.calls[index] and (index % 2 == 0 or self._rng.random() < 0.5):
            self.calls[index] -= 1
        elif index % 2:
            self.calls[index] += 1
            self.started[index] += 1
        return SnapshotSeen(f"voice-{index}", self.snapshot(index, now), b"{}")

    def snapshot(self, index: int, now: float) -> RuntimeSnapshot:
        leaving = index % 2 == 0
        calls, started = self.calls[index], self.started[index]
        return RuntimeSnapshot(
            deployment_version=VERSIONS[not leaving],
            membership=self._claim(index, now) if self.secrets else None,
            draining=leaving,
            active_sessions=calls,
            timestamp=now,
            uptime_seconds=600.0 + now - START,
            total_sessions_started=started,
            sessions_by_agent={"booking": calls},
            sessions_by_tenant={"acme": calls},
            worker_id=f"voice-{index}",
            boot_id=f"boot-{index}",
            state=State.DRAINING if leaving else State.SERVING,
            accepting=not leaving,
            max_sessions=50,
            load=calls / 50,
            ledger=LedgerCounts(
                started=started, completed=started - calls, failed=0, removed=0, cut=0, crashed=0, lost=0,
                active=calls, launch_failed=0, offers_lost=0,
            ),
            oldest_session_seconds=90.0,
            drain=DRAIN if leaving else None,
            livekit=LiveKitInfo(connected=True, agent_name="booking", reported_load=0.3),
        )  # fmt: skip

    def _claim(self, index: int, now: float) -> MembershipClaim:
        version, worker_id = VERSIONS[index % 2], f"voice-{index}"
        token = sign_membership(version=version, worker_id=worker_id, timestamp=now, secret=self.secrets[version])
        return MembershipClaim(version=version, worker_id=worker_id, timestamp=now, token=token)


def filled(workers: FakeWorkers, verifier: FleetVerifier | None = None) -> Fleet:
    """A fleet of which every worker was heard, not all in the same instant."""
    fleet = Fleet("bench", beat=1.0, verifier=verifier)
    targets = tuple(Target(f"voice-{index}", f"http://10.0.0.1:{index}") for index in range(workers.count))
    fold(fleet, TargetsSeen(targets), START)
    for index in range(workers.count):
        now = START + index / workers.count
        fold(fleet, SnapshotSeen(f"voice-{index}", workers.snapshot(index, now), b"{}"), now)
        if index % 50 == 0:
            view(fleet, now)
    return fleet


def fold_cost(fleet: Fleet, observations: Iterable[Observation]) -> float:
    """Microseconds of CPU per observation."""
    ready = list(observations)
    begun = time.process_time()
    for seen in ready:
        fold(fleet, seen, START + 20)
    return (time.process_time() - begun) / len(ready) * 1e6


def view_cost(count: int) -> float:
    """Microseconds per picture while 5 % of the workers change a second and each sends a heartbeat every 2 s."""
    workers = FakeWorkers(count)
    fleet = filled(workers)
    spent = 0.0
    for frame in range(SECONDS * FRAMES):
        now = START + 1 + frame / FRAMES
        for index in range(frame % (2 * FRAMES), count, 2 * FRAMES):
            fold(fleet, HeartbeatSeen(f"voice-{index}"), now)
        for _ in range(count // 20 // FRAMES):
            fold(fleet, workers.change(now), now)
        begun = time.process_time()
        view(fleet, now)
        spent += time.process_time() - begun
    return spent / (SECONDS * FRAMES) * 1e6


def verified_costs(count: int) -> tuple[float, float]:
    """Microseconds per snapshot with a new token, and with the token of the one before."""
    workers = FakeWorkers(count, master="a master")
    fleet = filled(workers, FleetVerifier(masters=["a master"]))
    ready = [workers.change(START + 20 + index / 10_000) for index in range(10_000)]
    fresh = fold_cost(fleet, ready)
    return fresh, fold_cost(fleet, [seen for seen in ready[-count:] for _ in range(10_000 // count or 1)])


def costs(count: int) -> tuple[float, ...]:
    """Microseconds per snapshot, per heartbeat, per picture, per snapshot with a new token and with a known one."""
    workers = FakeWorkers(count)
    fleet = filled(workers)
    snapshots = fold_cost(fleet, (workers.change(START + 20) for _ in range(20_000)))
    heartbeats = fold_cost(fleet, (HeartbeatSeen(f"voice-{index % count}") for index in range(20_000)))
    return snapshots, heartbeats, view_cost(count), *verified_costs(count)


NAMES = ("fold snapshot", "fold heartbeat", "picture", "new token", "same token")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    few, many = costs(10), costs(count)
    print(f"µs of CPU       at 10   at {count}   ratio")
    for name, small, large in zip(NAMES, few, many, strict=True):
        print(f"{name:14}{small:8.1f}{large:10.1f}{large / small:8.2f}")
    print(f"a picture costs {many[2] / count:.2f} µs a worker")


if __name__ == "__main__":
    main()
