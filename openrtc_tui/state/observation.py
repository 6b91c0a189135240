"""What can be observed of a fleet: one frozen type per kind, all through one queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from openrtc_worker.contract.snapshot import RuntimeSnapshot

FailureKind = Literal["refused", "broken", "timeout", "status", "garbage", "name", "tls"]
"""How contact failed: *refused*: nobody listens; *broken*: an open connection ended without ``bye``; *timeout*:
no answer in time; *status*: an HTTP error; *garbage*: not a snapshot; *name*: DNS; *tls*: certificate."""


@dataclass(frozen=True, slots=True)
class Target:
    """A worker to watch. ``key`` is the row's name: the fleet file's, else ``host:port``; it identifies the row."""

    key: str
    url: str
    region: str | None = None
    listed: bool = True
    """False for a worker that the fleet file no longer names, and that is watched on because it holds calls."""


@dataclass(frozen=True, slots=True)
class TargetsSeen:
    """The fleet file, or a discovery, names exactly these workers from now on."""

    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class SnapshotSeen:
    """A worker answered. ``raw`` is the body as received; ``via`` tells how it came; ``bye`` marks the last one."""

    key: str
    snapshot: RuntimeSnapshot
    raw: bytes
    via: Literal["events", "poll"] = "events"
    bye: bool = False


@dataclass(frozen=True, slots=True)
class HeartbeatSeen:
    """The event stream of a worker is alive and nothing changed."""

    key: str


@dataclass(frozen=True, slots=True)
class AuditSeen:
    """A worker's audit event, as its flat JSON object, already made printable."""

    key: str
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ContactFailed:
    """A worker could not be reached or did not make sense. ``detail`` is one printable line."""

    key: str
    kind: FailureKind
    detail: str


@dataclass(frozen=True, slots=True)
class NoticeSeen:
    """Something the operator did, or the dashboard itself has to say; goes to the event lines."""

    text: str
    detail: str = ""
    severity: Literal["info", "good", "warning", "bad"] = "info"
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """One pod as its platform shows it. Times are Unix seconds, durations seconds; what is not known is None.

    ``killed_at`` is when SIGKILL falls, set once the pod is being ended. ``gone`` marks one that is not there any
    more, with ``exit_code`` where the platform told it.
    """

    name: str
    uid: str
    namespace: str = ""
    version: str | None = None
    node: str | None = None
    phase: str | None = None
    ready: bool | None = None
    grace_seconds: float | None = None
    killed_at: float | None = None
    gone: bool = False
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class PodsSeen:
    """Every pod that the platform shows now; one that was shown before and is not among them is gone."""

    pods: tuple[PodSeen, ...]


Observation: TypeAlias = (
    TargetsSeen | SnapshotSeen | HeartbeatSeen | AuditSeen | ContactFailed | PodsSeen | NoticeSeen
)
