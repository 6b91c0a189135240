"""What the process's surroundings tell: the platform it runs on, and the memory it holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from openrtc_worker.contract.snapshot import PlatformInfo, ResidentSet
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATM = Path("/proc/self/statm")
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def platform_info(environ: Mapping[str, str]) -> PlatformInfo | None:
    """Where the worker runs, as far as the environment tells; None when it tells nothing.

    Under Kubernetes the downward API has to pass ``POD_NAMESPACE``, ``POD_UID`` and ``NODE_NAME``; the pod's name
    is its host name. ``OPENRTC_GRACE_SECONDS`` says how long the platform waits between SIGTERM and SIGKILL.
    """
    grace = _seconds(environ.get("OPENRTC_GRACE_SECONDS", ""))
    if "KUBERNETES_SERVICE_HOST" in environ:
        return PlatformInfo(
            kind="kubernetes",
            namespace=_text(environ, "POD_NAMESPACE") or _namespace(),
            pod=_text(environ, "POD_NAME") or _text(environ, "HOSTNAME"),
            uid=_text(environ, "POD_UID"),
            node=_text(environ, "NODE_NAME"),
            grace_seconds=grace,
        )
    if "INVOCATION_ID" in environ:  # systemd sets it for every unit
        return PlatformInfo(kind="systemd", grace_seconds=grace)
    return None if grace is None else PlatformInfo(grace_seconds=grace)


def flag(name: str, value: str | None) -> bool:
    """What the variable *name* says; False where it is not set.

    Raises:
        ValueError: it says neither yes nor no.
    """
    words = {None: False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}
    try:
        return words[value and value.lower()]
    except KeyError:
        raise ValueError(f"{name} must be 1 or 0, not {printable(value or '', 40)!r}") from None


def resident_set() -> ResidentSet:
    """Memory of this process; on Linux what it holds now, elsewhere its peak so far."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return _peak()
    return ResidentSet(
        bytes=pages * os.sysconf("SC_PAGE_SIZE"), metric="rss", description="resident memory of the worker process"
    )


def _peak() -> ResidentSet:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return ResidentSet(
        bytes=peak if sys.platform.startswith("darwin") else peak * 1024,  # macOS counts bytes, others kilobytes
        metric="peak_rss",
        description="peak resident memory of the worker process",
    )


def _text(environ: Mapping[str, str], name: str) -> str | None:
    return printable(environ.get(name, "").strip()) or None


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _namespace() -> str | None:
    try:
        return printable(_NAMESPACE_FILE.read_text().strip()) or None
    except (OSError, UnicodeDecodeError):
        return None
