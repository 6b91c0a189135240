"""A program in a terminal of its own: what it writes is read, keys are typed, and the terminal can be taken away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEAVE_SCREEN = b"\x1b[?1049l"
ENTER_SCREEN = b"\x1b[?1049h"
SHOW_CURSOR = b"\x1b[?25h"


class PtyProgram:
    """Runs *command* in a new session whose terminal is a pty of *size* (columns, lines); kills it at the end."""

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], size: tuple[int, int] = (120, 40), cwd: str = "/"
    ) -> None:
        self.output = b""
        self.exit_code: int | None = None
        self._open = True
        self.began = time.monotonic()
        ours, theirs = pty.openpty()
        columns, lines = size
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.modes_before: list[Any] = termios.tcgetattr(theirs)
        self._theirs = theirs  # kept open: the modes are looked at when the program is gone
        self._ours = ours
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.login_tty(theirs)
                os.close(ours)
                os.chdir(cwd)
                os.execve(command[0], list(command), dict(env))  # noqa: S606 - the program under test
            finally:
                os._exit(127)

    def __enter__(self) -> PtyProgram:
        return self

    def __exit__(self, *_: object) -> None:
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait(10)
        self.close_terminal()

    def modes(self) -> list[Any]:
        """The terminal's modes now."""
        return termios.tcgetattr(self._theirs)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def press(self, keys: str, sought: bytes) -> None:
        """Type *keys* and wait until *sought* is written from then on: keys typed ahead may reach another screen."""
        before = len(self.output)
        self.type(keys)
        self.wait_for(sought, since=before)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def close_terminal(self) -> None:
        """Take the terminal away, as a closed window or a lost connection does."""
        if self._open:
            self._open = False
            os.close(self._theirs)
            os.close(self._ours)

    def read(self, within: float = 0.05) -> bytes:
        """What came since, waiting at most *within* seconds for the first of it."""
        if self._open and select.select([self._ours], [], [], within)[0]:
            with contextlib.suppress(OSError):
                self.output += os.read(self._ours, 1 << 16)
        elif not self._open:
            time.sleep(within)
        return self.output

    def wait_for(self, sought: bytes | re.Pattern[bytes], within: float = 30.0, *, since: int = 0) -> float:
        """Read until *sought* was written, after the first *since* bytes; the seconds since the start."""
        pattern = re.compile(re.escape(sought)) if isinstance(sought, bytes) else sought
        deadline = time.monotonic() + within
        while not pattern.search(self.output, since):
            if time.monotonic() > deadline or (self.poll() is not None and not pattern.search(self.read(), since)):
                raise AssertionError(f"{sought!r} was not written; the end of what was: {self.output[-2000:]!r}")
            self.read()
        return time.monotonic() - self.began

    def poll(self) -> int | None:
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code

    def wait(self, within: float = 30.0) -> int:
        """The exit code, reading on until it is there."""
        deadline = time.monotonic() + within
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"still runs after {within:.0f} s; it wrote {self.output[-2000:]!r}")
            self.read()
        while self._open and select.select([self._ours], [], [], 0)[0]:
            before = len(self.output)
            if len(self.read()) == before:
                break
        assert self.exit_code is not None
        return self.exit_code
