"""Which calls were live when a boot was last heard of: a small append-only file, read by the next boot.

It turns "unknown" into "dropped, confirmed" after a crash that left nobody to count. One JSON object a line; a torn
last line, from a power cut in the middle of a write, is ignored.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from openrtc_worker.contract.snapshot import OpenCall, PreviousBoot
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_worker.ledger import Call, EndedCall

MAX_BYTES = 1 << 20
"""Beyond this size the file is written anew with the open calls only."""

WRITE_AGAIN = 10.0
"""Seconds after which a file that lacks what a disk did not take is written anew."""


class StateDirError(Exception):
    """The folder cannot be used; one line that says what to do."""


class CallFile:
    """The file of one boot.

    Construct it at the start of a boot: it reads what the boot before it left (:attr:`previous`), and starts anew.
    After a write that failed it is written anew as well: the next boot would tell of a call that ended long ago as
    one that was dropped, or not of one that was.

    Args:
        folder: ``state_dir``; made when it does not exist.
        worker_id: each worker id has a file of its own in the folder.
        boot_id: this boot.
        clock: Unix seconds.
        defer: runs a write, at once or soon and in order, where a slow disk hurts nobody.

    Raises:
        StateDirError: the folder cannot be written, or another living worker of the same id uses it.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        worker_id: str,
        boot_id: str,
        clock: Callable[[], float],
        defer: Callable[[Callable[[], Any]], None],
    ) -> None:
        self._path = Path(folder).expanduser() / f"calls-{file_stem(worker_id)}.jsonl"
        self._boot_id = boot_id
        self._clock = clock
        self._defer = defer
        self._open: dict[str, str] = {}
        self._written = 0
        self._lacks_a_line = False
        self._write_again_at = 0.0
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self._path.with_suffix(".lock"), worker_id)
            self.previous = read_previous(self._path)
            self._start_anew()
        except OSError as error:
            raise StateDirError(
                f"state_dir {folder}: {error.strerror or error}; name a folder that this worker may write"
            ) from None

    def started(self, call: Call) -> None:
        self._open[call.job_id] = call.room
        self._append(event="start", job=call.job_id, room=call.room)

    def over(self, job_id: str) -> None:
        """The call is over with nobody dropped, as its job says; :meth:`ended` follows once it is in the books."""
        self._open.pop(job_id, None)
        self._append(event="end", job=job_id)  # an "end" to older versions too: the next boot may be a rollback's

    def ended(self, ended: EndedCall) -> None:
        """The call is in the books; a second end of it is as good as one."""
        self._open.pop(ended.call.job_id, None)
        self._append(event="end", job=ended.call.job_id, outcome=ended.outcome.value)

    def exited(self, code: int) -> None:
        """The boot ends by its own will; nothing that was live is open any more."""
        self._append(event="exit", code=code)

    def due(self) -> None:
        """Write anew what lacks a line, though no call comes or goes; ask every so often."""
        now = self._clock()
        if self._lacks_a_line and now >= self._write_again_at:
            self._write_again_at = now + WRITE_AGAIN
            self._defer(self._start_anew)

    def close(self) -> None:
        self._lock.close()

    def _append(self, **record: Any) -> None:
        record["at"] = self._clock()
        self._defer(lambda: self._write(record))

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, separators=(",", ":")) + "\n"
        try:
            if self._lacks_a_line or self._written > MAX_BYTES:
                self._start_anew()
            with self._path.open("a") as file:
                file.write(line)
        except OSError:
            self._lacks_a_line = True  # or ends in half a one, to which the next would be glued
            raise
        self._written += len(line)

    def _start_anew(self) -> None:
        at = self._clock()
        records: list[dict[str, Any]] = [{"event": "boot", "boot": self._boot_id, "at": at}]
        records += [{"event": "start", "job": job, "room": room, "at": at} for job, room in tuple(self._open.items())]
        text = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
        write_anew(self._path, text)
        self._written, self._lacks_a_line = len(text), False


def file_stem(worker_id: str) -> str:
    """The worker's id as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", worker_id)[:100] or "worker"


def write_anew(path: Path, text: str) -> None:
    """Replace a file in one step: a crash leaves the old one or the new one, never a half. Raises OSError."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_previous(path: Path) -> PreviousBoot | None:
    """How the boot that wrote *path* ended; None when there was none."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    boot_id: str | None = None
    calls: dict[str, str] = {}
    clean = False
    for line in lines:
        match _record(line):
            case {"event": "boot", "boot": str(boot)}:
                boot_id = printable(boot)
            case {"event": "start", "job": str(job), "room": str(room)}:
                calls[job] = room
            case {"event": "end", "job": str(job)}:
                calls.pop(job, None)
            case {"event": "exit"}:
                clean = True
    if boot_id is None:
        return None
    return PreviousBoot(
        boot_id=boot_id,
        open_calls=[OpenCall(room=printable(room), job=printable(job)) for job, room in calls.items()],
        clean_exit=clean,
    )


def _record(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _locked(path: Path, worker_id: str) -> IO[str]:
    """The lock file, held by this process until it is closed."""
    file = path.open("w")
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise StateDirError(
            f"state_dir: another worker with the id {worker_id!r} uses it; give each its own OPENRTC_WORKER_ID"
        ) from None
    return file
