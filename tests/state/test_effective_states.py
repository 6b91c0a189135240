"""Which state a worker is shown in: its own word, until silence or a failure says more."""

from __future__ import annotations

import pytest

from openrtc_tui.state.view import WorkerState
from tests.state.scenes import Scene, plain, report

S = WorkerState


@pytest.mark.parametrize("state", ["starting", "serving", "cordoned", "draining", "drained", "exited"])
def test_a_heard_worker_is_in_the_state_it_reports(state):
    scene = Scene("a")
    scene.hear("a", report(state=state))
    assert scene.row("a").state == state


def test_a_target_never_heard_is_starting_for_10_seconds_and_then_lost_and_its_calls_stay_unknown():
    scene = Scene("a")
    scene.fail("a", "refused", "connection refused")
    scene.now += 9.9
    row = scene.row("a")
    assert (row.state, row.calls, row.last_failure) == (S.STARTING, None, "connection refused")
    scene.now += 0.1
    row = scene.row("a")
    assert (row.state, row.calls, row.age_seconds) == (S.LOST, None, None)


def test_a_slow_beat_gets_round_to_its_last_target_before_that_is_given_up():
    scene = Scene("a", beat=30.0)
    scene.now += 59
    assert scene.row("a").state is S.STARTING
    scene.now += 1
    assert scene.row("a").state is S.LOST


def test_a_streamed_worker_is_stale_after_three_heartbeats_and_lost_after_five():
    scene = Scene("a", beat=0.2)
    scene.hear("a", report(live=6))
    seen = scene.now
    for silence, state in [(5.9, S.SERVING), (6.0, S.STALE), (9.9, S.STALE), (10.0, S.LOST)]:
        scene.now = seen + silence
        row = scene.row("a")
        assert row.state is state
        assert row.silent_since == (None if state is S.SERVING else seen)


@pytest.mark.parametrize(
    ("beat", "stale", "lost"), [(0.2, 5.0, 10.0), (1.0, 5.0, 10.0), (3.0, 9.0, 15.0), (30.0, 90.0, 150.0)]
)
def test_a_polled_worker_is_judged_by_the_beat_of_polling(beat, stale, lost):
    scene = Scene("a", beat=beat)
    scene.hear("a", report(), via="poll")
    seen = scene.now
    for silence, state in [(stale - 0.1, S.SERVING), (stale, S.STALE), (lost - 0.1, S.STALE), (lost, S.LOST)]:
        scene.now = seen + silence
        assert scene.row("a").state is state


def test_heartbeats_keep_a_quiet_worker_alive():
    scene = Scene("a")
    scene.hear("a", report(live=2))
    scene.wait(3600, hearing="a")
    assert scene.row("a").state is S.SERVING


def test_a_worker_is_lost_at_once_when_its_connection_broke_and_the_next_is_refused():
    scene = Scene("a")
    scene.hear("a", report(live=6))
    scene.fail("a", "broken")
    assert scene.row("a").state is S.SERVING
    scene.now += 0.3
    scene.fail("a", "refused", "connection refused")
    row = scene.row("a")
    assert (row.state, row.calls, row.last_failure) == (S.LOST, 6, "connection refused")
    assert row.silent_since == scene.now - 0.3


def test_one_refused_connection_alone_loses_nobody():
    scene = Scene("a")
    scene.hear("a", report(), via="poll")
    scene.fail("a", "refused")
    assert scene.row("a").state is S.SERVING
    scene.fail("a", "refused")
    assert scene.row("a").state is S.LOST


@pytest.mark.parametrize("kind", ["broken", "timeout", "status", "garbage", "name", "tls"])
def test_failures_that_are_no_refusal_wait_for_the_silence(kind):
    scene = Scene("a")
    scene.hear("a", report())
    for _ in range(5):
        scene.fail("a", kind)
    assert scene.row("a").state is S.SERVING
    scene.now += 10
    assert scene.row("a").state is S.LOST


def test_what_is_lost_shows_no_load_no_age_and_takes_no_calls():
    scene = Scene("a")
    scene.hear("a", report(live=6, load=0.3, oldest_session_seconds=40.0))
    scene.die("a")
    row = scene.row("a")
    assert (row.load, row.oldest_seconds, row.accepting, row.calls) == (None, None, None, 6)


@pytest.mark.parametrize("back", ["heartbeat", "snapshot"])
def test_a_lost_worker_that_is_heard_again_is_back_in_its_state(back):
    scene = Scene("a")
    scene.hear("a", report(state="draining", live=2))
    scene.die("a")
    assert scene.row("a").state is S.LOST
    scene.now += 2
    if back == "heartbeat":
        scene.beat("a")
    else:
        scene.hear("a", report(state="draining", live=2))
    row = scene.row("a")
    assert (row.state, row.silent_since, row.last_failure) == (S.DRAINING, None, None)


def test_after_goodbye_a_worker_has_exited_whatever_contact_says():
    scene = Scene("a")
    scene.hear("a", report(state="drained"))
    scene.hear("a", report(state="exited", exit_code=0), bye=True)
    assert scene.row("a").state is S.EXITED
    scene.die("a")
    scene.now += 3600
    assert scene.row("a").state is S.EXITED


def test_a_poll_that_caught_the_last_state_is_as_good_as_a_goodbye():
    scene = Scene("a")
    scene.hear("a", report(state="exited", exit_code=0), via="poll")
    assert scene.row("a").state is S.EXITED


@pytest.mark.parametrize("gone", ["broken", "refused", "silence"])
def test_a_drained_worker_that_goes_without_a_goodbye_has_exited(gone):
    scene = Scene("a")
    scene.hear("a", report(state="drained"))
    if gone == "silence":
        scene.now += 6
        assert scene.row("a").state is S.STALE
        scene.now += 4
    else:
        scene.fail("a", gone)
    assert scene.row("a").state is S.EXITED


