"""Audit events: who asked what of whom, and what came of it. One shape for worker and dashboard."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

DEPLOYMENT_STARTED: Final = "deployment.started"
DEPLOYMENT_COMPLETED: Final = "deployment.completed"
DEPLOYMENT_ROLLED_BACK: Final = "deployment.rolled_back"
DEPLOYMENT_DRAIN_STARTED: Final = "deployment.drain_started"
DEPLOYMENT_DRAIN_SHORTENED: Final = "deployment.drain_shortened"
DEPLOYMENT_DRAIN_COMPLETED: Final = "deployment.drain_completed"
WORKER_REJECTED: Final = "worker.rejected"
WORKER_CORDONED: Final = "worker.cordoned"
WORKER_UNCORDONED: Final = "worker.uncordoned"
CONTROL_REFUSED: Final = "control.refused"
MANIFEST_ACCEPTED: Final = "manifest.accepted"
MANIFEST_REFUSED: Final = "manifest.refused"
CALL_CUT: Final = "call.cut"
CALL_OFFER_LOST: Final = "call.offer_lost"
AUDIT_TORN_LINE: Final = "audit.torn_line"

RESERVED_NAMES: Final = frozenset(
    {"seq", "timestamp", "event", "actor", "target", "result", "version", "chain", "prev", "hash"}
)
"""Keys of every event, and those that a chained file adds; no extra field may take one of these names."""

KEPT_EVENTS: Final = 1_000
"""Events kept in memory for ``GET /v1/audit``."""

logger = logging.getLogger("openrtc.audit")


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened. ``timestamp`` is in Unix seconds; ``seq`` starts at 1 and has no gaps."""

    seq: int
    timestamp: float
    event_type: str
    actor: str
    target: str
    result: str
    version: str | None
    fields: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON types: the type's key is ``event``, and the extra fields lie flat beside it."""
        extra = {name: value for name, value in self.fields.items() if name not in RESERVED_NAMES}
        return {
            "seq": self.seq,
            "timestamp": self.timestamp,
            "event": self.event_type,
            "actor": self.actor,
            "target": self.target,
            "result": self.result,
            "version": self.version,
            **extra,
        }


Sink = Callable[[AuditEvent], None]


def _log_line(event: AuditEvent) -> None:
    logger.info(json.dumps(event.to_dict(), default=str, separators=(",", ":")))


class AuditLog:
    """Numbers events, keeps the last thousand and hands each to a sink. Safe to use from any thread.

    Args:
        sink: called with each event, one after the other and in order, in the thread that emits it: on a
            worker that is the event loop, so it must return at once (hand over to a queue, never ask a network).
            Without one, each event is one structured log line of the logger ``openrtc.audit``. A sink that raises
            never reaches the caller: the error is logged, and its ``seq`` stays consumed.
        clock: Unix seconds.
        version: the version of events that are emitted without one.
    """

    def __init__(
        self,
        sink: Sink | None = None,
        clock: Callable[[], float] = time.time,
        *,
        version: str | None = None,
    ) -> None:
        self._sink = _log_line if sink is None else sink
        self._clock = clock
        self._version = version
        self._seq = 0
        self._kept: deque[AuditEvent] = deque(maxlen=KEPT_EVENTS)
        self._listeners: list[Sink] = []
        self._lock = threading.Lock()  # numbering
        self._sink_lock = threading.RLock()  # the sink sees events in order; it may emit again itself

    def emit(
        self,
        event_type: str,
        *,
        actor: str = "system",
        target: str = "",
        result: str = "ok",
        version: str | None = None,
        **fields: Any,
    ) -> AuditEvent:
        """Record one event and return it.

        Raises:
            ValueError: an extra field has a reserved name.
        """
        taken = RESERVED_NAMES & fields.keys()
        if taken:
            raise ValueError(f"an audit event's field may not be named {', '.join(sorted(taken))}")
        with self._sink_lock:
            with self._lock:
                self._seq += 1
                event = AuditEvent(
                    seq=self._seq,
                    timestamp=self._clock(),
                    event_type=event_type,
                    actor=actor,
                    target=target,
                    result=result,
                    version=version if version is not None else self._version,
                    fields=fields,
                )
                self._kept.append(event)
                listeners = tuple(self._listeners)
            # listeners first: an event that the sink emits in turn then comes after this one for them too
            for receive in (*listeners, self._sink):
                try:
                    receive(event)
                except Exception:  # somebody else's code at our boundary: it must never end a call
                    logger.exception("an audit sink failed on event %d (%s)", event.seq, event.event_type)
        return event

    def listen(self, listener: Sink) -> Callable[[], None]:
        """Call *listener* with each event from now on; the returned function ends that."""
        with self._lock:
            self._listeners.append(listener)

        def stop() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop

    def after(self, seq: int) -> tuple[AuditEvent, ...]:
        """The kept events with a number above *seq*, oldest first."""
        with self._lock:
            return tuple(event for event in self._kept if event.seq > seq)

    @property
    def last_seq(self) -> int:
        """The number of the newest event; ask :meth:`after` with it to get what comes later."""
        with self._lock:
            return self._seq
