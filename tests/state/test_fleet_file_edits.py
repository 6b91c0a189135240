"""Targets that come, go, move and change their names while the dashboard runs."""

from __future__ import annotations

from openrtc_tui.state.observation import Target
from openrtc_tui.state.view import Verdict, VerdictWord, WorkerState
from tests.state.scenes import Scene, plain, report


def keys(scene: Scene) -> list[str]:
    return [row.key for row in scene.view().rows]


def test_targets_are_shown_before_they_are_heard_and_new_ones_at_once():
    scene = Scene("a")
    assert keys(scene) == ["a"]
    scene.targets("a", "b")
    assert keys(scene) == ["a", "b"]


def test_what_was_known_of_a_target_is_kept_when_others_change():
    scene = Scene("a")
    scene.hear("a", report(live=3))
    scene.targets("a", "b")
    assert scene.row("a").calls == 3


def test_region_and_address_of_a_target_may_be_edited():
    scene = Scene("a")
    scene.hear("a", report(live=3))
    scene.targets(Target("a", "http://elsewhere.test:9464", region="us"))
    row = scene.row("a")
    assert (row.url, row.region, row.calls) == ("http://elsewhere.test:9464", "us", 3)


def test_a_worker_without_calls_leaves_with_its_line_in_the_file():
    scene = Scene("a", "b")
    scene.hear("a", report())
    scene.targets("b")
    assert keys(scene) == ["b"]
    assert scene.view().targets == 1


def test_a_worker_that_holds_calls_stays_in_sight_as_an_orphan_until_they_have_ended():
    scene = Scene("a", "b")
    scene.hear("a", report(live=2))
    scene.targets("b")
    row = scene.row("a")
    assert (row.orphan, row.calls, row.state) == (True, 2, WorkerState.SERVING)
    assert scene.lines() == ["a left the fleet file | 2 calls"]
    assert scene.view().targets == 1
    scene.hear("a", report(state="drained", counts={"completed": 2}))
    assert keys(scene) == ["b"]


def test_orphans_are_told_to_whoever_watches_and_are_watched_on():
    scene = Scene("a", "b")
    scene.hear("a", report("1", live=2))
    scene.hear("b", report("2"))
    named = (Target("c", "http://c.test:9464"),)
    orphans = scene.fleet.orphans(named)
    assert orphans == (Target("a", "http://a.test:9464", listed=False),)
    scene.targets(*named, *orphans)
    assert [(row.key, row.orphan) for row in scene.view().rows] == [("a", True), ("c", False)]
    scene.targets(*named, *scene.fleet.orphans(named))
    assert scene.lines() == ["a left the fleet file | 2 calls"], "said once"
    scene.hear("a", report("1", counts={"completed": 2}))
    assert keys(scene) == ["c"]
    assert scene.fleet.orphans(named) == ()


def test_a_target_that_is_only_watched_on_and_unknown_is_not_shown():
    scene = Scene()
    scene.targets(Target("a", "http://a.test", listed=False))
    assert keys(scene) == []


def test_an_orphan_that_the_file_names_again_is_none():
    scene = Scene("a")
    scene.hear("a", report(live=2))
    scene.targets()
    assert scene.row("a").orphan
    scene.targets("a")
    assert not scene.row("a").orphan
    assert scene.view().targets == 1


def test_a_renamed_target_keeps_what_is_known_of_it():
    scene = Scene("10.0.0.1:9464")
    scene.hear("10.0.0.1:9464", report("one", live=1))
    scene.hear("10.0.0.1:9464", report("two", live=2))
    scene.targets(Target("voice-a", "http://10.0.0.1:9464.test:9464"))
    assert [(row.key, row.calls) for row in scene.view().rows] == [("voice-a", 2), ("voice-a#one", 1)]
    scene.hear("voice-a", report("two", live=3))
    assert scene.row("voice-a").calls == 3


def test_two_targets_may_exchange_their_names():
    scene = Scene()
    scene.targets(Target("a", "http://one"), Target("b", "http://two"))
    scene.hear("a", report("1", live=1))
    scene.hear("b", report("2", live=2))
    scene.targets(Target("a", "http://two"), Target("b", "http://one"))
    scene.hear("a", report("2", live=2))
    scene.hear("b", report("1", live=1))
    assert {row.key: row.calls for row in scene.view().rows if not row.closed} == {"a": 2, "b": 1}


def test_a_boot_that_moved_to_another_address_and_name_is_the_same_boot():
    scene = Scene("a")
    scene.hear("a", report("one", live=2, counts={"cut": 1}))
    scene.targets("b")
    assert scene.row("a").orphan
    scene.hear("b", report("one", live=2, counts={"cut": 1}))
    assert keys(scene) == ["b"]
    assert scene.view().verdict == Verdict(VerdictWord.OPEN, 1, 1)


def test_a_worker_taken_out_takes_its_earlier_boots_along_and_their_numbers_stay():
    scene = Scene("a", rollout=("v1", "v2"))
    scene.hear("a", report("one", live=4))
    scene.hear("a", report("two"))
    scene.targets()
    assert scene.view().rows == ()
    assert scene.view().verdict == Verdict(VerdictWord.UNPROVEN, 0, 4, exact=False)


def test_a_slower_beat_gives_a_target_more_time_for_its_first_word():
    scene = Scene("a")
    scene.wait(11)
    assert scene.row("a").state is WorkerState.LOST
    scene.fleet.configure(beat=30.0)
    scene.fail("a", "refused")
    assert scene.row("a").state is WorkerState.STARTING


def test_a_worker_taken_out_and_put_back_is_judged_by_what_it_says_then():
    scene = Scene("a", rollout=("v1", "v2"))
    scene.hear("a", report())
    scene.targets()
    assert scene.view().verdict.word is VerdictWord.UNPROVEN
    scene.targets("a")
    scene.hear("a", report(state="drained"))
    assert scene.view().verdict == Verdict(VerdictWord.PROVEN)


def test_an_answer_that_was_under_way_when_its_target_left_is_ignored():
    scene = Scene("a")
    scene.targets()
    scene.hear("a", report(live=2))
    scene.beat("a")
    scene.fail("a", "refused")
    assert scene.view().rows == ()


def test_a_heartbeat_before_the_first_report_says_nothing():
    scene = Scene("a")
    scene.beat("a")
    assert (scene.row("a").state, scene.row("a").age_seconds) == (WorkerState.STARTING, None)


def test_targets_that_come_and_go_for_ever_do_not_fill_the_memory():
    scene = Scene()
    for number in range(600):
        scene.targets(f"w-{number}")
        scene.hear(f"w-{number}", report(f"boot-{number}", counts={"cut": 1}))
    scene.targets()
    assert scene.view().verdict.confirmed == 600
    assert len(scene.fleet.boots) <= 300
    assert "600 calls of earlier boots" not in scene.view().verdict_reason  # those remembered are told one by one


def test_a_worker_that_changes_its_version_with_every_report_does_not_fill_the_memory():
    scene = Scene("a", rollout=("v1", "v2"))
    scene.hear("a", report("first", version="v1", counts={"cut": 1}))
    for number in range(500):
        scene.hear("a", plain(f"x{number}", live=1), via="poll")
    assert len(scene.fleet.remains.by_version) <= 65
    assert scene.view().verdict.confirmed == 1
