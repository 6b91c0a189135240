"""The adapter: the only module that knows livekit-agents.

``DeployServer`` is an ``AgentServer`` that refuses so that another worker gets the call, reports a load that LiveKit
understands, and tells a :class:`~openrtc_worker.boot.Boot` what happens. What it relies on beyond the public API of
livekit-agents 1.8 is marked *private*, and has a test of its own that names it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from livekit import rtc
from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    AssignmentTimeoutError,
    CloseEvent,
    CloseReason,
    JobContext,
    JobExecutorType,
    JobRequest,
)
from livekit.agents.ipc import supervised_proc
from livekit.agents.utils import http_context
from livekit.agents.version import __version__ as SDK_VERSION  # noqa: N812 - a constant
from livekit.agents.worker import ServerType
from livekit.rtc._ffi_client import FfiClient

from openrtc_worker import processes, runner
from openrtc_worker.boot import Boot
from openrtc_worker.control.target import Requester
from openrtc_worker.hook import Question, consult
from openrtc_worker.job import CURRENT, JobSide
from openrtc_worker.job_processes import JobProcesses
from openrtc_worker.ledger import Ending
from openrtc_worker.lifecycle import ExitCode
from openrtc_worker.offers import Acceptance, Answer, Offered, Offers, Rejection
from openrtc_worker.probe import Credentials
from openrtc_worker.room import RoomEars
from openrtc_worker.routing import Route
from openrtc_worker.settings import WorkerSettings
from openrtc_worker.snapshots import Link

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
    from typing import Unpack

    from livekit.agents import SimulationContext
    from livekit.agents.job import JobAcceptArguments
    from livekit.protocol import agent as protocol

    from openrtc_worker.contract.audit import AuditLog, Sink
    from openrtc_worker.contract.snapshot import RuntimeSnapshot
    from openrtc_worker.observers import SessionObserver
    from openrtc_worker.offers import Router
    from openrtc_worker.registry import AgentConfig, Provider
    from openrtc_worker.settings import ServerArguments

logger = logging.getLogger(__name__)

_JOIN_TIMEOUT = 10.0
"""Seconds after the entrypoint's return within which the job must have joined its room; livekit warns as late."""

_WORKER_ENDED_IT = "parent process shutdown"
"""livekit's reason for a job that ended because its worker, or LiveKit through it, said so."""