def test_a_draining_worker_without_calls_that_goes_is_lost_not_exited():
    """An accepted offer may have become a call: only *drained* says that none is left."""
    scene = Scene("a")
    scene.hear("a", report(state="draining"))
    scene.die("a")
    assert scene.row("a").state is S.LOST


def test_a_worker_thought_exited_that_reports_again_is_shown_as_it_says():
    scene = Scene("a")
    scene.hear("a", report(state="drained"))
    scene.fail("a", "broken")
    assert scene.row("a").state is S.EXITED
    scene.hear("a", report(state="drained"))
    assert scene.row("a").state is S.DRAINED


def test_an_unknown_state_of_a_later_worker_counts_as_serving_or_draining():
    scene = Scene("a", "b")
    scene.hear("a", report("1", state="meditating"))
    scene.hear("b", report("2", state="meditating", draining=True))
    assert (scene.row("a").state, scene.row("b").state) == (S.SERVING, S.DRAINING)


def test_the_draining_flag_outweighs_a_state_before_it():
    scene = Scene("a")
    scene.hear("a", report(state="serving", draining=True))
    assert scene.row("a").state is S.DRAINING


# -- plain OpenRTC workers ---------------------------------------------------------------------------------------


def test_a_plain_worker_with_the_three_required_keys_serves_and_drains():
    scene = Scene("a")
    scene.hear("a", plain(live=3), via="poll")
    row = scene.row("a")
    assert (row.state, row.calls, row.version, row.actionable) == (S.SERVING, 3, "v1", False)
    assert (row.worker_id, row.boot_id, row.max_sessions, row.load, row.oldest_seconds) == (None,) * 5
    scene.hear("a", plain(live=1, draining=True), via="poll")
    assert scene.row("a").state is S.DRAINING


def test_a_plain_worker_that_was_empty_in_its_drain_and_is_gone_has_exited():
    scene = Scene("a")
    scene.hear("a", plain(live=0, draining=True), via="poll")
    scene.fail("a", "refused")
    assert scene.row("a").state is S.DRAINING  # one failed poll is no exit
    scene.fail("a", "refused")
    assert scene.row("a").state is S.EXITED


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"uptime_seconds": 500.0}, {"uptime_seconds": 3.0}),
        ({"total_sessions_started": 9}, {"total_sessions_started": 0}),
        ({}, {"version": "v2"}),
    ],
)
def test_a_plain_worker_restarted_when_uptime_calls_or_version_say_so(before, after):
    scene = Scene("a")
    scene.hear("a", plain(live=4, **before), via="poll")
    scene.now += 1
    scene.hear("a", plain(live=0, **after), via="poll")
    view = scene.view()
    assert [(row.key, row.closed, row.calls) for row in view.rows] == [("a", False, 0), ("a#1", True, 4)]


def test_a_plain_worker_that_goes_on_is_one_boot():
    scene = Scene("a")
    for second in range(5):
        scene.now += 1
        scene.hear("a", plain(live=second, uptime_seconds=60.0 + second, total_sessions_started=second), via="poll")
    assert [row.key for row in scene.view().rows] == ["a"]


def test_an_empty_boot_id_is_none():
    """Two workers that send one are not one process."""
    scene = Scene("a", "b")
    for key in "ab":
        scene.hear(key, report("", live=2))
    assert [row.boot_id for row in scene.view().rows] == [None, None]
    assert [line.calls for line in scene.view().versions] == [4]


# -- restarts ----------------------------------------------------------------------------------------------------


def test_a_new_boot_at_the_address_closes_the_old_row_with_its_verdict():
    scene = Scene("a")
    scene.hear("a", report("one", state="draining", live=6))
    scene.now += 2
    scene.hear("a", report("two", version="v2"))
    present, closed = scene.view().rows
    assert (present.key, present.boot_id, present.state, present.version) == ("a", "two", S.SERVING, "v2")
    assert (closed.key, closed.boot_id, closed.closed, closed.calls) == ("a#one", "one", True, 6)
    assert (closed.state, closed.actionable, closed.target, closed.silent_since) == (
        S.EXITED,
        False,
        "a",
        scene.now - 2,
    )


def test_a_boot_that_ended_proven_leaves_no_row_behind():
    scene = Scene("a")
    scene.hear("a", report("one", state="drained"))
    scene.hear("a", report("one", state="exited", exit_code=0), bye=True)
    scene.hear("a", report("two"))
    assert [row.key for row in scene.view().rows] == ["a"]


def test_a_crash_loop_without_calls_shows_one_closed_row_not_many():
    scene = Scene("a")
    for number in range(30):
        scene.now += 1
        scene.hear("a", report(f"boot-{number}"))
    assert [row.key for row in scene.view().rows] == ["a", "a#boot-28"]


def test_a_closed_boot_comes_into_sight_when_its_calls_are_found_to_have_been_dropped():
    scene = Scene("a", "b")
    for boot in ("one", "two", "three"):
        scene.hear("a", report(boot))
    assert [row.key for row in scene.view().rows] == ["a", "a#two", "b"]
    scene.hear("b", report("other", died=("one", 2)))
    assert [row.key for row in scene.view().rows] == ["a", "a#one", "a#two", "b"]


def test_closed_rows_that_may_have_dropped_calls_all_stay_in_sight():
    scene = Scene("a")
    for number in range(4):
        scene.hear("a", report(f"boot-{number}", live=2))
    assert [row.key for row in scene.view().rows] == ["a", "a#boot-0", "a#boot-1", "a#boot-2"]
