"""Server-sent events, parsed from bytes that arrive cut anywhere. No I/O here.

The format is that of the HTML standard's section on server-sent events: lines end in CR, LF or CRLF, a line that
starts with a colon is a comment, an empty line ends an event. Comments are handed on, since they are the heartbeat.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_EVENT: Final = 1 << 20
"""Bytes of one event, or of one line, beyond which it is no worker that speaks."""

_BOM: Final = b"\xef\xbb\xbf"


class SseError(ValueError):
    """The bytes cannot be an event stream of a worker."""


class Frame(NamedTuple):
    """One event, or a comment (``event`` is empty)."""

    event: bytes
    data: bytes


COMMENT: Final = Frame(b"", b"")


class SseParser:
    """Feed it chunks, take frames."""

    def __init__(self) -> None:
        self._line: list[bytes] = []  # pieces of the line that has no end yet
        self._line_size = 0
        self._event = b""
        self._data: list[bytes] = []  # data lines of the event that has no end yet
        self._data_size = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that *chunk* completes.

        Raises:
            SseError: a line or an event is larger than :data:`MAX_EVENT`.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")  # the second half of a CRLF that was cut in two
        if not chunk:
            return []
        if b"\n" not in chunk and b"\r" not in chunk:
            self._keep(chunk)
            return []
        if self._line:
            self._line.append(chunk)
            chunk = b"".join(self._line)
            self._line.clear()
            self._line_size = 0
        if self._at_start:
            self._at_start = False
            chunk = chunk.removeprefix(_BOM)
        lines = chunk.splitlines()  # of bytes, this breaks at CR, LF and CRLF only
        self._after_cr = chunk.endswith(b"\r")
        if not self._after_cr and not chunk.endswith(b"\n"):
            self._keep(lines.pop())
        return self._take(lines)

    def _keep(self, piece: bytes) -> None:
        self._line.append(piece)
        self._line_size += len(piece)
        if self._line_size > MAX_EVENT:
            raise SseError(f"a line of more than {MAX_EVENT:,} bytes on the event stream")

    def _take(self, lines: list[bytes]) -> list[Frame]:
        frames: list[Frame] = []
        for line in lines:
            if not line:
                if self._data:
                    frames.append(Frame(self._event or b"message", b"\n".join(self._data)))
                    self._data.clear()
                    self._data_size = 0
                self._event = b""
            elif line.startswith(b":"):
                frames.append(COMMENT)
            else:
                self._field(line)
        return frames

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._event = value
        elif name == b"data":
            self._data.append(value)
            self._data_size += len(value) + 1
            if self._data_size > MAX_EVENT:
                raise SseError(f"an event of more than {MAX_EVENT:,} bytes on the event stream")
