"""Workers that their platform ends: pods that are being ended, and pods that are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.durations import duration
from openrtc_tui.state import happenings, sane
from openrtc_tui.state.events import calls_text
from openrtc_tui.state.view import Finding, WorkerState

if TYPE_CHECKING:
    from openrtc_tui.state.boot import Boot
    from openrtc_tui.state.fleet import Fleet
    from openrtc_tui.state.observation import PodSeen
    from openrtc_tui.state.worker import Worker

TERMINATING: Final = "terminating"
GRACE_TOO_SHORT: Final = "grace_too_short"
DRAINED_WAITING: Final = "drained_waiting"

GRACE_SPARE: Final = 10.0
"""Seconds of grace that a worker needs beyond what a drain, its cuts and its goodbye may take."""


def pods_seen(fleet: Fleet, pods: tuple[PodSeen, ...], now: float) -> None:
    """The platform shows these pods and no others."""
    if not fleet.pods.take(pods):
        return
    for worker in fleet.workers.values():
        for boot in worker.boots():
            pod = fleet.pods.of(boot.snapshot.platform)
            if pod is not None and pod != boot.pod:
                _pod_changed(fleet, worker, boot, pod, now)


def _pod_changed(fleet: Fleet, worker: Worker, boot: Boot, pod: PodSeen, now: float) -> None:
    before, boot.pod = boot.pod, pod
    present = boot is worker.boot
    if present and not pod.gone and pod.killed_at is not None and (before is None or before.killed_at is None):
        happenings.terminating(fleet.log, worker.key, worker.calls, now)
    if not pod.gone or (before is not None and before.gone):
        if present:
            fleet.settle(worker, now)
        return
    died = boot.kill(now if pod.killed_at is None else min(now, pod.killed_at), pod.exit_code)
    if died:
        happenings.killed(fleet.log, worker.key, died, now)
    if present:
        fleet.settle(worker, now)
    else:
        boot.weigh(gone=True)
        fleet.order = fleet.judgement = None


def kill_at(worker: Worker, boot: Boot) -> float | None:
    """When its platform kills what is left of it; None where it is not being ended, or is over."""
    pod = boot.pod
    over = worker.state in (WorkerState.LOST, WorkerState.EXITED)
    return None if pod is None or pod.gone or over else pod.killed_at


def findings_of_ending(worker: Worker, boot: Boot, now: float) -> tuple[Finding, ...]:
    """What there is to know of how the platform ends it, or would."""
    at = kill_at(worker, boot)
    if at is not None:
        if not boot.live:
            return (Finding(TERMINATING, "terminating, no call live", "info"),)
        left = f"killed in {duration(at - now)} unless empty"
        return (Finding(TERMINATING, f"terminating, {calls_text(boot.live)} live, {left}"),)
    if worker.state in (WorkerState.LOST, WorkerState.EXITED):
        return ()
    found = _grace_finding(boot)
    if worker.state is WorkerState.DRAINED and _waits(boot):
        found += (Finding(DRAINED_WAITING, "drained, waiting: scale down or roll out to remove", "info"),)
    return found


def _grace_finding(boot: Boot) -> tuple[Finding, ...]:
    """A platform that kills sooner than a drain may take drops calls at the next rollout."""
    told, limits = boot.snapshot.platform, boot.snapshot.limits
    grace = boot.pod.grace_seconds if boot.pod is not None else None
    if grace is None and told is not None:
        grace = told.grace_seconds
    grace = sane.duration(grace)
    drain = sane.duration(limits.drain_timeout) if limits is not None else None
    if grace is None or drain is None or limits is None:
        return ()
    needed = drain + (limits.cut_grace or 0.0) + (limits.drain_linger or 0.0) + GRACE_SPARE
    if grace >= needed:
        return ()
    text = f"its platform kills it {duration(grace)} after SIGTERM, a drain may take {duration(needed)}"
    return (Finding(GRACE_TOO_SHORT, text),)


def _waits(boot: Boot) -> bool:
    """Whether it stays until the platform ends it: to exit would only bring the same version back."""
    limits = boot.snapshot.limits
    after = limits.after_drain if limits is not None else None
    if after == "wait":
        return True
    drain = boot.snapshot.drain
    by_signal = drain is not None and drain.source == "signal"
    told = boot.snapshot.platform
    return after == "auto" and told is not None and told.kind == "kubernetes" and not by_signal