class DeployServer(AgentServer):
    """A livekit ``AgentServer`` with a version, a snapshot and a drain that drains.

    Register the entrypoint with ``rtc_session`` as always and run it with ``sys.exit(openrtc_worker.run(server))``.
    The arguments that are not ``AgentServer``'s mean what they mean on ``AgentPool``; ``router`` chooses the agent
    that a job is attributed to, or refuses it. ``load_fnc`` and ``load_threshold`` cannot be set.

    Raises:
        ValueError: an argument has a value that cannot be used; the message names it.
    """

    def __init__(
        self,
        *,
        audit_sink: Sink | None = None,
        session_observers: Sequence[SessionObserver] = (),
        router: Router | None = None,
        **arguments: Unpack[ServerArguments],
    ) -> None:
        options: dict[str, Any] = dict(arguments)
        own = {field.name for field in fields(WorkerSettings)} & options.keys()
        settings = WorkerSettings(**{name: options.pop(name) for name in own})
        if settings.dispatch_deployment is not None:  # the environment is the only way livekit-agents takes it
            os.environ["LIVEKIT_AGENT_DEPLOYMENT"] = settings.dispatch_deployment
        super().__init__(load_fnc=self._load, load_threshold=math.inf, **_server_options(options))
        self._user_hook: Callable[[JobRequest], Any] | None = None
        self._entrypoint: JobEntrypoint | None = None
        self._registered_at: float | None = None
        self._runner: str | None = None
        self.job_processes = JobProcesses()
        self.started = asyncio.Event()
        """Set once livekit's process pool is warm and it begins to connect."""
        self._is_running = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self.boot = Boot(settings, self, audit_sink=audit_sink, session_observers=session_observers)
        self._offers = Offers(self.boot, router=router or (lambda _: Route()), lost=AssignmentTimeoutError)
        self.on("worker_started", self._on_started)
        self.on("worker_registered", self._on_registered)

    # -- public face --------------------------------------------------------------------------------------------

    @property
    def deployment_version(self) -> str | None:
        """The version that this worker runs, stripped."""
        return self.boot.settings.deployment_version

    @property
    def draining(self) -> bool:
        """Whether a drain has begun; never false again once true."""
        return self.boot.draining

    @property
    def audit_log(self) -> AuditLog:
        """The events of this boot."""
        return self.boot.audit_log

    def begin_drain(self) -> None:
        """Refuse new jobs; live calls run to their hangup, then the process exits. From any thread, also twice."""
        processes.check_main("begin_drain()")
        self.boot.begin_drain(by=Requester(source="api"))

    def runtime_snapshot(self) -> RuntimeSnapshot:
        """What the worker is doing right now; from any thread, also before it runs."""
        return self.boot.runtime_snapshot()

    def rtc_session(
        self,
        func: Callable[[JobContext], Awaitable[None]] | None = None,
        *,
        agent_name: str = "",
        type: ServerType = ServerType.ROOM,  # noqa: A002 - livekit's name
        on_request: Callable[[JobRequest], Any] | None = None,
        on_session_end: Callable[[JobContext], Any] | None = None,
        on_simulation_end: Callable[[SimulationContext], Any] | None = None,
    ) -> Any:
        """Register the entrypoint, as ``AgentServer.rtc_session`` does; also a decorator."""

        def register(entrypoint: Callable[[JobContext], Awaitable[None]]) -> Callable[[JobContext], Awaitable[None]]:
            self._user_hook = on_request
            self._entrypoint = JobEntrypoint(entrypoint)
            super(DeployServer, self).rtc_session(
                self._entrypoint,
                agent_name=agent_name,
                type=type,
                on_request=self._answer,
                on_session_end=on_session_end,
                on_simulation_end=on_simulation_end,
            )
            self.boot.notes.registered_agents = self.boot.notes.registered_agents or 1
            return entrypoint  # job processes look it up by its name, so the name must stay the user's function

        return register if func is None else register(func)

    # -- running ------------------------------------------------------------------------------------------------

    def credentials(self) -> Credentials:
        """Where this worker will register, and with what (*private*: the values that the constructor resolved)."""
        return Credentials(self._ws_url, self._api_key, self._api_secret, self._http_proxy or None)

    def trust(self) -> ssl.SSLContext:
        """What livekit's own connection trusts (*private*). Raises OSError when ``SSL_CERT_FILE`` is unusable."""
        return http_context._create_ssl_context()  # noqa: SLF001 - certifi's authorities where the system has none

    @property
    def isolates_processes(self) -> bool:
        """Whether each call has a process of its own (*private*)."""
        return self._job_executor_type is JobExecutorType.PROCESS

    @property
    def gave_up(self) -> bool:
        """Whether livekit has tried to connect as often as ``max_retry`` allows (*private*)."""
        return self._connection_failed

    @property
    def is_warming_up(self) -> bool:
        """Whether ``run`` is at its first job processes still."""
        return self._is_running and not self.started.is_set()

    @property
    def entrypoint(self) -> JobEntrypoint | None:
        """What job processes are sent; None before ``rtc_session``."""
        return self._entrypoint

    async def run(self, *, devmode: bool = False, unregistered: bool = False) -> None:
        """Livekit's own ``run``; under our runner the boot is open already."""
        if self._runner is None:
            await self._open_under_livekit()
        self._is_running = True
        if self.isolates_processes:
            # *private*: it ignores SIGINT in *this* process while a job process starts, and a drain is lost
            supervised_proc._mask_ctrl_c = contextlib.nullcontext  # type: ignore[assignment]  # noqa: SLF001
        else:
            # *private*: made by the first calls' threads at once it is made twice, and the agents that have the
            # first one hang and are thrown out of their rooms after 5 s
            _ = FfiClient.instance
        if self._entrypoint is not None:
            self._entrypoint.reports_path = self.boot.calls.reports_path
        self._spawn(self._watch_first_processes())
        await super().run(devmode=devmode, unregistered=unregistered)

    async def _watch_first_processes(self) -> None:
        self.job_processes.watch(self._proc_pool)  # (*private*) it is there once ``run`` has begun

    def abandon_launches(self) -> None:
        """Job processes do not start: count what waits for one as failed to launch."""
        self._offers.abandon()

    async def open(self, runner_name: str) -> None:
        """Open the boot. Raises what the runner says in one line; RuntimeError in a job's process."""
        processes.check_main("DeployServer.run()")
        await self.boot.open()
        self._runner = runner_name

    async def drain(self, timeout: Any = None) -> None:  # noqa: ARG002, ASYNC109 - livekit's; the boot owns time
        """Drain and return when the boot is over; what livekit's command line calls on a signal."""
        if self._runner is not None:
            self.boot.begin_drain(by=Requester(source="signal"))
            await self.boot.until_exit()

    async def aclose(self) -> None:
        """Close livekit's side. Under livekit's command line the boot ends too; what cannot be closed is killed."""
        if self._runner == "livekit":
            self._ending = self._ending or asyncio.create_task(self._end_boot())
            await asyncio.shield(self._ending)
        else:
            await self.close_livekit()

    async def close_livekit(self) -> None:
        """Close livekit's side alone; it can take long, so whoever calls it bounds it."""
        if self._is_running:
            await super().aclose()
        self._offers.stop()

    async def _open_under_livekit(self) -> None:
        logger.warning(
            "running under livekit's own command line: a second signal cuts every call;"
            " run it with sys.exit(openrtc_worker.run(server)) instead"
        )
        self.boot.notes.findings.append("second_signal_cuts")
        if not await runner.open_boot(self, "livekit"):
            runner.leave(ExitCode.CRASHED)  # livekit's command line would log an error, wait for ever, and exit 0
        self._spawn(self._close_after_drain())

    async def _close_after_drain(self) -> None:
        await self.boot.until_exit()
        await self.aclose()

    async def _end_boot(self) -> None:
        """What our runner does at the end; livekit's cancels every task as soon as it is closed."""
        self.boot.calls.cut_all()  # its ``dev`` command does not drain: whatever is live is being cut
        self.boot.calls.end_all()  # and in the books by the time of the last word: nobody would hear of it later
        code, grace = self.boot.exit_code or ExitCode.DRAINED, self.boot.settings.cut_grace
        if not await runner.end(self, code, grace=0 if self.draining else grace):
            runner.leave(code)

    # -- what the boot asks (LiveKitSide) -----------------------------------------------------------------------

    def tell_full(self) -> None:
        """Tell LiveKit, now and for good, that this worker is full; before ``run`` it waits for it.

        *Private*, and all of livekit's ``drain`` but its wait for the jobs: when the last two end in one turn of the
        event loop, as they do at the deadline, it waits for them in a loop that never yields, and the worker hangs.
        """
        self._draining = True
        if not self._closed:  # it is before ``run`` too
            self._spawn(self._tell_status())

    def tell_load(self) -> None:
        """Tell LiveKit the load now (*private*: its own report may come 2.5 s later)."""
        if self.link().connected:
            self._spawn(self._tell_status())

    async def _tell_status(self) -> None:
        self._worker_load = self._load()  # its own refresh waits for a thread of the executor
        await self._update_worker_status()

    def active_job_ids(self) -> Collection[str]:
        """The jobs that run here; none before ``run`` has made its process pool."""
        return {info.job.id for info in self.active_jobs} if hasattr(self, "_proc_pool") else ()

    def unassigned_job_ids(self) -> Collection[str]:
        """The accepted offers without an assignment (*private*)."""
        return getattr(self, "_pending_assignments", ())

    def kill_jobs(self, pids: Collection[int]) -> None:
        """Kill job processes; jobs that are threads end with this process."""
        if self.isolates_processes:
            processes.kill(pids)

    def link(self) -> Link:
        """The connection to LiveKit (*private*: connected or not has no public property)."""
        connected = self._registered_at is not None and not self._connecting and not self._closed
        return Link(
            connected=connected,
            since=self._registered_at if connected else None,
            worker_id=None if self._registered_at is None else self.id,
            agent_name=self._agent_name,
            deployment=self._deployment or None,
            sdk=f"livekit-agents {SDK_VERSION}",
        )

    def _load(self) -> float:
        return self.boot.reported_load

    def _on_started(self) -> None:
        self.started.set()
        if self._draining:
            self.tell_full()

    def _on_registered(self, _worker_id: str, _info: object) -> None:
        self._registered_at = self.boot.clock()
        # livekit says so an instant before it calls itself connected
        asyncio.get_running_loop().call_soon(self.boot.registered)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- offers -------------------------------------------------------------------------------------------------

    async def _answer(self, request: JobRequest) -> None:
        job, user_hook = request.job, self._user_hook
        offered = Offered(
            job_id=job.id,
            room=job.room.name,
            job_metadata=job.metadata,
            room_metadata=job.room.metadata,
            agent_name=job.agent_name,
        )
        hook = None if user_hook is None else lambda question: consult(user_hook, Offer(job, question), job.room.name)
        await self._offers.answer(offered, request, deployment=self._deployment or None, hook=hook)


