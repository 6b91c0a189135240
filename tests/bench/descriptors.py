"""Room for thousands of connections in one process."""

from __future__ import annotations

import resource


def allow_files(wanted: int) -> None:
    """Raise the limit of open files to *wanted*, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted), hard)
    )
