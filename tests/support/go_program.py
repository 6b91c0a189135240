"""Programs that tests need and that Go builds once into the user's cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPORT_EVERY = 15.0


class MissingProgramError(Exception):
    """The program is not there and cannot be built; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoProgram:
    """How to come by a program.

    Attributes:
        what: for people, ``LiveKit's server v1.13.5``.
        target: the command that needs it, ``make test-livekit``.
        takes: how long a build with an empty Go cache takes, for people.
        timeout: seconds after which a build is given up; about ten times that.
        install: the arguments of ``go install``.
        folder: where that is run; None where the arguments name a module.
        env: further environment of the build.
    """

    what: str
    target: str
    takes: str
    timeout: float
    install: tuple[str, ...]
    folder: Path | None = None
    env: tuple[tuple[str, str], ...] = ()

    def at(self, binary: Path, say: Callable[[str], None], *, builder: str | None) -> Path:
        """*binary*, built first when it is not there.

        Args:
            binary: where it stands or is to stand; its name is the one that ``go install`` gives it.
            say: shows one line of progress.
            builder: Go's command; None where there is none.

        Raises:
            MissingProgramError: it is not there, and Go is not there or could not build it.
        """
        if binary.is_file():
            return binary
        if builder is None:
            raise MissingProgramError(
                f"`{self.target}` needs Go to build {self.what} once: install Go (https://go.dev/dl)"
                f" and run it again, or put the program at {binary}"
            )
        with self._locked(binary.with_name("lock"), say):
            if not binary.is_file():  # another run may have built it while this one waited
                self._build(binary, builder, say)
        return binary

    def _build(self, binary: Path, builder: str, say: Callable[[str], None]) -> None:
        """Build into a folder beside *binary*, then one rename: a half-written program is never seen."""
        command = [builder, "install", *self.install]
        with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
            say(f"building {self.what} into {binary.parent} (once, {self.takes})")
            log = Path(folder) / "log"
            started = time.monotonic()
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env={**os.environ, **dict(self.env), "GOBIN": folder},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                try:
                    code = self._finish(process, started, say)
                finally:
                    if process.poll() is None:
                        os.killpg(process.pid, 9)
                        process.wait()
            if code != 0:
                last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
                raise MissingProgramError(f"`{shlex.join(command)}` failed (exit code {code}):\n{last}")
            (Path(folder) / binary.name).replace(binary)
            say(f"built in {time.monotonic() - started:.0f} s")

    def _finish(self, process: subprocess.Popen[bytes], started: float, say: Callable[[str], None]) -> int | str:
        while (spent := time.monotonic() - started) < self.timeout:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(REPORT_EVERY)
            say(f"still building, {spent + REPORT_EVERY:.0f} s")
        return f"none: stopped after {self.timeout:.0f} s"

    @contextlib.contextmanager
    def _locked(self, path: Path, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock file; two runs at once build once."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting for another run that builds {self.what}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def go() -> str | None:
    """Go's command: on PATH, or where its own installer puts it."""
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def cache(*parts: str) -> Path:
    """A place in the user's cache of this project."""
    return Path(platformdirs.user_cache_dir("openrtc-deploy")).joinpath(*parts)
