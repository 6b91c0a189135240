"""What the control endpoint needs of the worker that it speaks for; ``Boot`` is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from openrtc_worker.contract.audit import AuditLog
    from openrtc_worker.contract.snapshot import RuntimeSnapshot, SessionInfo

Effect = Literal["started", "already"]


class ConflictError(Exception):
    """The worker cannot do what was asked in its present state; the message is for the operator (HTTP 409)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asked.

    Attributes:
        source: ``http``, ``signal``, ``api``, ``livekit`` (the connection is lost for good), ``file`` or ``url`` (a
            manifest that was read there) or ``system`` (the worker itself).
        actor: an operator's name or ``system``.
    """

    source: str
    actor: str = "system"
    reason: str | None = None
    op_id: str | None = None
    plan_id: str | None = None
    kid: str | None = None


class ControlTarget(Protocol):
    """One boot of a worker. Every method is called on the worker's event loop and returns at once."""

    @property
    def worker_id(self) -> str: ...
    @property
    def boot_id(self) -> str: ...
    @property
    def audit_log(self) -> AuditLog: ...
    @property
    def ready(self) -> bool:
        """Whether the worker is registered with LiveKit (cordoned and draining too)."""
        ...

    def runtime_snapshot(self) -> RuntimeSnapshot: ...
    def sessions(self) -> Sequence[SessionInfo]: ...

    def begin_drain(self, *, by: Requester, timeout: float | None = None) -> Effect:
        """Start the drain, or shorten the deadline of the one that runs. ``timeout`` in seconds, at least 1."""
        ...

    def cordon(self, *, by: Requester) -> Effect:
        """Stop accepting, reversibly. Raises :class:`ConflictError` when draining or drained."""
        ...

    def uncordon(self, *, by: Requester) -> Effect:
        """Accept again. Raises :class:`ConflictError` when draining or drained."""
        ...

    async def refresh_release_keys(self) -> None:
        """Look whether release keys changed; a slow file system is waited for a moment at most."""
        ...

    def install_manifest(self, token: str, *, by: Requester) -> Effect:
        """Obey a newer signed manifest. Raises :class:`~openrtc_worker.contract.manifest.ManifestRefused`."""
        ...

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call *callback* on the loop after every change of state; the returned function ends that."""
        ...
