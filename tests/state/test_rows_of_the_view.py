"""What a row tells, in which order rows come, and that it is made anew only when it has to be."""

from __future__ import annotations

import pytest

from openrtc_tui.state.observation import Target
from openrtc_tui.state.view import WorkerState
from openrtc_worker.contract.snapshot import DrainInfo
from tests.state.scenes import START, Scene, plain, report

# -- order -------------------------------------------------------------------------------------------------------


def test_the_version_being_left_comes_first_and_names_are_ordered_as_people_count():
    scene = Scene("w-10", "w-2", "w-1", "x-1", "new", rollout=("v1", "v2"))
    for key, version in [("w-10", "v1"), ("w-2", "v2"), ("w-1", "v2"), ("x-1", "v1")]:
        scene.hear(key, report(key, version=version))
    assert [row.key for row in scene.view().rows] == ["w-10", "x-1", "new", "w-1", "w-2"]


def test_rows_do_not_move_when_states_and_calls_change():
    scene = Scene("a", "b", "c")
    for key in "abc":
        scene.hear(key, report(key, live=3))
    before = [row.key for row in scene.view().rows]
    scene.hear("c", report("c", live=30))
    scene.die("a")
    scene.hear("b", report("b", state="draining", live=3))
    assert [row.key for row in scene.view().rows] == before


def test_without_a_rollout_names_alone_decide():
    scene = Scene("b", "a", "c")
    scene.hear("b", report("1", version="v9"))
    assert [row.key for row in scene.view().rows] == ["a", "b", "c"]


def test_a_row_is_found_by_its_key():
    scene = Scene("a")
    assert scene.view().row("a") is not None
    assert scene.view().row("b") is None


# -- what it tells -----------------------------------------------------------------------------------------------


def test_all_that_a_worker_tells_is_in_its_row():
    scene = Scene(Target("a", "http://10.0.0.1:9464", region="eu-west"))
    snapshot = report(
        "boot", version="v1.2.3", live=4, worker_id="w", max_sessions=20, load=0.2, oldest_session_seconds=30.0,
        sessions_by_agent={"booking": 4}, sessions_by_tenant={"acme": 3, "globex": 1},
    )  # fmt: skip
    scene.hear("a", snapshot)
    row = scene.row("a")
    assert (row.target, row.url, row.region) == ("a", "http://10.0.0.1:9464", "eu-west")
    assert (row.version, row.worker_id, row.boot_id, row.via) == ("v1.2.3", "w", "boot", "events")
    assert (row.calls, row.max_sessions, row.load, row.accepting) == (4, 20, 0.2, True)
    assert (row.by_agent, row.by_tenant) == ({"booking": 4}, {"acme": 3, "globex": 1})
    assert (row.snapshot, row.raw, row.actionable, row.closed, row.orphan) == (snapshot, b"{}", True, False, False)


def test_what_a_worker_does_not_tell_is_none_and_not_zero():
    scene = Scene("a")
    scene.hear("a", plain(None), via="poll")
    row = scene.row("a")
    assert (row.max_sessions, row.load, row.oldest_seconds, row.accepting, row.deadline) == (None,) * 5
    assert (row.version, row.worker_id, row.via) == (None, None, "poll")


def test_load_follows_from_calls_and_capacity_where_it_is_not_told():
    scene = Scene("a")
    scene.hear("a", plain(live=5, max_sessions=20), via="poll")
    assert scene.row("a").load == 0.25


@pytest.mark.parametrize("version", ["v1", "1.0", "2024-01-01_rc+1", None, "", "-v1", "v 1", "v1\u2028", "a" * 200])
def test_a_version_that_is_none_is_shown_but_never_acted_on(version):
    scene = Scene("a")
    scene.hear("a", report(version=version))
    row = scene.row("a")
    assert row.version == version
    assert row.actionable is (version in ("v1", "1.0", "2024-01-01_rc+1"))


def test_the_oldest_call_grows_between_reports_and_is_corrected_by_them():
    scene = Scene("a")
    scene.hear("a", report(live=1, oldest_session_seconds=30.0))
    scene.wait(10, hearing="a")
    assert scene.row("a").oldest_seconds == 40.0
    scene.hear("a", report(live=1, oldest_session_seconds=5.0))
    assert scene.row("a").oldest_seconds == 5.0
    scene.hear("a", report(oldest_session_seconds=5.0))
    assert scene.row("a").oldest_seconds is None


@pytest.mark.parametrize("age", [float("nan"), float("inf"), -3.0, 1e300])
def test_an_absurd_age_is_none(age):
    scene = Scene("a")
    scene.hear("a", report(live=1, oldest_session_seconds=age))
    assert scene.row("a").oldest_seconds is None


def test_age_is_the_time_since_it_was_heard_in_steps_of_a_second():
    scene = Scene("a")
    scene.hear("a", report())
    assert scene.row("a").age_seconds == 0
    scene.now += 0.4
    assert scene.row("a").age_seconds == 0
    scene.now += 0.6
    assert scene.row("a").age_seconds == 1.0
    scene.now += 2.5
    assert scene.row("a").age_seconds == 3.5


