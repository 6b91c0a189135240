"""What a job's room says of its call: who is on the line, and why it ended.

It runs in the job, and knows livekit's room and nothing of livekit-agents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from livekit import rtc

from openrtc_worker.ledger import Ending

if TYPE_CHECKING:
    from openrtc_worker.job import JobSide

_CALLERS = (
    rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
    rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
    rtc.ParticipantKind.PARTICIPANT_KIND_CONNECTOR,
)
_ENDINGS = {
    rtc.DisconnectReason.CLIENT_INITIATED: Ending.HANGUP,
    rtc.DisconnectReason.ROOM_DELETED: Ending.HANGUP,
    rtc.DisconnectReason.ROOM_CLOSED: Ending.HANGUP,
    rtc.DisconnectReason.USER_REJECTED: Ending.HANGUP,
    rtc.DisconnectReason.PARTICIPANT_REMOVED: Ending.REMOVED,
}
"""How a call ended by the reason for which our room was disconnected; every other reason is a lost one."""


def listen(room: rtc.Room, job: JobSide) -> None:
    """Pass on to *job* who comes and goes, and how the room was left."""

    def joined(participant: rtc.RemoteParticipant) -> None:
        if participant.kind in _CALLERS:
            job.joined(participant.identity)

    def left(participant: rtc.RemoteParticipant) -> None:
        if participant.kind in _CALLERS:
            job.left(participant.identity, reason_known=participant.disconnect_reason is not None)

    room.on("participant_connected", joined)
    room.on("participant_disconnected", left)
    room.on("reconnected", lambda: recount(room, job))
    room.on("disconnected", lambda reason: job.ended(_ENDINGS.get(reason, Ending.LOST)))


def recount(room: rtc.Room, job: JobSide) -> None:
    """Count the callers who are in the room now."""
    job.recounted(p.identity for p in room.remote_participants.values() if p.kind in _CALLERS)
