"""Killing what could not be ended: all of a job goes, whatever it started, and nothing else."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import psutil
import pytest

from openrtc_worker import processes
from tests.support.processes import until

_SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
_JOB_CODE = f"""
import subprocess, time
print(subprocess.Popen({_SLEEPER!r}, start_new_session=True).pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def job():
    """A child process that has a child of its own: both."""
    with subprocess.Popen([sys.executable, "-c", _JOB_CODE], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        yield parent, child
        for process in (child, parent):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture
def neighbour():
    """Another child process."""
    with subprocess.Popen(_SLEEPER) as process:
        yield process
        process.kill()


async def test_what_a_killed_job_started_is_killed_with_it_and_its_neighbour_is_not(job, neighbour):
    parent, child = job
    processes.kill([parent.pid])
    assert parent.wait(10) != 0
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, what="its child's end")
    assert neighbour.poll() is None


def test_a_process_of_somebody_else_is_left_alone(job):
    parent, _ = job
    processes.kill([1, parent.pid + 1_000_000])
    assert parent.poll() is None


def test_processes_that_cannot_be_listed_end_nothing(job, monkeypatch):
    """A process with no file handle left can still cut its calls and exit."""

    def out_of_handles(self, recursive):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(psutil.Process, "children", out_of_handles)
    processes.kill([job[0].pid])
    assert processes.kill_descendants() == 0
