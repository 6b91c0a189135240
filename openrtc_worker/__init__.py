"""The worker library: a LiveKit worker with a version, a snapshot and a drain that drains.

Importing it is cheap: livekit-agents is loaded with the first name that needs it (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openrtc_worker.audit_file import AuditFile
    from openrtc_worker.contract.audit import AuditEvent, AuditLog
    from openrtc_worker.contract.membership import MembershipError, MembershipVerifier, sign_membership
    from openrtc_worker.contract.snapshot import RuntimeSnapshot
    from openrtc_worker.livekit import DeployServer
    from openrtc_worker.observers import SessionEnd, SessionObserver
    from openrtc_worker.pool import AgentPool
    from openrtc_worker.registry import AgentConfig
    from openrtc_worker.runner import run

_HOMES = {
    "AgentConfig": "registry",
    "AgentPool": "pool",
    "AuditEvent": "contract.audit",
    "AuditFile": "audit_file",
    "AuditLog": "contract.audit",
    "DeployServer": "livekit",
    "MembershipError": "contract.membership",
    "MembershipVerifier": "contract.membership",
    "RuntimeSnapshot": "contract.snapshot",
    "SessionEnd": "observers",
    "SessionObserver": "observers",
    "run": "runner",
    "sign_membership": "contract.membership",
}

__all__ = [
    "AgentConfig",
    "AgentPool",
    "AuditEvent",
    "AuditFile",
    "AuditLog",
    "DeployServer",
    "MembershipError",
    "MembershipVerifier",
    "RuntimeSnapshot",
    "SessionEnd",
    "SessionObserver",
    "run",
    "sign_membership",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
