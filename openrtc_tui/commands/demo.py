"""``openrtc-tui demo``: the embedded fleet as a process of its own, and the dashboard on it."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final

from openrtc_tui.commands.dashboard import require_terminal, show
from openrtc_tui.commands.exits import CommandError
from openrtc_tui.embedded import FleetFailed, FleetProcess

if TYPE_CHECKING:
    import argparse

NEEDED: Final = ("livekit-agents", "aiohttp", "prometheus-client")


def run(args: argparse.Namespace) -> int:
    """Show a rollout of real workers with simulated calls; everything is stopped on the way out."""
    require_terminal()
    _require_worker_extra()
    command = [sys.executable, "-m", "openrtc_worker.local"]
    command += ["--workers", str(args.workers), "--isolation", args.isolation]
    command += ["--seed", str(args.seed)] if args.seed is not None else []
    print("Starting a fleet of real workers with simulated calls …", file=sys.stderr, flush=True)
    with FleetProcess(command) as fleet:
        try:
            path = fleet.wait_for_file()
        except FleetFailed as failure:
            raise CommandError(str(failure)) from None
        try:
            return _show(path, args, fleet)
        finally:
            last_words = fleet.stop()
            with contextlib.suppress(OSError):  # the terminal may be gone
                print(last_words, file=sys.stderr)


def _show(path: str, args: argparse.Namespace, fleet: FleetProcess) -> int:
    from openrtc_tui.operations.journal import STATE_DIR
    from openrtc_tui.session import DemoSession

    # each demo is a fleet of its own: what an earlier one left undone is no concern of it
    os.environ.setdefault(STATE_DIR, str(Path(path).parent))
    return show(
        path,
        read_only=args.read_only,
        ascii_only=args.ascii,
        session_of=lambda file: DemoSession(file, read_only=args.read_only, news=fleet.news),
        leaving="Leave, and stop the demo's workers and calls",
    )


def _require_worker_extra() -> None:
    for name in NEEDED:
        try:
            distribution(name)
        except PackageNotFoundError:
            message = f'the demo runs real workers, which need {name}: pip install "openrtc-tui[worker]"'
            raise CommandError(message) from None
