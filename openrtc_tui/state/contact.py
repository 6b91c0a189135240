"""Whether a worker is heard: silence, failures, and when silence becomes a verdict."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from openrtc_tui.state.observation import FailureKind

HEARTBEAT: Final = 2.0
"""Seconds between two comment lines of an event stream: the period of a worker that is heard through events."""

STALE_AFTER: Final = 5.0
STALE_BEATS: Final = 3
LOST_AFTER: Final = 10.0
LOST_BEATS: Final = 5
FIRST_WORD: Final = 10.0
"""Seconds that a target has to be heard for the first time."""


class Reach(Enum):
    """How well a target is heard."""

    AWAITED = "awaited"
    """Never heard, and not long watched."""
    HEARD = "heard"
    STALE = "stale"
    LOST = "lost"


class Contact:
    """Contact with one target. Times are ours, in seconds; ``beat`` is the period of polling.

    A target is *stale* when nothing was heard for 5 s and at least 3 periods, *lost* after 10 s and at least 5,
    or at once when its connection broke and a later attempt was refused: then nobody is there any more.
    """

    __slots__ = ("_failed", "_gone", "_watched_since", "failure", "failure_kind", "heard_at", "via")

    def __init__(self, now: float) -> None:
        self._watched_since = now
        self._failed = False
        self._gone = False
        self.heard_at: float | None = None
        self.via: Literal["events", "poll"] | None = None
        self.failure: str | None = None
        """What the last attempt met, in one line; None once it was heard again."""
        self.failure_kind: FailureKind | None = None

    def heard(self, now: float, via: Literal["events", "poll"] | None = None) -> None:
        """The target said something."""
        self.heard_at = now
        if via is not None:
            self.via = via
        if self._failed:
            self._failed = self._gone = False
            self.failure = self.failure_kind = None

    def fail(self, kind: FailureKind, detail: str) -> None:
        """An attempt to reach the target failed. Two failures, the later one refused, mean that it is gone."""
        if kind == "refused" and self._failed:
            self._gone = True
        self._failed = True
        self.failure = detail or kind
        self.failure_kind = kind

    def reach(self, now: float, beat: float) -> Reach:
        """How well it is heard at *now*."""
        if self.heard_at is None:
            return Reach.AWAITED if now - self._watched_since < self._patience(beat) else Reach.LOST
        if self._gone:
            return Reach.LOST
        silence = now - self.heard_at
        if silence < STALE_AFTER:  # most of all calls: nothing else needs to be reckoned
            return Reach.HEARD
        period = self._period(beat)
        if silence >= max(LOST_AFTER, LOST_BEATS * period):
            return Reach.LOST
        return Reach.STALE if silence >= max(STALE_AFTER, STALE_BEATS * period) else Reach.HEARD

    def changes_at(self, now: float, beat: float) -> float:
        """When silence alone changes the answer of :meth:`reach` next; infinity when it never will."""
        if self.heard_at is None:
            limits = [self._watched_since + self._patience(beat)]
        elif self._gone:
            limits = []
        else:
            period = self._period(beat)
            limits = [
                self.heard_at + max(STALE_AFTER, STALE_BEATS * period),
                self.heard_at + max(LOST_AFTER, LOST_BEATS * period),
            ]
        return next((limit for limit in limits if limit > now), float("inf"))

    @property
    def watched_since(self) -> float:
        """Since when it is watched."""
        return self._watched_since

    @property
    def cut_off(self) -> bool:
        """Whether the last attempt found nobody, or the connection ended by itself."""
        return self.failure_kind in ("refused", "broken")

    @property
    def failing(self) -> bool:
        """Whether an attempt has failed since it was heard last."""
        return self._failed

    @property
    def unanswered(self) -> bool:
        """Never heard, and no attempt has failed yet either: nothing at all is known of it."""
        return self.heard_at is None and not self._failed

    def _period(self, beat: float) -> float:
        return beat if self.via == "poll" else HEARTBEAT

    @staticmethod
    def _patience(beat: float) -> float:
        """Seconds for the first word; a slow beat gets round to its last target later than that."""
        return max(FIRST_WORD, 2 * beat)
