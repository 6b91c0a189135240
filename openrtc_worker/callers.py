"""Who is on the line, as the job sees it through a room that comes and goes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class CallersOnLine:
    """The identities of the callers in one room.

    When our own connection is rebuilt, the room reports every participant as gone, without a reason, and as come
    again a moment later: nobody hung up, so such a departure does not count. Whoever did leave meanwhile is missing
    in the count that follows the reconnection.
    """

    def __init__(self) -> None:
        self._present: set[str] = set()

    def __len__(self) -> int:
        return len(self._present)

    def joined(self, identity: str) -> None:
        self._present.add(identity)

    def left(self, identity: str, *, reason_known: bool) -> None:
        if reason_known:
            self._present.discard(identity)

    def recounted(self, identities: Iterable[str]) -> None:
        """These are all who are there."""
        self._present = set(identities)
