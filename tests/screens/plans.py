"""Plans and runs made by hand, about the fleets beside them."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from openrtc_tui.operations.plans.plan import (
    DrainStep,
    Need,
    Objection,
    Plan,
    Progress,
    PublishStep,
    QuietStep,
    ReadyStep,
    Room,
    Run,
    StartStep,
    Step,
    Subject,
    WatchStep,
)
from openrtc_tui.state.view import FleetView, VersionLine, WorkerRow, WorkerState
from openrtc_worker.contract.snapshot import ManifestInfo
from tests.screens import fleets

OLD, NEW = "v1.0.0", "v2.0.0"


def holding(row: WorkerRow, seq: int, *active: str) -> WorkerRow:
    """The same worker, verified, with that manifest: gated where it is not named."""
    allows = row.version in active
    assert row.snapshot is not None
    held = ManifestInfo(seq=seq, active=list(active), allows=allows)
    shown = msgspec.structs.replace(row.snapshot, manifest=held, accepting=allows)
    state = WorkerState.SERVING if allows else WorkerState.GATED
    return replace(row, snapshot=shown, state=state, accepting=allows, verified=True, ready_to_take=True)


_OLD_ROWS = tuple(
    holding(
        fleets.worker(f"voice-a-{number}", OLD, WorkerState.SERVING, calls, oldest=age, trend=fleets.FALLING), 7, NEW
    )
    for number, calls, age in ((1, 5, 724), (2, 2, 1231), (3, 7, 990))
)
_NEW_ROWS = tuple(
    holding(fleets.serving(f"voice-b-{number}", calls, age), 7, NEW)
    for number, calls, age in ((1, 8, 190), (2, 10, 211), (3, 9, 182))
)

GATED = replace(
    fleets.MID_DRAIN,
    rows=(*_OLD_ROWS, *_NEW_ROWS),
    versions=(
        VersionLine(
            version=OLD,
            role="leaving",
            calls=14,
            trend=(30, 28, 25, 22, 20, 19, 17, 16, 15, 14),
            workers=3,
            by_state=((WorkerState.GATED, 3),),
            last_started_at=fleets.at("14:02:31"),
        ),
        VersionLine(
            version=NEW,
            role="taking",
            calls=27,
            trend=(4, 6, 9, 11, 14, 17, 20, 23, 25, 27),
            workers=3,
            by_state=((WorkerState.SERVING, 3),),
            room=48,
            last_started_at=fleets.at("14:06:02"),
        ),
    ),
    verdict_reason="3 workers of v1.0.0 still hold 14 calls",
    events=(
        fleets.EventLine(at=fleets.at("14:01:52"), text="voice-b-1 … voice-b-3 serving", detail="3 workers"),
        fleets.EventLine(at=fleets.at("14:02:12"), text="alice promoted v2.0.0", detail="manifest 7"),
        fleets.EventLine(at=fleets.at("14:02:13"), text="voice-a-1 … voice-a-3 gated", detail="14 calls live"),
    ),
    heard=6,
    targets=6,
)
"""v2.0.0 was promoted: v1.0.0 keeps its calls and takes none."""


def subjects(version: str) -> tuple[Subject, ...]:
    return tuple(
        Subject(key=row.key, url=row.url, worker_id=f"{row.key}-id", boot_id=f"boot-{row.key}", version=version)
        for row in GATED.rows
        if row.version == version
    )


def plan(kind: str, to: str, away: str, *steps: Step, **more: object) -> Plan:
    facts: dict[str, object] = {
        "plan_id": "4f1d2c7a9be03356",
        "calls": 27,
        "oldest_seconds": 211.0,
        "before": (
            Room(version=OLD, workers=3, places=61, calls=14),
            Room(version=NEW, workers=3, places=48, calls=27),
        ),
        "after": (
            Room(version=OLD, workers=3, places=61, calls=14),
            Room(version=NEW, workers=0, places=0, calls=27),
        ),
        "operator": "alice",
        **more,
    }
    return msgspec.convert(
        {"kind": kind, "fleet": "voice-prod", "made_at": fleets.AT, "to_version": to, "from_version": away}
        | msgspec.to_builtins({**facts, "steps": steps}),
        Plan,
    )


_SWITCH = (PublishStep(active=(OLD,)), QuietStep(version=NEW, within=30.0))
_DRAIN = (DrainStep(subjects=subjects(NEW), wave=5, version=NEW), WatchStep(version=NEW))

PROMOTE = plan(
    "promote",
    NEW,
    OLD,
    PublishStep(active=(NEW,)),
    QuietStep(version=OLD, within=30.0),
    calls=14,
    oldest_seconds=1231.0,
    after=(Room(version=OLD, workers=0, places=0, calls=14), Room(version=NEW, workers=3, places=48, calls=27)),
)

BACK = msgspec.structs.replace(
    PROMOTE,
    to_version=OLD,
    from_version=NEW,
    steps=_SWITCH,
    calls=27,
    oldest_seconds=211.0,
    after=(Room(version=OLD, workers=3, places=61, calls=14), Room(version=NEW, workers=0, places=0, calls=27)),
)
"""What P offers while v2.0.0 has the calls: v1.0.0."""

ROLLBACK = plan("rollback", OLD, NEW, *_SWITCH, *_DRAIN, challenge=OLD)

COLD_ROLLBACK = plan(
    "rollback",
    OLD,
    NEW,
    PublishStep(active=(OLD, NEW)),
    StartStep(version=OLD),
    ReadyStep(version=OLD, needs=(Need(agent_name="booking", deployment="", room=27),), within=600.0),
    *_SWITCH,
    *_DRAIN,
    challenge=OLD,
    peak=9,
    before=(Room(version=NEW, workers=3, places=48, calls=27),),
    after=(Room(version=OLD, workers=3, places=75, calls=0),),
    objections=(
        Objection(
            code="grace_too_short",
            text="The pods of v2.0.0 are killed 30s after their end began, and may drain for 1h: calls would be"
            " dropped. Raise terminationGracePeriodSeconds to 3643.",
        ),
        Objection(
            code="gitops",
            text="The Deployment carries Argo CD's marks: it brings v2.0.0 back unless the change is made there too.",
        ),
    ),
)

BLOCKED = msgspec.structs.replace(
    COLD_ROLLBACK,
    objections=(
        Objection(
            code="paused", text="The Deployment is paused: a patch is accepted and starts nothing.", blocks=True
        ),
        *COLD_ROLLBACK.objections[1:],
    ),
)

OVERRIDE = msgspec.structs.replace(
    BACK,
    challenge="SWITCH",
    objections=(
        Objection(
            code="room_short",
            text="v1.0.0 has one worker ready to take calls, with room for 3; 27 calls are live on v2.0.0.",
            blocks=True,
            override="SWITCH",
        ),
    ),
)

RUNNING = Run(
    plan=ROLLBACK,
    progress=Progress(step=2, since=fleets.AT - 54, seq=8),
    doing="drains v2.0.0, wave 1 of 1: 19 of 27 calls live on 3 workers",
    until=fleets.AT + 1740,
    next="watch v2.0.0 until its verdict is known",
    done=("manifest 8 published: v1.0.0 alone takes new calls", "v2.0.0 takes no new call since 14:05:10"),
)

ELSEWHERE = msgspec.structs.replace(RUNNING, word="elsewhere", by="alice, process 4711")

_LEFT = ("drain v2.0.0 in waves of 5: 3 workers with 19 calls", "watch v2.0.0 until its verdict is known")

INTERRUPTED = msgspec.structs.replace(
    RUNNING,
    word="interrupted",
    until=None,
    next="",
    not_done=("drain v2.0.0 (3 now)", "watch v2.0.0 until every worker has ended and the verdict is known"),
    why="interrupted at 14:05:10: nobody carries it out",
)

FAILED = msgspec.structs.replace(
    RUNNING,
    plan=COLD_ROLLBACK,
    progress=Progress(step=2, since=fleets.AT - 600),
    word="failed",
    done=("manifest 8 published: v1.0.0 and v2.0.0 take new calls", "v1.0.0 asked of the platform: 3 pods start"),
    not_done=(
        "wait until enough workers of v1.0.0 are ready",
        "publish a manifest: v1.0.0 alone takes new calls",
        "wait until v2.0.0 takes no new call",
        *_LEFT,
    ),
    why="no worker of v1.0.0 was ready to take calls within 10m; both versions take calls now",
)

DONE = msgspec.structs.replace(
    RUNNING,
    word="done",
    progress=Progress(step=4, since=fleets.AT),
    doing="",
    until=None,
    next="",
    done=(*RUNNING.done, "v2.0.0 drained: 3 workers", "v2.0.0 is left: dropped 0 PROVEN"),
)


def left_behind(view: FleetView = GATED) -> FleetView:
    """The same fleet after the rollback's switch."""
    return replace(view, rows=tuple(holding(row, 8, OLD) for row in view.rows))


