"""A worker as the control endpoint sees it, without a worker: our own boundary, ``ControlTarget``."""

from __future__ import annotations

import msgspec

from openrtc_worker.contract.audit import AuditLog
from openrtc_worker.contract.snapshot import (
    DrainInfo,
    LedgerCounts,
    Limits,
    LiveKitInfo,
    RuntimeSnapshot,
    SessionInfo,
    State,
)
from openrtc_worker.control.target import ConflictError


def ignored(event):
    """A sink that wants nothing."""


class FakeTarget:
    """Remembers what was asked of it, and is in whatever state a test puts it."""

    def __init__(self, *, worker_id="voice-a-1", boot_id="b00t1"):
        self.worker_id = worker_id
        self.boot_id = boot_id
        self.audit_log = AuditLog(sink=ignored)
        self.ready = True
        self.calls = []
        self.session_list = []
        self.snapshots_taken = 0
        self.fail_with = None
        self.keys_refreshed = 0
        self.refuse_manifest = None
        self._callbacks = []
        self.snapshot = RuntimeSnapshot(
            deployment_version="v1.0.0",
            draining=False,
            active_sessions=3,
            timestamp=1_700_000_000.0,
            worker_id=worker_id,
            boot_id=boot_id,
            seq=0,
            state=State.SERVING,
            accepting=True,
            max_sessions=20,
            sessions_by_agent={"booking": 2, "support": 1},
            sessions_by_tenant={"acme": 3},
            ledger=LedgerCounts(
                started=9, completed=4, failed=1, removed=0, cut=0, crashed=1, lost=0, active=3, offers_lost=2
            ),
            rejected={"capacity": 5, "draining": 1},
            sessions_without_caller=1,
            oldest_session_seconds=61.5,
            loop_lag_ms=4.0,
            limits=Limits(drain_timeout=3600.0),
            livekit=LiveKitInfo(connected=True, agent_name="voice"),
        )

    def runtime_snapshot(self):
        self.snapshots_taken += 1
        if self.fail_with is not None:
            raise self.fail_with
        return self.snapshot

    def sessions(self):
        return tuple(self.session_list)

    def change(self, **fields):
        """Change the snapshot as a worker does: the next ``seq``, and whoever listens is called."""
        self.snapshot = msgspec.structs.replace(self.snapshot, seq=self.snapshot.seq + 1, **fields)
        for callback in tuple(self._callbacks):
            callback()

    def begin_drain(self, *, by, timeout=None):
        self.calls.append(("drain", by, timeout))
        if self.snapshot.draining:
            return "already"
        self.change(
            draining=True,
            accepting=False,
            state=State.DRAINING,
            drain=DrainInfo(source=by.source, actor=by.actor, reason=by.reason, op_id=by.op_id),
        )
        return "started"

    def cordon(self, *, by):
        self.calls.append(("cordon", by))
        if self.snapshot.draining:
            raise ConflictError("the worker is draining, and a drain cannot be undone")
        if self.snapshot.state == State.CORDONED:
            return "already"
        self.change(state=State.CORDONED, accepting=False)
        return "started"

    def uncordon(self, *, by):
        self.calls.append(("uncordon", by))
        if self.snapshot.draining:
            raise ConflictError("the worker is draining, and a drain cannot be undone")
        if self.snapshot.state == State.SERVING:
            return "already"
        self.change(state=State.SERVING, accepting=True)
        return "started"

    async def refresh_release_keys(self):
        self.keys_refreshed += 1

    def install_manifest(self, token, *, by):
        if self.refuse_manifest is not None:
            raise self.refuse_manifest
        self.calls.append(("manifest", by, token))
        return "started"

    def on_change(self, callback):
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)


def a_session(**fields):
    return SessionInfo(**{"job_id": "AJ_1", "room": "room-1", "agent": "booking", "tenant": "acme", **fields})
