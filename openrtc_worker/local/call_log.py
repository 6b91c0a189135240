"""The dispatcher's memory: it folds what happens into the frozen records of ``records``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from openrtc_worker.local.records import Answer, CallRecord, JobReport, JobState, Loss, Offer, WorkerRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class CallLog:
    """Every call and every registration since the dispatcher was made, in order of arrival."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._calls: dict[str, CallRecord] = {}
        self._workers: dict[str, WorkerRecord] = {}

    @property
    def calls(self) -> tuple[CallRecord, ...]:
        return tuple(self._calls.values())

    @property
    def workers(self) -> tuple[WorkerRecord, ...]:
        return tuple(self._workers.values())

    def call(self, job_id: str) -> CallRecord:
        """The newest record of a call. Raises KeyError for a job that was never placed here."""
        return self._calls[job_id]

    # -- workers ---------------------------------------------------------------------------------------------

    def registered(self, worker_id: str, *, agent_name: str, deployment: str, sdk_version: str) -> None:
        self._workers[worker_id] = WorkerRecord(
            worker_id=worker_id,
            agent_name=agent_name,
            deployment=deployment,
            sdk_version=sdk_version,
            registered_at=self._clock(),
        )

    def worker_reported(self, worker_id: str, *, available: bool, load: float) -> None:
        self._workers[worker_id] = replace(self._workers[worker_id], available=available, load=load)

    def left(self, worker_id: str) -> None:
        self._workers[worker_id] = replace(self._workers[worker_id], left_at=self._clock())

    # -- calls -----------------------------------------------------------------------------------------------

    def placed(
        self, job_id: str, *, room: str, agent_name: str, deployment: str, metadata: str, room_metadata: str
    ) -> None:
        self._calls[job_id] = CallRecord(
            job_id=job_id,
            room=room,
            agent_name=agent_name,
            deployment=deployment,
            metadata=metadata,
            room_metadata=room_metadata,
            placed_at=self._clock(),
        )

    def offered(self, job_id: str, worker_id: str) -> None:
        call = self._calls[job_id]
        offer = Offer(worker_id=worker_id, made_at=self._clock(), attributes={})
        self._calls[job_id] = replace(call, offers=(*call.offers, offer))

    def answered(
        self, job_id: str, worker_id: str, answer: Answer, *, in_time: bool, attributes: Mapping[str, str]
    ) -> None:
        """Note the first answer of a worker to an offer; what was never offered to it, or a second answer, is not."""
        call = self._calls.get(job_id)
        if call is None:
            return
        now = self._clock()
        offers = tuple(
            replace(offer, answer=answer, answered_at=now, in_time=in_time, attributes=dict(attributes))
            if offer.worker_id == worker_id and offer.answer is None
            else offer
            for offer in call.offers
        )
        self._calls[job_id] = replace(call, offers=offers)

    def assigned(self, job_id: str, worker_id: str) -> CallRecord:
        call = replace(self._calls[job_id], worker_id=worker_id, assigned_at=self._clock())
        self._calls[job_id] = call
        return call

    def lost(self, job_id: str, loss: Loss) -> CallRecord:
        call = replace(self._calls[job_id], loss=loss, lost_at=self._clock())
        self._calls[job_id] = call
        return call

    def job_reported(self, job_id: str, worker_id: str | None, state: JobState, error: str = "") -> None:
        call = self._calls.get(job_id)
        if call is not None:
            report = JobReport(at=self._clock(), worker_id=worker_id, state=state, error=error)
            self._calls[job_id] = replace(call, reports=(*call.reports, report))

    def kept(self, worker_id: str, job_ids: Sequence[str]) -> None:
        """A worker that reconnected says which of its jobs it still runs."""
        for job_id in job_ids:
            call = self._calls.get(job_id)
            if call is not None:
                self._calls[job_id] = replace(call, kept_by=(*call.kept_by, worker_id))

    def termination_sent(self, job_id: str) -> None:
        self._calls[job_id] = replace(self._calls[job_id], termination_sent_at=self._clock())
