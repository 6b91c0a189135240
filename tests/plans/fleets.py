"""Fleets by hand, as few words as the test needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from openrtc_tui.operations.plans.progress import replay
from openrtc_tui.operations.plans.sight import subject_of
from openrtc_tui.state.view import Finding, FleetView, Rollout, Verdict, VerdictWord, WorkerRow, WorkerState
from openrtc_worker.contract.snapshot import (
    DrainInfo,
    Limits,
    LiveKitInfo,
    ManifestInfo,
    PlatformInfo,
    RuntimeSnapshot,
)

if TYPE_CHECKING:
    from openrtc_tui.operations.plans.plan import Plan, Progress

NOW = 1_000.0
OPEN = Verdict(VerdictWord.OPEN)
PROVEN = Verdict(VerdictWord.PROVEN)


def violated(count: int) -> Verdict:
    return Verdict(VerdictWord.VIOLATED, count, count)


def worker(
    key: str,
    version: str | None = "v1",
    *,
    state: str = "serving",
    calls: int | None = 0,
    room: int | None = 10,
    agent: str = "",
    deployment: str | None = None,
    held: tuple[int, tuple[str, ...]] | None = None,
    shown: WorkerState | None = None,
    ready: bool | None = None,
    connected: bool | None = True,
    findings: tuple[str, ...] = (),
    verdict: Verdict = OPEN,
    drain_timeout: float | None = 600.0,
    grace: float | None = None,
    drained_by: str | None = None,
    uptime: float | None = 5_000.0,
    boot: str | None = None,
    **more: Any,
) -> WorkerRow:
    """A worker whose own state is *state*; ``held`` is the manifest that it shows, as (seq, active)."""
    allows = held is None or (version is not None and version in held[1])
    effective = WorkerState(state)
    if state == "serving" and not allows:
        effective = WorkerState.GATED
    snapshot = RuntimeSnapshot(
        deployment_version=version,
        draining=state in {"draining", "drained", "exited"},
        active_sessions=calls or 0,
        uptime_seconds=uptime,
        state=state,
        livekit=LiveKitInfo(agent_name=agent, deployment=deployment, connected=connected),
        limits=Limits(drain_timeout=drain_timeout, cut_grace=30.0, drain_linger=5.0),
        manifest=ManifestInfo(seq=held[0], active=list(held[1]), allows=allows) if held is not None else None,
        platform=PlatformInfo(kind="kubernetes", grace_seconds=grace) if grace is not None else None,
        drain=DrainInfo(source=drained_by) if drained_by is not None else None,
    )
    state_shown = shown or effective
    return WorkerRow(
        key=key,
        target=more.pop("target", key),
        url=f"http://{key}:9464",
        version=version,
        worker_id=f"id-{key}",
        boot_id=boot or f"boot-{key}",
        state=state_shown,
        accepting=more.pop("accepting", state == "serving" and allows and bool(connected)),
        calls=calls,
        max_sessions=None if room is None else (calls or 0) + room,
        ready_to_take=ready if ready is not None else state_shown.value in {"serving", "gated"} and bool(connected),
        findings=tuple(Finding(code, code.replace("_", " ")) for code in findings),
        verdict=verdict,
        snapshot=snapshot,
        settled=more.pop("settled", verdict.word is not VerdictWord.OPEN or state_shown in _ENDED),
        **more,
    )


_ENDED = (WorkerState.DRAINED, WorkerState.EXITED, WorkerState.LOST)


def unheard(key: str) -> WorkerRow:
    """A target that this dashboard has not heard yet."""
    return WorkerRow(key=key, target=key, url=f"http://{key}:9464")


def fleet(*rows: WorkerRow, rollout: tuple[str, str] | None = None, at: float = NOW) -> FleetView:
    pair = (
        Rollout(from_version=rollout[0], to_version=rollout[1], started_at=None, verdict=OPEN)
        if rollout is not None
        else None
    )
    return FleetView(fleet="test", at=at, rows=rows, rollout=pair)


class Journal:
    """The lines of one plan, as an executor writes them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lines: list[dict[str, Any]] = []
        self.write("plan.begun")

    def write(self, event: str, *, at: float = NOW, **fields: Any) -> Progress:
        self.lines.append({"event": event, "timestamp": at, "plan_id": self.plan.plan_id} | fields)
        return self.progress

    @property
    def progress(self) -> Progress:
        return replay(self.plan, self.lines)

    def to_step(self, index: int, *, at: float = NOW) -> Progress:
        while self.progress.step < index:
            self.write("step.done", at=at, detail="")
        return self.progress

    def asked(self, row: WorkerRow, op_id: str, *, at: float = NOW, wave: int = 1, **outcome: Any) -> Progress:
        subject = msgspec.to_builtins(subject_of(row))
        self.write("op.intent", at=at, op_id=op_id, action="drain", subject=subject, wave=wave)
        if outcome:
            self.write("op.outcome", at=at, op_id=op_id, **outcome)
        return self.progress
