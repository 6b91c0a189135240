"""How callers and agents of the tests join a room: quick to be seen, and cheap to keep.

LiveKit tells others of a participant at once when it publishes something, and else up to 3 s later. A video track on
which nothing is ever drawn costs a third of what a silent audio track costs. Candidates for the connection are
gathered once: the SDK's default, to look for new ones all the time, costs twenty times as much.
"""

from __future__ import annotations

from livekit import rtc

RTC_CONFIG = rtc.RtcConfiguration(continual_gathering_policy=rtc.ContinualGatheringPolicy.GATHER_ONCE)


async def be_seen(participant: rtc.LocalParticipant) -> None:
    """Publish something, so that the others in the room hear of our coming and going at once."""
    track = rtc.LocalVideoTrack.create_video_track("presence", rtc.VideoSource(16, 16))
    await participant.publish_track(track, rtc.TrackPublishOptions(simulcast=False))
