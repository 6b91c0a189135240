"""The runtime snapshot: what a worker says of itself, and how a reader decodes it.

One set of types serves both sides. A worker fills every field that applies and sends ``null`` for the rest; a
reader requires only ``deployment_version``, ``draining`` and ``active_sessions`` and treats what is missing as
*not available*, never as zero. Points in time are Unix seconds, durations are seconds, sizes are bytes.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec

from openrtc_worker.contract.text import is_plain, printable, printable_tree

SCHEMA: Final = 1

SESSION_AGE_BOUNDS: Final = (30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Upper bounds in seconds of the first eight counts of ``session_ages``; the ninth counts what is older."""

VERSION_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
"""A deployment version that may be acted on (``fullmatch``)."""


Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A number of things. Bounded where it is decoded, so that no sum, ratio or column of a reader can break on it."""

Number: TypeAlias = Annotated[float, msgspec.Meta(ge=-1e11, le=1e11)]
"""A point in time, a duration, a ratio; bounded like :data:`Count`. A clock that went back makes one negative."""


class SnapshotError(ValueError):
    """The bytes are not a runtime snapshot; the message says what is wrong in one line."""


class State(StrEnum):
    """Where a worker boot is in its life. ``DRAINING`` and everything after it is one-way."""

    STARTING = "starting"
    SERVING = "serving"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
    EXITED = "exited"


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything that crosses the wire: immutable, unknown keys ignored."""


class ResidentSet(_Wire, frozen=True, kw_only=True):
    """Memory of the worker process; ``bytes`` is null where the platform cannot tell."""

    bytes: Count | None = None
    metric: str = ""
    description: str = ""


class LedgerCounts(_Wire, frozen=True, kw_only=True):
    """Calls of this boot. ``started = completed + failed + removed + cut + crashed + lost + active``."""

    started: Count | None = None
    completed: Count | None = None
    failed: Count | None = None
    removed: Count | None = None
    cut: Count | None = None
    crashed: Count | None = None
    lost: Count | None = None
    active: Count | None = None
    launch_failed: Count | None = None
    offers_lost: Count | None = None

    @property
    def dropped(self) -> int:
        """Calls that this boot is known to have dropped: cut + crashed + lost."""
        return (self.cut or 0) + (self.crashed or 0) + (self.lost or 0)

    @property
    def balanced(self) -> bool | None:
        """Whether the equation holds; None when a term is missing."""
        terms = (self.completed, self.failed, self.removed, self.cut, self.crashed, self.lost, self.active)
        if self.started is None or any(term is None for term in terms):
            return None
        return self.started == sum(term for term in terms if term is not None)


class Limits(_Wire, frozen=True, kw_only=True):
    """The worker's own settings that bound a drain, in seconds."""

    drain_timeout: Number | None = None
    cut_grace: Number | None = None
    drain_linger: Number | None = None
    after_drain: str | None = None


class DrainInfo(_Wire, frozen=True, kw_only=True):
    """Who began the drain, when, and when what is left will be cut."""

    source: str = ""
    actor: str = ""
    reason: str | None = None
    op_id: str | None = None
    started_at: Number | None = None
    deadline: Number | None = None


class LiveKitInfo(_Wire, frozen=True, kw_only=True):
    """This worker as LiveKit knows it; ``worker_id`` is LiveKit's id of the present registration."""

    worker_id: str | None = None
    connected: bool | None = None
    connected_since: Number | None = None
    agent_name: str | None = None
    deployment: str | None = None
    sdk: str | None = None
    reported_load: Number | None = None


class PlatformInfo(_Wire, frozen=True, kw_only=True):
    """Where the worker runs, as far as the environment tells."""

    kind: str | None = None
    namespace: str | None = None
    pod: str | None = None
    uid: str | None = None
    node: str | None = None
    grace_seconds: Number | None = None


class MembershipClaim(_Wire, frozen=True, kw_only=True):
    """A fresh signed claim of belonging to a fleet as one version."""

    version: str = ""
    worker_id: str = ""
    timestamp: Number = 0.0
    token: str = ""


class ManifestInfo(_Wire, frozen=True, kw_only=True):
    """The newest manifest that this worker holds, and whether it allows this worker's version."""

    seq: Count | None = None
    active: list[str] | None = None
    allows: bool | None = None


class OpenCall(_Wire, frozen=True, kw_only=True):
    """A call that was live when a boot was last heard of."""

    room: str = ""
    job: str = ""


