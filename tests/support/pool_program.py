"""A worker as a program, whose calls and request hook do what the job's metadata says.

The one argument is JSON: the pool's keyword arguments, and beside them

- ``agents``: names that all run the scripted call (default ``["booking"]``);
- ``hook``: true for a request hook that obeys the metadata's ``hook``;
- ``observed``: a file that a session observer appends each ended call to;
- ``audit``: a file that the audit sink appends to; ``sink_fails``: the sink raises instead; ``audit_file``: the
  sink is an ``AuditFile`` of this path;
- ``server``: build a ``DeployServer`` with these arguments instead of a pool, run with ``openrtc_worker.run``;
- ``cli``: run that server under livekit's own command line, by ``start``, or by what this names.

Job metadata (JSON) says of the call: ``length`` seconds until it hangs up (for ever without it), or ``held``, a file
that it waits for; ``cleanup`` seconds that its shutdown then takes; ``do``: ``raise`` an error, ``block`` its thread
for ever, ``swallow`` every cancellation, ``return`` at once, ``kill`` its own process, await a task that was
``cancelled`` elsewhere, ``exit``, return and hang up ``later``, or run a ``session`` whose model fails. And of the
hook, under ``hook``: ``wait`` or ``block`` so many seconds, then ``answer``: ``accept``, ``reject``, ``terminate``,
``nothing`` or ``raise``; ``flood`` fills its executor for so many seconds, ``drain`` begins the pool's drain first.

Commands on stdin, one a line: ``block SECONDS`` stalls the worker's loop, ``begin_drain`` calls the pool's own method
in another thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# hundreds of these start in one run, and under coverage a third of that is tracing what nobody measures
_tracer = sys.gettrace()
sys.settrace(None)
import livekit.agents  # noqa: E402, F401

sys.settrace(_tracer)

from openrtc_worker import AgentPool, AuditFile, DeployServer, run  # noqa: E402

if TYPE_CHECKING:
    from livekit.agents import JobContext, JobRequest

    from openrtc_worker import AuditEvent, SessionEnd
    from openrtc_worker.contract.audit import Sink as AuditSink


LATER: set[asyncio.Task[None]] = set()
TARGETS: list[AgentPool | DeployServer] = []


def say(event: str, **facts: object) -> None:
    """One JSON line on stdout, written at once: threads and job processes share it."""
    os.write(1, (json.dumps({"event": event, **facts}) + "\n").encode())


def script(metadata: str) -> dict[str, Any]:
    return json.loads(metadata) if metadata else {}


async def call(ctx: JobContext) -> None:
    wish = script(ctx.job.metadata)
    say("call", job=ctx.job.id, room=ctx.job.room.name, pid=os.getpid())
    match wish.get("do"):
        case "raise":
            raise RuntimeError("the agent's own code failed")
        case "block":
            time.sleep(3600)  # noqa: ASYNC251 - the point of it
        case "swallow":
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    say("swallowed", job=ctx.job.id)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "return":
            return
        case "later":
            LATER.add(asyncio.create_task(hang_up_later(ctx, wish["length"])))
            return
        case "session":
            await fail_in_session(ctx)
            return
        case "cancelled":
            child = asyncio.create_task(asyncio.sleep(3600))
            child.cancel()
            await child
        case "exit":
            sys.exit(3)
    try:
        if "held" in wish:
            while not Path(wish["held"]).exists():  # noqa: ASYNC110 - the test's process makes it
                await asyncio.sleep(0.02)
        else:
            await asyncio.sleep(wish.get("length", 3600))
    except asyncio.CancelledError:
        say("cancelled", job=ctx.job.id)
        raise
    if "cleanup" in wish:

        async def clean_up() -> None:
            await asyncio.sleep(wish["cleanup"])

        ctx.add_shutdown_callback(clean_up)
    ctx.shutdown("the caller hung up")


async def hang_up_later(ctx: JobContext, length: float) -> None:
    await asyncio.sleep(length)
    say("later", job=ctx.job.id)
    ctx.shutdown("the caller hung up")


async def fail_in_session(ctx: JobContext) -> None:
    """A session that ends with an error before the entrypoint, which lives as long as the session does, returns."""
    from livekit.agents import Agent, AgentSession, APIStatusError, CloseEvent, llm

    class BrokenStream(llm.LLMStream):
        async def _run(self) -> None:
            raise APIStatusError("invalid key", status_code=401, body=None, retryable=False)

    class BrokenModel(llm.LLM):
        def chat(self, *, chat_ctx: Any, tools: Any = None, conn_options: Any, **_: Any) -> BrokenStream:
            return BrokenStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)

    over = asyncio.Event()
    session: AgentSession[Any] = AgentSession(llm=BrokenModel())

    def closed(event: CloseEvent) -> None:
        say("closed", job=ctx.job.id, reason=event.reason.value)
        ctx.shutdown("the session closed")
        over.set()

    session.on("close", closed)
    await session.start(agent=Agent(instructions="x"), record=False)
    while not over.is_set():
        await asyncio.sleep(0.2)
        with contextlib.suppress(RuntimeError):  # it closes meanwhile
            await session.generate_reply(instructions="greet")


async def hook(request: JobRequest) -> None:
    wish = script(request.job.metadata).get("hook", {})
    say("hook_asked", job=request.id)
    for _ in range(64 if "flood" in wish else 0):
        asyncio.get_running_loop().run_in_executor(None, time.sleep, wish["flood"])
    if "drain" in wish:
        TARGETS[0].begin_drain()
    time.sleep(wish.get("block", 0))  # noqa: ASYNC251 - the point of it
    await asyncio.sleep(wish.get("wait", 0))
    answer = wish.get("answer", "accept")
    try:
        if answer == "accept":
            await request.accept(name="Agent", attributes={"mine": "kept"})
        elif answer == "reject":
            await request.reject()
        elif answer == "terminate":
            await request.reject(terminate=True)
        elif answer == "raise":
            raise RuntimeError("the hook failed")  # noqa: TRY301 - the point of it
    except Exception as error:
        say("hook_raised", job=request.id, error=f"{type(error).__name__}: {error}")
        raise
    say("hook_done", job=request.id)


class Sink:
    """Appends every audit event to a file, or raises."""

    def __init__(self, path: str | None, *, fails: bool) -> None:
        self._path = None if path is None else Path(path)
        self._fails = fails

    def __call__(self, event: AuditEvent) -> None:
        if self._fails or self._path is None:
            raise RuntimeError("the sink is down")
        with self._path.open("a") as file:
            file.write(json.dumps(event.to_dict()) + "\n")


class Observer:
    """Appends every ended call to a file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def on_session_end(self, ended: SessionEnd) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(ended)) + "\n")


