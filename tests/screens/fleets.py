"""Fleets made by hand, at one fixed instant: what the screens are shown and photographed with."""

from __future__ import annotations

from datetime import UTC, datetime

from openrtc_tui.state.view import (
    EventLine,
    Finding,
    FleetView,
    Rollout,
    Verdict,
    VerdictWord,
    VersionLine,
    WorkerRow,
    WorkerState,
)
from openrtc_worker.contract.snapshot import (
    DrainInfo,
    LedgerCounts,
    Limits,
    LiveKitInfo,
    ResidentSet,
    RuntimeSnapshot,
    encode_json,
)

AT = datetime(2026, 3, 3, 14, 6, 4, tzinfo=UTC).timestamp()
"""The instant that every fleet here is seen at."""

FALLING = (12, 11, 9, 8, 6, 5, 4)
RISING = (1, 2, 3, 4, 6, 7, 8)
OPEN = Verdict(VerdictWord.OPEN)
PROVEN = Verdict(VerdictWord.PROVEN)


def at(clock: str) -> float:
    """A time of day of the instant's date, as Unix seconds."""
    hour, minute, second = map(int, clock.split(":"))
    return datetime(2026, 3, 3, hour, minute, second, tzinfo=UTC).timestamp()


def snapshot(
    name: str,
    version: str | None,
    calls: int,
    *,
    state: str = "serving",
    drain_by: str | None = None,
    deadline: float | None = None,
    agent: str | None = "booking",
) -> RuntimeSnapshot:
    """A snapshot as a healthy worker of that version would send it."""
    return RuntimeSnapshot(
        schema=1,
        deployment_version=version,
        draining=state in ("draining", "drained"),
        active_sessions=calls,
        timestamp=AT,
        uptime_seconds=5400.0,
        worker_id=f"{name}-id",
        boot_id=f"boot-{name}",
        seq=41,
        state=state,
        accepting=state == "serving",
        max_sessions=25,
        load=calls / 25,
        ledger=LedgerCounts(
            started=130 + calls,
            completed=128,
            failed=1,
            removed=1,
            cut=0,
            crashed=0,
            lost=0,
            active=calls,
            launch_failed=0,
            offers_lost=0,
        ),
        rejected={"capacity": 3, "cordoned": 1},
        oldest_session_seconds=231.0 if calls else None,
        loop_lag_ms=2.4,
        last_error="TimeoutError: the tool lookup_order took longer than 8 s",
        resident_set=ResidentSet(bytes=412_000_000, metric="rss", description="resident set size"),
        limits=Limits(drain_timeout=3600, cut_grace=30, drain_linger=3, after_drain="exit"),
        livekit=LiveKitInfo(
            worker_id=f"AW_{name}", connected=True, connected_since=at("12:36:10"), agent_name=agent, sdk="1.8.9"
        ),
        drain=DrainInfo(
            source="http",
            actor=drain_by,
            reason="rollout 214",
            op_id="op-7f3a",
            started_at=at("14:02:12"),
            deadline=deadline,
        )
        if drain_by
        else None,
    )


def worker(
    name: str,
    version: str | None,
    state: WorkerState,
    calls: int,
    *,
    oldest: float | None = None,
    age: float = 0.4,
    trend: tuple[int, ...] = RISING,
    deadline: float | None = None,
    findings: tuple[Finding, ...] = (),
    verdict: Verdict = OPEN,
    silent_since: float | None = None,
    last_failure: str | None = None,
    region: str | None = None,
    agent: str | None = "booking",
    tenants: dict[str, int] | None = None,
) -> WorkerRow:
    """One row, with a snapshot that agrees with it."""
    reported = state if state not in (WorkerState.LOST, WorkerState.STALE) else "draining"
    drained_by = "alice" if state in (WorkerState.DRAINING, WorkerState.LOST, WorkerState.DRAINED) else None
    made = snapshot(name, version, calls, state=str(reported), drain_by=drained_by, deadline=deadline, agent=agent)
    return WorkerRow(
        key=name,
        target=name,
        url=f"http://10.0.0.{10 + sum(name.encode()) % 90}:9464",
        region=region,
        version=version,
        worker_id=made.worker_id,
        boot_id=made.boot_id,
        state=state,
        accepting=state is WorkerState.SERVING,
        calls=calls,
        max_sessions=25,
        load=calls / 25,
        oldest_seconds=oldest,
        deadline=deadline,
        drain_started_at=at("14:02:12") if drained_by else None,
        age_seconds=age,
        silent_since=silent_since,
        trend=trend,
        by_agent={"booking": calls} if calls else {},
        by_tenant=tenants if tenants is not None else ({"acme": calls - 1, "globex": 1} if calls > 1 else {}),
        findings=findings,
        verdict=verdict,
        snapshot=made,
        raw=encode_json(made),
        via="events",
        last_failure=last_failure,
    )


def serving(name: str, calls: int, oldest: float, *, version: str = "v2.0.0", age: float = 0.2) -> WorkerRow:
    return worker(name, version, WorkerState.SERVING, calls, oldest=oldest, age=age)


EMPTY = FleetView(fleet="voice-prod", at=AT)

STEADY = FleetView(
    fleet="voice-prod",
    at=AT,
    rows=(
        serving("voice-a-1", 9, 724, version="v1.0.0"),
        serving("voice-a-2", 4, 231, version="v1.0.0", age=1.2),
        serving("voice-a-3", 11, 190, version="v1.0.0"),
        serving("voice-a-4", 6, 95, version="v1.0.0"),
    ),
    versions=(
        VersionLine(
            version="v1.0.0",
            calls=30,
            trend=(24, 26, 25, 27, 29, 28, 30, 31, 29, 30),
            workers=4,
            by_state=((WorkerState.SERVING, 4),),
            room=70,
            last_started_at=at("14:06:01"),
        ),
    ),
    events=(EventLine(at=at("12:36:10"), text="voice-a-1 … voice-a-4 serving", detail="4 workers", severity="good"),),
    heard=4,
    targets=4,
)

