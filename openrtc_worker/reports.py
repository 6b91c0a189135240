"""The line between a job and its worker: a datagram socket that works the same from a process and from a thread.

The job says who it is, how many callers it sees and how it ended; the worker says *cut*. The kernel keeps what
a job sent, also after the job's process is gone, so a worker that reads everything before it decides knows how
the call ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
import shutil
import socket
import tempfile
from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from openrtc_worker.contract.text import printable
from openrtc_worker.ledger import Ending  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

MAX_PATH = 103
"""Bytes that a socket's path may have: 107 on Linux, 103 on macOS."""

FOLDER_PREFIX = "openrtc-jobs-"
_MAX_NAME = 24
_MAX_SWEPT = 100
_LOCK = "lock"

CLOSE_TIMEOUT = 60.0
"""Seconds that a stalled worker gets to take what a job that ends has still to say; one that is gone is noticed at
once."""

_MAX_DATAGRAM = 4096
_CUT = b"cut"
_numbers = itertools.count()


class NoSocketFolderError(Exception):
    """Jobs have nowhere to report to; the message says what to do."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The job's code runs; ``path`` is where it listens for the cut."""

    job: str
    pid: int
    path: str


class CallersSeen(msgspec.Struct, frozen=True, tag="callers"):
    """So many callers are on the line now."""

    job: str
    callers: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """How the call ended, as the job saw it; ``error`` is one line when its code failed."""

    job: str
    ending: Ending
    error: str | None = None


Report: TypeAlias = Hello | CallersSeen | Ended

_decoder = msgspec.json.Decoder(Report)


class ReportSocket:
    """The worker's end. *receive* is called on the loop with each report, in each job's own order.

    Raises:
        NoSocketFolderError: there is no place for its socket.
    """

    def __init__(self, receive: Callable[[Report], None]) -> None:
        self._receive = receive
        self._folder = SocketFolder()
        self.path = str(self._folder.path / "w")
        self._socket = _datagram_socket(self.path)
        self._jobs: dict[str, str] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self.read_all)

    def read_all(self) -> None:
        """Take every report that has been sent by now."""
        while True:
            try:
                data = self._socket.recv(_MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                logger.exception("cannot read what jobs report")
                return
            try:
                report = _decoder.decode(data)
            except msgspec.MsgspecError:
                logger.warning("a datagram of %d bytes is no report of a job", len(data))
                continue
            if isinstance(report, Hello):
                self._jobs[report.job] = report.path
            self._receive(report)

    def cut(self, job_id: str) -> bool:
        """Tell a job to end its call now; False when it cannot be reached (it has not said hello, or is gone)."""
        path = self._jobs.get(job_id)
        if path is None:
            return False
        try:
            self._socket.sendto(_CUT, path)
        except OSError as error:
            logger.warning("cannot tell job %s to end its call: %s", job_id, error)
            return False
        return True

    def forget(self, job_id: str) -> None:
        """The job is over."""
        path = self._jobs.pop(job_id, None)
        if path is not None:
            with contextlib.suppress(OSError):  # a job process that was killed leaves its socket behind
                Path(path).unlink()

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._folder.close()


class JobLine:
    """The job's end. Nothing here raises: a call must not end because its worker cannot be told about it.

    Args:
        worker_path: the path of the worker's :class:`ReportSocket`.
        job_id: LiveKit's id of the job.
        on_cut: called on the loop when the worker ends the call.
    """

    def __init__(self, worker_path: str, job_id: str, on_cut: Callable[[], None]) -> None:
        self._job_id = job_id
        self._on_cut = on_cut
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[bytes] = deque()
        self._all_sent = asyncio.Event()
        self._socket: socket.socket | None = None
        self._ended = False
        path = str(Path(worker_path).with_name(f"{os.getpid()}.{next(_numbers)}"))
        try:
            self._socket = _datagram_socket(path)
            # connected, the kernel says when the worker's queue has room again
            self._socket.connect(worker_path)
        except OSError as error:
            logger.warning("job %s cannot report to its worker: %s", job_id, error)
            self._close_socket()
            return
        self._loop.add_reader(self._socket, self._read)
        self._send(Hello(job=job_id, pid=os.getpid(), path=path))

    def callers(self, count: int) -> None:
        self._send(CallersSeen(job=self._job_id, callers=count))

    def ended(self, ending: Ending, error: BaseException | str | None = None) -> None:
        """Report how the call ended; only the first one counts."""
        if self._ended:
            return
        self._ended = True
        if isinstance(error, BaseException):
            error = _described(error)
        self._send(Ended(job=self._job_id, ending=ending, error=None if error is None else printable(error)))

    async def close(self) -> None:
        """Send what is left, as far as the worker takes it in :data:`CLOSE_TIMEOUT`, and close."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._all_sent.wait()
        self._close_socket()

    def _send(self, report: Report) -> None:
        if self._socket is None:
            return
        self._unsent.append(msgspec.json.encode(report))
        self._all_sent.clear()
        self._flush()

    def _flush(self) -> None:
        if self._socket is None:
            return
        while self._unsent:
            try:
                self._socket.send(self._unsent[0])
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._socket, self._flush)
                return
            except OSError as error:
                logger.warning("job %s cannot report to its worker any more: %s", self._job_id, error)
                self._close_socket()
                return
            self._unsent.popleft()
        self._loop.remove_writer(self._socket)
        self._all_sent.set()

    def _read(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(BlockingIOError, InterruptedError, ConnectionError):
            if self._socket.recv(_MAX_DATAGRAM) == _CUT:
                self._on_cut()

    def _close_socket(self) -> None:
        self._all_sent.set()
        sock, self._socket = self._socket, None
        if sock is None:
            return
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
        with contextlib.suppress(OSError):
            name = sock.getsockname()
            sock.close()
            if name:
                Path(name).unlink()


def _described(error: BaseException) -> str:
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:  # the text of somebody else's exception may raise: its call has failed all the same
        return name


def _datagram_socket(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    return sock


class SocketFolder:
    """A fresh folder (mode 0700) under the system's temporary one, held by a lock until it is closed.

    A worker that was killed left its folder behind; the lock went with its process. Folders whose lock is free are
    taken away by the next worker.

    Raises:
        NoSocketFolderError: there is no temporary folder that this process may write to.
    """

    def __init__(self) -> None:
        try:
            self._make()
        except OSError as error:
            reason = error.strerror or error
            raise NoSocketFolderError(
                f"no temporary folder for the sockets of jobs ({reason}): set TMPDIR to one that can be written"
            ) from None
        _sweep(self.path.parent)

    def _make(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        if len(os.fsencode(self.path)) + _MAX_NAME > MAX_PATH:
            self.path.rmdir()
            self.path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir="/tmp"))
        # locked before it has its name: nobody ever sees a lock of ours that is free
        fresh = self.path / f"{_LOCK}.new"
        self._lock = fresh.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(self.path / _LOCK)

    def close(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _sweep(parent: Path) -> None:
    for folder in islice(parent.glob(f"{FOLDER_PREFIX}*"), _MAX_SWEPT):
        with contextlib.suppress(OSError):  # it is somebody else's, or going away already
            if folder.stat(follow_symlinks=False).st_uid == os.getuid():
                _take_away_if_free(folder)


def _take_away_if_free(folder: Path) -> None:
    with (folder / _LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its worker lives
        shutil.rmtree(folder, ignore_errors=True)
