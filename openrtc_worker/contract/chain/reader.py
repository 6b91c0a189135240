"""Reads a chain, its rotated files included: the records in order, and the verdict on them."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any

from openrtc_worker.contract.chain.check import ChainCheck, Verification
from openrtc_worker.contract.chain.checkpoint import read_checkpoint
from openrtc_worker.contract.chain.files import beside, checkpoint_text, lines_of, open_file, open_in_order
from openrtc_worker.contract.chain.line import GENESIS, OPENING, BadLine, ChainError, decode_line, was_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Entry:
    """One line as it stands in a file. ``record`` is None when its bytes are not those that were written."""

    place: str
    record: dict[str, Any] | None
    problem: str | None = None


def read_entries(path: Path | str) -> Iterator[Entry]:
    """Every line of the chain at *path*, oldest first, damaged ones among them, one at a time.

    An unfinished last line is left out: nobody was told that it is written.

    Raises:
        ChainMissing: there is none.
        ChainError: a file cannot be read.
    """
    with ExitStack() as open_files:
        for file in [open_files.enter_context(each) for each in open_in_order(Path(path))]:
            name = Path(file.name).name
            for line in lines_of(file):
                if not line.is_whole:
                    continue
                place = f"{name} line {line.number}"
                try:
                    yield Entry(place, decode_line(line.data).record)
                except BadLine as error:
                    yield Entry(place, None, str(error))


def read_chain(path: Path | str) -> Iterator[dict[str, Any]]:
    """The records of the chain at *path*, oldest first, rotated files included; damaged lines are left out.

    Each has the keys ``chain``, ``prev`` and ``hash`` beside its own. Whether they belong together is for
    :func:`verify_chain` to say.

    Raises:
        ChainMissing: there is none.
        ChainError: a file cannot be read.
    """
    return (entry.record for entry in read_entries(path) if entry.record is not None)


class ChainFollower:
    """Reads a chain again and again while it grows: what was read before is kept, and only what is new is decoded.

    What was rotated, cut off or put there by somebody else is noticed, and all is read anew. Several threads may use
    it, one at a time gets on.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._lock = Lock()
        self._records: list[dict[str, Any]] = []
        self._file: tuple[int, int] | None = None
        """The file that was written when it was read last; None: read all anew."""
        self._end = 0
        """The offset in it behind the last good line."""

    def records(self) -> tuple[dict[str, Any], ...]:
        """As :func:`read_chain`, with the same errors. The records are kept here too: they are not to be changed."""
        with self._lock:
            if not self._go_on():
                self._read_anew()
            return tuple(self._records)

    def _go_on(self) -> bool:
        """Take in what was appended; False when what is there does not follow what was read."""
        file = open_file(self._path) if self._file is not None else None
        if file is None:
            return False
        with file:
            if _identity(file) != self._file or os.fstat(file.fileno()).st_size < self._end:
                return False
            last = self._records[-1]["hash"] if self._records else GENESIS.hash
            for line in lines_of(file, self._end):
                if not line.is_whole:
                    break
                try:
                    found = decode_line(line.data)
                except BadLine:
                    return False
                if found.prev != last:
                    return False
                last = found.head.hash
                self._records.append(found.record)
                self._end = file.tell()
        return True

    def _read_anew(self) -> None:
        self._records, self._file, self._end = [], None, 0
        records: list[dict[str, Any]] = []
        with ExitStack() as open_files:
            for file in [open_files.enter_context(each) for each in open_in_order(self._path)]:
                end = 0
                for line in lines_of(file):
                    if line.is_whole:
                        with suppress(BadLine):
                            records.append(decode_line(line.data).record)
                            end = file.tell()
                if Path(file.name) == self._path:
                    self._file, self._end = _identity(file), end
        self._records = records


def _identity(file: IO[bytes]) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def verify_chain(
    path: Path | str,
    keys: Mapping[str, Ed25519PublicKey] | None = None,
    *,
    checkpoint: Path | str | None = None,
) -> Verification:
    """The verdict on the chain at *path*, rotated files included.

    Without a checkpoint a cut tail cannot be seen: what is left is a whole chain.

    Args:
        path: the file that is written; its rotated files are found beside it.
        keys: public keys by ``kid``. With them a checkpoint must be there, and one of them must have signed it.
        checkpoint: a checkpoint that was kept elsewhere; None takes the one beside the file, where there is one.

    Raises:
        ChainMissing: there is none.
        ChainError: a file cannot be read, or never was a chain: no line of it looks like one, and no checkpoint
            vouches for any.
    """
    check = ChainCheck()
    # before the lines: a writer at work must not seem to be behind its own checkpoint
    vouched = _expect_checkpoint(check, Path(path), keys, None if checkpoint is None else Path(checkpoint))
    with ExitStack() as open_files:
        files = [open_files.enter_context(each) for each in open_in_order(Path(path))]
        _take(check, files)
        found = check.verdict()
        if not found.is_ok and not found.lines and not vouched and _is_foreign(files):
            raise ChainError(f"{path}: not an audit file")
    return found


def _take(check: ChainCheck, files: Sequence[IO[bytes]]) -> None:
    """Hand all lines to *check*, up to the first that was tampered with."""
    for file in files:
        name = Path(file.name).name
        for line in lines_of(file):
            place = f"{name} line {line.number}"
            if not line.is_whole:
                check.incomplete(f"{place}: unfinished; its writer was stopped there, or is at work")
            elif not check.take(line.data, place, opens_file=line.number == 1):
                return


def _is_foreign(files: Sequence[IO[bytes]]) -> bool:
    """Whether these never were a chain: the first line is no JSON object, and no line looks like one of a chain."""
    lines = (line for file in files for line in lines_of(file))
    first = next(lines, None)
    if first is None or _is_record(first.data) or was_line(first.data):
        return False
    if first.data.startswith(b"\0") or (not first.is_whole and OPENING.startswith(first.data)):
        return False  # zeros where a disk was to put the first line, or the beginning of it
    return not any(was_line(line.data) for line in lines)


def _is_record(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def _expect_checkpoint(
    check: ChainCheck, path: Path, keys: Mapping[str, Ed25519PublicKey] | None, named: Path | None
) -> bool:
    """Hold the lines against the checkpoint; False when there is none."""
    kept = named or beside(path, ".checkpoint")
    token = checkpoint_text(kept)
    if token is None:
        if named is not None:
            raise ChainError(f"{kept}: no such file")
        if keys is not None:
            check.incomplete(f"{kept.name}: not here, so a cut tail could not be seen")
        return False
    try:
        check.expect(read_checkpoint(token, keys))
    except ValueError as error:
        check.tampered(f"{kept.name}: {error}")
    return True
