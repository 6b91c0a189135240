"""The program of an embedded worker: a real :class:`~openrtc_worker.AgentPool` whose calls are simulated.

``python -m openrtc_worker.local.worker --version v1.0.0 --control-port 41001 …``; LiveKit's address and keys and
``OPENRTC_WORKER_ID`` come from the environment. Its calls need no provider keys and carry no media: each lives as
long as its job metadata says, then hangs up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from openrtc_worker.local.calls import LENGTH_KEY

if TYPE_CHECKING:
    from livekit.agents import JobContext

AGENTS = ("booking", "support")
"""The agents that every embedded worker hosts; a call names its own in the job metadata."""

DEFAULT_LENGTH = 30.0


def length_of(metadata: str) -> float:
    """The length of a call in seconds, from its job metadata; ``DEFAULT_LENGTH`` when that does not say."""
    try:
        length = json.loads(metadata)[LENGTH_KEY]
    except (ValueError, KeyError, TypeError, IndexError):
        return DEFAULT_LENGTH
    return float(length) if isinstance(length, int | float) and length >= 0 else DEFAULT_LENGTH


async def simulated_call(ctx: JobContext) -> None:
    """A plain livekit entrypoint: talk for as long as the call is, then hang up."""
    await asyncio.sleep(length_of(ctx.job.metadata))
    ctx.shutdown(reason="the simulated caller hung up")


def end_with_parent(descriptor: int) -> None:
    """Kill our whole process group as soon as the other end of the pipe *descriptor* closes.

    The platform holds that end and never writes to it: when it is gone, even by SIGKILL, nobody is left who would
    stop us or our job processes.
    """

    def wait() -> None:
        while os.read(descriptor, 4096):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


def main(arguments: list[str] | None = None) -> int:
    """Run one worker until it has drained; returns the pool's exit code, 1 when its secret cannot be read."""
    from openrtc_worker import AgentPool
    from openrtc_worker.contract.keys import KeyFileError, read_secret_file

    parser = argparse.ArgumentParser(prog="python -m openrtc_worker.local.worker")
    parser.add_argument("--version", required=True)
    parser.add_argument("--control-port", type=int, required=True)
    parser.add_argument("--capacity", type=int, required=True)
    parser.add_argument("--drain-timeout", type=float, required=True)
    parser.add_argument("--isolation", choices=("process", "thread"), required=True)
    parser.add_argument("--operator-keys", required=True)
    parser.add_argument("--state-dir", required=True)
    parser.add_argument("--fleet")
    parser.add_argument("--membership-secret-file")
    parser.add_argument("--release-keys")
    parser.add_argument("--manifest-required", action="store_true")
    given = parser.parse_args(arguments)
    secret = None
    if given.membership_secret_file is not None:
        try:
            secret = read_secret_file(given.membership_secret_file).decode()
        except (KeyFileError, UnicodeDecodeError) as error:
            print(f"--membership-secret-file: {error}", file=sys.stderr)  # noqa: T201 - the worker's log
            return 1

    end_with_parent(sys.stdin.fileno())
    pool = AgentPool(
        deployment_version=given.version,
        control_port=given.control_port,
        max_concurrent_sessions=given.capacity,
        drain_timeout=given.drain_timeout,
        isolation=given.isolation,
        operator_keys=given.operator_keys,
        state_dir=given.state_dir,
        after_drain="exit",
        fleet=given.fleet,
        membership_secret=secret,
        release_keys=given.release_keys,
        manifest_required=given.manifest_required,
    )
    for name in AGENTS:
        pool.add(name, entrypoint=simulated_call)
    return pool.run()


if __name__ == "__main__":
    sys.exit(main())
