"""Run a program that dies with whoever started it: ``python leash.py PARENT_PID PROGRAM ARGUMENTS…``.

The kernel kills it when its parent is gone, however the parent ended (Linux; elsewhere the program just runs). A
small program of its own and not a ``preexec_fn``: the tests' process has LiveKit's threads in it, and Python code
between fork and exec is not safe there. To the kernel the parent is the *thread* that started it: start it from a
thread that lives.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def leashed(command: Sequence[str]) -> list[str]:
    """*command* such that it dies with this process; its program is named by its whole path."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main() -> None:
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it was gone before the call above
            os._exit(1)
    os.execv(command[0], command)  # noqa: S606 - the whole point: the program takes this process over


if __name__ == "__main__":
    main()
