"""The boot's audit trail: its events with who, where and why filled in; the user's sink in a thread of its own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from openrtc_worker.contract import audit
from openrtc_worker.contract.audit import AuditEvent, AuditLog
from openrtc_worker.control.target import Requester
from openrtc_worker.outbox import Outbox
from openrtc_worker.rejections import RejectionDigest, Rejections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openrtc_worker.contract.audit import Sink
    from openrtc_worker.ledger import Call

logger = logging.getLogger(__name__)

SYSTEM = Requester(source="system")


class Trail:
    """Emits the events of one boot.

    Args:
        sink: the user's; it may block and may raise. None: one log line an event.
        version: the deployment version of every event.
        boot_id: in every event, beside the worker's id.
        worker_id: asked at each event; it is final only once the endpoint is bound.
        clock: Unix seconds.
    """

    def __init__(
        self,
        sink: Sink | None,
        *,
        version: str | None,
        boot_id: str,
        worker_id: Callable[[], str],
        clock: Callable[[], float],
    ) -> None:
        self._sink = sink
        self._sink_thread = Outbox("the audit sink")
        self._boot_id = boot_id
        self._worker_id = worker_id
        self._clock = clock
        self._digest = RejectionDigest()
        self.log = AuditLog(None if sink is None else self._hand_over, clock, version=version)

    @property
    def is_failing(self) -> bool:
        """Whether the sink raised on the latest event, or is hopelessly behind."""
        return self._sink_thread.failing

    def start(self) -> None:
        """From here on the sink runs in its thread; before, in the thread of whoever caused the event."""
        if self._sink is not None:
            self._sink_thread.start()

    def stop(self, timeout: float) -> None:
        """Let the sink take what is left, for at most *timeout* seconds."""
        if not self._sink_thread.stop(timeout):
            logger.warning("the audit sink did not take its last events in %g s", timeout)

    def act(self, event_type: str, by: Requester = SYSTEM, *, result: str = "ok", **fields: Any) -> None:
        """Something was asked of the worker, or it came to an end by itself."""
        asked = {"reason": by.reason, "op_id": by.op_id, "plan_id": by.plan_id, "kid": by.kid}
        fields |= {name: value for name, value in asked.items() if value is not None}
        self._emit(event_type, actor=by.actor, result=result, source=by.source, **fields)

    def dropped(self, event_type: str, call: Call, **fields: Any) -> None:
        """A caller lost the agent, or never got one."""
        self._emit(event_type, result="dropped", room=call.room, job=call.job_id, agent=call.agent, **fields)

    def refused(self, reason: str) -> None:
        """A job was refused; reasons that somebody has to mend are audited, at most once a minute."""
        self._rejected(self._digest.refused(reason, self._clock()))

    def due(self) -> None:
        """Audit refusals that have waited for their minute."""
        self._rejected(self._digest.due(self._clock()))

    def rest(self) -> None:
        """Audit what refusals are left, at the end."""
        self._rejected(self._digest.rest(self._clock()))

    def _rejected(self, rejections: Iterable[Rejections]) -> None:
        for rejection in rejections:
            self._emit(audit.WORKER_REJECTED, result="refused", reason=rejection.reason, count=rejection.count)

    def _emit(self, event_type: str, **fields: Any) -> None:
        self.log.emit(event_type, target=self._worker_id(), boot_id=self._boot_id, **fields)

    def _hand_over(self, event: AuditEvent) -> None:
        if self._sink is not None:
            sink = self._sink
            self._sink_thread.put(lambda: sink(event))
