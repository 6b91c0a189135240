"""The event lines: one line per thing that happened, and who was behind it."""

from __future__ import annotations

import pytest

from openrtc_tui.state.events import KEPT_LINES, EventLog, Phrase, Slot
from openrtc_tui.state.fleet import fold
from openrtc_tui.state.observation import AuditSeen, NoticeSeen
from openrtc_tui.state.view import EventLine
from openrtc_worker.contract.snapshot import DrainInfo
from tests.state.scenes import START, Scene, plain, report


def drain(actor: str = "alice", source: str = "http") -> DrainInfo:
    return DrainInfo(source=source, actor=actor, started_at=START, deadline=START + 600)


def test_what_had_happened_before_the_dashboard_looked_is_no_news():
    scene = Scene("a", "b", "c")
    scene.hear("a", report("1", state="draining", live=3, drain=drain()))
    scene.hear("b", report("2", state="drained"))
    scene.hear("c", report("3", live=4, counts={"cut": 2, "offers_lost": 1}))
    assert scene.lines() == []


@pytest.mark.parametrize(
    ("began", "line"),
    [
        (drain("alice"), "alice drained a | 9 calls"),
        (drain("system", "signal"), "a began to drain | 9 calls · by a signal"),
        (drain("", "api"), "a began to drain | 9 calls · by its own code"),
        (drain("system", "later"), "a began to drain | 9 calls"),
        (None, "a began to drain | 9 calls"),
    ],
)
def test_a_drain_says_who_began_it(began, line):
    scene = Scene("a")
    scene.hear("a", report(live=9))
    scene.hear("a", report(state="draining", live=9, drain=began))
    scene.hear("a", report(state="draining", live=8, drain=began, counts={"completed": 1}))
    assert scene.lines() == [line]


def test_a_drain_of_many_within_two_seconds_is_one_line():
    scene = Scene(*(f"voice-a-{number}" for number in range(1, 11)))
    for number in range(1, 11):
        scene.hear(f"voice-a-{number}", report(str(number), live=7))
    scene.hear("voice-a-1", report("1", state="draining", live=9, drain=drain()))
    scene.now += 5
    for number in (10, 4, 3, 2):
        scene.hear(f"voice-a-{number}", report(str(number), state="draining", live=7, drain=drain()))
        scene.now += 1
    assert scene.lines() == [
        "alice drained voice-a-1 | 9 calls",
        "alice drained voice-a-2 … voice-a-10 | 4 workers · 28 calls",
    ]
    lines = scene.view().events
    assert [(line.at - START, line.key) for line in lines] == [(0, "voice-a-1"), (5, None)]


def test_two_workers_are_both_named():
    scene = Scene("a", "b")
    for key in "ab":
        scene.hear(key, report(key, live=1))
    for key in "ba":
        scene.hear(key, report(key, state="draining", live=1))
    assert scene.lines() == ["a, b began to drain | 2 calls"]


def test_different_operators_do_not_share_a_line():
    scene = Scene("a", "b")
    for key in "ab":
        scene.hear(key, report(key))
    scene.hear("a", report("a", state="draining", drain=drain("alice")))
    scene.hear("b", report("b", state="draining", drain=drain("bob")))
    assert scene.lines() == ["alice drained a", "bob drained b"]


def test_the_way_of_a_drained_worker_to_its_end():
    scene = Scene("a")
    scene.hear("a", report(live=1))
    scene.hear("a", report(state="draining", live=1, drain=drain()))
    scene.now += 60
    scene.hear("a", report(state="drained", counts={"completed": 1}))
    scene.now += 3
    scene.hear("a", report(state="exited", counts={"completed": 1}, exit_code=0), bye=True)
    assert scene.lines() == ["alice drained a | 1 call", "a drained | no call dropped", "a exited"]
    assert [line.severity for line in scene.view().events] == ["info", "good", "info"]


def test_a_worker_that_cut_calls_ends_badly():
    scene = Scene("a")
    scene.hear("a", report(state="draining", live=2))
    scene.hear("a", report(state="draining", counts={"cut": 2}))
    scene.hear("a", report(state="exited", counts={"cut": 2}, exit_code=3), bye=True)
    assert scene.lines() == ["2 calls cut on a", "a exited | dropped 2 VIOLATED · exit code 3"]
    assert [line.severity for line in scene.view().events] == ["bad", "bad"]


def test_an_end_is_told_once_however_contact_flickers_after_it():
    scene = Scene("a")
    scene.hear("a", report(state="draining"))
    scene.hear("a", report(state="drained"))
    for _ in range(3):
        scene.now += 7
        assert scene.row("a").state == "stale"
        scene.beat("a")
    scene.fail("a", "broken")
    scene.beat("a")
    scene.fail("a", "broken")
    assert scene.lines().count("a drained | no call dropped") == 1
    assert scene.lines().count("a exited") == 1


