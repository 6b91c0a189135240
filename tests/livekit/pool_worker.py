"""A worker as a user writes one: an ``AgentPool`` with one plain agent, as a program.

The one argument is JSON: the pool's own keyword arguments, and ``slow`` (optional): after how many seconds this
worker's request hook says yes. What a call does stands in the job's metadata (JSON): without any the agent joins the
room and ends the call when its caller hangs up; ``hold`` takes the job for so many seconds and stays out of the
room; ``fail`` raises in the agent's code as soon as the caller sends any data. Each call that has joined its room
writes a JSON line to stdout: ``event`` is ``talking``, with ``room`` and ``pid``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

from livekit import rtc
from livekit.agents import AutoSubscribe

from openrtc_worker import AgentPool
from tests.livekit.presence import RTC_CONFIG, be_seen

if TYPE_CHECKING:
    from livekit.agents import JobContext, JobRequest

# Only these end a call. Without a reason it is our own side that reconnects, and the caller is still there.
HANGUPS = {
    rtc.DisconnectReason.CLIENT_INITIATED,
    rtc.DisconnectReason.ROOM_DELETED,
    rtc.DisconnectReason.USER_REJECTED,
}


async def talk(ctx: JobContext) -> None:
    wish = json.loads(ctx.job.metadata or "{}")
    if "hold" in wish:
        await asyncio.sleep(wish["hold"])
        ctx.shutdown("held long enough")
        return
    hangup = asyncio.Event()

    def left(participant: rtc.RemoteParticipant) -> None:
        if participant.disconnect_reason in HANGUPS:
            hangup.set()

    spoken_to = asyncio.Event()
    ctx.room.on("data_received", lambda _packet: spoken_to.set())
    ctx.room.on("participant_disconnected", left)
    ctx.room.on("disconnected", lambda _reason: hangup.set())
    await ctx.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE, rtc_config=RTC_CONFIG)
    await be_seen(ctx.room.local_participant)
    line = json.dumps({"event": "talking", "room": ctx.room.name, "pid": os.getpid()})
    os.write(1, f"{line}\n".encode())
    if "fail" in wish:
        await spoken_to.wait()
        raise RuntimeError("the agent's own code failed")
    await hangup.wait()
    ctx.shutdown("caller hung up")


def main() -> int:
    arguments = json.loads(sys.argv[1])
    slow = arguments.pop("slow", None)

    async def ponder(request: JobRequest) -> None:
        await asyncio.sleep(slow)
        await request.accept()

    pool = AgentPool(request_fnc=None if slow is None else ponder, **arguments)
    pool.add("voice", entrypoint=talk)
    return pool.run()


if __name__ == "__main__":
    sys.exit(main())
