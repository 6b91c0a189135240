"""The files of one chain: the one that is written, those rotated away, and how they are read in bounds.

Beside ``audit.jsonl`` stand ``audit.jsonl.1``, ``.2``, … (rotated, the highest is the newest), ``audit.jsonl.lock``,
``audit.jsonl.checkpoint`` and, after a crash in the middle of a write, ``audit.jsonl.torn-<line>``. Names that
other tools give (``audit.jsonl-20261121``) are found too: the order comes from the lines, not from the names.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, Final

from openrtc_worker.contract.chain.checkpoint import MAX_BYTES
from openrtc_worker.contract.chain.disk import error_of
from openrtc_worker.contract.chain.line import (
    MAX_LINE_BYTES,
    OPENING,
    BadLine,
    ChainError,
    ChainMissing,
    Head,
    decode_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROTATED: Final = re.compile(r"[.-]([0-9]{1,18})")
_LOOKED_AT: Final = 64
"""Lines that are tried to learn where in the chain a file belongs."""
_CHUNKS: Final = (64 << 10, 2 * MAX_LINE_BYTES)
"""How much of a file's end is read for its last line: usually little, at most what two lines can take."""


@dataclass(frozen=True, slots=True)
class RawLine:
    """Bytes of a file up to a newline, without it. ``number`` counts from 1, from where reading began.

    ``is_whole`` is False for a last line without a newline; of a line that is too long only a part is kept.
    """

    number: int
    data: bytes
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Tail:
    """How a file ends: its last good line, the offset behind it, and the bytes of an unfinished one after that."""

    head: Head | None
    end: int
    rest: bytes


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def rotated_files(path: Path) -> list[Path]:
    """The files beside *path* that a rotation may have left, in no particular order."""
    try:
        beside_it = [each for each in path.parent.iterdir() if each.name.startswith(path.name)]
    except FileNotFoundError:
        return []
    return [each for each in beside_it if _ROTATED.fullmatch(each.name[len(path.name) :]) and each.is_file()]


def next_rotated(path: Path) -> Path:
    """The name that *path* gets when it is rotated now; no file has it."""
    dotted = (each.name[len(path.name) :] for each in rotated_files(path))
    return beside(path, f".{max((int(each[1:]) for each in dotted if each.startswith('.')), default=0) + 1}")


def open_in_order(path: Path) -> list[IO[bytes]]:
    """The files of the chain at *path*, oldest first, open for reading; the caller closes them.

    Raises:
        ChainMissing: there is none.
        ChainError: one cannot be read.
    """
    opened: list[tuple[tuple[int, int, str], IO[bytes]]] = []
    seen: set[tuple[int, int]] = set()
    try:
        for each in _written_first(path):
            file = open_file(each)
            if file is None:
                continue
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) in seen:
                file.close()
                continue
            seen.add((status.st_dev, status.st_ino))
            place = _first_of(file)
            if place is None and each != path:
                file.close()  # another's file that only has such a name
                continue
            opened.append(((0, place, each.name) if place is not None else (1, 0, each.name), file))
    except BaseException:
        for _, file in opened:
            file.close()
        raise
    if not opened:
        raise ChainMissing(f"{path}: no such file")
    return [file for _, file in sorted(opened, key=lambda pair: pair[0])]


def _written_first(path: Path) -> Iterator[Path]:
    """The one that is written, and only when it was opened the others: rotated meanwhile, it is met again and known.

    The other way round a line could be in neither.
    """
    yield path
    yield from rotated_files(path)


def lines_of(file: IO[bytes], start: int = 0) -> Iterator[RawLine]:
    """The lines of *file* from the offset *start*, never more than one of them in memory."""
    file.seek(start)
    number = 0
    while data := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        is_whole = data.endswith(b"\n")
        part = data
        while not part.endswith(b"\n") and (part := file.readline(MAX_LINE_BYTES)):
            is_whole = part.endswith(b"\n")  # the rest of a line that is far too long
        yield RawLine(number, data.removesuffix(b"\n") if len(data) <= MAX_LINE_BYTES else data, is_whole)


def tail_of(descriptor: int, path: Path) -> Tail:
    """How the file ends, seen from its last lines alone.

    An unfinished or damaged last line can only be one that nobody was told is written: each is durable before the
    next begins.

    Raises:
        ChainError: more than the last line is damaged, or the file never was a chained one.
    """
    size = os.fstat(descriptor).st_size
    for chunk in _CHUNKS:
        offset = max(0, size - chunk)
        tail = _tail(os.pread(descriptor, size - offset, offset), offset)
        if tail is not None:
            return tail
    raise ChainError(
        f"{path}: its end is no chain; look at it with audit verify, and move it away to go on without it"
    )


def checkpoint_text(path: Path) -> str | None:
    """What stands in a checkpoint file, never more than a checkpoint can be long; None when there is none.

    Raises:
        ChainError: it cannot be read.
    """
    file = open_file(path)
    if file is None:
        return None
    with file:
        return file.read(MAX_BYTES + 1).decode("ascii", "replace")


def newest_rotated(path: Path) -> Head | None:
    """The last line of the newest rotated file."""
    heads: list[Head] = []
    for each in rotated_files(path):
        file = open_file(each)
        if file is not None:
            with file:
                try:
                    tail = tail_of(file.fileno(), each)
                except ChainError:
                    continue  # another's file, or damage that verification tells about
                if tail.head is not None:
                    heads.append(tail.head)
    return max(heads, key=lambda head: head.chain, default=None)


def open_file(path: Path) -> IO[bytes] | None:
    """*path* for reading, links followed; None when it does not exist."""
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    except FileNotFoundError:
        return None
    except OSError as error:
        raise error_of(path, error) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ChainError(f"{path}: not a regular file")
    return file


def _without_waiting(name: str, flags: int) -> int:
    """As ``os.open``, but a FIFO of this name does not hold us for ever."""
    return os.open(name, flags | os.O_NONBLOCK)


def _first_of(file: IO[bytes]) -> int | None:
    """The place in the chain of the first line of *file* that is whole."""
    for line in islice(lines_of(file), _LOOKED_AT):
        try:
            return decode_line(line.data).head.chain
        except BadLine:
            continue
    return None


def _tail(data: bytes, offset: int) -> Tail | None:
    """The tail in *data*, the file from *offset* to its end; None when it shows no good line."""
    lines = data.split(b"\n")
    rest = lines.pop()
    end = offset + len(data) - len(rest)
    if not lines:
        # a file that begins with an unfinished line: ours, or a disk's zeros where it was to stand
        begun = offset == 0 and (rest.startswith(OPENING) or OPENING.startswith(rest) or not rest.strip(b"\0"))
        return Tail(None, 0, rest) if begun else None
    head = _head_of(lines[-1])
    if head is not None:
        return Tail(head, end, rest)
    if rest:
        return None  # two lines are damaged: no crash does that
    # a whole line of wrong bytes: its newline reached the disk and its beginning did not
    damaged = lines.pop()
    start = end - len(damaged) - 1
    if not lines:
        begun = offset == 0 and (damaged.startswith((OPENING, b"\0")))
        return Tail(None, 0, damaged) if begun else None
    head = _head_of(lines[-1])
    return Tail(head, start, damaged) if head is not None else None


def _head_of(data: bytes) -> Head | None:
    try:
        return decode_line(data).head
    except BadLine:
        return None