def terminating() -> FleetView:
    """v2.0.0 is being ended by its platform while calls are live."""
    rows = tuple(
        replace(row, state=WorkerState.DRAINING, accepting=False, killed_at=fleets.AT + 250)
        if row.version == NEW
        else row
        for row in left_behind().rows
    )
    return replace(GATED, rows=rows)


def _line(seq: int, ago: float, event: str, **fields: object) -> dict[str, object]:
    told = {
        "seq": seq,
        "timestamp": fleets.AT - ago,
        "event": event,
        "actor": "alice",
        "result": "ok",
        "version": NEW,
    }
    return told | {"target": "voice-prod"} | fields


_PLAN = {"plan_id": "4f1d2c7a9be03356"}
_DRAINED = {"op_id": "9c3e51f07d2ab846", "target": "voice-a-2-id", "version": OLD, **_PLAN}

JOURNAL: list[dict[str, object]] = [
    _line(1, 90_000, "plan.begun", kind="promote", reason="rollout 213", plan_id="01aa"),
    _line(2, 89_990, "plan.ended", result="done", plan_id="01aa"),
    _line(3, 240, "plan.begun", kind="drain", reason="rollout 214", **_PLAN),
    _line(4, 232, "op.intent", result="pending", action="drain", reason="rollout 214", timeout=3600.0,
          subject={"key": "voice-a-2", "boot_id": "boot-voice-a-2"}, **_DRAINED),
    _line(5, 231, "op.outcome", result="started", outcome="started", detail="is draining: it takes no new call",
          **_DRAINED),
    _line(6, 200, "op.outcome", result="refused", outcome="refused", detail="acting is off: set operator_keys",
          op_id="77aa0b1c", target="voice-a-3-id", version=OLD),
]  # fmt: skip

WORKER_EVENTS: list[dict[str, object]] = [
    _line(1, 5400, "deployment.started", actor="system", target="voice-id"),
    _line(2, 231.5, "deployment.drain_started", source="http", reason="rollout 214", **_DRAINED),
]
