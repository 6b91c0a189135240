"""Who is let in: the hard cap under a burst, and offers that are too old to answer. Pure; times are monotonic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

BEAT = 0.1
"""Seconds between two beats of the worker's loop."""

STALL = 2.0
"""A beat later than this many seconds means a stalled loop: what LiveKit offered meanwhile it has given away."""

ASSIGNMENT_GRACE = 3.0
"""Seconds after our answer for which an accepted offer without an assignment counts against the capacity.

LiveKit shares about three seconds among all workers that it tries for a call; whatever comes later is rare, is
kept, and may exceed the capacity by one.
"""


@dataclass(slots=True)
class _Accepted:
    answered_at: float
    seen: bool = False
    assigned: bool = False


class Gate:
    """Counts what has been accepted and is no call yet, and says whether there is room for one more.

    An accepted offer is *pending* until it launched, failed or was lost. It counts against the capacity for
    :data:`ASSIGNMENT_GRACE`, and from its assignment on as long as it is pending.
    """

    def __init__(self, *, capacity: int) -> None:
        self.capacity = capacity
        self._accepted: dict[str, _Accepted] = {}
        self._last_beat: float | None = None
        self._stalled = False

    # -- time ---------------------------------------------------------------------------------------------------

    def beat(self, now: float) -> float:
        """The loop turned; call it every :data:`BEAT`. Returns how late it was, in seconds.

        After a stall, offers handled before the next beat have waited in the socket for nobody knows how long.
        """
        late = 0.0 if self._last_beat is None else max(0.0, now - self._last_beat - BEAT)
        self._stalled = late > STALL
        self._last_beat = now
        return late

    def is_stale(self, now: float) -> bool:
        """Whether an offer handled at *now* may have been waiting in a stalled loop."""
        return self._stalled or (self._last_beat is not None and now - self._last_beat > BEAT + STALL)

    # -- accepted offers ----------------------------------------------------------------------------------------

    def answered(self, job_id: str, now: float) -> None:
        """We said yes; the offer is pending from here on."""
        self._accepted[job_id] = _Accepted(now)

    def all_assigned_but(self, unassigned: Collection[str]) -> None:
        """LiveKit gave us the pending offers except *unassigned*, which are being launched; call it every beat.

        What was answered since the last beat is left for the next one: livekit may not have it in its books yet.
        """
        for job_id, accepted in self._accepted.items():
            accepted.assigned = accepted.assigned or (accepted.seen and job_id not in unassigned)
            accepted.seen = True

    def settled(self, job_id: str) -> None:
        """It is a call now, or it will never be one."""
        self._accepted.pop(job_id, None)

    # -- readings -----------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Accepted offers that may still become a call."""
        return len(self._accepted)

    def taken(self, now: float, *, live: int) -> int:
        """Places taken: live calls, and pending offers as far as they count."""
        return live + sum(
            1
            for accepted in self._accepted.values()
            if accepted.assigned or now - accepted.answered_at < ASSIGNMENT_GRACE
        )

    def refusal(self, now: float, *, live: int) -> str | None:
        """Why an offer handled at *now* is refused whatever the state, or None."""
        if self.is_stale(now):
            return "stale_offer"
        return "capacity" if self.taken(now, live=live) >= self.capacity else None
