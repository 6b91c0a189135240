"""Writes a chained file: each line is on the disk before its writer is told so, or it does not count."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from openrtc_worker.contract.audit import AUDIT_TORN_LINE
from openrtc_worker.contract.chain.checkpoint import read_checkpoint, sign_checkpoint
from openrtc_worker.contract.chain.disk import (
    acquire_lock,
    error_of,
    make_durable,
    make_folder,
    open_for_writing,
    replace_file,
    sync_folder,
    write_all,
)
from openrtc_worker.contract.chain.files import beside, checkpoint_text, newest_rotated, next_rotated, tail_of
from openrtc_worker.contract.chain.line import GENESIS, ChainError, Head, RecordRefused, encode_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_FILE_BYTES: Final = 32 << 20
"""A file is rotated before a line would make it larger than this."""
LOCK_TRIES: Final = 500
LOCK_PAUSE: Final = 0.01
"""Writers that take turns wait for each other: 500 times 10 ms, far longer than any of them needs."""

logger = logging.getLogger("openrtc.audit")


class ChainWriter:
    """Appends records to a chained file. Safe to use from any thread, not from a forked child.

    What a crash in the middle of a write left unfinished is moved to ``FILE.torn-<line>`` and recorded as the event
    ``audit.torn_line``. If the file was cut since this writer (or its own checkpoint) last saw it, the chain goes
    on behind what was there, so that the gap shows.

    Args:
        path: the file; it and its folder are made when missing, for this user only. Never a symbolic link.
        exclusive: True holds the writer's lock until :meth:`close`: a second writer is refused. False takes it for
            each append, and follows what other processes appended meanwhile.
        checkpoint_key: signs ``FILE.checkpoint`` after each line, with which a cut tail is seen.
        kid: the key's id, the stem of its file; needed with *checkpoint_key*.
        max_bytes: the file is renamed to ``FILE.1``, ``.2``, … before it would grow larger; nothing is deleted.
        clock: Unix seconds.
        sleep: waits while another process appends.

    Raises:
        ChainError: the file cannot be used: one line that says what to do.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        exclusive: bool,
        checkpoint_key: Ed25519PrivateKey | None = None,
        kid: str | None = None,
        max_bytes: int = MAX_FILE_BYTES,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if (checkpoint_key is None) is not (kid is None):
            raise ValueError("a checkpoint needs a key and its kid")
        self.path = Path(path).expanduser().absolute()
        self._exclusive = exclusive
        self._key, self._kid = checkpoint_key, kid
        self._max_bytes = max_bytes
        self._clock, self._sleep = clock, sleep
        self._mutex = threading.RLock()
        self._process = os.getpid()
        self._lock: int | None = None
        self._file: int | None = None
        self._size = 0  # of the file, when our head is its last line
        self._in_step = False  # whether what we know of the file is what we left there
        self._head = GENESIS
        self._closed = False
        self.checkpoint_failed: str | None = None
        """Why the newest checkpoint could not be written; the line itself was. The next line tries again."""
        try:
            make_folder(self.path.parent)
            if exclusive:
                self._lock = self._acquire(tries=1)
            self._head = self._checkpointed()
            with self._turn():
                self._catch_up()
        except OSError as error:
            self.close()
            raise error_of(self.path, error) from None
        except BaseException:
            self.close()
            raise

    @property
    def head(self) -> Head:
        """The newest line that this writer knows of."""
        return self._head

    def append(self, record: Mapping[str, Any]) -> int:
        """Write *record* as the next line, and return its number in the chain once it would survive a power loss.

        Raises:
            RecordRefused: no line can hold it; another record may be written.
            ChainError: it could not be written, for whatever reason, and does not count: what had reached the file
                was taken away again. The writer stays usable, and tries anew with the next record.
        """
        with self._mutex:
            if self._closed or os.getpid() != self._process:
                raise ChainError(f"{self.path}: its writer is closed")
            try:
                with self._turn():
                    self._catch_up()
                    return self._write(record)
            except OSError as error:
                raise error_of(self.path, error) from None

    def close(self) -> None:
        """Let go of the file and the lock. Nothing is left to write: every line was durable when it was told so."""
        with self._mutex:
            self._closed = True
            for descriptor in (self._file, self._lock):
                if descriptor is not None:
                    os.close(descriptor)
            self._file = self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------- one turn

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Within it nobody else writes."""
        if self._exclusive:
            yield
            return
        lock = self._acquire(tries=LOCK_TRIES)
        try:
            yield
        finally:
            os.close(lock)

    def _acquire(self, *, tries: int) -> int:
        return acquire_lock(
            beside(self.path, ".lock"), guarded=self.path, tries=tries, pause=lambda: self._sleep(LOCK_PAUSE)
        )

    def _catch_up(self) -> None:
        """Know the head of the file as it is now, whoever appended to it, rotated it or took it away."""
        if self._file is not None and self._in_step and self._is_as_left(self._file):
            return
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._file = self._open()
        tail = tail_of(self._file, self.path)
        if tail.rest:
            self._move_aside(self._file, tail.end, tail.rest)
        found = tail.head or newest_rotated(self.path) or GENESIS
        if found.chain > self._head.chain:
            self._head = found
        elif found.chain < self._head.chain:
            logger.warning(
                "%s: line %d of the chain was its newest and now line %d is; the chain goes on behind the gap",
                *(self.path, self._head.chain, found.chain),
            )
        self._size = tail.end
        self._record_torn()
        self._in_step = True

    def _is_as_left(self, descriptor: int) -> bool:
        try:
            there = self.path.lstat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(descriptor)) and there.st_size == self._size

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND
        try:
            return open_for_writing(self.path, flags)
        except FileNotFoundError:
            descriptor = open_for_writing(self.path, flags | os.O_CREAT | os.O_EXCL)
        try:
            sync_folder(self.path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    # ------------------------------------------------------------------------------------------------- one line

    def _write(self, record: Mapping[str, Any]) -> int:
        try:
            line, head = encode_line(record, self._head)
        except ValueError as error:
            raise RecordRefused(f"{self.path}: {error}") from None
        if self._size and self._size + len(line) > self._max_bytes:
            self._rotate()
        descriptor = self._file
        if descriptor is None:
            raise ChainError(f"{self.path}: its writer is closed")
        self._in_step = False
        try:
            write_all(descriptor, line)
            make_durable(descriptor)
        except BaseException:  # a full disk, or somebody's Ctrl-C: nothing of the line may stay
            self._take_back(descriptor)
            raise
        self._head, self._size, self._in_step = head, self._size + len(line), True
        self._checkpoint()
        return head.chain

    def _take_back(self, descriptor: int) -> None:
        """If this fails too, the next append finds the unfinished line and moves it aside."""
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, self._size)
            make_durable(descriptor)

    def _rotate(self) -> None:
        self._in_step = False  # until the new file is there
        if self._file is not None:
            make_durable(self._file)  # its last line may be of a process that died before it was
        self.path.rename(next_rotated(self.path))
        sync_folder(self.path.parent)
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._file = self._open()
        self._size = 0

    # ------------------------------------------------------------------------------------------- unfinished lines

    def _move_aside(self, descriptor: int, end: int, rest: bytes) -> None:
        """Keep *rest* beside the file, then cut it off: killed in between, both are there and it is done again."""
        side = open_for_writing(beside(self.path, ".torn"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            write_all(side, rest + b"\n")
            make_durable(side)
        finally:
            os.close(side)
        sync_folder(self.path.parent)
        os.ftruncate(descriptor, end)
        make_durable(descriptor)

    def _record_torn(self) -> None:
        """The side file keeps its passing name until the chain tells of it: killed in between, it is told again."""
        waiting = beside(self.path, ".torn")
        if not waiting.is_file():
            return
        kept = beside(self.path, f".torn-{self._head.chain + 1}")
        data = waiting.read_bytes()
        self._write(
            {
                "seq": 0,  # no event of the process that writes: the file tells of itself
                "timestamp": self._clock(),
                "event": AUDIT_TORN_LINE,
                "actor": "system",
                "target": self.path.name,
                "result": "moved aside",
                "version": None,
                "side_file": kept.name,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
        waiting.rename(kept)
        sync_folder(self.path.parent)

    # ------------------------------------------------------------------------------------------------ checkpoints

    def _checkpointed(self) -> Head:
        """What the checkpoint names, whoever signed it: the chain never goes on as if it had been shorter."""
        path = beside(self.path, ".checkpoint")
        if self._key is None or self._kid is None:
            return GENESIS
        token = checkpoint_text(path)
        if token is None:
            return GENESIS
        try:
            return read_checkpoint(token, None).head
        except ValueError as error:
            logger.warning("%s: %s; a new one takes its place", path, error)
            return GENESIS

    def _checkpoint(self) -> None:
        if self._key is None or self._kid is None:
            return
        path = beside(self.path, ".checkpoint")
        token = sign_checkpoint(self._head, self._clock(), private_key=self._key, kid=self._kid)
        try:
            replace_file(path, f"{token}\n".encode("ascii"))
        except (OSError, ChainError) as error:
            # the line stands; it would be a lie to call it unwritten
            told = str(error_of(path, error) if isinstance(error, OSError) else error)
            if self.checkpoint_failed is None:
                logger.warning("%s", told)
            self.checkpoint_failed = told
        else:
            self.checkpoint_failed = None
