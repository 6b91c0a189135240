"""The embedded dispatcher: hands calls to real livekit-agents workers, as livekit-server 1.13.5 was seen to.

It speaks LiveKit's worker protocol over a WebSocket at ``/agent``; it carries no media. A call's chain is: bids are
collected for 200 ms; then one worker after another is asked, drawn by load, until one accepts; 3 s after the call's
arrival it is lost, whatever comes later. There is no second try and no re-dispatch: a caller whom nobody answered
stays alone, also when a worker registers a moment later.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from livekit.protocol import agent, models

from openrtc_worker.local import connection, tokens
from openrtc_worker.local.call_log import CallLog
from openrtc_worker.local.records import CallRecord, Loss, WorkerRecord
from openrtc_worker.local.selection import bid, choose
from openrtc_worker.local.session import NoAnswerError, Route, WorkerGoneError, WorkerSession, new_id
from openrtc_worker.local.side_door import SideDoor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_AGENT_NAME_ATTRIBUTE = "lk.agent_name"
_STOP_TIMEOUT = 1.0
_MAX_BODY = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The steps of a call, and how long a worker may take to register: seconds, the real server's by default."""

    bidding: float = 0.2
    chain: float = 3.0
    register: float = 10.0


class Dispatcher:
    """A stand-in for a LiveKit server's dispatch, for workers of any program.

    ``rng`` draws the workers (seed it for the same choices again), ``clock`` gives Unix seconds, ``sleep`` waits.
    With ``port=0`` the first ``start`` takes a free port and a later one, after ``stop``, the same again: to its
    workers that is a LiveKit server that restarts.
    """

    def __init__(
        self,
        api_key: str,
        api_secret: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        timing: Timing | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.api_key = api_key
        self.api_secret = api_secret
        self.log = CallLog(clock=clock)
        self._host = host
        self._port = port
        self._timing = timing or Timing()
        self._rng = rng or random.Random()
        self._clock = clock
        self._sleep = sleep
        self._runner: web.AppRunner | None = None
        self._sessions: dict[str, WorkerSession] = {}
        self._connections: set[connection.Connection] = set()

    # -- serving workers -------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """What workers have as ``LIVEKIT_URL``; known after ``start``."""
        return f"ws://{self._host}:{self._port}"

    async def start(self) -> str:
        """Serve, and return ``url``. Raises OSError when the port is taken."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_get("/agent", self._serve_worker)
        SideDoor(self).add_routes(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_TIMEOUT)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner = runner
        return self.url

    async def stop(self) -> None:
        """End every connection and free the port. The log stays; calls that workers have go on in them."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        for site in tuple(runner.sites):
            await site.stop()
        await asyncio.gather(*(each.close() for each in tuple(self._connections)))
        await runner.cleanup()

    def workers(self) -> tuple[WorkerRecord, ...]:
        """The workers that are connected now; ``log.workers`` has those that left too."""
        return tuple(worker for worker in self.log.workers if worker.connected)

    async def _serve_worker(self, request: web.Request) -> web.StreamResponse:
        accepted = await connection.accept(
            request, api_key=self.api_key, api_secret=self.api_secret, log=self.log, clock=self._clock
        )
        self._connections.add(accepted)
        try:
            await accepted.run(join=self._join, leave=self._leave, register_within=self._timing.register)
        finally:
            self._connections.discard(accepted)
            await accepted.close()
        return accepted.response

    def _join(self, session: WorkerSession) -> None:
        self._sessions[session.worker_id] = session
        self.log.registered(
            session.worker_id,
            agent_name=session.route.agent_name,
            deployment=session.route.deployment,
            sdk_version=session.sdk_version,
        )

    def _leave(self, session: WorkerSession) -> None:
        del self._sessions[session.worker_id]

    # -- placing calls ---------------------------------------------------------------------------------------

    async def dispatch(
        self,
        room: str,
        *,
        metadata: str = "",
        room_metadata: str = "",
        agent_name: str = "",
        deployment: str = "",
        attributes: Mapping[str, str] | None = None,
    ) -> CallRecord:
        """Place one call and return its record once it is assigned (``assigned``) or lost (``loss`` says why).

        ``metadata`` is the job's, ``room_metadata`` the room's. The record is the state of that moment; what comes
        after it is in ``log.call(job_id)``.
        """
        job = agent.Job(
            id=new_id("AJ"),
            dispatch_id=new_id("AD"),
            type=agent.JobType.JT_ROOM,
            room=models.Room(sid=new_id("RM"), name=room, metadata=room_metadata, creation_time=round(self._clock())),
            metadata=metadata,
            agent_name=agent_name,
            deployment=deployment,
            attributes=dict(attributes or {}),
        )
        self.log.placed(
            job.id,
            room=room,
            agent_name=agent_name,
            deployment=deployment,
            metadata=metadata,
            room_metadata=room_metadata,
        )
        deadline = asyncio.ensure_future(self._sleep(self._timing.chain))
        try:
            return await self._place(job, Route(agent_name, deployment), deadline)
        finally:
            deadline.cancel()

    def terminate(self, job_id: str) -> bool:
        """End a job as LiveKit does when its room is deleted. False when no connected worker has it."""
        for session in self._sessions.values():
            if session.runs(job_id):
                session.terminate(job_id)
                return True
        return False

    async def _place(self, job: agent.Job, route: Route, deadline: asyncio.Future[None]) -> CallRecord:
        registered = self._candidates(route)
        if not registered:
            return self.log.lost(job.id, Loss.NO_WORKER)
        # who bids is settled at once, and whoever comes within the bidding time comes too late
        best = bid(registered)
        await self._sleep(self._timing.bidding)
        if best == 0:
            return self.log.lost(job.id, Loss.NO_BID)
        asked: set[str] = set()
        while True:
            worker = choose((w for w in self._candidates(route) if w.worker_id not in asked), self._rng)
            if worker is None:
                return self.log.lost(job.id, Loss.EXHAUSTED)
            asked.add(worker.worker_id)
            settled = await self._ask(worker, job, deadline)
            if settled is not None:
                return settled

    async def _ask(self, worker: WorkerSession, job: agent.Job, deadline: asyncio.Future[None]) -> CallRecord | None:
        """One worker's turn: the call's record when that settled it, None when the next one is to be asked."""
        now = round(self._clock() * 1e9)
        job.state.CopyFrom(
            agent.JobState(
                status=agent.JobStatus.JS_RUNNING, worker_id=worker.worker_id, started_at=now, updated_at=now
            )
        )
        try:
            answer = await worker.offer(job, deadline=deadline)
        except WorkerGoneError:
            return None
        except NoAnswerError:
            return self.log.lost(job.id, Loss.TIMEOUT)
        if answer.terminate:
            return self.log.lost(job.id, Loss.TERMINATED)
        if not answer.available:
            return None
        return self._assign(worker, job, answer)

    def _assign(self, worker: WorkerSession, job: agent.Job, answer: agent.AvailabilityResponse) -> CallRecord:
        identity = answer.participant_identity or f"agent-{job.id}"
        job.state.participant_identity = identity
        token = tokens.room_token(
            api_key=self.api_key,
            api_secret=self.api_secret,
            room=job.room.name,
            identity=identity,
            name=answer.participant_name,
            metadata=answer.participant_metadata,
            attributes={**answer.participant_attributes, _AGENT_NAME_ATTRIBUTE: worker.route.agent_name},
            permissions=worker.permissions,
        )
        worker.assign(job, token)
        return self.log.assigned(job.id, worker.worker_id)

    def _candidates(self, route: Route) -> list[WorkerSession]:
        return [session for session in self._sessions.values() if session.route == route]
