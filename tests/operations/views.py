"""Rows and views by hand, as few words as the test needs."""

from __future__ import annotations

from openrtc_tui.state.view import Finding, FleetView, WorkerRow, WorkerState
from openrtc_worker.contract.snapshot import Limits, LiveKitInfo, RuntimeSnapshot

_EFFECTIVE = {state.value: state for state in WorkerState}


def row(
    key: str,
    state: str = "serving",
    *,
    version: str | None = "v1",
    calls: int | None = 0,
    room: int | None = 10,
    agent: str = "",
    deployment: str | None = None,
    shown: WorkerState | None = None,
    boot_id: str = "boot",
    heard: bool = True,
    findings: tuple[str, ...] = (),
    drain_timeout: float | None = 3600,
    **more,
) -> WorkerRow:
    """A worker whose own state is *state*; ``shown`` is the effective one, where it differs."""
    snapshot = RuntimeSnapshot(
        deployment_version=version,
        draining=state in {"draining", "drained", "exited"},
        active_sessions=calls or 0,
        state=state,
        livekit=LiveKitInfo(agent_name=agent, deployment=deployment),
        limits=Limits(drain_timeout=drain_timeout),
    )
    return WorkerRow(
        key=key,
        target=key,
        url=f"http://{key}:9464",
        version=version,
        worker_id=f"id-{key}",
        boot_id=boot_id,
        state=shown or _EFFECTIVE[state],
        accepting=more.pop("accepting", state == "serving"),
        calls=calls,
        max_sessions=None if room is None else (calls or 0) + room,
        findings=tuple(Finding(code, code.replace("_", " ")) for code in findings),
        snapshot=snapshot if heard else None,
        **more,
    )


def view(*rows: WorkerRow) -> FleetView:
    return FleetView(fleet="test", at=1_000.0, rows=rows)
