"""Carrying out what the lifecycle decided: LiveKit told, calls cut or killed, the audit written."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openrtc_worker.contract import audit
from openrtc_worker.lifecycle import (
    CutDue,
    Decision,
    Decisions,
    Drain,
    DrainCompleted,
    DrainShortened,
    DrainStarted,
    Exit,
    KillDue,
    Lifecycle,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection

    from openrtc_worker.calls import Calls
    from openrtc_worker.control.target import Requester
    from openrtc_worker.trail import Trail

logger = logging.getLogger(__name__)


class Deeds:
    """Does one decision after another, on the worker's loop.

    Args:
        lifecycle: whose decisions they are; it is told when everything is killed.
        calls: what is cut and killed.
        trail: where it is written down.
        clock: Unix seconds.
        tell_full: tells LiveKit that this worker is full, now and for good.
        kill_jobs: kills job processes.
        over: called when the boot is over.
        lock: the boot's. It is held while the lifecycle is told, and never while anything is logged or audited: a
            handler or a sink of the user's may ask for a snapshot, which takes it too.
    """

    def __init__(
        self,
        *,
        lifecycle: Lifecycle,
        calls: Calls,
        trail: Trail,
        clock: Callable[[], float],
        tell_full: Callable[[], None],
        kill_jobs: Callable[[Collection[int]], None],
        over: Callable[[], None],
        lock: threading.RLock,
    ) -> None:
        self._lifecycle = lifecycle
        self._calls = calls
        self._trail = trail
        self._clock = clock
        self._tell_full = tell_full
        self._kill_jobs = kill_jobs
        self._over = over
        self._lock = lock

    def do(self, decision: Decision, by: Requester) -> Decisions:
        """Carry *decision* out; returns what follows from that."""
        match decision:
            case DrainStarted(drain):
                self._start_drain(drain, by)
            case DrainShortened(drain):
                self._trail.act(audit.DEPLOYMENT_DRAIN_SHORTENED, by, deadline=drain.deadline)
            case CutDue():
                logger.warning("the drain's deadline passed: ending %d calls", self._calls.ledger.active)
                self._calls.cut_all()
            case KillDue():
                return self._kill()
            case DrainCompleted(result):
                self._complete_drain(result)
            case Exit(code):
                logger.info("exit code %d (%s)", code, code.name.lower().replace("_", " "))
                self._over()
        return ()

    def _start_drain(self, drain: Drain, by: Requester) -> None:
        self._tell_full()  # before anything that takes time: every offer until then is a detour for its caller
        logger.info("drain begun by %s (%s)", drain.actor, drain.source)
        active = self._calls.ledger.active
        self._trail.act(audit.DEPLOYMENT_DRAIN_STARTED, by, deadline=drain.deadline, active=active)

    def _kill(self) -> Decisions:
        logger.error("%d calls could not be ended: killing them", self._calls.ledger.active)
        try:
            self._kill_jobs(self._calls.live_pids)
        except Exception:  # whatever could not be killed: the drain ends now, and the process with all below it
            logger.exception("killing the calls' processes failed")
        self._calls.end_all()
        with self._lock:
            now, pending = self._clock(), self._calls.gate.pending
            cut = self._calls.ledger.cut
            counted = self._lifecycle.calls_changed(now, live=0, pending=pending, cut=cut)
            return counted + self._lifecycle.all_killed(now)

    def _complete_drain(self, result: str) -> None:
        counts = self._calls.ledger.counts()
        drain = self._lifecycle.drain
        logger.info(
            "drained: %s calls completed, %s failed, %s dropped", counts.completed, counts.failed, counts.dropped
        )
        self._trail.act(
            audit.DEPLOYMENT_DRAIN_COMPLETED,
            result=result,
            seconds=0.0 if drain is None else self._clock() - drain.started_at,
            **{name: getattr(counts, name) for name in counts.__struct_fields__},
        )
        if result != "ok":
            logger.warning("%s calls were cut", counts.cut)
