"""What a job's room says of its call: who is on the line, and why it ended.

It runs in the job. livekit's enumerations reach it by name, so that it imports nothing of livekit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from openrtc_worker.ledger import Ending

if TYPE_CHECKING:
    from collections.abc import Callable

    from livekit import rtc

    from openrtc_worker.job import JobSide

_CALLERS: Final = frozenset(
    {"PARTICIPANT_KIND_STANDARD", "PARTICIPANT_KIND_SIP", "PARTICIPANT_KIND_CONNECTOR"},
)
_ENDINGS: Final = {
    "CLIENT_INITIATED": Ending.HANGUP,
    "ROOM_DELETED": Ending.HANGUP,
    "ROOM_CLOSED": Ending.HANGUP,
    "USER_REJECTED": Ending.HANGUP,
    "PARTICIPANT_REMOVED": Ending.REMOVED,
}
"""How a call ended by the reason for which our room was disconnected; every other reason is a lost one."""


class RoomEars:
    """Passes on to *job* who comes and goes in *room*, and how it was left.

    ``kind`` and ``reason`` give the names of livekit's ``ParticipantKind`` and ``DisconnectReason``.
    """

    def __init__(
        self, room: rtc.Room, job: JobSide, *, kind: Callable[[Any], str], reason: Callable[[Any], str]
    ) -> None:
        self._room = room
        self._job = job
        self._kind = kind
        self._reason = reason
        room.on("participant_connected", self._joined)
        room.on("participant_disconnected", self._left)
        room.on("reconnected", self.recount)
        room.on("disconnected", self._ended)

    def recount(self) -> None:
        """Count the callers who are in the room now."""
        self._job.recounted(p.identity for p in self._room.remote_participants.values() if self._is_caller(p))

    def _is_caller(self, participant: rtc.RemoteParticipant) -> bool:
        return _named(self._kind, participant.kind) in _CALLERS

    def _joined(self, participant: rtc.RemoteParticipant) -> None:
        if self._is_caller(participant):
            self._job.joined(participant.identity)

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        if self._is_caller(participant):
            self._job.left(participant.identity, reason_known=participant.disconnect_reason is not None)

    def _ended(self, reason: int) -> None:
        self._job.ended(_ENDINGS.get(_named(self._reason, reason), Ending.LOST))


def _named(name: Callable[[Any], str], value: int) -> str:
    try:
        return name(value)
    except ValueError:  # a value that this livekit does not know yet
        return ""
