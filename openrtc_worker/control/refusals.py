"""Every answer of an action is counted; what was refused is audited, but never so often that it hides the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_worker.contract.audit import CONTROL_REFUSED, MANIFEST_REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from openrtc_worker.contract.audit import AuditLog


MANIFEST_REASONS: Final = frozenset({"manifest", "seq", "conflict"})
"""Reasons why a manifest is not taken that a known operator put: audited as ``manifest.refused``."""


@dataclass(slots=True)
class Asking:
    """What is known of a request while it is checked.

    ``sub`` and ``kid`` are what its token claims; ``operator`` is whose key signed it, None until that is known.
    """

    action: str
    remote: str | None = None
    op_id: str | None = None
    plan_id: str | None = None
    sub: str | None = None
    kid: str | None = None
    operator: str | None = None


class Allowance:
    """A token bucket.

    Args:
        burst: how many may come at once.
        every: seconds until one more may.
        clock: seconds that do not go back.
    """

    def __init__(self, burst: int, every: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._every = every
        self._clock = clock
        self._left = float(burst)
        self._at = clock()

    def take(self) -> bool:
        """Use one up; False when there is none."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) / self._every)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class ControlRecord:
    """Counts for ``openrtc_control_requests_total``, and ``control.refused`` or ``manifest.refused`` events.

    A stranger may send a million refused requests: 20 events, then one in five minutes. Of whoever holds an
    operator's key: 100 events, then one in ten seconds. An event says how many before it were only counted.
    """

    def __init__(self, audit_log: AuditLog, worker_id: Callable[[], str], monotonic: Callable[[], float]) -> None:
        self._audit_log = audit_log
        self._worker_id = worker_id
        self._counts: Counter[tuple[str, str]] = Counter()
        self._strangers = Allowance(20, 300, monotonic)
        self._operators = Allowance(100, 10, monotonic)
        self._unaudited = {True: 0, False: 0}

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """Requests by action (``drain cordon uncordon manifest``, ``read`` for a refused GET) and result."""
        return self._counts

    def answered(self, action: str, effect: str) -> None:
        """Count a request that was answered with 202."""
        self._counts[action, effect] += 1

    def refused(self, asking: Asking, reason: str, detail: str) -> None:
        """Count a refused request, and audit it while there is room for that."""
        self._counts[asking.action, reason] += 1
        if asking.action == "read":
            return
        verified = asking.operator is not None
        allowance = self._operators if verified else self._strangers
        if not allowance.take():
            self._unaudited[verified] += 1
            return
        unaudited, self._unaudited[verified] = self._unaudited[verified], 0
        self._audit_log.emit(
            MANIFEST_REFUSED if reason in MANIFEST_REASONS else CONTROL_REFUSED,
            actor=asking.operator or "unverified",
            target=self._worker_id(),
            result="refused",
            reason=reason,
            detail=detail,
            action=asking.action,
            sub=asking.sub,
            kid=asking.kid,
            op_id=asking.op_id,
            plan_id=asking.plan_id,
            verified=verified,
            remote=asking.remote,
            unaudited_before=unaudited,
        )

    def unreadable(self, problems: Mapping[str, str]) -> None:
        """Audit operator key files that were left out, by file name."""
        for name, problem in problems.items():
            self._audit_log.emit(
                CONTROL_REFUSED,
                target=self._worker_id(),
                result="refused",
                reason="unreadable_key_file",
                file=name,
                detail=problem,
            )
