"""One plan at a time for each fleet on a machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from openrtc_tui.operations.journal import JournalError
from openrtc_tui.operations.plan_lock import Holder, PlanLock, PlanRunsElsewhere


def test_another_is_told_which_plan_of_whom_and_in_which_process(tmp_path):
    with PlanLock("eu", tmp_path).held("p1", "alice"):
        assert PlanLock("eu", tmp_path).holder() == Holder("p1", f"alice, process {os.getpid()}")
        assert PlanLock("us", tmp_path).holder() is None
        with (
            pytest.raises(PlanRunsElsewhere, match=f"plan p1 of alice, process {os.getpid()}"),
            PlanLock("eu", tmp_path).held("p2", "bob"),
        ):
            pass
    assert PlanLock("eu", tmp_path).holder() is None
    with PlanLock("eu", tmp_path).held("p2", "bob"):
        assert PlanLock("eu", tmp_path).holder().plan_id == "p2"


def test_a_killed_process_gives_it_back(tmp_path):
    code = (
        "import sys, pathlib; from openrtc_tui.operations.plan_lock import PlanLock\n"
        "with PlanLock('eu', pathlib.Path(sys.argv[1])).held('p1', 'alice'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        assert PlanLock("eu", tmp_path).holder().plan_id == "p1"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert PlanLock("eu", tmp_path).holder() is None


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(JournalError, match=r"not a directory|file exists"),
        PlanLock("eu", tmp_path / "file").held("p", "a"),
    ):
        pass
