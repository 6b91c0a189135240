"""Server-sent events: the snapshot at once and on every change, audit events, and the last word before exit."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from aiohttp import web

from openrtc_worker.contract.snapshot import encode_json
from openrtc_worker.control.connection import drop
from openrtc_worker.control.problems import PLAIN_HEADERS, Refusal

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from openrtc_worker.contract.audit import AuditEvent
    from openrtc_worker.contract.snapshot import RuntimeSnapshot
    from openrtc_worker.control.limits import ControlLimits
    from openrtc_worker.control.target import ControlTarget

HEARTBEAT: Final = b":\n\n"
STREAM_HEADERS: Final = {**PLAIN_HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}

logger = logging.getLogger("openrtc.control")


def snapshot_frame(snapshot: RuntimeSnapshot, event: str = "snapshot") -> bytes:
    """One event with the whole snapshot in one data line, ``id: boot_id:seq``."""
    head = f"event: {event}\nid: {snapshot.boot_id or ''}:{snapshot.seq or 0}\ndata: ".encode()
    return head + encode_json(snapshot) + b"\n\n"


def audit_frame(event: AuditEvent) -> bytes:
    """One audit event; it has no id, so that a reader's last id stays that of a snapshot."""
    return b"event: audit\ndata: " + encode_json(event.to_dict()) + b"\n\n"


