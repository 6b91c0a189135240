"""One call in its job: the first word on its end stands, and the cut ends it whatever it is doing."""

from __future__ import annotations

import asyncio
import sys

import pytest

from openrtc_worker.job import CUT_REASON, JobSide
from openrtc_worker.ledger import Ending
from openrtc_worker.reports import CallersSeen, Ended, Hello, ReportSocket
from tests.support.processes import until


class Desk:
    """A worker's ears and what they heard, and a job that may be shut down."""

    def __init__(self) -> None:
        self.heard = []
        self.shutdowns = []
        self.ears = ReportSocket(self.heard.append)
        self.job = JobSide(self.ears.path, "job-1", self.shutdowns.append)

    async def hears(self, report) -> None:
        await until(lambda: report in self.heard, what=lambda: f"{report} among {self.heard}")

    @property
    def endings(self):
        return [report for report in self.heard if isinstance(report, Ended)]


@pytest.fixture
async def desk():
    desk = Desk()
    await until(lambda: any(isinstance(report, Hello) for report in desk.heard), what="the hello")
    yield desk
    await desk.job.close()
    desk.ears.close()


async def test_an_error_in_the_entrypoint_is_said_and_raised(desk):
    async def fails():
        raise ValueError("no table left")

    with pytest.raises(ValueError, match="no table"):
        await desk.job.run(fails())
    desk.job.ended(Ending.HANGUP)
    await desk.hears(Ended(job="job-1", ending=Ending.ERROR, error="ValueError: no table left"))
    assert len(desk.endings) == 1


async def test_an_entrypoint_that_returns_says_nothing_yet(desk):
    """It returns as soon as its session has started; the call goes on."""
    await desk.job.run(asyncio.sleep(0))
    desk.ears.read_all()
    assert desk.endings == []


async def test_the_cut_cancels_the_entrypoint_and_shuts_the_job_down_once(desk):
    running = asyncio.create_task(desk.job.run(asyncio.sleep(3600)))
    await asyncio.sleep(0)
    assert desk.ears.cut("job-1")
    desk.ears.cut("job-1")
    await asyncio.wait_for(running, 10)
    assert desk.shutdowns == [CUT_REASON]
    assert desk.endings == []  # who ended it, the worker knows


async def test_a_cut_that_comes_before_the_entrypoint_runs_ends_it_all_the_same(desk):
    desk.ears.cut("job-1")
    await until(lambda: desk.shutdowns, what="the cut")
    await asyncio.wait_for(desk.job.run(asyncio.sleep(3600)), 10)


async def test_somebody_else_s_cancellation_is_passed_on(desk):
    running = asyncio.create_task(desk.job.run(asyncio.sleep(3600)))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_callers_are_counted_as_they_come_and_go(desk):
    desk.job.recounted(["alice"])
    desk.job.joined("bob")
    desk.job.left("alice", reason_known=False)
    desk.job.left("bob", reason_known=True)
    await until(lambda: len(desk.heard) == 5, what="four counts")
    assert [report.callers for report in desk.heard if isinstance(report, CallersSeen)] == [1, 2, 2, 1]


async def waits_for_what_somebody_cancelled():
    child = asyncio.create_task(asyncio.sleep(60))
    child.cancel()
    await child


async def leaves():
    sys.exit(3)


async def is_interrupted():
    raise KeyboardInterrupt


@pytest.mark.parametrize("entrypoint", [waits_for_what_somebody_cancelled, leaves, is_interrupted])
async def test_an_entrypoint_that_ends_in_no_ordinary_error_is_an_ordinary_error(desk, entrypoint):
    """livekit takes neither a cancellation nor an exit for an error: the call would never end."""
    with pytest.raises(RuntimeError, match="the entrypoint"):
        await desk.job.run(entrypoint())
    await until(lambda: desk.endings, what="the ending")
    assert [ended.ending for ended in desk.endings] == [Ending.ERROR]
