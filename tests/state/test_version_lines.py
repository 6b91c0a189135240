"""The roll-up: one line per version, and its curve."""

from __future__ import annotations

from openrtc_tui.state.trend import KEPT, STEP, Trend
from openrtc_tui.state.view import VersionLine, WorkerState
from openrtc_worker.contract.snapshot import DrainInfo
from tests.state.scenes import START, Scene, plain, report

S = WorkerState


def line(scene: Scene, version: str | None) -> VersionLine:
    return next(line for line in scene.view().versions if line.version == version)


def test_lines_come_with_the_rollout_first_and_the_untagged_last():
    scene = Scene(*"abcde", rollout=("v10", "v9"))
    for key, version in zip("abcde", (None, "v2", "v9", "v10", "v11"), strict=True):
        scene.hear(key, report(key, version=version))
    assert [(line.version, line.role) for line in scene.view().versions] == [
        ("v10", "leaving"),
        ("v9", "taking"),
        ("v2", None),
        ("v11", None),
        (None, None),
    ]


def test_calls_and_states_add_up():
    scene = Scene(*"abcde")
    for key, state, live in [("a", "draining", 9), ("b", "draining", 4), ("c", "serving", 1), ("d", "drained", 0)]:
        scene.hear(key, report(key, state=state, live=live))
    scene.hear("e", report("e", state="draining", live=6))
    scene.die("e")
    shown = line(scene, "v1")
    assert (shown.calls, shown.workers) == (20, 5)
    assert shown.by_state == ((S.SERVING, 1), (S.DRAINING, 2), (S.DRAINED, 1), (S.LOST, 1))


def test_calls_of_a_boot_that_is_over_are_not_live():
    scene = Scene("a")
    scene.hear("a", report(state="exited", live=3), bye=True)
    assert (line(scene, "v1").calls, line(scene, "v1").workers) == (0, 1)
    scene.hear("a", report("two", version="v2", live=1))
    assert [(shown.version, shown.calls) for shown in scene.view().versions] == [("v2", 1)]


def test_targets_never_heard_have_no_line():
    assert Scene("a", "b").view().versions == ()


def test_room_is_what_accepting_workers_have_left():
    scene = Scene(*"abcd")
    scene.hear("a", report("1", live=3, max_sessions=20))
    scene.hear("b", report("2", live=25, max_sessions=20))
    scene.hear("c", report("3", state="cordoned", live=1, max_sessions=20))
    assert line(scene, "v1").room == 17
    scene.hear("d", report("4", max_sessions=5, accepting=False))
    assert line(scene, "v1").room == 17


def test_room_is_unknown_as_soon_as_one_worker_does_not_tell():
    scene = Scene("a", "b")
    scene.hear("a", report("1", max_sessions=20))
    scene.hear("b", plain(max_sessions=20), via="poll")
    assert line(scene, "v1").room is None
    scene.hear("b", report("2"))
    assert line(scene, "v1").room is None


def test_workers_that_show_one_identity_are_no_capacity():
    scene = Scene("a", "b", "c")
    for key in "ab":
        scene.hear(key, report(key, worker_id="w", max_sessions=20))
    scene.hear("c", report("c", max_sessions=5))
    assert line(scene, "v1").room == 5
    scene.targets("a", "c")
    assert line(scene, "v1").room == 25


def test_the_deadline_is_the_latest_of_those_that_still_have_calls():
    scene = Scene("a", "b", "c")
    for key, live, deadline in [("a", 1, 100.0), ("b", 2, 300.0), ("c", 0, 900.0)]:
        drain = DrainInfo(source="http", started_at=START, deadline=START + deadline)
        scene.hear(key, report(key, state="draining", live=live, drain=drain))
    assert line(scene, "v1").deadline == START + 300
    scene.hear("b", report("b", state="drained", counts={"completed": 2}))
    assert line(scene, "v1").deadline == START + 100
    scene.die("a")
    assert line(scene, "v1").deadline is None


def test_when_a_call_was_last_seen_to_start():
    scene = Scene("a", "b")
    scene.hear("a", report("1", live=3))
    assert line(scene, "v1").last_started_at is None
    scene.now += 5
    scene.hear("a", report("1", live=4))
    scene.now += 5
    scene.hear("b", report("2", live=4))
    scene.hear("a", report("1", live=3, counts={"completed": 1}))
    assert line(scene, "v1").last_started_at == START + 5


def test_the_curve_of_a_version_is_the_sum_of_its_workers():
    scene = Scene("a", "b")
    scene.hear("a", report("1", live=9))
    scene.hear("b", report("2", live=1))
    scene.view()
    scene.wait(STEP, hearing="ab")
    scene.hear("a", report("1", live=4, counts={"completed": 5}))
    assert line(scene, "v1").trend == (10, 5)


# -- curves ------------------------------------------------------------------------------------------------------


def test_a_curve_has_the_last_value_of_each_even_step():
    trend = Trend()
    for at, value in [(0, 5), (3, 7), (STEP + 1, 4), (STEP + 9, 3)]:
        trend.record(value, at)
    assert trend.values(STEP + 9) == (7, 3)


def test_a_step_in_which_nothing_was_said_repeats_the_one_before():
    trend = Trend()
    trend.record(5, 0)
    assert trend.values(3.5 * STEP) == (5, 5, 5, 5)
    trend.record(2, 5.5 * STEP)
    assert trend.values(5.5 * STEP) == (5, 5, 5, 5, 5, 2)


def test_a_curve_is_bounded_even_over_a_long_gap():
    trend = Trend()
    trend.record(5, 0)
    trend.record(1, 1e9)
    assert trend.values(1e9) == (5,) * (KEPT - 1) + (1,)


def test_a_curve_is_the_same_object_until_it_changes():
    trend = Trend()
    trend.record(5, 0)
    first = trend.values(0)
    trend.record(5, 1)
    assert trend.values(2) is first
    assert trend.values(STEP) is not first


def test_a_worker_s_curve_stands_still_when_it_is_lost():
    scene = Scene("a")
    scene.hear("a", report(live=6))
    scene.wait(2 * STEP, hearing="a")
    scene.die("a")
    assert scene.row("a").trend == (6, 6, 6)
    scene.wait(60)
    assert scene.row("a").trend == (6, 6, 6)