class PreviousBoot(_Wire, frozen=True, kw_only=True):
    """How the boot before this one ended, read from its call file; ``open_calls`` were dropped with it."""

    boot_id: str = ""
    open_calls: list[OpenCall] = []
    clean_exit: bool = False


class SessionInfo(_Wire, frozen=True, kw_only=True):
    """One live call in ``GET /v1/sessions``: never any content of it.

    ``callers`` is the number of callers on the line, null where they cannot be seen; ``alone_since`` is since
    when it has been zero.
    """

    job_id: str
    room: str
    agent: str | None = None
    tenant: str | None = None
    deployment: str | None = None
    started_at: Number | None = None
    age_seconds: Number | None = None
    callers: Count | None = None
    alone_since: Number | None = None


class SessionList(_Wire, frozen=True, kw_only=True):
    """The body of ``GET /v1/sessions``."""

    schema: Count = SCHEMA
    boot_id: str | None = None
    sessions: list[SessionInfo] = []


class RuntimeSnapshot(_Wire, frozen=True, kw_only=True):
    """What a worker is doing right now. Field by field: the design's *control endpoint* page, section Snapshot."""

    deployment_version: str | None
    draining: bool
    active_sessions: Count

    # the flat keys that OpenRTC's PoolRuntimeSnapshot has too
    timestamp: Number | None = None
    uptime_seconds: Number | None = None
    registered_agents: Count | None = None
    total_sessions_started: Count | None = None
    total_session_failures: Count | None = None
    last_routed_agent: str | None = None
    last_error: str | None = None
    sessions_by_agent: dict[str, Count] | None = None
    sessions_by_tenant: dict[str, Count] | None = None
    resident_set: ResidentSet | None = None

    # ours
    schema: Count | None = None
    worker_id: str | None = None
    boot_id: str | None = None
    seq: Count | None = None
    fleet: str | None = None
    state: str | None = None  # a State; a reader takes what a later worker may add
    accepting: bool | None = None
    max_sessions: Count | None = None
    load: Number | None = None
    ledger: LedgerCounts | None = None
    rejected: dict[str, Count] | None = None
    sessions_without_caller: Count | None = None
    oldest_session_seconds: Number | None = None
    session_ages: list[Count] | None = None
    loop_lag_ms: Number | None = None
    limits: Limits | None = None
    drain: DrainInfo | None = None
    livekit: LiveKitInfo | None = None
    platform: PlatformInfo | None = None
    membership: MembershipClaim | None = None
    manifest: ManifestInfo | None = None
    previous_boot: PreviousBoot | None = None
    findings: list[str] | None = None
    exit_code: Count | None = None
    """Set in the last snapshot of a boot only (event ``bye``)."""

    def to_dict(self) -> dict[str, Any]:
        """The snapshot as plain JSON types, every key present."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    def without_time(self) -> RuntimeSnapshot:
        """The same snapshot without the values that only tell the time: equal results mean "nothing changed"."""
        return msgspec.structs.replace(
            self,
            timestamp=None,
            uptime_seconds=None,
            oldest_session_seconds=None,
            session_ages=None,
            loop_lag_ms=None,
            resident_set=None,
            seq=None,
            membership=None,
        )


_encoder: Final = msgspec.json.Encoder(enc_hook=str)
_decoder: Final = msgspec.json.Decoder(RuntimeSnapshot)
_session_decoder: Final = msgspec.json.Decoder(SessionList)
_any_decoder: Final = msgspec.json.Decoder()


def encode_json(value: Any) -> bytes:
    """JSON bytes of a wire type or of plain values, on one line; what JSON does not know becomes its ``str()``."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        # half a character, as in the name of a file that is not UTF-8, in some error's text: send the rest
        return _encoder.encode(printable_tree(msgspec.to_builtins(value, enc_hook=str)))


def decode_snapshot(data: bytes) -> RuntimeSnapshot:
    """Decode and clean a snapshot.

    Raises:
        SnapshotError: not JSON, or a key has the wrong type, or one of the three required keys is missing.
    """
    return _decode(data, _decoder, RuntimeSnapshot)


def decode_sessions(data: bytes) -> SessionList:
    """Decode and clean the body of ``GET /v1/sessions``; raises :class:`SnapshotError`."""
    return _decode(data, _session_decoder, SessionList)


_T = TypeVar("_T")


def _decode(data: bytes, decoder: msgspec.json.Decoder[_T], type_: type[_T]) -> _T:
    try:
        if is_plain(data):
            return decoder.decode(data)
        return msgspec.convert(printable_tree(_any_decoder.decode(data)), type_)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise SnapshotError(printable(str(error))) from None
