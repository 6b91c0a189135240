"""A process that has imported a worker's program and forks real workers from it: a start costs 0.3 s instead of 1.5.

One JSON object a line on stdin: ``{"name", "log", "hangups", "env", "arguments"}`` starts a worker (``AgentPool``'s
arguments) in a process group of its own, whose callers write to the file *hangups*. Lines on stdout: ``{"event":
"started", "name", "pid"}`` and ``{"event": "exited", "name", "pid", "code"}`` (negative: a signal). When stdin
closes, every worker is killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

# imported for the workers, which are forked from here: whatever they would import one by one
import livekit.agents.ipc.job_thread_executor  # noqa: F401

import openrtc_worker.control.server
import openrtc_worker.livekit
import openrtc_worker.runner  # noqa: F401
from openrtc_worker.local.worker import AGENTS, simulated_call
from openrtc_worker.pool import AgentPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from livekit.agents import JobContext

_LOOK = 0.05


def say(**facts: object) -> None:
    os.write(1, (json.dumps(facts) + "\n").encode())


def written_down(hangups: int) -> Callable[[JobContext], Awaitable[None]]:
    """The simulated call, whose caller's hangup is a line in the open file *hangups*: the room's name.

    The line is there before the job's loop has its next turn, so before livekit or the worker can know that the call
    is over, and the kernel keeps it when the worker is killed: no line, and the caller was on the phone.
    """

    async def call(ctx: JobContext) -> None:
        await simulated_call(ctx)
        os.write(hangups, f"{ctx.job.room.name}\n".encode())

    return call


def fork(wanted: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.update(wanted["env"])
        hangups = os.open(wanted["hangups"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        pool = AgentPool(**wanted["arguments"])
        for name in AGENTS:
            pool.add(name, entrypoint=written_down(hangups))
        os._exit(pool.run())
    except BaseException:  # a forked process must never run on into the loop of its parent
        traceback.print_exc()
        os._exit(70)


def main() -> None:
    running: dict[int, str] = {}
    unread = b""
    while True:
        ready, _, _ = select.select([0], [], [], _LOOK)
        if ready:
            chunk = os.read(0, 1 << 16)
            if not chunk:
                break
            *lines, unread = (unread + chunk).split(b"\n")
            for line in lines:
                wanted = json.loads(line)
                pid = fork(wanted)
                running[pid] = wanted["name"]
                say(event="started", name=wanted["name"], pid=pid)
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            say(event="exited", name=running.pop(pid), pid=pid, code=os.waitstatus_to_exitcode(status))
    for pid in running:
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