def _server_options(given: dict[str, Any]) -> dict[str, Any]:
    """``AgentServer``'s own arguments: the given ones over what a worker that drains needs."""
    for name in ("load_fnc", "load_threshold"):
        if name in given:
            raise ValueError(f"{name} cannot be set: the load that LiveKit is told follows max_concurrent_sessions")
    isolation = given.pop("isolation", None)
    if isolation is not None:
        if isolation not in ("process", "thread"):
            raise ValueError(f"isolation must be process or thread, not {isolation!r}")
        given["job_executor_type"] = JobExecutorType(isolation)
    return {
        "host": "127.0.0.1",
        "port": 0,  # livekit's health port is a fixed one: the second worker of a host would not start
        "max_retry": sys.maxsize,  # after 16 times in vain livekit would end, and the live calls with it
        "session_end_timeout": 60.0,
        **given,
        "preload_modules": [*(given.get("preload_modules") or ()), "openrtc_worker._ignore_sigterm"],
    }


class Offer(JobRequest):
    """The offer as the user's hook sees it: ``reject`` passes the call on, ``accept`` asks the gate once more."""

    def __init__(self, job: protocol.Job, question: Question[Answer]) -> None:
        async def accept(wishes: JobAcceptArguments) -> None:
            await question.give(
                Acceptance(
                    name=wishes.name,
                    identity=wishes.identity,
                    metadata=wishes.metadata,
                    attributes=wishes.attributes,
                )
            )

        async def reject(terminate: bool) -> None:
            await question.give(Rejection(terminate))

        super().__init__(job=job, on_reject=reject, on_accept=accept)

    async def reject(self, *, terminate: bool = False) -> None:
        """Refuse the job; another worker is asked, unless *terminate* ends it for good."""
        await self._on_reject(terminate)


