"""``openrtc-tui demo``: a fleet of real worker processes on screen, and none of them left behind."""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from openrtc_tui import embedded
from openrtc_tui.commands import demo
from openrtc_tui.commands.exits import CommandError
from openrtc_tui.embedded import FleetFailed, FleetProcess
from tests.support.processes import REPOSITORY, clean_env
from tests.support.pty_program import LEAVE_SCREEN, PtyProgram

MARK = "OPENRTC_DEMO_TEST"


def marked(mark: str) -> list[int]:
    """The processes that inherited *mark*."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}\0".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
        except OSError:
            continue
    return found


def wait_until_gone(mark: str, within: float) -> None:
    deadline = time.monotonic() + within
    while left := marked(mark):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)


def demo_in_a_pty(mark: str, directory: Path) -> PtyProgram:
    command = [sys.executable, "-m", "openrtc_tui", "demo", "--workers", "1", "--seed", "3", "--isolation", "thread"]
    env = clean_env(TERM="xterm-256color", LC_ALL="C.UTF-8", TMPDIR=str(directory))
    return PtyProgram(command, env={**env, MARK: mark}, cwd=str(REPOSITORY))


@pytest.mark.timeout(240)
def test_a_rollout_is_on_screen_a_key_drains_and_leaving_stops_everything(tmp_path: Path) -> None:
    mark = secrets.token_hex(8)
    with demo_in_a_pty(mark, tmp_path) as program:
        program.wait_for(b"voice-a-1", 60)
        program.wait_for("● serving".encode(), 60)
        # before that voice-a-1 is the last worker, and more would be asked
        program.wait_for(re.compile(rb"voice-b-1 .{1,120}? serving"), 90)
        program.type("d")
        program.wait_for(b"Drain voice-a-1?", 60)
        program.type("y")
        program.wait_for("◌ draining".encode(), 60)
        program.type("q")
        began = time.monotonic()
        assert program.wait(60) == 0
        took = time.monotonic() - began
        wait_until_gone(mark, 10)
        last_words = program.output.rpartition(LEAVE_SCREEN)[2].decode()
    assert "The fleet was stopped" in last_words
    assert "simulated call" in last_words
    assert took < 20, "within 5 s on a machine that has time"
    assert list(tmp_path.glob("openrtc-demo-*")) == [], "keys and fleet file are gone"


@pytest.mark.timeout(240)
def test_no_process_is_left_when_the_dashboard_is_killed(tmp_path: Path) -> None:
    mark = secrets.token_hex(8)
    with demo_in_a_pty(mark, tmp_path) as program:
        program.wait_for("● serving".encode(), 60)
        assert len(marked(mark)) >= 2
        program.signal(signal.SIGKILL)
        assert program.wait(30) == -signal.SIGKILL
        wait_until_gone(mark, 60)


@pytest.mark.timeout(240)
def test_a_signal_stops_everything_too(tmp_path: Path) -> None:
    mark = secrets.token_hex(8)
    with demo_in_a_pty(mark, tmp_path) as program:
        program.wait_for("● serving".encode(), 60)
        program.type("?")
        program.wait_for(b"Leave, and stop the demo", 60)
        program.signal(signal.SIGTERM)
        assert program.wait(60) == 128 + signal.SIGTERM
        wait_until_gone(mark, 10)


def test_without_the_workers_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> None:
        if name == "livekit-agents":
            raise PackageNotFoundError(name)

    monkeypatch.setattr(demo, "distribution", distribution)
    with pytest.raises(CommandError, match=r'pip install "openrtc-tui\[worker\]"'):
        demo._require_worker_extra()


# ------------------------------------------------------------------------------------- the fleet's process


def fleet(program: str) -> FleetProcess:
    return FleetProcess([sys.executable, "-c", program])


def test_a_fleet_that_fails_is_told_in_its_own_words() -> None:
    program = 'import json; print(json.dumps({"event": "failed", "message": "no free port"}))'
    with fleet(program) as process, pytest.raises(FleetFailed, match="no free port"):
        process.wait_for_file()
    with fleet("print('no JSON {')") as process, pytest.raises(FleetFailed, match="ended before it had started"):
        process.wait_for_file()


def test_a_fleet_that_says_nothing_is_not_waited_for_for_ever() -> None:
    with fleet("import sys; sys.stdin.read()") as process, pytest.raises(FleetFailed, match="did not start within"):
        process.wait_for_file(0.2)


def test_a_fleet_that_does_not_end_is_killed_with_all_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "STOP_PATIENCE", 0.5)
    program = """
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
for event in (
    {"event": "worker", "name": "w-1", "version": "v1", "state": "starting", "pid": child.pid},
    {"event": "fleet", "fleet_file": "here.yaml"},
):
    print(json.dumps(event), flush=True)
time.sleep(600)
"""
    process = fleet(program)
    assert process.wait_for_file() == "here.yaml"
    group = process._groups["w-1"]
    assert process.stop() == "The fleet was stopped."
    assert process.stop() == "The fleet was stopped."
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and alive(group):
        time.sleep(0.02)
    assert not alive(group)


def alive(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:  # not ours any more: whoever adopted it reaps it
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_news_are_told_once() -> None:
    program = """
import json, sys
for event in ({"event": "fleet", "fleet_file": "f"}, {"event": "ready"}):
    print(json.dumps(event), flush=True)
sys.stdin.read()
print(json.dumps({"event": "stopped", "message": "this ended 3 simulated calls."}), flush=True)
"""
    process = fleet(program)
    process.wait_for_file()
    deadline, news = time.monotonic() + 10, []
    while not news and time.monotonic() < deadline:
        news = process.news()
    assert [event["event"] for event in news] == ["ready"]
    assert process.news() == []
    assert process.stop() == "this ended 3 simulated calls."
