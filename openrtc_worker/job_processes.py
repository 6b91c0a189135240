"""Whether job processes start at all: livekit would try for ever, and take calls meanwhile that it cannot launch."""

from __future__ import annotations

import asyncio
from typing import Any, Final

MAX_FAILURES: Final = 3
"""Job processes that end before one of them ever started, after which none is taken to start."""


class JobProcesses:
    """Watches the first job processes of a worker."""

    def __init__(self) -> None:
        self.fail = asyncio.Event()
        """Set when one job process after the other fails to start, and none ever did."""
        self._failures = 0

    def watch(self, pool: Any) -> None:
        """Count the failures of livekit's *pool* until its first process is ready."""
        pool.on("process_closed", self._closed)
        pool.once("process_ready", lambda _: pool.off("process_closed", self._closed))

    def _closed(self, _process: object) -> None:
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self.fail.set()