def obey(target: AgentPool | DeployServer, loop_of: list[asyncio.AbstractEventLoop]) -> None:
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "begin_drain":
            target.begin_drain()
            say("draining", draining=target.draining)
        elif command == "block":
            loop_of[0].call_soon_threadsafe(time.sleep, float(argument))


def build(arguments: dict[str, Any]) -> AgentPool | DeployServer:
    sink: AuditSink | None = None
    if "audit" in arguments or "sink_fails" in arguments:
        sink = Sink(arguments.pop("audit", None), fails=arguments.pop("sink_fails", False))
    if "audit_file" in arguments:
        sink = AuditFile(arguments.pop("audit_file"))
    if "observed" in arguments:
        arguments["session_observers"] = [Observer(arguments.pop("observed"))]
    on_request = hook if arguments.pop("hook", False) else None
    arguments.pop("cli", None)
    if "server" in arguments:
        server = DeployServer(audit_sink=sink, **arguments["server"])
        server.rtc_session(call, agent_name="", on_request=on_request)
        return server
    names = arguments.pop("agents", ["booking"])
    pool = AgentPool(audit_sink=sink, request_fnc=on_request, **arguments)
    for name in names:
        pool.add(name, entrypoint=call)
    return pool


def main() -> int:
    arguments = json.loads(sys.argv[1])
    under_livekit = arguments.get("cli", False)
    target = build(arguments)
    TARGETS.append(target)
    server = target.server if isinstance(target, AgentPool) else target
    loops: list[asyncio.AbstractEventLoop] = []
    server.on("worker_started", lambda: loops.append(asyncio.get_running_loop()))
    threading.Thread(target=obey, args=(target, loops), daemon=True).start()
    if under_livekit:
        from livekit.agents import cli

        sys.argv = [sys.argv[0], *("start" if under_livekit is True else under_livekit).split()]
        cli.run_app(server)
        return 0
    return target.run() if isinstance(target, AgentPool) else run(server)


if __name__ == "__main__":
    sys.exit(main())
