"""The calls of a boot: what LiveKit says and what jobs say meet in any order."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import pytest

from openrtc_worker.call_file import CallFile, read_previous
from openrtc_worker.calls import Calls
from openrtc_worker.job import JobSide
from openrtc_worker.ledger import Call, Ending
from openrtc_worker.snapshots import Notes
from openrtc_worker.trail import Trail
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALL = Call(job_id="job-1", room="room-1", agent="booking")


@pytest.fixture
def events():
    return []


def clock() -> float:
    return 5.0


def make_calls(events: list) -> Calls:
    trail = Trail(events.append, version="v1", boot_id="b", worker_id=lambda: "w", clock=clock)
    return Calls(
        capacity=2, clock=clock, monotonic=clock, trail=trail, notes=Notes(started_at=0.0), lock=threading.RLock()
    )


@pytest.fixture
async def calls(events):
    calls = make_calls(events)
    calls.open(None)
    yield calls
    calls.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[CallFile]:
    file = CallFile(tmp_path, worker_id="w", boot_id="b", clock=clock, defer=lambda write: write())
    yield file
    file.close()


@pytest.fixture
async def recorded(events, file):
    """Calls that are written into *file*."""
    calls = make_calls(events)
    calls.open(file)
    yield calls
    calls.close()


def told_as_open(folder: Path) -> list[str]:
    """What a boot that begins now would tell of this one."""
    previous = read_previous(folder / "calls-w.jsonl")
    assert previous is not None
    return [call.job for call in previous.open_calls]


async def test_a_job_that_ended_before_its_launch_was_confirmed_is_counted_by_what_it_said(calls):
    """Its process runs while livekit still waits for the word that it was sent the job."""
    calls.answered(CALL)
    job = JobSide(calls.reports_path, "job-1", lambda _: None)
    job.ended(Ending.ERROR, "the agent's own code failed")
    await job.close()
    await until(lambda: len(calls._early["job-1"]) == 2, what="both reports")
    calls.started(CALL)
    assert calls.reap(active=())
    counts = calls.ledger.counts()
    assert (counts.failed, counts.crashed, counts.balanced) == (1, 0, True)


async def test_what_a_job_sent_right_before_it_was_gone_is_read_before_its_end_is_decided(calls):
    calls.answered(CALL)
    calls.started(CALL)
    job = JobSide(calls.reports_path, "job-1", lambda _: None)
    job.ended(Ending.HANGUP)
    assert calls.reap(active=())  # nothing has been read yet: the loop had no turn since
    assert calls.ledger.counts().completed == 1
    await job.close()


async def test_a_call_that_starts_when_the_deadline_has_passed_is_cut_at_once(calls, events):
    calls.answered(CALL)
    calls.cut_all()
    ended = []
    calls.started(CALL)
    job = JobSide(calls.reports_path, "job-1", ended.append)
    await until(lambda: ended, what="the cut")
    await job.close()
    calls.reap(active=())
    assert calls.ledger.counts().cut == 1
    assert [(event.event_type, event.fields["room"]) for event in events] == [("call.cut", "room-1")]


async def test_places_are_taken_from_the_answer_on(calls):
    assert calls.refusal is None
    calls.answered(CALL)
    calls.answered(Call(job_id="job-2", room="room-2"))
    assert (calls.taken, calls.refusal) == (2, "capacity")
    calls.launch_failed(CALL, RuntimeError("no process"))
    assert calls.refusal is None
    calls.offer_lost(Call(job_id="job-2", room="room-2"))
    counts = calls.ledger.counts()
    assert (counts.started, counts.launch_failed, counts.offers_lost) == (0, 1, 1)


async def test_an_assignment_ends_the_grace_of_an_offer(calls):
    calls.answered(CALL)
    calls.gate.all_assigned_but(("job-1",))
    assert calls.gate.taken(math.inf, live=0) == 0
    calls.gate.all_assigned_but(())
    assert calls.gate.taken(math.inf, live=0) == 1


@pytest.mark.parametrize("ending", [Ending.HANGUP, Ending.ERROR, Ending.REMOVED])
async def test_a_worker_that_is_killed_before_the_end_is_in_its_books_leaves_no_open_call(recorded, tmp_path, ending):
    """livekit reports the end to the server some time before the next beat enters it into the books."""
    recorded.answered(CALL)
    recorded.started(CALL)
    assert told_as_open(tmp_path) == ["job-1"]
    job = JobSide(recorded.reports_path, "job-1", lambda _: None)
    job.ended(ending)
    await until(lambda: told_as_open(tmp_path) == [], what="the end in the call file")
    assert recorded.ledger.active == 1  # nothing was reaped
    assert recorded.reap(active=())
    assert told_as_open(tmp_path) == []
    await job.close()


async def test_an_end_that_came_before_the_launch_was_confirmed_is_in_the_call_file_too(recorded, tmp_path):
    recorded.answered(CALL)
    job = JobSide(recorded.reports_path, "job-1", lambda _: None)
    job.ended(Ending.HANGUP)
    await job.close()
    await until(lambda: len(recorded._early["job-1"]) == 2, what="both reports")
    recorded.started(CALL)
    assert told_as_open(tmp_path) == []


@pytest.mark.parametrize("ending", [Ending.LOST, Ending.STOPPED])
async def test_an_end_that_may_have_dropped_someone_waits_for_the_books(recorded, tmp_path, ending):
    recorded.answered(CALL)
    recorded.started(CALL)
    job = JobSide(recorded.reports_path, "job-1", lambda _: None)
    job.ended(ending)
    job.ended(Ending.HANGUP)  # the first word stands
    job.joined("caller")
    await until(lambda: recorded.ledger.sessions(9.0)[0].callers == 1, what="what the job said after its end")
    assert told_as_open(tmp_path) == ["job-1"]
    assert recorded.reap(active=())
    assert told_as_open(tmp_path) == []
    await job.close()


async def test_a_call_that_was_cut_is_open_until_it_is_in_the_books_whatever_its_job_says(recorded, tmp_path):
    recorded.answered(CALL)
    recorded.started(CALL)
    job = JobSide(recorded.reports_path, "job-1", lambda _: None)
    recorded.cut_all()
    job.ended(Ending.HANGUP)
    job.joined("caller")
    await until(lambda: recorded.ledger.sessions(9.0)[0].callers == 1, what="what the job said after its end")
    assert told_as_open(tmp_path) == ["job-1"]
    await job.close()
