"""The embedded fleet as a process of its own: ``python -m openrtc_worker.local``.

It writes its progress as JSON lines on stdout (see ``progress``) and runs until its stdin closes or a signal comes;
then it stops every worker, within 5 s, and its last line says how many simulated calls that ended.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from openrtc_worker.local.progress import Progress

_MAX_WORKERS = 20
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(arguments: list[str] | None = None) -> int:
    """Run a fleet until it is told to stop; 0, or 1 when it could not run."""
    given = _parser().parse_args(arguments)
    progress = Progress(sys.stdout.fileno(), clock=time.monotonic)
    directory = given.dir or Path(tempfile.mkdtemp(prefix="openrtc-demo-"))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # stderr may be the terminal that a dashboard draws on
        logging.basicConfig(filename=directory / "fleet.log", level=logging.INFO)
        asyncio.run(_run(given, directory, progress))
    except Exception as error:  # said in the reader's own format; the log has the trace
        logging.getLogger(__name__).exception("the fleet failed")
        progress.say("failed", message=f"The fleet could not run: {_cause(error)}")
        return 1
    finally:
        if given.dir is None:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


def _cause(error: BaseException) -> BaseException:
    """The first error that a task group collected, which says more than the group does."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m openrtc_worker.local",
        description="Run a fleet of real workers with simulated calls, for a dashboard. It carries no media.",
    )
    parser.add_argument("--workers", type=_worker_count, default=3, help="workers of each version (default: 3)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same callers (default: 1)")
    parser.add_argument("--isolation", choices=("process", "thread"), default="process")
    parser.add_argument(
        "--dir", type=Path, help="where keys, logs and the fleet file go (default: a new folder that is removed)"
    )
    return parser


def _worker_count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= _MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{number} is not between 1 and {_MAX_WORKERS}")
    return number


async def _run(given: argparse.Namespace, directory: Path, progress: Progress) -> None:
    from openrtc_worker.local.fleet import EmbeddedFleet, FleetPlan
    from openrtc_worker.local.run_directory import RunDirectory

    stopped = _stop_reason(sys.stdin.fileno())
    plan = FleetPlan(workers=given.workers, seed=given.seed, isolation=given.isolation)
    await EmbeddedFleet(plan, RunDirectory(directory), progress=progress, clock=time.monotonic).run(stopped)


def _stop_reason(stdin: int) -> asyncio.Future[str]:
    """Done, with the reason, at the first signal or when stdin closes."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[str] = loop.create_future()

    def stop(reason: str) -> None:
        if not stopped.done():
            stopped.set_result(reason)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number.name)

    def wait_for_eof() -> None:
        while os.read(stdin, 4096):
            pass
        loop.call_soon_threadsafe(stop, "stdin closed")

    # a thread: stdin may be a pipe, a terminal or /dev/null, and a loop cannot watch them all
    threading.Thread(target=wait_for_eof, name="stdin", daemon=True).start()
    return stopped


if __name__ == "__main__":
    sys.exit(main())