class EventStream:
    """One reader. What waits for it is bounded: one snapshot, the newest, and so many audit events.

    Args:
        limits: of the endpoint.
        rng: draws the jitter of the heartbeats.
    """

    def __init__(self, limits: ControlLimits, rng: random.Random) -> None:
        self._limits = limits
        self._rng = rng
        self._snapshot: bytes | None = None
        self._audit: deque[bytes] = deque()
        self._bye: bytes | None = None
        self._closed = False
        self._overrun = False
        self._wake = asyncio.Event()
        self._request: web.BaseRequest | None = None

    def show(self, frame: bytes) -> None:
        """Send this snapshot; it replaces one that still waits."""
        self._snapshot = frame
        self._wake.set()

    def tell(self, frame: bytes) -> None:
        """Send this audit event; a reader too slow to take them is dropped."""
        if len(self._audit) >= self._limits.stream_audit_events:
            self._overrun = True
            self._audit.clear()
        else:
            self._audit.append(frame)
        self._wake.set()

    def close(self, bye: bytes | None = None) -> None:
        """Send what waits, then *bye* if there is one, and end. A second call changes nothing."""
        if self._closed:
            return
        self._bye = bye
        self._closed = True
        self._wake.set()

    def cut(self) -> None:
        """End at once, whatever still waits."""
        if self._request is not None:
            drop(self._request.transport)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Write to the reader until it leaves, is dropped, or the stream is closed."""
        self._request = request
        response = web.StreamResponse(headers=STREAM_HEADERS)
        response.force_close()
        try:
            async with asyncio.timeout(self._limits.write):
                await response.prepare(request)
            await self._write_all(request, response)
            if not self._overrun:
                async with asyncio.timeout(self._limits.write):
                    await response.write_eof()
                return response
            logger.warning("event stream to %s dropped: it reads too slowly", request.remote)
        except TimeoutError:
            logger.warning("event stream to %s dropped: it reads nothing", request.remote)
        except ConnectionError:
            return response  # the reader left
        drop(request.transport)
        return response

    async def _write_all(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        clock = asyncio.get_running_loop().time
        beat_at = clock() + self._beat()
        while not self._overrun:
            closing = self._closed  # read before taking: what came until then is written before the end
            data = self._take()
            if clock() >= beat_at:
                data += HEARTBEAT
                beat_at = clock() + self._beat()
            if data:
                async with asyncio.timeout(self._limits.write):
                    await response.write(data)
                    await request.writer.drain()  # connection.py lets nothing wait in the transport
                continue
            if closing:
                return
            try:
                async with asyncio.timeout(beat_at - clock()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _take(self) -> bytes:
        self._wake.clear()
        frames = [*self._audit, self._snapshot or b"", self._bye or b""]
        self._audit.clear()
        self._snapshot = self._bye = None
        return b"".join(frames)

    def _beat(self) -> float:
        return self._limits.heartbeat * self._rng.uniform(0.9, 1.1)


class EventHub:
    """All event streams of a worker: looks at it when it changes, encodes once, hands the bytes to every reader.

    Args:
        target: the worker.
        limits: of the endpoint.
        rng: draws the jitter of the heartbeats.
    """

    def __init__(self, target: ControlTarget, limits: ControlLimits, rng: random.Random) -> None:
        self._target = target
        self._limits = limits
        self._rng = rng
        self._streams: set[EventStream] = set()
        self._ended = asyncio.Event()
        self._wake = asyncio.Event()
        self._shown: RuntimeSnapshot | None = None  # without its times
        self._shown_at = float("-inf")
        self._bye: bytes | None = None
        self._closed = False
        self._publisher: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []

    def start(self) -> None:
        """Listen to the worker and its audit log, on the running loop."""
        loop = asyncio.get_running_loop()

        def heard(event: AuditEvent) -> None:  # from whatever thread emitted it
            loop.call_soon_threadsafe(self._tell_all, event)

        self._unsubscribe = [self._target.on_change(self._wake.set), self._target.audit_log.listen(heard)]
        self._publisher = asyncio.create_task(self._publish(), name="openrtc-events")

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one reader until its stream ends.

        Raises:
            Refusal: ``too_many_streams``.
        """
        if len(self._streams) >= self._limits.streams:
            raise Refusal("too_many_streams", f"{self._limits.streams} event streams are open: poll /v1/snapshot")
        stream = EventStream(self._limits, self._rng)
        if self._bye is None:
            snapshot = self._target.runtime_snapshot()
            stream.show(snapshot_frame(snapshot))
            if not self._streams:
                self._remember(snapshot.without_time())
        if self._closed:
            stream.close(self._bye)
        self._streams.add(stream)
        self._wake.set()
        try:
            return await stream.serve(request)
        finally:
            self._streams.discard(stream)
            if not self._streams:
                self._ended.set()

    async def say_bye(self, snapshot: RuntimeSnapshot) -> None:
        """End every stream with ``bye``; returns when all have it, or after the time for goodbyes."""
        await asyncio.sleep(0)  # audit events that were emitted before this reach the streams first
        self._bye = snapshot_frame(snapshot, "bye")
        await self._end()

    async def aclose(self) -> None:
        """Stop listening and end every stream."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe = []
        await self._end()
        if self._publisher is not None:
            self._publisher.cancel()
            await asyncio.wait([self._publisher])

    async def _end(self) -> None:
        self._closed = True
        for stream in self._streams:
            stream.close(self._bye)
        if self._streams:
            self._ended.clear()
            try:
                async with asyncio.timeout(self._limits.goodbye):
                    await self._ended.wait()
            except TimeoutError:
                logger.warning("%d event streams did not take their last events", len(self._streams))
                for stream in tuple(self._streams):
                    stream.cut()

    def _tell_all(self, event: AuditEvent) -> None:
        if not self._streams or self._closed:
            return
        frame = audit_frame(event)
        for stream in self._streams:
            stream.tell(frame)

    async def _publish(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            # A lost link or a caller that left has no callback everywhere, so it is looked at each second anyway.
            idle = None if not self._streams else self._limits.snapshot_recheck
            try:
                async with asyncio.timeout(idle):
                    await self._wake.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(max(0.0, self._shown_at + self._limits.snapshot_gap - clock()))
            self._wake.clear()
            if not self._streams or self._closed:
                continue
            try:
                self._show_change(clock())
            except Exception:  # the worker's own code: one bad snapshot must not silence the stream for good
                logger.exception("no snapshot could be made for the event streams")

    def _remember(self, timeless: RuntimeSnapshot) -> None:
        self._shown = timeless
        self._shown_at = asyncio.get_running_loop().time()

    def _show_change(self, now: float) -> None:
        snapshot = self._target.runtime_snapshot()
        timeless = snapshot.without_time()
        if timeless == self._shown and now - self._shown_at < self._limits.snapshot_refresh:
            return
        self._remember(timeless)
        frame = snapshot_frame(snapshot)
        for stream in self._streams:
            stream.show(frame)
