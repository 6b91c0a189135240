"""LiveKit's own server as one file, built once with Go into the user's cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VERSION = "v1.13.5"
MODULE = f"github.com/livekit/livekit-server/cmd/server@{VERSION}"

# A build with an empty Go cache takes 90 s on two cores; a slow machine gets ten times that.
BUILD_TIMEOUT = 900.0
REPORT_EVERY = 15.0


class MissingServerError(Exception):
    """There is no server and none can be built; the message says what to do."""


def cached_server() -> Path:
    """Where the server stands once it is built."""
    return Path(platformdirs.user_cache_dir("openrtc-deploy")) / "livekit-server" / VERSION / "server"


def go() -> str | None:
    """Go's command: on PATH, or where its own installer puts it."""
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def require_server(say: Callable[[str], None], *, binary: Path | None = None, builder: str | None = None) -> Path:
    """The server's path; builds it first when it is not there.

    Args:
        say: shows one line of progress.
        binary: where it stands or is to stand, by default :func:`cached_server`.
        builder: Go's command, by default :func:`go`.

    Raises:
        MissingServerError: it is not there, and Go is not there or could not build it.
    """
    binary = binary or cached_server()
    if binary.is_file():
        return binary
    builder = builder or go()
    if builder is None:
        raise MissingServerError(
            f"`make test-livekit` needs Go to build LiveKit's server {VERSION} once: install Go (https://go.dev/dl)"
            f" and run it again, or put the program at {binary}"
        )
    with _locked(binary.with_name("lock"), say):
        if not binary.is_file():  # another run may have built it while this one waited
            _build(binary, builder, say)
    return binary


def _build(binary: Path, builder: str, say: Callable[[str], None]) -> None:
    """``go install`` into a folder beside *binary*, then one rename: a half-written program is never seen."""
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        say(f"building LiveKit's server {VERSION} into {binary.parent} (once, about 90 s)")
        log = Path(folder) / "log"
        started = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [builder, "install", MODULE],
                env={**os.environ, "GOBIN": folder},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = _finish(process, started, say)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, 9)
                    process.wait()
        if code != 0:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise MissingServerError(f"`{builder} install {MODULE}` failed (exit code {code}):\n{last}")
        (Path(folder) / "server").replace(binary)
        say(f"built in {time.monotonic() - started:.0f} s")


def _finish(process: subprocess.Popen[bytes], started: float, say: Callable[[str], None]) -> int | str:
    while (spent := time.monotonic() - started) < BUILD_TIMEOUT:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(REPORT_EVERY)
        say(f"still building, {spent + REPORT_EVERY:.0f} s")
    return f"none: stopped after {BUILD_TIMEOUT:.0f} s"


@contextlib.contextmanager
def _locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file; two runs at once build once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run that builds LiveKit's server")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
