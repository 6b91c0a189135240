"""Refused jobs in the audit: at once the first time, then at most once a minute and reason, with a count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

AUDITED = frozenset({"manifest", "unknown_agent", "unrouted", "slow_request_hook"})
"""Reasons that somebody has to mend. Capacity, cordon and drain refuse as a matter of course: counters only."""

PERIOD = 60.0
"""Seconds between two events of one reason."""


@dataclass(frozen=True, slots=True)
class Rejections:
    """So many refusals of one reason since its last event."""

    reason: str
    count: int


class RejectionDigest:
    """Sans-I/O: refusals and a time in, what to audit out. Times are in seconds and must not go back."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}
        self._untold: Counter[str] = Counter()

    def refused(self, reason: str, now: float) -> tuple[Rejections, ...]:
        """One job was refused; returns what is to be audited now."""
        if reason not in AUDITED:
            return ()
        self._untold[reason] += 1
        return self.due(now)

    def due(self, now: float) -> tuple[Rejections, ...]:
        """What is to be audited at *now*."""
        return self._tell([r for r in self._untold if now - self._told_at.get(r, now - PERIOD) >= PERIOD], now)

    def rest(self, now: float) -> tuple[Rejections, ...]:
        """What is left to audit at the end, whenever the last event was."""
        return self._tell(list(self._untold), now)

    def _tell(self, reasons: list[str], now: float) -> tuple[Rejections, ...]:
        for reason in reasons:
            self._told_at[reason] = now
        return tuple(Rejections(reason, self._untold.pop(reason)) for reason in reasons)
