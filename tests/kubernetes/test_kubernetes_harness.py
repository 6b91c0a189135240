"""The control plane as a guest on this machine: where it listens, how it ends, what is said when it is missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.binary import require_control_plane
from tests.support.go_program import MissingProgramError
from tests.support.proc import addresses_of, is_running
from tests.support.processes import REPOSITORY, clean_env, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kubernetes.control_plane import ControlPlane


def test_it_listens_on_loopback_only(control_plane: ControlPlane) -> None:
    listening = {name: addresses_of(pid) for name, pid in control_plane.pids.items()}
    assert listening["kubelet"] == set()
    assert control_plane.url.removeprefix("https://") in listening["kube-apiserver"]
    assert all(address.startswith("127.0.0.1:") for addresses in listening.values() for address in addresses)


def test_its_secrets_are_for_the_one_who_runs_the_tests(control_plane: ControlPlane) -> None:
    assert control_plane.kubeconfig("alice").stat().st_mode & 0o077 == 0
    assert control_plane.token("alice") != control_plane.token("admin")


async def test_it_dies_with_the_tests_even_when_they_are_killed(control_plane_binary: Path, tmp_path: Path) -> None:
    """The control plane, the kubelet, and the processes of its pods."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one"},
        "spec": {"containers": [{"name": "main", "image": "none", "command": ["sleep", "600"]}]},
    }
    program = textwrap.dedent(
        """
        import asyncio, json, sys, time
        from pathlib import Path
        from tests.kubernetes.control_plane import ControlPlane
        from tests.kubernetes.namespace import Namespace

        async def run_a_pod():
            namespace = Namespace(plane, "killed")
            await namespace.open()
            await namespace.apply(json.loads(sys.argv[3]))
            return (await namespace.has(event="started"))[0]["pid"]

        plane = ControlPlane(Path(sys.argv[1]), Path(sys.argv[2]))
        plane.start()
        print(json.dumps([*plane.pids.values(), asyncio.run(run_a_pod())]), flush=True)
        time.sleep(60)
        """
    )
    tests = subprocess.Popen(  # noqa: ASYNC220 - it is forked from the main thread, as the leash wants it
        [sys.executable, "-c", program, str(control_plane_binary), str(tmp_path / "plane"), json.dumps(pod)],
        cwd=REPOSITORY,
        env=clean_env(TMPDIR=str(tmp_path)),  # a killed kubelet leaves its pods' folder
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert tests.stdout is not None
        pids = json.loads(tests.stdout.readline())
        assert len(pids) == 5
        for pid in pids:
            os.kill(pid, 0)
    finally:
        tests.kill()
        tests.communicate()
    await until(lambda: not any(is_running(pid) for pid in pids), what="all of them to end with their parent")


def test_without_go_there_is_one_visible_skip(tmp_path: Path) -> None:
    done = _run_without_the_program(tmp_path, required="0")
    assert done.returncode == 0
    assert re.search(r"^SKIPPED \[1\] .*`make test-kubernetes` needs Go", done.stdout, re.MULTILINE)
    assert re.search(r"1 skipped, \d+ deselected in ", done.stdout)


def test_where_it_is_required_its_absence_is_a_failure(tmp_path: Path) -> None:
    done = _run_without_the_program(tmp_path, required="1")
    assert done.returncode == 1
    assert "`make test-kubernetes` needs Go" in done.stdout


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    fake_go = tmp_path / "fake-go"
    fake_go.write_text("#!/bin/sh\necho no such module; exit 3\n")
    fake_go.chmod(0o755)
    binary = tmp_path / "v0" / "controlplane"
    with pytest.raises(MissingProgramError, match=r"failed \(exit code 3\):\nno such module"):
        require_control_plane(print, binary=binary, builder=str(fake_go))
    assert not binary.exists()


def _run_without_the_program(tmp_path: Path, *, required: str) -> subprocess.CompletedProcess[str]:
    """This folder's tests, as `make test-kubernetes` runs them where there is neither the program nor Go."""
    program = (
        "import sys, pathlib, pytest, tests.kubernetes.binary as binary;"
        "binary.go = lambda: None;"
        f"binary.cached_control_plane = lambda: pathlib.Path({str(tmp_path)!r}, 'controlplane');"
        "sys.exit(pytest.main(['tests/kubernetes', '-p', 'no:cacheprovider']))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=clean_env(OPENRTC_REQUIRE_KUBERNETES=required),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