_DRAIN_DEADLINE = at("14:57:12")

_LEAVING = (
    worker("voice-a-1", "v1.0.0", WorkerState.DRAINING, 9, oldest=724, trend=FALLING, deadline=_DRAIN_DEADLINE - 1),
    worker("voice-a-2", "v1.0.0", WorkerState.DRAINING, 4, oldest=231, trend=FALLING, deadline=_DRAIN_DEADLINE),
    worker(
        "voice-a-3",
        "v1.0.0",
        WorkerState.DRAINING,
        11,
        oldest=2850,
        trend=(11,) * 7,
        deadline=_DRAIN_DEADLINE,
        findings=(Finding("still_taking_calls", "still taking calls: the last one began at 14:05:01"),),
    ),
)

_TAKING = tuple(
    serving(f"voice-b-{number}", calls, oldest)
    for number, calls, oldest in ((1, 8, 190), (2, 10, 211), (3, 9, 182), (4, 8, 168), (5, 9, 200), (6, 9, 195))
)

_STARTING = WorkerRow(
    key="voice-b-7",
    target="voice-b-7",
    url="http://10.0.0.77:9464",
    version="v2.0.0",
    worker_id="voice-b-7-id",
    boot_id="boot-voice-b-7",
    state=WorkerState.STARTING,
    accepting=False,
    calls=0,
    max_sessions=25,
    load=0.0,
    age_seconds=0.2,
    snapshot=snapshot("voice-b-7", "v2.0.0", 0, state="starting"),
    via="events",
)

_DRAINING_LAST = worker(
    "voice-a-5", "v1.0.0", WorkerState.DRAINING, 7, oldest=495, trend=FALLING, deadline=_DRAIN_DEADLINE
)

_VERSIONS = (
    VersionLine(
        version="v1.0.0",
        role="leaving",
        calls=37,
        trend=(61, 60, 58, 55, 52, 48, 45, 42, 39, 37),
        workers=5,
        by_state=((WorkerState.DRAINING, 5),),
        deadline=_DRAIN_DEADLINE,
        last_started_at=at("14:02:31"),
    ),
    VersionLine(
        version="v2.0.0",
        role="taking",
        calls=61,
        trend=(4, 9, 15, 22, 30, 38, 45, 51, 56, 61),
        workers=7,
        by_state=((WorkerState.SERVING, 6), (WorkerState.STARTING, 1)),
        room=79,
        last_started_at=at("14:06:02"),
    ),
)

MID_DRAIN = FleetView(
    fleet="voice-prod",
    at=AT,
    rows=(
        *_LEAVING,
        worker("voice-a-4", "v1.0.0", WorkerState.DRAINING, 6, oldest=610, trend=FALLING, deadline=_DRAIN_DEADLINE),
        _DRAINING_LAST,
        *_TAKING,
        _STARTING,
    ),
    versions=_VERSIONS,
    rollout=Rollout(from_version="v1.0.0", to_version="v2.0.0", started_at=at("14:01:52"), verdict=OPEN),
    verdict=OPEN,
    verdict_reason="5 workers of v1.0.0 still hold 37 calls",
    events=(
        EventLine(at=at("14:01:52"), text="voice-b-1 … voice-b-6 serving", detail="6 workers", severity="good"),
        EventLine(at=at("14:02:11"), text="alice drained voice-a-1", detail="9 calls"),
        EventLine(at=at("14:02:12"), text="alice drained voice-a-2 … voice-a-5", detail="4 workers · 28 calls"),
        EventLine(at=at("14:05:01"), text="voice-a-3 still taking calls", detail="11 calls", severity="warning"),
    ),
    heard=12,
    targets=12,
)

_LOST_VERDICT = Verdict(VerdictWord.UNPROVEN, 0, 6)

LOST = FleetView(
    fleet="voice-prod",
    at=AT,
    rows=(
        *_LEAVING,
        worker(
            "voice-a-4",
            "v1.0.0",
            WorkerState.LOST,
            6,
            age=204,
            trend=(9, 8, 7, 6),
            deadline=_DRAIN_DEADLINE,
            verdict=_LOST_VERDICT,
            silent_since=at("14:02:40"),
            last_failure="connection refused",
        ),
        _DRAINING_LAST,
        *_TAKING,
        _STARTING,
    ),
    versions=(
        VersionLine(
            version="v1.0.0",
            role="leaving",
            calls=37,
            trend=_VERSIONS[0].trend,
            workers=5,
            by_state=((WorkerState.DRAINING, 4), (WorkerState.LOST, 1)),
            deadline=_DRAIN_DEADLINE,
            last_started_at=at("14:02:31"),
        ),
        _VERSIONS[1],
    ),
    rollout=Rollout(from_version="v1.0.0", to_version="v2.0.0", started_at=at("14:01:52"), verdict=_LOST_VERDICT),
    verdict=_LOST_VERDICT,
    verdict_reason="voice-a-4 unreachable with 6 calls since 14:02:40",
    events=(
        EventLine(at=at("14:02:11"), text="alice drained voice-a-1", detail="9 calls"),
        EventLine(at=at("14:02:12"), text="alice drained voice-a-2 … voice-a-5", detail="4 workers · 28 calls"),
        EventLine(at=at("14:02:40"), text="voice-a-4 unreachable", detail="6 calls", severity="bad"),
        EventLine(at=at("14:05:01"), text="voice-a-3 still taking calls", detail="11 calls", severity="warning"),
    ),
    heard=11,
    targets=12,
)
