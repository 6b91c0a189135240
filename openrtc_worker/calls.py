"""The calls of one boot, from the accepted offer to the books: what LiveKit and the jobs say meets here.

Every method is called on the worker's loop, only :attr:`Calls.taken` is read from other threads too. The lock is the
boot's: it keeps readers in other threads away from books that are half written.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openrtc_worker.contract import audit
from openrtc_worker.gate import Gate
from openrtc_worker.ledger import Call, Ledger, Outcome
from openrtc_worker.reports import CallersSeen, Ended, Hello, Report, ReportSocket

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection

    from openrtc_worker.call_file import CallFile
    from openrtc_worker.ledger import EndedCall
    from openrtc_worker.snapshots import Notes
    from openrtc_worker.trail import Trail

logger = logging.getLogger(__name__)


class Calls:
    """Gate and ledger with the shell around them.

    Args:
        capacity: the hard cap.
        clock: Unix seconds.
        monotonic: seconds, for the gate.
        trail: where dropped calls are audited.
        notes: where the snapshot's odds and ends are noted.
        lock: held while the books are written.
        ended: called with every call that is over; it must return at once.
    """

    def __init__(
        self,
        *,
        capacity: int,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        trail: Trail,
        notes: Notes,
        lock: threading.RLock,
        ended: Callable[[EndedCall], None] = lambda _ended: None,
    ) -> None:
        self.ledger = Ledger()
        self.gate = Gate(capacity=capacity)
        self._clock = clock
        self._monotonic = monotonic
        self._trail = trail
        self._notes = notes
        self._lock = lock
        self._ended = ended
        self._reports: ReportSocket | None = None
        self._file: CallFile | None = None
        self._pids: dict[str, int] = {}
        self._early: dict[str, list[Report]] = {}
        self._cutting = False

    def open(self, file: CallFile | None) -> None:
        """Listen for reports of jobs, and write into *file* from now on."""
        self._reports = ReportSocket(self._reported)
        self._file = file

    def close(self) -> None:
        if self._reports is not None:
            self._reports.close()

    @property
    def reports_path(self) -> str:
        """Where jobs report to; empty before :meth:`open`."""
        return "" if self._reports is None else self._reports.path

    @property
    def taken(self) -> int:
        """Places taken by live calls and by offers that may become one."""
        return self.gate.taken(self._monotonic(), live=self.ledger.active)

    @property
    def refusal(self) -> str | None:
        """Why an offer that is handled now is refused whatever the state, or None."""
        return self.gate.refusal(self._monotonic(), live=self.ledger.active)

    @property
    def live_pids(self) -> list[int]:
        """The processes of live calls, as far as they have said."""
        return [self._pids[call.job_id] for call in self.ledger.live_calls if call.job_id in self._pids]

    # -- offers -------------------------------------------------------------------------------------------------

    def refused(self, reason: str) -> None:
        with self._lock:
            self.ledger.offer_rejected(reason)
        self._trail.refused(reason)

    def answered(self, call: Call) -> None:
        """We are about to say yes; from here on the offer takes a place."""
        with self._lock:
            self.gate.answered(call.job_id, self._monotonic())
        self._early[call.job_id] = []

    def started(self, call: Call) -> None:
        """The job is launched."""
        with self._lock:
            self.gate.settled(call.job_id)
            self.ledger.call_started(call, self._clock())
            self._notes.last_routed_agent = call.agent or self._notes.last_routed_agent
        if self._file is not None:
            self._file.started(call)
        for report in self._early.pop(call.job_id, ()):
            self._reported(report)
        if self._cutting:
            self._cut(call)

    def launch_failed(self, call: Call, error: BaseException) -> None:
        """LiveKit gave us the job and we could not run it: its caller got nobody."""
        logger.error("the job %s of room %s could not be launched: %s", call.job_id, call.room, error)
        with self._lock:
            self.gate.settled(call.job_id)
            self.ledger.launch_failed()
            self._notes.error(f"a job could not be launched: {type(error).__name__}: {error}")
        self._early.pop(call.job_id, None)

    def offer_lost(self, call: Call) -> None:
        """We said yes and LiveKit had given up on us."""
        with self._lock:
            self.gate.settled(call.job_id)
            self.ledger.offer_lost()
        self._early.pop(call.job_id, None)
        self._trail.dropped(audit.CALL_OFFER_LOST, call)

    # -- jobs ---------------------------------------------------------------------------------------------------

    def _reported(self, report: Report) -> None:
        if report.job in self._early:  # a job may be faster than the word that it was launched
            self._early[report.job].append(report)
            return
        over = False
        with self._lock:
            match report:
                case Hello(job=job, pid=pid):
                    self._pids[job] = pid
                case CallersSeen(job=job, callers=callers):
                    self.ledger.callers_changed(job, callers, self._clock())
                case Ended(job=job, ending=ending, error=error):
                    over = self.ledger.ending_reported(job, ending) and ending.dropped_nobody
                    if error is not None:
                        self._notes.error(error)
        if over and self._file is not None:
            # livekit tells of the end later, and the books are kept by the beat: whatever kills this worker until
            # then, the next boot must not tell of this call as one that was dropped
            self._file.over(report.job)
        if self._cutting and isinstance(report, Hello) and self._reports is not None:
            self._reports.cut(report.job)

    def reap(self, active: Collection[str]) -> bool:
        """Enter into the books every call whose job is not *active* any more; True when there was one."""
        gone = [call for call in self.ledger.live_calls if call.job_id not in active]
        if gone and self._reports is not None:
            self._reports.read_all()  # what a job said before it ended has been sent by now
        for call in gone:
            self._end(call)
        return bool(gone)

    def cut_all(self) -> None:
        """End every live call, and every one that may still start."""
        if self._reports is not None:
            self._reports.read_all()  # a hangup that was reported before the deadline stays one
        self._cutting = True
        for call in self.ledger.live_calls:
            self._cut(call)

    def due(self) -> None:
        """What has to be done every so often though no call comes or goes."""
        if self._file is not None:
            self._file.due()

    def end_all(self) -> None:
        """Enter into the books whatever is left: it was killed, or ends with the process."""
        for call in self.ledger.live_calls:
            self._end(call)

    def _cut(self, call: Call) -> None:
        with self._lock:
            self.ledger.call_cut(call.job_id)
        if self._reports is not None:
            self._reports.cut(call.job_id)

    def _end(self, call: Call) -> None:
        with self._lock:
            ended = self.ledger.call_ended(call.job_id, self._clock())
        self._pids.pop(call.job_id, None)
        if self._reports is not None:
            self._reports.forget(call.job_id)
        if ended is None:
            return
        if self._file is not None:
            self._file.ended(ended)
        self._ended(ended)
        if ended.outcome is Outcome.CUT:
            self._trail.dropped(audit.CALL_CUT, call, seconds=ended.ended_at - ended.started_at)
        elif ended.outcome in (Outcome.CRASHED, Outcome.LOST):
            logger.error("the call in room %s (job %s) %s", call.room, call.job_id, ended.outcome.value)
            self._notes.error(f"a call {ended.outcome.value} (room {call.room})")
