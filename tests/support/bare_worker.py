"""A plain livekit-agents worker as a program: what a conformance test of the worker protocol talks to.

Nothing of OpenRTC is in it: it is ``AgentServer`` as users have it, in thread isolation so that it starts fast.
What it does with an offer stands in the job's metadata (JSON): ``refuse`` and ``terminate`` are lists of worker
tags, ``answer_after`` is a delay in seconds before any answer, ``length`` ends the call after so many seconds.

It writes what happens as JSON lines on stdout (``event`` is ``registered``, ``offered``, ``started``,
``offer_lost`` or ``sent``: a protocol message that went out) and reads commands from stdin: ``load X`` and
``drain``. It ends on SIGTERM, SIGINT or when its stdin closes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import sys
import threading

from google.protobuf.json_format import MessageToDict
from livekit.agents import AgentServer, AssignmentTimeoutError, JobContext, JobExecutorType, JobRequest
from livekit.agents import worker as livekit_worker

# how long it waits for an assignment that does not come: 7.5 s in livekit-agents, shortened for quick tests
livekit_worker.ASSIGNMENT_TIMEOUT = 3.0


def say(event: str, **facts: object) -> None:
    """One line, written at once: job threads and the loop share stdout."""
    os.write(1, (json.dumps({"event": event, **facts}) + "\n").encode())


class TalkingServer(AgentServer):
    """An ``AgentServer`` that reports each protocol message as it is queued for LiveKit."""

    async def _queue_msg(self, msg) -> None:
        await super()._queue_msg(msg)
        kind = msg.WhichOneof("message")
        body = MessageToDict(getattr(msg, kind), preserving_proto_field_name=True)
        say("sent", message=kind, **body)


def wishes(metadata: str) -> dict:
    return json.loads(metadata) if metadata else {}


async def live(ctx: JobContext) -> None:
    length = wishes(ctx.job.metadata).get("length")
    await asyncio.sleep(3600 if length is None else length)
    ctx.shutdown()


async def main(tag: str, agent_name: str, load: float) -> None:
    reported = [load]
    server = TalkingServer(
        job_executor_type=JobExecutorType.THREAD,
        num_idle_processes=0,
        load_fnc=lambda: reported[0],
        load_threshold=math.inf,
        host="127.0.0.1",
        port=0,
        shutdown_process_timeout=2.0,
        session_end_timeout=1.0,
    )

    async def on_request(request: JobRequest) -> None:
        say("offered", job=request.id, room=request.room.name)
        wish = wishes(request.job.metadata)
        await asyncio.sleep(wish.get("answer_after", 0))
        if tag in wish.get("terminate", ()):
            await request.reject(terminate=True)
        elif tag in wish.get("refuse", ()):
            await request.reject(terminate=False)
        else:
            try:
                await request.accept(identity=f"agent-{tag}", attributes={"tag": tag})
            except AssignmentTimeoutError:
                say("offer_lost", job=request.id, room=request.room.name)
            else:
                say("started", job=request.id, room=request.room.name)

    server.rtc_session(live, agent_name=agent_name, on_request=on_request)
    server.on("worker_registered", lambda worker_id, _info: say("registered", worker_id=worker_id))

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def obey(line: str) -> None:
        command, _, argument = line.strip().partition(" ")
        if command == "load":
            reported[0] = float(argument)
        elif command == "drain":
            await server.drain(timeout=None)
            say("drained")

    def listen() -> None:
        for line in sys.stdin:
            asyncio.run_coroutine_threadsafe(obey(line), loop)
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=listen, daemon=True).start()
    running = asyncio.create_task(server.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    os._exit(0)  # a worker that tests end owes nobody a goodbye; closing job threads would take seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("tag")
    parser.add_argument("--agent-name", default="")
    parser.add_argument("--load", type=float, default=0.0)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.tag, arguments.agent_name, arguments.load))
