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
    """SIGKILL to each of *pids* that is a descendant of this process, and to all that it started; anything else is
    left alone.
    """
    wanted = set(pids)
    jobs = [child for child in _descendants(os.getpid()) if child.pid in wanted]
    # found while their parent lives: once it is gone, nothing tells whose they were
    started = [child for job in jobs for child in _descendants(job.pid)]
    _kill([*jobs, *started])


def kill_descendants() -> int:
    """SIGKILL to every process below this one; returns how many there were."""
    children = _descendants(os.getpid())
    _kill(children)
    return len(children)


def _descendants(pid: int) -> list[psutil.Process]:
    # OSError: psutil passes on what reading /proc raises, and a kill must go on with what can be found
    with contextlib.suppress(psutil.Error, OSError):
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        return found
    return []


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            process.send_signal(signal.SIGKILL)
