"""What the other tests of this folder rest on: the server, its address, its end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from livekit import api

from tests.livekit.binary import require_server
from tests.livekit.callers import Callers
from tests.livekit.server import is_agent
from tests.support.go_program import MissingProgramError
from tests.support.proc import addresses_of, is_running
from tests.support.processes import REPOSITORY, clean_env, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.livekit.server import LiveKitServer

reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; the leash is Linux's too")


def test_a_real_livekit_server_is_at_hand(livekit: LiveKitServer) -> None:
    """The one test that stays when there is none: its skip names the command."""
    assert livekit.running


@reads_proc
def test_it_listens_on_loopback_only(livekit: LiveKitServer) -> None:
    assert livekit._program is not None
    listening = addresses_of(livekit._program.process.pid)
    assert f"127.0.0.1:{livekit.port}" in listening
    assert all(address.startswith("127.0.0.1:") for address in listening)


async def test_callers_see_each_other_through_it(livekit: LiveKitServer) -> None:
    """A caller without an agent is in room service's list, and is nobody's agent."""
    callers = Callers(livekit, agent_name="nobody-of-this-name", prefix="harness")
    try:
        await callers.call()
        async with livekit.api() as client:
            listed = await client.room.list_participants(api.ListParticipantsRequest(room="harness-1"))
        assert [each.identity for each in listed.participants] == ["caller-harness-1"]
        assert not is_agent(listed.participants[0])
        assert not callers.all[0].answered
    finally:
        await callers.aclose()


def test_it_comes_back_at_the_same_address(own_livekit: LiveKitServer) -> None:
    before = own_livekit.url
    own_livekit.kill()
    assert not own_livekit.running
    own_livekit.start()
    assert own_livekit.running
    assert own_livekit.url == before


@reads_proc
async def test_it_dies_with_the_tests_even_when_they_are_killed(server_binary: Path, tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from tests.livekit.server import LiveKitServer
        server = LiveKitServer(Path(sys.argv[1]), Path(sys.argv[2]))
        server.start()
        print(server._program.process.pid, flush=True)
        time.sleep(60)
        """
    )
    tests = subprocess.Popen(  # noqa: ASYNC220 - it is forked from the main thread, as the leash wants it
        [sys.executable, "-c", program, str(server_binary), str(tmp_path)],
        cwd=REPOSITORY,
        env=clean_env(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert tests.stdout is not None
        server = int(tests.stdout.readline())
        os.kill(server, 0)
    finally:
        tests.kill()
        tests.communicate()
    await until(lambda: not is_running(server), what="the server to end with its parent")


def test_without_a_server_there_is_one_visible_skip(tmp_path: Path) -> None:
    done = _run_without_a_server(tmp_path, required="0")
    assert done.returncode == 0
    assert re.search(r"^SKIPPED \[1\] .*`make test-livekit` needs Go", done.stdout, re.MULTILINE)
    assert re.search(r"1 skipped, \d+ deselected in ", done.stdout)


def test_where_the_server_is_required_its_absence_is_a_failure(tmp_path: Path) -> None:
    done = _run_without_a_server(tmp_path, required="1")
    assert done.returncode == 1
    assert "`make test-livekit` needs Go" in done.stdout


def _run_without_a_server(tmp_path: Path, *, required: str) -> subprocess.CompletedProcess[str]:
    """This folder's tests, as `make test-livekit` runs them on a machine that has neither the server nor Go."""
    program = (
        "import sys, pathlib, pytest, tests.livekit.binary as binary;"
        f"binary.go = lambda: None; binary.cached_server = lambda: pathlib.Path({str(tmp_path)!r}, 'server');"
        "sys.exit(pytest.main(['tests/livekit', '-p', 'no:cacheprovider']))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=clean_env(OPENRTC_REQUIRE_LIVEKIT=required),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_go_the_message_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.livekit.binary.go", lambda: None)
    with pytest.raises(MissingProgramError, match=r"^`make test-livekit` needs Go .* install Go"):
        require_server(print, binary=tmp_path / "v0" / "server")


def test_a_build_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    binary = tmp_path / "v0" / "server"
    with pytest.raises(MissingProgramError, match=r"failed \(exit code 3\):\nno such module"):
        require_server(print, binary=binary, builder=_fake_go(tmp_path, "echo no such module; exit 3"))
    assert [path.name for path in binary.parent.iterdir()] == ["lock"]


def test_two_runs_at_once_build_once(tmp_path: Path) -> None:
    """The second waits for the first and finds what it built."""
    binary = tmp_path / "v0" / "server"
    builder = _fake_go(tmp_path, f'echo built >> {tmp_path}/log; sleep 0.5; echo program > "$GOBIN/server"')
    program = (
        "import sys; from pathlib import Path; from tests.livekit.binary import require_server;"
        "print(require_server(print, binary=Path(sys.argv[1]), builder=sys.argv[2]))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(binary), builder], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert all(text.splitlines()[-1] == str(binary) for text in said)
    assert (tmp_path / "log").read_text() == "built\n"
    assert binary.read_text() == "program\n"


def _fake_go(folder: Path, script: str) -> str:
    """A program in Go's place that obeys GOBIN: what is tested is what happens around it."""
    path = folder / "fake-go"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)
