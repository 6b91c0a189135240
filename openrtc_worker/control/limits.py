"""What one client may cost: the endpoint shares its process, its loop and its file descriptors with live calls."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlLimits:
    """Bounds of the control endpoint. Times in seconds, sizes in bytes.

    Attributes:
        idle: for the headers of a request, and between two of a connection. aiohttp's default is an hour.
        body: for a request's body to arrive.
        write: for an answer, or a piece of an event stream, to be taken by the kernel; then the reader is dropped.
        handshake: for TLS.
        linger: how long the rest of a refused body is read, so that the client sees the answer and not a reset.
        goodbye: for the last events to be flushed, and for connections to end.
        body_bytes: the longest body.
        connections: open at once, TLS handshakes counted.
        streams: event streams open at once.
        stream_audit_events: audit events that wait for one slow reader; then it is dropped.
        snapshot_gap: the least time between two snapshots of a stream.
        snapshot_recheck: how often a stream's worker is looked at when it announces no change.
        snapshot_refresh: the longest time between two snapshots of a stream.
        heartbeat: between two comment lines of a stream, jittered by a tenth.
    """

    idle: float = 15.0
    body: float = 15.0
    write: float = 10.0
    handshake: float = 10.0
    linger: float = 2.0
    goodbye: float = 2.0
    body_bytes: int = 64 * 1024
    connections: int = 256
    streams: int = 64
    stream_audit_events: int = 1_000
    snapshot_gap: float = 0.1
    snapshot_recheck: float = 1.0
    snapshot_refresh: float = 60.0
    heartbeat: float = 2.0
