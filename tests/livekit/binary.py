"""LiveKit's own server as one file, built once with Go into the user's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.go_program import GoProgram, cache, go

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERSION = "v1.13.5"

SERVER = GoProgram(
    what=f"LiveKit's server {VERSION}",
    target="make test-livekit",
    takes="about 90 s",
    timeout=900,
    install=(f"github.com/livekit/livekit-server/cmd/server@{VERSION}",),
)


def cached_server() -> Path:
    """Where the server stands once it is built."""
    return cache("livekit-server", VERSION, "server")


def require_server(say: Callable[[str], None], *, binary: Path | None = None, builder: str | None = None) -> Path:
    """The server's path; builds it first when it is not there.

    Args:
        say: shows one line of progress.
        binary: where it stands or is to stand, by default :func:`cached_server`.
        builder: Go's command, by default the one that is found.

    Raises:
        MissingProgramError: it is not there, and Go is not there or could not build it.
    """
    return SERVER.at(binary or cached_server(), say, builder=builder or go())
