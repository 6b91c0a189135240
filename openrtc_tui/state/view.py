"""What screens and commands read: one immutable picture of the fleet, made anew on each beat."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from openrtc_worker.contract.snapshot import RuntimeSnapshot

Severity = Literal["info", "good", "warning", "bad"]


class WorkerState(StrEnum):
    """The effective state of a worker, derived from all its signals."""

    STARTING = "starting"
    SERVING = "serving"
    GATED = "gated"
    """It serves, and the manifest that it holds does not name its version: no new call."""
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
    EXITED = "exited"
    STALE = "stale"
    LOST = "lost"


class VerdictWord(StrEnum):
    OPEN = "open"
    PROVEN = "proven"
    UNPROVEN = "unproven"
    VIOLATED = "violated"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Dropped calls as a range: ``confirmed`` to ``possible``; not ``exact`` means that the upper end is open."""

    word: VerdictWord
    confirmed: int = 0
    possible: int = 0
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the on-call engineer should know of a worker. ``code`` is stable, ``text`` is for people."""

    code: str
    text: str
    severity: Severity = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """One boot of one worker. What is not known is None and shown as *n/a*, never as 0.

    ``key`` is the row's identity for cursor, marks and actions: the target's key for its present boot, and
    ``KEY#BOOT`` (``closed`` is True) for an earlier boot that ended without proof and stays in sight.
    Times are Unix seconds of the worker's clock mapped to ours, durations seconds.
    """

    key: str
    target: str
    url: str
    region: str | None = None
    version: str | None = None
    actionable: bool = True
    """False for a closed row, a duplicate id or a version that may be shown but never acted on."""
    worker_id: str | None = None
    boot_id: str | None = None
    state: WorkerState = WorkerState.STARTING
    closed: bool = False
    orphan: bool = False
    """No longer in the fleet file, and still holds calls."""
    accepting: bool | None = None
    calls: int | None = None
    max_sessions: int | None = None
    load: float | None = None
    oldest_seconds: float | None = None
    deadline: float | None = None
    """When what is left is cut, Unix seconds."""
    drain_started_at: float | None = None
    age_seconds: float | None = None
    """Since when nothing was heard of it, honest between beats."""
    silent_since: float | None = None
    """For STALE and LOST: when it was last heard."""
    trend: tuple[int, ...] = ()
    """Calls live at even steps of time, oldest first."""
    by_agent: dict[str, int] = field(default_factory=dict)
    by_tenant: dict[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    verdict: Verdict = Verdict(VerdictWord.OPEN)
    settled: bool = False
    """Whether the verdict is about a past; False while calls may still go either way (``state.verdict.is_open``)."""
    snapshot: RuntimeSnapshot | None = None
    raw: bytes | None = None
    via: Literal["events", "poll"] | None = None
    last_failure: str | None = None
    verified: bool | None = None
    """Whether its membership claim holds; None where the fleet file names no masters, or nothing was heard yet."""
    ready_to_take: bool = False
    """Membership valid (or not checked), registered with LiveKit, not cordoned, draining or stale, no duplicate:
    it accepts, or would but for the manifest."""
    killed_at: float | None = None
    """When its platform kills what is left of it, Unix seconds; set once its pod is being ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """The roll-up of one version, or of the untagged workers (``version`` None)."""

    version: str | None
    role: Literal["leaving", "taking"] | None = None
    calls: int = 0
    trend: tuple[int, ...] = ()
    workers: int = 0
    by_state: tuple[tuple[WorkerState, int], ...] = ()
    room: int | None = None
    """How many more calls its accepting workers have room for."""
    deadline: float | None = None
    """The latest deadline of its draining workers, Unix seconds."""
    last_started_at: float | None = None
    """When one of its workers last started a call, Unix seconds, as far as it was watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    from_version: str
    to_version: str
    started_at: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    at: float
    text: str
    detail: str = ""
    severity: Severity = "info"
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """The whole picture at one instant ``at`` (Unix seconds). Rows: version being left first, then name; stable."""

    fleet: str
    at: float
    rows: tuple[WorkerRow, ...] = ()
    versions: tuple[VersionLine, ...] = ()
    rollout: Rollout | None = None
    verdict: Verdict = Verdict(VerdictWord.OPEN)
    """The rollout's verdict, or without one what all boots seen add up to."""
    verdict_reason: str = ""
    """Why the verdict is what it is, one line; empty when there is nothing to say."""
    events: tuple[EventLine, ...] = ()
    """The newest last."""
    heard: int = 0
    """Targets heard within their time."""
    targets: int = 0

    def row(self, key: str) -> WorkerRow | None:
        """The row with this key, if it is still there."""
        return next((row for row in self.rows if row.key == key), None)
