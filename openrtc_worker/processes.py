"""The worker's own child processes: jobs under the forkserver, and whatever they started."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_main(what: str) -> None:
    """Refuse to run a worker in a process of its own worker, which imports the program's module again.

    While it does, ``multiprocessing.parent_process()`` is still None (CPython sets it after the import), but the
    process has its name already.

    Raises:
        RuntimeError: with one line that says what to write where.
    """
    if multiprocessing.parent_process() is not None or multiprocessing.current_process().name != "MainProcess":
        raise RuntimeError(
            f'{what} was called in a job process: put it under if __name__ == "__main__": in the program\'s module'
        )


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each of *pids* that is a descendant of this process; anything else is left alone."""
    wanted = set(pids)
    _kill([child for child in _descendants() if child.pid in wanted])


def kill_descendants() -> int:
    """SIGKILL to every process below this one; returns how many there were."""
    children = _descendants()
    _kill(children)
    return len(children)


def _descendants() -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        found: list[psutil.Process] = psutil.Process(os.getpid()).children(recursive=True)
        return found
    return []


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            process.send_signal(signal.SIGKILL)
