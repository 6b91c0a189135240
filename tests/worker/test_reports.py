"""The line between job and worker: nothing said is lost, nothing raises, the cut arrives."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from pathlib import Path

import pytest

from openrtc_worker.ledger import Ending
from openrtc_worker.reports import (
    FOLDER_PREFIX,
    MAX_PATH,
    CallersSeen,
    Ended,
    Hello,
    JobLine,
    NoSocketFolderError,
    ReportSocket,
    SocketFolder,
)
from tests.support.processes import until


@pytest.fixture
async def heard():
    return []


@pytest.fixture
async def worker(heard):
    ears = ReportSocket(heard.append)
    yield ears
    ears.close()


@pytest.fixture
def scratch():
    """A folder whose name is short: pytest's own are too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="or-", dir="/tmp") as folder:
        yield Path(folder)


async def test_what_a_job_says_arrives_in_its_order(worker, heard):
    line = JobLine(worker.path, "job-1", lambda: None)
    line.callers(1)
    line.callers(0)
    line.ended(Ending.HANGUP)
    await until(lambda: len(heard) == 4, what="four reports")
    hello, *rest = heard
    assert isinstance(hello, Hello)
    assert (hello.job, hello.pid) == ("job-1", os.getpid())
    assert rest == [
        CallersSeen(job="job-1", callers=1),
        CallersSeen(job="job-1", callers=0),
        Ended(job="job-1", ending=Ending.HANGUP),
    ]
    await line.close()
    assert not Path(hello.path).exists()


async def test_only_the_first_ending_is_said(worker, heard):
    line = JobLine(worker.path, "job-1", lambda: None)
    line.ended(Ending.ERROR, ValueError("a\x1b[2J\nb"))
    line.ended(Ending.HANGUP)
    await line.close()
    worker.read_all()
    assert [report for report in heard if isinstance(report, Ended)] == [
        Ended(job="job-1", ending=Ending.ERROR, error="ValueError: a[2J b")
    ]


async def test_an_error_that_cannot_even_be_shown_is_a_failed_call_all_the_same(worker, heard):
    class UnspeakableError(Exception):
        def __str__(self):
            raise ValueError

    line = JobLine(worker.path, "job-1", lambda: None)
    line.ended(Ending.ERROR, UnspeakableError())
    await line.close()
    worker.read_all()
    assert heard[-1] == Ended(job="job-1", ending=Ending.ERROR, error="UnspeakableError")


async def test_the_cut_reaches_the_job_that_it_is_for(worker, heard):
    cuts = []
    lines = [JobLine(worker.path, f"job-{n}", lambda n=n: cuts.append(n)) for n in range(2)]
    await until(lambda: len(heard) == 2, what="both hellos")
    assert worker.cut("job-1")
    await until(lambda: cuts, what="the cut")
    assert cuts == [1]
    assert not worker.cut("nobody")
    for line in lines:
        await line.close()
    assert not worker.cut("job-0")  # it is gone, and that is no error


async def test_a_worker_that_reads_late_loses_nothing(worker, heard):
    """The kernel's queue holds a few hundred datagrams; the rest waits in the job."""
    worker._loop.remove_reader(worker._socket)  # a stalled loop
    line = JobLine(worker.path, "job-1", lambda: None)
    for number in range(2_000):
        line.callers(number)
    line.ended(Ending.HANGUP)
    closing = asyncio.create_task(line.close())
    while len(heard) < 2_002:
        worker.read_all()
        await asyncio.sleep(0)
    await closing
    assert heard[-1] == Ended(job="job-1", ending=Ending.HANGUP)
    assert [report.callers for report in heard[1:-1]] == list(range(2_000))


