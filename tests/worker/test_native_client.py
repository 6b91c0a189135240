"""LiveKit's native client is made once where calls are threads, and never where job processes are forked."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.support.processes import REPOSITORY, clean_env

PROGRAM = """
import asyncio, os, sys
from livekit.rtc._ffi_client import FfiClient
from openrtc_worker.livekit import DeployServer

async def entrypoint(ctx):
    pass

async def main():
    server = DeployServer(isolation=sys.argv[1], control_port=0, num_idle_processes=0)
    server.rtc_session(entrypoint)
    running = asyncio.create_task(server.run(unregistered=True))
    await server.started.wait()
    print("made" if FfiClient._instance is not None else "not made", flush=True)
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.parametrize(("isolation", "expected"), [("thread", "made"), ("process", "not made")])
def test_the_native_client_is_there_before_the_first_call_only_where_calls_are_threads(isolation, expected):
    """Two threads that ask for it first at once get one each (livekit 1.1.21), and one of them hears nothing ever."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), isolation],
        cwd=REPOSITORY,
        env=clean_env(LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE="0"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == f"{expected}\n", done.stderr
