"""Session observers hear which version had a call and what became of it, whatever they do themselves."""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from openrtc_worker.ledger import Call, EndedCall, Outcome
from openrtc_worker.observers import Observers

if TYPE_CHECKING:
    from openrtc_worker import SessionEnd

ENDED = EndedCall(
    call=Call(job_id="job-1", room="booking-1", agent="booking", tenant="acme"),
    outcome=Outcome.COMPLETED,
    started_at=100.0,
    ended_at=161.5,
)


class Listening:
    """Keeps what it was told, and in which thread."""

    def __init__(self) -> None:
        self.heard: list[SessionEnd] = []
        self.threads: set[str] = set()

    def on_session_end(self, ended: SessionEnd) -> None:
        self.heard.append(ended)
        self.threads.add(threading.current_thread().name)


class Failing:
    def on_session_end(self, _ended: SessionEnd) -> None:
        raise RuntimeError("the records are down")


def test_an_ended_call_is_told_with_agent_tenant_version_boot_outcome_and_duration_and_nothing_else():
    listening = Listening()
    observers = Observers([listening], version="v1", boot="b00t")
    observers.start()
    observers.session_ended(ENDED)
    observers.stop(10)
    (ended,) = listening.heard
    assert dataclasses.asdict(ended) == {
        "agent": "booking",
        "tenant": "acme",
        "version": "v1",
        "boot": "b00t",
        "outcome": "completed",
        "duration": 61.5,
    }
    assert threading.current_thread().name not in listening.threads


def test_one_that_fails_keeps_nothing_from_the_others_and_shows():
    listening = Listening()
    observers = Observers([listening, Failing()], version="v1", boot="b00t")
    observers.session_ended(ENDED)  # before the start, in this thread
    assert observers.is_failing
    assert len(listening.heard) == 1
    other = Observers([Failing(), listening], version="v1", boot="b00t")
    other.session_ended(ENDED)
    assert other.is_failing
    assert len(listening.heard) == 2


def test_one_that_hangs_never_holds_up_the_worker():
    let_go = threading.Event()

    class Hanging:
        def on_session_end(self, _ended: SessionEnd) -> None:
            let_go.wait(30)

    observers = Observers([Hanging()], version="v1", boot="b00t")
    observers.start()
    for _ in range(100):
        observers.session_ended(ENDED)
    observers.stop(0.1)
    let_go.set()


@pytest.mark.parametrize("observer", [object(), lambda _ended: None, None])
def test_what_is_no_observer_is_said_where_it_is_given(observer):
    with pytest.raises(TypeError, match="on_session_end"):
        Observers([observer], version="v1", boot="b00t")


async def test_an_observer_of_a_pool_hears_of_real_calls(switchboard, isolation, tmp_path):
    """In both isolation modes, in the worker's own process, and the last one before the exit too."""
    heard = tmp_path / "heard.jsonl"
    worker = await switchboard.start(isolation=isolation, observed=str(heard))
    call = await switchboard.held("booking-1", tenant="acme")
    await switchboard.call("booking-2", do="raise")
    shown = await worker.shows(lambda shown: shown.ledger.failed == 1, what="the failed call")
    worker.program.signal(signal.SIGTERM)
    switchboard.hang_up(call)
    assert await worker.exits() == 0
    lines = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [(line["outcome"], line["agent"], line["tenant"]) for line in lines] == [
        ("failed", "booking", None),
        ("completed", "booking", "acme"),
    ]
    assert {(line["version"], line["boot"]) for line in lines} == {("v1", shown.boot_id)}
    assert all(line["duration"] >= 0 for line in lines)
