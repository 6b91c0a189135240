"""One worker's registration: what it told us, the offers that it has not answered, the jobs that it runs.

It stands between the WebSocket (``server``) and the dispatcher: messages in, messages out through ``send``.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from livekit.protocol import agent, models

from openrtc_worker.local.records import Answer, JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_worker.local.call_log import CallLog

_MAX_DEPLOYMENT_BYTES = 64

_STATES = {
    agent.JobStatus.JS_PENDING: JobState.PENDING,
    agent.JobStatus.JS_RUNNING: JobState.RUNNING,
    agent.JobStatus.JS_SUCCESS: JobState.SUCCESS,
    agent.JobStatus.JS_FAILED: JobState.FAILED,
    agent.JobStatus.JS_CANCELLED: JobState.CANCELLED,
}


class ProtocolError(Exception):
    """A worker said what the protocol does not allow; its connection is closed."""


class WorkerGoneError(Exception):
    """The worker's connection ended while we waited for its answer."""


class NoAnswerError(Exception):
    """The call's time ran out while we waited for the worker's answer."""


@dataclass(frozen=True, slots=True)
class Route:
    """What a call and a worker must agree on, exactly: there is no fall-back from a named deployment to none."""

    agent_name: str = ""
    deployment: str = ""
    namespace: str = ""
    job_type: agent.JobType = agent.JobType.JT_ROOM


def new_id(prefix: str) -> str:
    """A LiveKit-like id: ``AJ_`` for jobs, ``AW_`` for workers, ``AD_`` dispatches, ``RM_`` rooms."""
    return f"{prefix}_{secrets.token_hex(6)}"


def route_of(request: agent.RegisterWorkerRequest) -> Route:
    """Where a registering worker wants its calls from. Raises :class:`ProtocolError`."""
    deployment = request.deployment
    raw = deployment.encode()
    if len(raw) > _MAX_DEPLOYMENT_BYTES:
        raise ProtocolError(f"deployment exceeds {_MAX_DEPLOYMENT_BYTES} bytes")
    if any(byte in b"_\x7f" or byte <= 0x20 for byte in raw):
        raise ProtocolError("deployment contains '_', white space or a control character")
    if request.type not in agent.JobType.values():
        raise ProtocolError(f"unknown job type {request.type}")
    return Route(request.agent_name, deployment, request.namespace, request.type)


def permissions_of(request: agent.RegisterWorkerRequest) -> models.ParticipantPermission:
    if request.HasField("allowed_permissions"):
        return request.allowed_permissions
    return models.ParticipantPermission(
        can_subscribe=True, can_publish=True, can_publish_data=True, can_update_metadata=True
    )


class WorkerSession:
    """A worker from its registration to the end of its connection; a reconnect is another one, with another id."""

    def __init__(
        self,
        request: agent.RegisterWorkerRequest,
        *,
        log: CallLog,
        send: Callable[[agent.ServerMessage], None],
        clock: Callable[[], float],
    ) -> None:
        self.worker_id = new_id("AW")
        self.route = route_of(request)
        self.permissions = permissions_of(request)
        self.sdk_version = request.version
        # a fresh registration counts as idle, before its first status arrives
        self.available = True
        self.load = 0.0
        self._log = log
        self._send = send
        self._clock = clock
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._offers: dict[str, asyncio.Future[agent.AvailabilityResponse]] = {}
        self._running: set[str] = set()

    def runs(self, job_id: str) -> bool:
        return job_id in self._running

    def handle(self, message: agent.WorkerMessage) -> None:
        """Take one message of the worker. Raises :class:`ProtocolError` for one that no worker sends now."""
        kind = message.WhichOneof("message")
        match kind:
            case "availability":
                self._answered(message.availability)
            case "update_worker":
                self._reported(message.update_worker)
            case "update_job":
                self._job_reported(message.update_job, reporter=self.worker_id)
            case "ping":
                self._send(pong(message.ping, now=self._clock()))
            case "migrate_job":
                # the open-source server ignores it; for the record it says which calls outlived the connection
                self._log.kept(self.worker_id, message.migrate_job.job_ids)
            case _:
                raise ProtocolError(f"a registered worker sent {kind or 'an unknown message'}")

    async def offer(self, job: agent.Job, *, deadline: asyncio.Future[None]) -> agent.AvailabilityResponse:
        """Offer *job* and return the answer.

        Raises :class:`WorkerGoneError`, or :class:`NoAnswerError` when *deadline* is done before the answer is here.
        """
        answer: asyncio.Future[agent.AvailabilityResponse] = asyncio.get_running_loop().create_future()
        waiting_for: set[asyncio.Future[Any]] = {answer, self._gone, deadline}
        self._offers[job.id] = answer
        self._log.offered(job.id, self.worker_id)
        try:
            self._send(agent.ServerMessage(availability=agent.AvailabilityRequest(job=job)))
            await asyncio.wait(waiting_for, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._offers[job.id]
        if answer.done():
            return answer.result()
        if self._gone.done():
            raise WorkerGoneError
        raise NoAnswerError

    def assign(self, job: agent.Job, token: str) -> None:
        self._running.add(job.id)
        self._send(agent.ServerMessage(assignment=agent.JobAssignment(job=job, token=token)))

    def terminate(self, job_id: str) -> None:
        """Tell the worker to end a job, as LiveKit does when its room or its dispatch is deleted."""
        self._send(agent.ServerMessage(termination=agent.JobTermination(job_id=job_id)))
        self._log.termination_sent(job_id)
        # LiveKit counts the job as ended from here on, whatever the worker makes of it
        self._job_reported(agent.UpdateJobStatus(job_id=job_id, status=agent.JobStatus.JS_SUCCESS), reporter=None)

    def close(self) -> None:
        """The connection ended: nobody waits for an answer any more. Its jobs may well live on."""
        self._gone.set_result(None)
        self._log.left(self.worker_id)

    def _answered(self, response: agent.AvailabilityResponse) -> None:
        waiting = self._offers.get(response.job_id)
        in_time = waiting is not None and not waiting.done()
        if response.terminate:  # checked first, as LiveKit does: it ends the call whatever `available` says
            answer = Answer.TERMINATED
        else:
            answer = Answer.ACCEPTED if response.available else Answer.REFUSED
        self._log.answered(
            response.job_id, self.worker_id, answer, in_time=in_time, attributes=response.participant_attributes
        )
        if waiting is not None and not waiting.done():
            waiting.set_result(response)

    def _reported(self, update: agent.UpdateWorkerStatus) -> None:
        if update.HasField("status"):
            self.available = update.status == agent.WorkerStatus.WS_AVAILABLE
        self.load = update.load  # 0 when the worker leaves it out, as a draining one does
        self._log.worker_reported(self.worker_id, available=self.available, load=self.load)

    def _job_reported(self, update: agent.UpdateJobStatus, *, reporter: str | None) -> None:
        state = _STATES.get(update.status)
        if state is None:
            raise ProtocolError(f"unknown job status {update.status}")
        self._log.job_reported(update.job_id, reporter, state, update.error)
        if state.ended:
            self._running.discard(update.job_id)


def pong(ping: agent.WorkerPing, *, now: float) -> agent.ServerMessage:
    """The answer to a ping, due before the registration too. Its timestamps are Unix milliseconds."""
    return agent.ServerMessage(pong=agent.WorkerPong(last_timestamp=ping.timestamp, timestamp=round(now * 1000)))