def test_a_deadline_is_shown_on_our_clock_whatever_the_worker_s_says():
    scene = Scene("a")
    skew = 3 * 3600.0
    drain = DrainInfo(source="http", actor="alice", started_at=START + skew, deadline=START + skew + 600)
    scene.now += 0.2  # the report was under way for a while
    scene.hear("a", report(state="draining", live=1, drain=drain, timestamp=START + skew))
    row = scene.row("a")
    assert row.deadline == pytest.approx(START + 600, abs=0.5)
    assert row.drain_started_at == pytest.approx(START, abs=0.5)


def test_the_quickest_report_sets_the_worker_s_clock_and_a_late_one_does_not_move_the_deadline():
    scene = Scene("a")
    drain = DrainInfo(source="http", actor="alice", started_at=START, deadline=START + 600)
    for delay in (0.9, 0.1, 1.5):
        scene.now = START + 10 + delay
        scene.hear("a", report(state="draining", live=1, drain=drain, timestamp=START + 10))
    assert scene.row("a").deadline == pytest.approx(START + 600.1)


def test_a_worker_whose_clock_is_set_while_it_runs_is_followed():
    scene = Scene("a")
    scene.hear("a", report(state="draining", live=1, timestamp=START, drain=DrainInfo(deadline=START + 600)))
    scene.now += 10
    back = START + 10 - 3600
    scene.hear("a", report(state="draining", live=1, timestamp=back, drain=DrainInfo(deadline=back + 590)))
    assert scene.row("a").deadline == pytest.approx(START + 600)


# -- made anew only when it has to be ----------------------------------------------------------------------------


def test_a_row_is_the_same_object_until_it_changes_or_ages():
    scene = Scene("a", "b")
    for key in "ab":
        scene.hear(key, report(key, live=1))
    first, other = scene.view().rows
    scene.now += 0.5
    assert scene.view().rows[0] is first
    scene.hear("b", report("b", live=2))
    rows = scene.view().rows
    assert rows[0] is first
    assert rows[1] is not other
    scene.now += 1
    assert scene.view().rows[0] is not first


def test_a_closed_row_stays_the_same_object():
    scene = Scene("a")
    scene.hear("a", report("one", live=2))
    scene.hear("a", report("two"))
    closed = scene.row("a#one")
    scene.wait(60, hearing="a")
    assert scene.row("a#one") is closed


def test_rows_of_a_large_fleet_age_in_larger_steps():
    keys = [f"w-{number}" for number in range(1000)]
    scene = Scene(*keys)
    for key in keys:
        scene.hear(key, report(key))
    first = scene.view().rows
    scene.now += 1.5
    assert all(after is before for after, before in zip(scene.view().rows, first, strict=True))
    scene.now += 0.5
    assert scene.view().rows[0] is not first[0]


def test_a_state_that_changes_by_silence_is_not_kept_back_by_the_steps():
    keys = [f"w-{number}" for number in range(1000)]
    scene = Scene(*keys)
    for key in keys:
        scene.hear(key, report(key))
    scene.now += 5.9
    scene.view()
    scene.now += 0.1
    assert {row.state for row in scene.view().rows} == {WorkerState.STALE}


# -- the fleet's own facts ---------------------------------------------------------------------------------------


def test_how_many_targets_are_heard_within_their_time():
    scene = Scene("a", "b", "c")
    assert (scene.view().heard, scene.view().targets) == (0, 3)
    scene.hear("a", report("1"))
    scene.hear("b", report("2", state="exited"), bye=True)
    assert (scene.view().heard, scene.view().targets) == (2, 3)
    scene.now += 7
    assert (scene.view().heard, scene.view().targets) == (1, 3)


def test_an_empty_fleet_is_a_view_too():
    view = Scene().view()
    assert (view.fleet, view.at, view.rows, view.versions, view.targets) == ("voice", START, (), (), 0)


@pytest.mark.parametrize("now", [START - 3600, float("nan"), float("-inf"), float("inf")])
def test_a_clock_that_is_set_back_does_not_make_silence_younger(now):
    scene = Scene("a")
    scene.hear("a", report(live=2))
    scene.wait(4)
    scene.now = now
    assert scene.row("a").age_seconds == 4.0
    if now == START - 3600:
        scene.wait(6)
        assert scene.row("a").state is WorkerState.LOST


def test_an_observation_that_waited_behind_another_moves_no_clock():
    scene = Scene("a")
    for _ in range(100):
        scene.now += 1.0
        scene.hear("a", report())
        scene.now -= 0.5
        scene.beat("a")
        scene.now += 0.5
    assert scene.view().at == scene.now


def test_an_edited_beat_counts_at_once():
    scene = Scene("a", beat=30.0)
    scene.hear("a", report(), via="poll")
    scene.now += 20
    assert scene.row("a").state is WorkerState.SERVING
    scene.fleet.configure(beat=1.0)
    assert scene.row("a").state is WorkerState.LOST
