"""The operator's journal: what is about to be asked stands on the disk before it is, and what came of it after.

One hash-chained file for each fleet on a machine; several dashboards and commands write to it in turn. A line is a
flat audit event (``seq, timestamp, event, actor, target, result, version`` and more) in the shape that workers write
too, so that both sides join on ``op_id``.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openrtc_worker.contract.audit import RESERVED_NAMES
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from openrtc_tui.operations.operator import Operator
    from openrtc_worker.contract.chain import ChainFollower, ChainWriter

STATE_DIR: Final = "OPENRTC_STATE_DIR"
"""The environment variable that names another folder for journals."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class JournalError(Exception):
    """The journal cannot be written or read, so nothing may be asked; one line for people."""


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where journals lie: ``OPENRTC_STATE_DIR``, else the user's own folder for state."""
    named = environ.get(STATE_DIR)
    if named:
        return Path(named)
    from platformdirs import user_state_path

    return user_state_path("openrtc")


def file_name_of(fleet: str) -> str:
    """*fleet* as a part of a file's name: as it is where it may be, else what is plain of it and a hash of it."""
    if _PLAIN.fullmatch(fleet):
        return fleet
    digest = hashlib.sha256(fleet.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", fleet).strip("-.")[:40]
    return f"{plain}-{digest}" if plain else digest


def journal_path(fleet: str, folder: Path) -> Path:
    """The journal of *fleet*."""
    return folder / f"journal-{file_name_of(fleet)}.jsonl"


class Journal:
    """Writes and reads one journal. Nothing is opened or made before the first :meth:`write`.

    The disk is waited for in a thread of its own, one write after the other: a slow fsync holds up whoever waits
    for it, and never the event loop.

    Args:
        path: the file; it and its folder are made, for this user only, when they are not there.
        operator: who acts; their key signs how long the journal is, so that a cut end is seen.
        clock: Unix seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        operator: Operator,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._operator = operator
        self._clock = clock
        self._seq = 0
        self._writer: ChainWriter | None = None
        self._follower: ChainFollower | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    async def write(
        self, event: str, *, target: str = "", result: str = "ok", version: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Append one event and return its line, once it is on the disk.

        Raises:
            JournalError: it is not written, and nothing may be done on the strength of it.
            ValueError: an extra field has a reserved name.
        """
        taken = RESERVED_NAMES & fields.keys()
        if taken:
            raise ValueError(f"a journal's field may not be named {', '.join(sorted(taken))}")
        record = {
            "timestamp": self._clock(),
            "event": event,
            "actor": self._operator.name,
            "target": target,
            "result": result,
            "version": version,
            **{name: value for name, value in fields.items() if value is not None},
        }
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._append, record)

    async def records(self) -> tuple[dict[str, Any], ...]:
        """Every line so far, the oldest first; none when there is no journal yet. They are not to be changed.

        What was read before is kept, so that a long journal costs its reading once.

        Raises:
            JournalError: it cannot be read, or not all of it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read)

    def marks(self) -> tuple[int, int] | None:
        """What differs once somebody has written to it; None when there is no journal yet."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def close(self) -> None:
        """Close the file, after what is being written."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    # ------------------------------------------------------------------------------------------- in the thread

    def _append(self, record: dict[str, Any]) -> dict[str, Any]:
        from openrtc_worker.contract.chain import ChainError, ChainWriter

        try:
            if self._writer is None:
                key, kid = self._operator.private_key, self._operator.kid
                self._writer = ChainWriter(self.path, exclusive=False, checkpoint_key=key, kid=kid, clock=self._clock)
            record = {"seq": self._seq + 1, **record}
            self._writer.append(record)
        except (ChainError, OSError) as error:
            raise JournalError(f"the journal cannot be written: {printable(str(error), 400)}") from None
        self._seq += 1
        return record

    def _read(self) -> tuple[dict[str, Any], ...]:
        from openrtc_worker.contract.chain import ChainError, ChainFollower, ChainMissing

        if self._follower is None:
            self._follower = ChainFollower(self.path)
        try:
            return self._follower.records()
        except ChainMissing:
            return ()
        except (ChainError, OSError) as error:
            raise JournalError(f"the journal cannot be read: {printable(str(error), 400)}") from None

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