def test_a_lost_worker_with_calls_is_bad_and_one_without_is_not():
    scene = Scene("a", "b")
    scene.hear("a", report("1", live=6))
    scene.hear("b", report("2"))
    scene.now += 1
    scene.die("a")
    scene.die("b")
    assert [(line.text, line.detail, line.severity) for line in scene.view().events] == [
        ("a unreachable", "6 calls", "bad"),
        ("b unreachable", "", "warning"),
    ]


def test_silence_alone_is_told_when_it_counts_as_lost_and_so_is_the_return():
    scene = Scene("a")
    scene.hear("a", report(live=6))
    scene.wait(9)
    assert scene.lines() == []
    scene.wait(1)
    assert scene.lines() == ["a unreachable | 6 calls"]
    scene.now += 30
    scene.beat("a")
    assert scene.lines() == ["a unreachable | 6 calls", "a came back | 6 calls"]


def test_a_target_that_never_answers_and_then_does():
    scene = Scene("a")
    scene.fail("a", "refused", "connection refused")
    scene.wait(10)
    scene.now += 5
    scene.hear("a", report())
    assert scene.lines() == ["a does not answer | connection refused", "a answers now"]


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ({"live": 6}, {}, "a restarted with calls live | 6 calls"),
        ({"live": 6}, {"version": "v2"}, "a restarted with calls live | 6 calls · as v2"),
        ({}, {}, "a restarted"),
        ({"state": "drained"}, {"version": "v2"}, "a started again | as v2"),
    ],
)
def test_a_restart_says_what_was_live_and_as_what_it_came_back(first, second, line):
    scene = Scene("a")
    scene.hear("a", report("one", **first))
    scene.hear("a", report("two", **second))
    assert scene.lines() == [line]


def test_a_worker_that_starts_taking_calls():
    scene = Scene("a")
    scene.hear("a", report(state="starting", version="v2.0.0"))
    scene.hear("a", report(state="serving", version="v2.0.0"))
    assert scene.lines() == ["a takes calls | v2.0.0"]


def test_many_workers_are_many_in_the_words_too():
    scene = Scene("a", "b")
    for state in ("starting", "serving"):
        for key in "ab":
            scene.hear(key, report(key, state=state))
    assert scene.lines() == ["a, b take calls | v1"]


@pytest.mark.parametrize(
    ("counter", "line"),
    [
        ("cut", "2 calls cut on a"),
        ("crashed", "2 calls crashed on a"),
        ("lost", "2 calls lost by LiveKit on a"),
        ("launch_failed", "2 calls failed to start on a"),
        ("offers_lost", "a loses offers | 2 calls · most likely unanswered"),
    ],
)
def test_what_rises_in_the_ledger_is_told(counter, line):
    scene = Scene("a")
    scene.hear("a", report(counts={counter: 1}))
    scene.hear("a", report(counts={counter: 3}))
    assert scene.lines() == [line]


def test_calls_that_die_one_by_one_within_two_seconds_are_one_line():
    scene = Scene("a")
    scene.hear("a", report())
    for crashed in (1, 2, 4):
        scene.hear("a", report(counts={"crashed": crashed}))
        scene.now += 0.1
    assert scene.lines() == ["4 calls crashed on a"]


def test_a_draining_worker_that_still_takes_calls_is_told_once():
    scene = Scene("a")
    scene.hear("a", report(state="draining", live=1, drain=drain()))
    scene.wait(11, hearing="a")
    for live in (2, 3, 4):
        scene.hear("a", report(state="draining", live=live, drain=drain()))
        scene.wait(5, hearing="a")
    assert scene.lines() == ["a still takes calls | while draining"]


def test_what_a_boot_left_open_is_told_when_its_successor_says_so():
    scene = Scene("a")
    scene.hear("a", report("one", live=6))
    scene.hear("a", report("two", died=("one", 6)))
    scene.hear("a", report("two", died=("one", 6), live=1))
    assert scene.lines() == ["a restarted with calls live | 6 calls", "6 calls dropped when a died"]


def test_two_processes_behind_one_address_are_told():
    scene = Scene("a")
    for boot in ("one", "two", "one"):
        scene.hear("a", report(boot))
        scene.now += 5
    assert scene.lines()[-1] == "a: two processes answer at this address"


# -- audit events ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["audit first", "report first"])
@pytest.mark.parametrize("verb", ["cordoned", "uncordoned"])
def test_a_cordon_is_one_line_with_its_operator_whichever_word_comes_first(order, verb):
    scene = Scene("a")
    before, after = ("serving", "cordoned") if verb == "cordoned" else ("cordoned", "serving")
    scene.hear("a", report(state=before))
    if order == "audit first":
        scene.audit("a", f"worker.{verb}", actor="alice")
    scene.hear("a", report(state=after))
    if order == "report first":
        assert scene.lines() == [f"a {verb}"]
        scene.now += 0.5
        scene.audit("a", f"worker.{verb}", actor="alice")
    assert scene.lines() == [f"alice {verb} a"]


