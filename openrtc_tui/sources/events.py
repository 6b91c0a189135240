"""One event stream of one worker, from its opening to its end."""

from __future__ import annotations

import logging
from contextlib import aclosing
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrtc_tui.sources.contact import ContactError, wrong_status
from openrtc_tui.sources.sse import Frame, SseError, SseParser
from openrtc_tui.state.observation import AuditSeen, HeartbeatSeen, SnapshotSeen
from openrtc_worker.contract.snapshot import SnapshotError, decode_snapshot
from openrtc_worker.contract.text import printable_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_tui.http import Access, Http, HttpStream
    from openrtc_tui.state.observation import Observation, Target

HEAD_DEADLINE: Final = 5.0
"""Seconds until a worker must have answered."""

IDLE_LIMIT: Final = 7.0
"""Seconds of silence after which a stream is dead: three heartbeats of 2 s, each late by its jitter, and a little."""

_NO_EVENTS: Final = frozenset({404, 405, 501})
_FULL: Final = 503

logger = logging.getLogger("openrtc.sources")


class StreamEnd(Enum):
    """How a stream ended when nothing went wrong."""

    BYE = auto()
    """The worker took its leave."""
    NO_EVENTS = auto()
    """This worker has no event stream: poll it."""
    FULL = auto()
    """It serves as many streams as it will: poll it for a while."""


async def follow_events(
    http: Http, target: Target, access: Access | None, put: Callable[[Observation], None], clock: Callable[[], float]
) -> StreamEnd:
    """Put what *target* says until its stream ends.

    Raises:
        HttpFailure: it could not be reached, or contact broke.
        ContactError: it answered with something else than an event stream of a worker.
    """
    url = f"{target.url.rstrip('/')}/v1/events"
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    async with http.stream(
        url, headers=headers, deadline=HEAD_DEADLINE, idle=IDLE_LIMIT, unhurried=True, access=access
    ) as stream:
        end = _judge(stream)
        if end is not None:
            return end
        parser = SseParser()
        heartbeat = HeartbeatSeen(target.key)
        known = False  # heartbeats count once there was a snapshot
        sense_by = clock() + IDLE_LIMIT  # bytes alone are no sign of life: one may drip them
        async with aclosing(stream.chunks()) as chunks:
            async for chunk in chunks:
                frames = _parse(parser, chunk)
                for frame in frames:
                    if frame.event:
                        known |= _put(target.key, frame, put)
                    elif known:
                        put(heartbeat)
                    if frame.event == b"bye":
                        return StreamEnd.BYE
                if frames and known:
                    sense_by = clock() + IDLE_LIMIT
                elif clock() > sense_by:
                    raise _no_sense(known=known)
    raise ContactError("broken", "the event stream ended without a goodbye")


def _judge(stream: HttpStream) -> StreamEnd | None:
    """The end of a stream that never began; None when it did."""
    if stream.status in _NO_EVENTS:
        return StreamEnd.NO_EVENTS
    if stream.status == _FULL:
        return StreamEnd.FULL
    if stream.status != 200:
        raise wrong_status(stream.status)
    content_type = stream.headers.get("content-type", "nothing")
    if not content_type.startswith("text/event-stream"):
        raise ContactError("garbage", f"expected an event stream, got {content_type}")
    return None


def _parse(parser: SseParser, chunk: bytes) -> list[Frame]:
    try:
        return parser.feed(chunk)
    except SseError as error:
        raise ContactError("garbage", str(error)) from None


def _no_sense(*, known: bool) -> ContactError:
    if known:
        return ContactError("timeout", f"no whole event for {IDLE_LIMIT:g} s")
    return ContactError("garbage", "no snapshot on the event stream")


def _put(key: str, frame: Frame, put: Callable[[Observation], None]) -> bool:
    """Put what an event tells; whether it was a snapshot. Events of a kind that is not known here tell nothing."""
    if frame.event in {b"snapshot", b"bye"}:
        try:
            snapshot = decode_snapshot(frame.data)
        except SnapshotError as error:
            raise ContactError("garbage", f"not a snapshot: {error}") from None
        put(SnapshotSeen(key, snapshot, frame.data, via="events", bye=frame.event == b"bye"))
        return True
    if frame.event == b"audit":
        _put_audit(key, frame.data, put)
    return False


def _put_audit(key: str, data: bytes, put: Callable[[Observation], None]) -> None:
    """Audit events are for reading only: one that cannot be read must not end the watch over the calls."""
    try:
        event: Any = printable_tree(msgspec.json.decode(data))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        event = None
    if isinstance(event, dict):
        put(AuditSeen(key, event))
    else:
        logger.warning("%s sent an audit event that is no JSON object", key)
