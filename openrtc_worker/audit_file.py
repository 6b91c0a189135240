"""A sink for audit events: a file whose lines are chained, so that nobody changes one unseen."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openrtc_worker.contract.audit import RESERVED_NAMES
from openrtc_worker.contract.chain import ChainWriter, RecordRefused
from openrtc_worker.contract.chain.writer import MAX_FILE_BYTES
from openrtc_worker.contract.keys import load_private_key
from openrtc_worker.contract.text import printable_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_worker.contract.audit import AuditEvent

MAX_WAITING: Final = 1_000
"""Events that are kept for a file that cannot be written; of more the oldest are lost, and ``seq`` shows the gap."""

logger = logging.getLogger("openrtc.audit")


class AuditFile:
    """``AgentPool(audit_sink=AuditFile("/var/log/openrtc/audit.jsonl"))``: every event is one durable line.

    The file is opened with the first event, so that a program's job processes may make the sink too. It belongs to
    this worker alone until :meth:`close` or the end of the process: two workers need two files. While it cannot be
    written (a full disk, another writer) events wait in memory, the worker shows ``audit_sink_failing``, and each
    further event tries again.

    Args:
        path: the file; it and its folder are made when missing, for this user only.
        checkpoint_key: a private key file (``openrtc-tui keys new``) that signs ``FILE.checkpoint`` after each
            line, with which ``audit verify --key`` sees a cut tail. Its stem is the key's id.
        max_bytes: the file is rotated to ``FILE.1``, ``.2``, … before it would grow larger.
        clock: Unix seconds, for what the file tells of itself.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        checkpoint_key: Path | str | None = None,
        max_bytes: int = MAX_FILE_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self._key_file = None if checkpoint_key is None else Path(checkpoint_key).expanduser()
        self._max_bytes = max_bytes
        self._clock = clock
        self._mutex = threading.Lock()
        self._writer: ChainWriter | None = None
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MAX_WAITING)

    def __call__(self, event: AuditEvent) -> None:
        """Write *event*, after those that wait.

        Raises:
            ChainError: the file cannot be written; the event waits.
            KeyFileError: the checkpoint's key cannot be used; the event waits.
        """
        with self._mutex:
            self._waiting.append(event.to_dict())
            writer = self._writer
            if writer is None:
                writer = self._writer = self._open()
            while self._waiting:
                self._write(writer, self._waiting[0])
                self._waiting.popleft()

    def close(self) -> None:
        """Let go of the file, so that another may write it. The next event opens it again."""
        with self._mutex:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()

    def _open(self) -> ChainWriter:
        file = self._key_file
        return ChainWriter(
            self.path,
            exclusive=True,
            checkpoint_key=None if file is None else load_private_key(file),
            kid=None if file is None else file.stem,
            max_bytes=self._max_bytes,
            clock=self._clock,
        )

    def _write(self, writer: ChainWriter, record: dict[str, Any]) -> None:
        try:
            writer.append(record)
        except RecordRefused as refusal:
            # one strange event must not hold up all that follow; what every event has is still told
            logger.warning("event %s is written without its own fields: %s", record["seq"], refusal)
            kept = printable_tree({name: value for name, value in record.items() if name in RESERVED_NAMES})
            writer.append({**kept, "left_out": sorted(map(str, record.keys() - RESERVED_NAMES))[:64]})