# -- in the job ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class JobEntrypoint:
    """The user's entrypoint with our ears on the room. Job processes receive it pickled."""

    entrypoint: Callable[[JobContext], Awaitable[None]]
    reports_path: str = ""

    async def __call__(self, ctx: JobContext) -> None:
        job = JobSide(self.reports_path, ctx.job.id, ctx.shutdown)
        ears = RoomEars(ctx.room, job, kind=rtc.ParticipantKind.Name, reason=rtc.DisconnectReason.Name)
        hearing = asyncio.create_task(_hear(ctx, job, ears), name="openrtc-ears")

        async def closed(reason: str) -> None:
            hearing.cancel()
            job.ended(Ending.STOPPED if reason == _WORKER_ENDED_IT else Ending.HANGUP)
            await job.close()

        ctx.add_shutdown_callback(closed)
        await job.run(_run(self.entrypoint, ctx))
        if not ctx.is_fake_job():
            asyncio.get_running_loop().call_later(_JOIN_TIMEOUT, _end_unless_joined, ctx)


async def _run(entrypoint: Callable[[JobContext], Awaitable[None]], ctx: JobContext) -> None:
    await entrypoint(ctx)


async def _hear(ctx: JobContext, job: JobSide, ears: RoomEars) -> None:
    """Hear of what has no event: our own joining, whom we find there, and the start of a session."""
    joined = attached = False
    pause = 0.02
    while not (joined and attached):
        if not joined and ctx.room.isconnected():
            joined = True
            ears.recount()
        session = None if attached else _session_of(ctx)
        if session is not None:
            attached = True
            session.on("close", lambda event: _note_session_error(job, event))
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 1.1)  # both come early or not at all


def _end_unless_joined(ctx: JobContext) -> None:
    """Its entrypoint has returned. livekit would keep a job that never joins for ever."""
    if _session_of(ctx) is None and not ctx.room.isconnected():
        ctx.shutdown("the entrypoint returned")  # of no effect when the job ends already


def _session_of(ctx: JobContext) -> AgentSession[Any] | None:
    try:
        return ctx.primary_session
    except RuntimeError:
        return None


def _note_session_error(job: JobSide, event: CloseEvent) -> None:
    if event.reason is CloseReason.ERROR:
        job.ended(Ending.ERROR, str(event.error or "the session failed"))


async def run_agent(ctx: JobContext, config: AgentConfig) -> None:
    """Run a plain ``Agent`` in a session with the pool's providers, until the caller hangs up.

    livekit's session closes when its caller leaves with a reason that means a hangup, and not when our own side
    reconnects; the job then ends, where livekit alone would wait for the room to be closed.
    """
    assert config.agent_class is not None  # noqa: S101 - the pool calls it for agent classes only
    given = {"stt": config.providers.stt, "llm": config.providers.llm, "tts": config.providers.tts}
    session: AgentSession[Any] = AgentSession(
        **{name: _made(provider) for name, provider in given.items() if provider is not None}
    )

    job = CURRENT.get()

    def closed(event: CloseEvent) -> None:
        if job is not None:
            _note_session_error(job, event)
        if event.reason is not CloseReason.JOB_SHUTDOWN:
            ctx.shutdown(f"the session closed: {event.reason.value}")

    session.on("close", closed)
    await session.start(agent=config.agent_class(), room=ctx.room)
    await ctx.connect()
    if config.providers.greeting is not None:
        await session.generate_reply(instructions=config.providers.greeting)


def _made(provider: Provider) -> Any:
    return provider if isinstance(provider, str) else provider()


def check_agent_class(value: object) -> None:
    """Raises TypeError when *value* is no ``livekit.agents.Agent`` subclass."""
    if not (isinstance(value, type) and issubclass(value, Agent)):
        raise TypeError(f"an agent must be a subclass of livekit.agents.Agent, not {value!r}")
