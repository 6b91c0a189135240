"""The platform of one machine: process groups of their own, no restarts, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from openrtc_worker.local.platform import ProcessPlatform, WorkerSpec, livekit_environment
from openrtc_worker.local.ports import ReservedPorts
from tests.support.processes import Program, clean_env, members_of_group, until

if TYPE_CHECKING:
    from pathlib import Path

SPEC = WorkerSpec(name="voice-a-1", version="v1.0.0", control_port=41001)

GENTLE = "print('up', flush=True); import time; time.sleep(600)"
# has a child, and neither of them minds SIGTERM
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); print('up', flush=True);"
    "time.sleep(600)"
)


def platform_of(code: str, logs: Path, **options) -> ProcessPlatform:
    return ProcessPlatform(lambda _spec: ["-c", code], logs=logs, environment=clean_env(), **options)


def log_of(directory: Path, spec: WorkerSpec = SPEC) -> str:
    return (directory / f"{spec.name}.log").read_text()


async def never(_seconds: float) -> None:
    await asyncio.Event().wait()


async def at_once(_seconds: float) -> None:
    return


async def test_a_worker_runs_in_a_group_of_its_own_with_its_name_and_its_log(tmp_path):
    code = "import os; print(os.getpgrp() == os.getpid(), os.environ['OPENRTC_WORKER_ID'])"
    platform = platform_of(code, tmp_path)
    worker = await platform.start(SPEC)
    assert await worker.wait() == 0
    assert log_of(tmp_path).split() == ["True", "voice-a-1"]
    await platform.stop()


async def test_a_worker_that_goes_on_sigterm_is_not_waited_for_any_longer(tmp_path):
    platform = platform_of(GENTLE, tmp_path, sleep=never)
    worker = await platform.start(SPEC)
    await until(lambda: "up" in log_of(tmp_path), what="the worker")
    await platform.stop()
    assert worker.exit_code == -signal.SIGTERM


async def test_stubborn_workers_are_killed_with_their_children_when_the_grace_is_over(tmp_path):
    asked = []

    async def grace(seconds: float) -> None:
        asked.append(seconds)

    platform = platform_of(STUBBORN, tmp_path, sleep=grace)
    specs = [SPEC, WorkerSpec(name="voice-a-2", version="v1.0.0", control_port=41002)]
    workers = [await platform.start(spec) for spec in specs]
    await until(lambda: all("up" in log_of(tmp_path, spec) for spec in specs), what="the workers")
    assert all(len(members_of_group(worker.pid)) == 2 for worker in workers)
    await platform.stop(grace=2.0)
    assert asked == [2.0]
    assert [worker.exit_code for worker in workers] == [-signal.SIGKILL] * 2
    await until(lambda: not any(members_of_group(worker.pid) for worker in workers), what="empty groups")


async def test_a_worker_that_ended_is_not_started_again_and_leaves_no_child(tmp_path):
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    code = f"import subprocess, sys; {child}; sys.exit(3)"
    platform = platform_of(code, tmp_path)
    worker = await platform.start(SPEC)
    assert await worker.wait() == 3
    await until(lambda: members_of_group(worker.pid) == [], what="an empty group")
    assert platform.workers == (worker,)
    worker.signal(signal.SIGTERM)  # whoever has the number now is not ours
    worker.kill_group()
    await platform.stop()
    assert worker.exit_code == 3


async def test_after_stop_nothing_is_started_any_more(tmp_path):
    platform = platform_of(GENTLE, tmp_path)
    await platform.stop()
    with pytest.raises(RuntimeError, match="stopped"):
        await platform.start(SPEC)


async def test_a_worker_that_is_being_started_during_stop_is_stopped_too(tmp_path):
    platform = platform_of(STUBBORN, tmp_path, sleep=at_once)
    starting = asyncio.create_task(platform.start(SPEC))
    await asyncio.sleep(0)
    await platform.stop()
    worker = await starting
    assert worker.exit_code is not None


async def test_a_platform_that_is_killed_leaves_no_worker_behind(tmp_path):
    """SIGKILL leaves no time to stop anything: the pipe to each worker closes, and the worker acts on it."""
    worker = tmp_path / "worker.py"
    worker.write_text(
        textwrap.dedent(
            """
            import signal, subprocess, sys, time
            from openrtc_worker.local.worker import end_with_parent
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            end_with_parent(sys.stdin.fileno())
            time.sleep(600)
            """
        )
    )
    code = textwrap.dedent(
        f"""
        import asyncio, json, os, pathlib
        from openrtc_worker.local.platform import ProcessPlatform, WorkerSpec
        async def main():
            platform = ProcessPlatform(
                lambda spec: [{str(worker)!r}], logs=pathlib.Path({str(tmp_path)!r}), environment=dict(os.environ)
            )
            spec = WorkerSpec(name="w", version="v1", control_port=1)
            print(json.dumps({{"event": "up", "pid": (await platform.start(spec)).pid}}), flush=True)
            await asyncio.sleep(600)
        asyncio.run(main())
        """
    )
    parent = Program([sys.executable, "-c", code], name="parent", directory=tmp_path, env=clean_env())
    try:
        [up] = await parent.has(event="up")
        await until(lambda: len(members_of_group(up["pid"])) == 2, what="the worker and its child")
        os.kill(parent.process.pid, signal.SIGKILL)
        await until(lambda: members_of_group(up["pid"]) == [], what="an empty group")
    finally:
        parent.kill()


def test_reserved_ports_are_different_refuse_callers_and_can_be_listened_on():
    with ReservedPorts(20) as ports:
        assert len(set(ports)) == len(ports) == 20
        port = next(iter(ports))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port), timeout=5):
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a port be held and listened on")
def test_a_reserved_port_is_nobodys_by_chance():
    """Two thousand of the 28,000 that the system hands out: were the held ones among them, 70 would be met."""
    with ReservedPorts(1000) as ports, contextlib.ExitStack() as stack:
        given = set()
        for _ in range(2000):
            taken = stack.enter_context(socket.socket())
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", 0))
            given.add(taken.getsockname()[1])
        assert given.isdisjoint(ports)


def test_a_worker_inherits_no_other_livekit_and_no_proxy(monkeypatch):
    for name in ("LIVEKIT_AGENT_DEPLOYMENT", "OPENRTC_CONTROL_PORT", "KUBERNETES_SERVICE_HOST", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("PATH", "/bin")
    environment = livekit_environment(url="ws://127.0.0.1:1", api_key="k", api_secret="s")
    assert environment["LIVEKIT_URL"] == "ws://127.0.0.1:1"
    assert environment["PATH"] == "/bin"
    assert "elsewhere" not in environment.values()