def test_who_cordoned_one_of_many_is_said_of_that_one():
    scene = Scene("a", "b")
    for key in "ab":
        scene.hear(key, report(key))
        scene.hear(key, report(key, state="cordoned"))
    assert scene.lines() == ["a, b cordoned"]
    scene.audit("b", "worker.cordoned", actor="alice")
    assert scene.lines() == ["a cordoned", "alice cordoned b"]


def test_an_audit_event_that_comes_twice_is_told_once():
    scene = Scene("a")
    scene.hear("a", report())
    for _ in range(2):
        scene.audit("a", "worker.cordoned", actor="alice")
    assert scene.lines() == ["alice cordoned a"]


def test_a_cordon_by_the_worker_itself_needs_no_name():
    scene = Scene("a")
    scene.hear("a", report())
    scene.hear("a", report(state="cordoned"))
    scene.audit("a", "worker.cordoned", actor="system")
    assert scene.lines() == ["a cordoned"]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            {"event": "control.refused", "actor": "bob", "action": "drain", "reason": "not_allowed"},
            "a refused a drain by bob | not allowed",
        ),
        (
            {"event": "control.refused", "actor": "unverified", "action": "cordon", "reason": "signature"},
            "a refused a cordon by unverified | signature",
        ),
        (
            {"event": "control.refused", "reason": "unreadable_key_file", "file": "eve.pub.pem"},
            "a left out an operator key | eve.pub.pem",
        ),
        ({"event": "deployment.drain_shortened", "actor": "alice"}, "alice shortened the drain of a"),
        ({"event": "deployment.drain_shortened", "actor": "system"}, "shorter drain of a"),
        ({"event": "worker.rejected", "reason": "unknown_agent"}, "a refuses calls: unknown agent"),
        ({"event": "worker.rejected"}, "a refuses calls"),
    ],
)
def test_what_only_the_audit_tells(event, line):
    scene = Scene("a")
    scene.hear("a", report())
    scene.audit("a", **event)
    assert scene.lines() == [line]


@pytest.mark.parametrize("event", ["deployment.drain_started", "call.cut", "deployment.started", "no.such.event"])
def test_what_reports_tell_as_well_is_not_told_twice(event):
    scene = Scene("a")
    scene.hear("a", report())
    scene.audit("a", event, actor="alice")
    assert scene.lines() == []


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event": 7},
        {"event": ["worker.cordoned"], "actor": {}},
        {"event": "control.refused", "actor": None, "action": 3, "reason": [1]},
        {"event": "worker.cordoned", "actor": 12},
    ],
)
def test_an_audit_event_of_any_shape_does_no_harm(event):
    scene = Scene("a")
    fold(scene.fleet, AuditSeen("a", event), scene.now)
    assert len(scene.lines()) <= 1


def test_an_audit_event_of_a_target_that_is_gone_is_ignored():
    scene = Scene("a")
    scene.audit("b", "control.refused", action="drain")
    assert scene.lines() == []


# -- notices and the log itself ----------------------------------------------------------------------------------


def test_a_notice_is_a_line_as_it_is():
    scene = Scene("a")
    fold(scene.fleet, NoticeSeen("drain refused", "a: token", "bad", key="a"), scene.now)
    assert scene.view().events == (
        EventLine(at=START, text="drain refused", detail="a: token", severity="bad", key="a"),
    )


def test_remote_text_cannot_fill_in_a_line():
    scene = Scene("a")
    scene.hear("a", report(live=1))
    scene.hear("a", report(state="draining", live=1, drain=drain("{names} {0} %s [/bold]")))
    assert scene.lines() == ["{names} {0} %s [/bold] drained a | 1 call"]


def test_the_log_is_bounded_and_keeps_the_newest():
    log = EventLog()
    phrase = Phrase("odd", (Slot.NAMES, " odd"))
    for number in range(3 * KEPT_LINES):
        log.say(phrase, f"w{number}", 10.0 * number)
    lines = log.lines()
    assert len(lines) == KEPT_LINES
    assert lines[-1].text == f"w{3 * KEPT_LINES - 1} odd"


def test_the_same_lines_are_the_same_object_until_something_is_said():
    scene = Scene("a")
    scene.hear("a", report())
    scene.hear("a", report(state="draining"))
    before = scene.view().events
    scene.now += 1
    assert scene.view().events is before
    scene.hear("a", report(state="drained"))
    assert scene.view().events is not before


def test_a_line_stands_for_ten_seconds_at_most():
    log = EventLog()
    phrase = Phrase("odd", (Slot.NAMES, " odd"))
    for second in range(25):
        log.say(phrase, f"w{second}", float(second))
    assert [line.at for line in log.lines()] == [0.0, 11.0, 22.0]


def test_plain_workers_have_events_too():
    scene = Scene("a")
    scene.hear("a", plain(live=3), via="poll")
    scene.hear("a", plain(live=3, draining=True), via="poll")
    scene.fail("a", "refused")
    scene.fail("a", "refused")
    assert scene.lines() == ["a began to drain | 3 calls", "a unreachable | 3 calls"]
