"""A fleet and the time, moved by hand: what the tests of the pure core observe it with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from openrtc_tui.state.fleet import Fleet, fold, view
from openrtc_tui.state.observation import (
    AuditSeen,
    ContactFailed,
    FailureKind,
    HeartbeatSeen,
    PodSeen,
    PodsSeen,
    SnapshotSeen,
    Target,
    TargetsSeen,
)
from openrtc_worker.contract.snapshot import (
    DrainInfo,
    LedgerCounts,
    LiveKitInfo,
    OpenCall,
    PreviousBoot,
    RuntimeSnapshot,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openrtc_tui.state.membership import Verifier
    from openrtc_tui.state.rollout import Pair
    from openrtc_tui.state.view import FleetView, Verdict, WorkerRow

START = 1_700_000_000.0


def utc(at: float) -> str:
    """A time of day that does not depend on the machine: START is 22:13:20."""
    return time.strftime("%H:%M:%S", time.gmtime(at))


def ledger(live: int = 0, **counts: int | None) -> LedgerCounts:
    """A whole ledger that balances, unless ``started`` is given."""
    terms = dict.fromkeys(("completed", "failed", "removed", "cut", "crashed", "lost"), 0) | {
        name: number for name, number in counts.items() if name not in ("started", "launch_failed", "offers_lost")
    }
    started = counts.get("started", live + sum(number or 0 for number in terms.values()))
    return LedgerCounts(
        started=started,
        active=live,
        launch_failed=counts.get("launch_failed", 0),
        offers_lost=counts.get("offers_lost", 0),
        **terms,
    )


def report(
    boot: str | None = "boot-1",
    *,
    version: str | None = "v1",
    state: str | None = "serving",
    live: int = 0,
    counts: dict[str, int | None] | None = None,
    worker_id: str | None = None,
    agent: str | None = None,
    reported_load: float | None = None,
    drain: DrainInfo | None = None,
    died: tuple[str, int] | None = None,
    **fields: Any,
) -> RuntimeSnapshot:
    """What one of our own workers reports. ``died``: the boot before it and how many calls that left open."""
    draining = state in ("draining", "drained", "exited")
    whole: dict[str, Any] = {
        "deployment_version": version,
        "draining": draining,
        "active_sessions": live,
        "worker_id": worker_id if worker_id is not None else f"worker-of-{boot}",
        "boot_id": boot,
        "state": state,
        "accepting": state == "serving",
        "ledger": ledger(live, **(counts or {})),
        "drain": drain,
        "livekit": LiveKitInfo(connected=True, agent_name=agent or "", reported_load=reported_load),
        "previous_boot": PreviousBoot(
            boot_id=died[0], open_calls=[OpenCall(room=f"r{n}", job=f"j{n}") for n in range(died[1])]
        )
        if died
        else None,
    }
    return RuntimeSnapshot(**(whole | fields))


def plain(version: str | None = "v1", *, draining: bool = False, live: int = 0, **fields: Any) -> RuntimeSnapshot:
    """What a plain OpenRTC worker reports: the required keys, and those of its own that are given."""
    return RuntimeSnapshot(deployment_version=version, draining=draining, active_sessions=live, **fields)


class Scene:
    """A fleet whose time only moves when told to."""

    def __init__(
        self, *keys: str, beat: float = 1.0, rollout: Pair | None = None, verifier: Verifier | None = None
    ) -> None:
        self.now = START
        self.fleet = Fleet("voice", beat=beat, rollout=rollout, clock_text=utc, verifier=verifier)
        self.targets(*keys)

    def targets(self, *keys: str | Target) -> None:
        """The fleet file names exactly these."""
        named = tuple(key if isinstance(key, Target) else Target(key, f"http://{key}.test:9464") for key in keys)
        fold(self.fleet, TargetsSeen(named), self.now)

    def wait(self, seconds: float, *, hearing: Sequence[str] = (), looking: bool = True) -> None:
        """Time passes; the workers in *hearing* send a heartbeat each second."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1.0)
            for key in hearing:
                fold(self.fleet, HeartbeatSeen(key), self.now)
            if looking:
                view(self.fleet, self.now)

    def hear(
        self, key: str, snapshot: RuntimeSnapshot, *, bye: bool = False, via: Literal["events", "poll"] = "events"
    ) -> None:
        fold(self.fleet, SnapshotSeen(key, snapshot, b"{}", via=via, bye=bye), self.now)

    def beat(self, key: str) -> None:
        fold(self.fleet, HeartbeatSeen(key), self.now)

    def fail(self, key: str, kind: FailureKind, detail: str = "") -> None:
        fold(self.fleet, ContactFailed(key, kind, detail), self.now)

    def die(self, key: str) -> None:
        """Its process is gone: the connection breaks, and the next one is refused."""
        self.fail(key, "broken", "the event stream ended without a goodbye")
        self.fail(key, "refused", "connection refused")

    def pods(self, *pods: PodSeen) -> None:
        """The platform shows exactly these."""
        fold(self.fleet, PodsSeen(pods), self.now)

    def audit(self, key: str, event: str, **fields: Any) -> None:
        fold(self.fleet, AuditSeen(key, {"event": event, **fields}), self.now)

    def view(self) -> FleetView:
        return view(self.fleet, self.now)

    def row(self, key: str) -> WorkerRow:
        row = self.view().row(key)
        assert row is not None, f"no row {key}"
        return row

    def verdict(self, key: str) -> Verdict:
        return self.row(key).verdict

    def lines(self) -> list[str]:
        """The event lines, text and detail."""
        return [f"{line.text} | {line.detail}" if line.detail else line.text for line in self.view().events]
