"""Audit events: numbered without gaps, kept in bounds, and never in the way of a call."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from openrtc_worker.contract import audit
from openrtc_worker.contract.audit import AuditEvent, AuditLog


def ignored(event):
    """A sink that wants nothing."""


def test_numbers_start_at_one_and_have_no_gap():
    log = AuditLog(sink=ignored)
    assert [log.emit("deployment.started").seq for _ in range(3)] == [1, 2, 3]
    assert log.last_seq == 3


def test_an_event_says_who_did_what_to_whom_when_and_with_what_result():
    events = []
    log = AuditLog(events.append, clock=lambda: 1_700_000_000.5, version="v1")
    log.emit(audit.DEPLOYMENT_DRAIN_STARTED, actor="alice", target="voice-a-1", result="started", source="http")
    assert [event.to_dict() for event in events] == [
        {
            "seq": 1,
            "timestamp": 1_700_000_000.5,
            "event": "deployment.drain_started",
            "actor": "alice",
            "target": "voice-a-1",
            "result": "started",
            "version": "v1",
            "source": "http",
        }
    ]


def test_an_event_of_another_version_keeps_it():
    log = AuditLog(sink=ignored, version="v1")
    assert log.emit("worker.rejected", version="v2").version == "v2"
    assert log.emit("worker.rejected").version == "v1"


@pytest.mark.parametrize("name", ["seq", "timestamp", "event"])
def test_a_field_cannot_take_a_reserved_name_and_the_attempt_uses_no_number(name):
    log = AuditLog(sink=ignored)
    with pytest.raises(ValueError, match=name):
        log.emit("worker.cordoned", **{name: 1})
    assert log.emit("worker.cordoned").seq == 1


def test_an_event_made_by_hand_cannot_overwrite_its_own_facts():
    event = AuditEvent(7, 1.0, "call.cut", "system", "w", "cut", None, {"seq": 99, "room": "r"})
    assert event.to_dict()["seq"] == 7
    assert event.to_dict()["room"] == "r"


def test_a_sink_that_raises_reaches_nobody_and_its_number_stays_used(caplog):
    def broken(event):
        raise OSError("disk full")

    log = AuditLog(broken)
    with caplog.at_level(logging.ERROR, logger="openrtc.audit"):
        first = log.emit("call.cut")
    assert (first.seq, log.emit("call.cut").seq) == (1, 2)
    assert "an audit sink failed on event 1 (call.cut)" in caplog.text


def test_a_sink_that_is_empty_is_still_a_sink():
    class Collecting(list):
        def __call__(self, event):
            self.append(event)

    sink = Collecting()
    AuditLog(sink).emit("call.cut")
    assert len(sink) == 1


def test_without_a_sink_each_event_is_one_line_of_json(caplog):
    with caplog.at_level(logging.INFO, logger="openrtc.audit"):
        AuditLog().emit("call.cut", room="zürich\n1")
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert json.loads(record.getMessage())["room"] == "zürich\n1"


def test_only_the_last_thousand_are_kept_and_a_reader_asks_from_where_it_was():
    log = AuditLog(sink=ignored)
    for _ in range(audit.KEPT_EVENTS + 5):
        log.emit("worker.rejected")
    assert [event.seq for event in log.after(0)][:2] == [6, 7]
    assert len(log.after(0)) == audit.KEPT_EVENTS
    assert [event.seq for event in log.after(log.last_seq - 2)] == [1004, 1005]
    assert log.after(log.last_seq) == ()


def test_a_listener_hears_events_until_it_stops():
    log, heard = AuditLog(sink=ignored), []
    stop = log.listen(heard.append)
    log.emit("worker.cordoned")
    stop()
    stop()  # a second time does nothing
    log.emit("worker.uncordoned")
    assert [event.event_type for event in heard] == ["worker.cordoned"]


def test_an_event_that_a_sink_emits_comes_second_for_everybody():
    heard, sunk = [], []

    def sink(event):
        sunk.append(event.seq)
        if event.event_type == "call.cut":
            log.emit("call.offer_lost")

    log = AuditLog(sink)
    log.listen(lambda event: heard.append(event.seq))
    log.emit("call.cut")
    assert heard == sunk == [1, 2]


def test_events_from_many_threads_reach_the_sink_in_order_and_complete():
    seen = []
    log = AuditLog(lambda event: seen.append(event.seq))
    threads = [threading.Thread(target=lambda: [log.emit("call.cut") for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == list(range(1, 801))


def test_the_names_that_a_user_filters_by():
    assert {
        audit.DEPLOYMENT_STARTED,
        audit.DEPLOYMENT_COMPLETED,
        audit.DEPLOYMENT_ROLLED_BACK,
        audit.DEPLOYMENT_DRAIN_STARTED,
        audit.WORKER_REJECTED,
    } == {
        "deployment.started",
        "deployment.completed",
        "deployment.rolled_back",
        "deployment.drain_started",
        "worker.rejected",
    }