async def test_a_hangup_while_the_worker_stalls_for_half_a_minute_is_heard(worker, heard, monkeypatch):
    """Unheard it would be counted as a crash."""
    worker._loop.remove_reader(worker._socket)  # a stalled loop
    line = JobLine(worker.path, "job-1", lambda: None)
    while not line._unsent:  # until the kernel's queue is full
        line.callers(1)
    line.ended(Ending.HANGUP)
    closing = asyncio.create_task(line.close())
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + 30)
    for _ in range(10):
        await asyncio.sleep(0.001)
    assert not closing.done()
    while not closing.done():
        worker.read_all()
        await asyncio.sleep(0)
    worker.read_all()
    assert heard[-1] == Ended(job="job-1", ending=Ending.HANGUP)


async def test_a_worker_that_dies_while_a_job_waits_for_it_keeps_the_job_no_longer(heard):
    ears = ReportSocket(heard.append)
    ears._loop.remove_reader(ears._socket)
    line = JobLine(ears.path, "job-1", lambda: None)
    while not line._unsent:
        line.callers(1)
    closing = asyncio.create_task(line.close())
    await asyncio.sleep(0)
    ears.close()
    await asyncio.wait_for(closing, 10)


async def test_a_job_whose_worker_is_gone_goes_on_without_a_word(caplog):
    line = JobLine("/nonexistent/openrtc/w", "job-1", lambda: None)
    line.callers(1)
    line.ended(Ending.HANGUP)
    await line.close()
    assert "cannot report" in caplog.text


async def test_a_worker_that_ends_first_is_no_error_for_the_job(heard, caplog):
    ears = ReportSocket(heard.append)
    line = JobLine(ears.path, "job-1", lambda: None)
    ears.close()
    line.callers(1)
    line.ended(Ending.HANGUP)
    await line.close()
    assert "any more" in caplog.text


async def test_what_is_no_report_is_said_and_skipped(worker, heard, caplog):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        for datagram in (b"", b"\xff", b'{"type":"hello"}', b'{"type":"ended","job":"j","ending":"odd"}'):
            stranger.sendto(datagram, worker.path)
    line = JobLine(worker.path, "job-1", lambda: None)
    await until(lambda: heard, what="the hello after it")
    assert isinstance(heard[0], Hello)
    assert caplog.text.count("is no report") == 4
    await line.close()


async def test_paths_fit_a_socket_whatever_the_temporary_folder_is(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    ears = ReportSocket(lambda _: None)
    try:
        assert len(os.fsencode(ears.path)) <= MAX_PATH
        assert Path(ears.path).parent.stat().st_mode & 0o077 == 0  # nobody else may say how our calls ended
    finally:
        ears.close()
    assert not Path(ears.path).parent.exists()
    assert list(long.iterdir()) == []


def test_no_temporary_folder_is_one_line_that_says_what_to_set(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(NoSocketFolderError, match=r"^no temporary folder .*No such file.*: set TMPDIR") as refused:
        SocketFolder()
    assert "\n" not in str(refused.value)


async def test_the_socket_of_a_job_that_was_killed_is_taken_away(worker, heard):
    line = JobLine(worker.path, "job-1", lambda: None)
    await until(lambda: heard, what="the hello")
    path = Path(heard[0].path)
    line._socket.close()
    worker.forget("job-1")
    assert not path.exists()
    line._socket = None


def test_the_folder_of_a_worker_that_was_killed_is_swept_up_by_the_next_and_no_other(monkeypatch, scratch):
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    alive = SocketFolder()
    killed = SocketFolder()
    (killed.path / "w").touch()
    killed._lock.close()  # what the kernel does with a process that is killed
    foreign = scratch / f"{FOLDER_PREFIX}foreign"
    foreign.mkdir()  # without a lock: it is being made right now, or somebody else's
    fresh = SocketFolder()
    assert not killed.path.exists()
    assert {path.name for path in scratch.iterdir()} == {alive.path.name, foreign.name, fresh.path.name}
    alive.close()
    fresh.close()
    assert list(scratch.iterdir()) == [foreign]
