"""Putting the runtime snapshot together from what the boot's parts know."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openrtc_worker.contract.snapshot import (
    SCHEMA,
    DrainInfo,
    Limits,
    LiveKitInfo,
    ManifestInfo,
    MembershipClaim,
    PlatformInfo,
    PreviousBoot,
    RuntimeSnapshot,
    State,
)
from openrtc_worker.contract.text import printable
from openrtc_worker.environment import resident_set

if TYPE_CHECKING:
    from openrtc_worker.ledger import Ledger
    from openrtc_worker.lifecycle import Lifecycle
    from openrtc_worker.settings import WorkerSettings

LAG_WINDOW = 5.0
"""Seconds over which the worst lateness of the loop is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The connection to LiveKit; ``worker_id`` is LiveKit's id of the present registration."""

    connected: bool = False
    since: float | None = None
    worker_id: str | None = None
    agent_name: str | None = None
    deployment: str | None = None
    sdk: str | None = None


class LoopLag:
    """The worst lateness of the loop in the last :data:`LAG_WINDOW` seconds. Times are monotonic."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def seen(self, late: float, now: float) -> None:
        """The loop was *late* seconds late at *now*."""
        while self._seen and self._seen[-1][1] <= late:  # what is older and smaller can never be the worst again
            self._seen.pop()
        self._seen.append((now, late))

    def worst(self, now: float) -> float | None:
        """In seconds; None before the loop turned."""
        while len(self._seen) > 1 and self._seen[0][0] < now - LAG_WINDOW:
            self._seen.popleft()
        return self._seen[0][1] if self._seen else None


@dataclass(slots=True, kw_only=True)
class Notes:
    """What the parts of a boot noted for the snapshot."""

    started_at: float
    platform: PlatformInfo | None = None
    previous_boot: PreviousBoot | None = None
    registered_agents: int = 0
    last_routed_agent: str | None = None
    last_error: str | None = None
    exit_code: int | None = None
    findings: list[str] = field(default_factory=list)

    def error(self, text: str) -> None:
        self.last_error = printable(text)


def assemble(
    notes: Notes,
    *,
    now: float,
    seq: int,
    boot_id: str,
    worker_id: str,
    fleet: str | None,
    membership: MembershipClaim | None,
    manifest: ManifestInfo | None,
    settings: WorkerSettings,
    lifecycle: Lifecycle,
    ledger: Ledger,
    link: Link,
    reported_load: float,
    loop_lag: float | None,
    findings: list[str],
) -> RuntimeSnapshot:
    """The snapshot at *now* (Unix seconds); ``loop_lag`` is in seconds.

    A worker that a manifest gates is *serving* still: it keeps its calls and does not accept.
    """
    counts = ledger.counts()
    drain = lifecycle.drain
    active = ledger.active
    return RuntimeSnapshot(
        deployment_version=settings.deployment_version,
        draining=lifecycle.draining,
        active_sessions=active,
        timestamp=now,
        uptime_seconds=now - notes.started_at,
        registered_agents=notes.registered_agents,
        total_sessions_started=counts.started,
        total_session_failures=counts.failed,
        last_routed_agent=notes.last_routed_agent,
        last_error=notes.last_error,
        sessions_by_agent=ledger.by_agent(),
        sessions_by_tenant=ledger.by_tenant(),
        resident_set=resident_set(),
        schema=SCHEMA,
        worker_id=worker_id,
        boot_id=boot_id,
        seq=seq,
        fleet=fleet,
        state=lifecycle.state.value,
        accepting=link.connected
        and lifecycle.state is State.SERVING
        and (manifest is None or manifest.allows is True),
        max_sessions=settings.max_concurrent_sessions,
        load=active / settings.max_concurrent_sessions,
        ledger=counts,
        rejected=ledger.rejected,
        sessions_without_caller=ledger.without_caller,
        oldest_session_seconds=ledger.oldest_seconds(now),
        session_ages=ledger.session_ages(now),
        loop_lag_ms=None if loop_lag is None else round(loop_lag * 1000, 1),
        limits=Limits(
            drain_timeout=settings.drain_timeout,
            cut_grace=settings.cut_grace,
            drain_linger=settings.drain_linger,
            after_drain=settings.after_drain,
        ),
        drain=None
        if drain is None
        else DrainInfo(
            source=drain.source,
            actor=drain.actor,
            reason=drain.reason,
            op_id=drain.op_id,
            started_at=drain.started_at,
            deadline=drain.deadline,
        ),
        livekit=LiveKitInfo(
            worker_id=link.worker_id,
            connected=link.connected,
            connected_since=link.since,
            agent_name=link.agent_name,
            deployment=link.deployment,
            sdk=link.sdk,
            reported_load=reported_load,
        ),
        platform=notes.platform,
        membership=membership,
        manifest=manifest,
        previous_boot=notes.previous_boot,
        findings=findings,
        exit_code=notes.exit_code,
    )
