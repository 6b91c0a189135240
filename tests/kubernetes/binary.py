"""etcd, kube-apiserver, kube-controller-manager and kubectl as one file, built once with Go into the user's cache.

``controlplane/`` is its source: a page of Go, and ``go.mod`` and ``go.sum``, which pin every module by its checksum.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.go_program import GoProgram, MissingProgramError, cache, go

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = "v1.34.1"
SOURCE = Path(__file__).with_name("controlplane")

# A build outside of Kubernetes' own tree calls itself v0.0.0-master, and clients judge features by the version.
_STAMPS = " ".join(
    f"-X {package}.{name}={value}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for name, value in (("gitVersion", VERSION), ("gitMajor", "1"), ("gitMinor", "34"))
)

CONTROL_PLANE = GoProgram(
    what=f"Kubernetes {VERSION}",
    target="make test-kubernetes",
    takes="about 4 minutes",
    timeout=2400,
    install=("-mod=readonly", "-trimpath", f"-ldflags=-s -w {_STAMPS}", "."),
    folder=SOURCE,
    env=(("CGO_ENABLED", "0"), ("GOWORK", "off")),
)


def cached_control_plane() -> Path:
    """Where the program stands once it is built; another source is another place."""
    source = b"".join((SOURCE / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    return cache("kubernetes", f"{VERSION}-{hashlib.sha256(source).hexdigest()[:12]}", "controlplane")


def require_control_plane(
    say: Callable[[str], None], *, binary: Path | None = None, builder: str | None = None
) -> Path:
    """The program's path; builds it first when it is not there.

    Args:
        say: shows one line of progress.
        binary: where it stands or is to stand, by default :func:`cached_control_plane`.
        builder: Go's command, by default the one that is found.

    Raises:
        MissingProgramError: it is not there, and Go is not there or could not build it; or the pods could not run.
    """
    if sys.platform != "linux":
        raise MissingProgramError("`make test-kubernetes` needs Linux: each pod has a loopback address of its own")
    return CONTROL_PLANE.at(binary or cached_control_plane(), say, builder=builder or go())
