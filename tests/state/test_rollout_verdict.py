"""The rollout's verdict: which boots it is about, what they add up to, and the reason beside it."""

from __future__ import annotations

import pytest

from openrtc_tui.state.observation import Target
from openrtc_tui.state.rollout import Turn
from openrtc_tui.state.verdict import combine, total
from openrtc_tui.state.view import Verdict, VerdictWord
from tests.state.scenes import START, Scene, plain, report

OPEN, PROVEN = VerdictWord.OPEN, VerdictWord.PROVEN
UNPROVEN, VIOLATED = VerdictWord.UNPROVEN, VerdictWord.VIOLATED


def rollout(*keys: str) -> Scene:
    return Scene(*keys, rollout=("v1", "v2"))


def old(boot: str, state: str = "draining", **fields):
    return report(boot, version="v1", state=state, **fields)


def new(boot: str, state: str = "serving", **fields):
    return report(boot, version="v2", state=state, **fields)


# -- which boots -------------------------------------------------------------------------------------------------


def test_it_is_open_while_one_boot_of_the_version_being_left_is_open():
    scene = rollout("a", "b", "c")
    scene.hear("a", old("1", "drained"))
    scene.hear("b", old("2", "draining", live=1))
    scene.hear("c", new("3", live=4))
    assert scene.view().verdict == Verdict(OPEN)
    scene.hear("b", old("2", "drained", counts={"completed": 1}))
    view = scene.view()
    assert view.verdict == Verdict(PROVEN)
    assert view.rollout is not None
    assert view.rollout.verdict == view.verdict


def test_live_calls_of_the_new_version_hold_nothing_open():
    scene = rollout("a", "b")
    scene.hear("a", old("1", "drained"))
    scene.hear("b", new("2", live=40))
    assert scene.view().verdict == Verdict(PROVEN)


def test_what_the_new_version_dropped_adds_to_the_range():
    scene = rollout("a", "b", "c")
    scene.hear("a", old("1", "drained"))
    scene.hear("b", new("2", live=3, counts={"crashed": 1}))
    assert scene.view().verdict == Verdict(VIOLATED, 1, 1)
    scene.hear("c", new("3", live=5))
    scene.die("c")
    assert scene.view().verdict == Verdict(VIOLATED, 1, 6, exact=False)


def test_what_the_new_version_may_have_dropped_leaves_it_unproven():
    scene = rollout("a", "b")
    scene.hear("a", old("1", "drained"))
    scene.hear("b", new("2", live=3, counts={"offers_lost": 2}))
    assert scene.view().verdict == Verdict(UNPROVEN, 0, 2)


def test_a_version_that_has_no_part_in_it_does_not_count():
    scene = rollout("a", "b", "c")
    scene.hear("a", old("1", "drained"))
    scene.hear("b", new("2"))
    scene.hear("c", report("3", version="v3", live=9, counts={"cut": 4}))
    scene.die("c")
    assert scene.view().verdict == Verdict(PROVEN)


def test_untagged_workers_are_never_part_of_a_rollout():
    scene = rollout("a", "b")
    scene.hear("a", old("1", "drained"))
    scene.hear("b", report("2", version=None, live=9, counts={"cut": 4}))
    assert scene.view().verdict == Verdict(PROVEN)


def test_nothing_seen_of_the_version_being_left_proves_nothing():
    scene = rollout("a", "b")
    assert scene.view().verdict == Verdict(OPEN)
    scene.hear("b", new("2", live=1))
    assert scene.view().verdict == Verdict(OPEN)


def test_boots_that_were_over_before_the_rollout_began_do_not_count():
    scene = rollout("a", "b")
    scene.hear("a", old("1", live=6))
    scene.die("a")
    assert scene.view().verdict == Verdict(UNPROVEN, 0, 6), "no boot of v2 was seen: nobody knows when it began"
    scene.now += 60
    scene.hear("b", new("2", uptime_seconds=5.0))
    view = scene.view()
    assert view.verdict == Verdict(OPEN)
    assert view.rollout is not None
    assert view.rollout.started_at == scene.now - 5


def test_boots_lost_after_the_rollout_began_do_count():
    scene = rollout("a", "b")
    scene.hear("a", old("1", live=6))
    scene.now += 4
    scene.die("a")
    scene.now += 56
    scene.hear("b", new("2", uptime_seconds=61.0))
    assert scene.view().verdict == Verdict(UNPROVEN, 0, 6)


def test_a_boot_that_is_heard_counts_however_long_ago_its_last_report_was():
    """A quiet worker reports only when something changes; its stream is alive all the same."""
    scene = rollout("a", "b")
    scene.hear("a", old("1", "serving", live=6))
    scene.now += 4
    scene.hear("b", new("2", uptime_seconds=1.0))
    assert scene.view().verdict == Verdict(OPEN)
    scene.die("a")
    assert scene.view().verdict.word is not PROVEN


def test_a_boot_polled_slowly_counts_although_its_last_report_is_older_than_the_rollout():
    scene = Scene("a", "b", beat=30.0, rollout=("v1", "v2"))
    scene.hear("a", old("1", "drained", counts={"offers_lost": 1}), via="poll")
    scene.now += 25
    scene.hear("b", new("2", uptime_seconds=1.0), via="poll")
    assert scene.view().verdict == Verdict(UNPROVEN, 0, 1)


def test_earlier_boots_at_the_same_addresses_count():
    scene = rollout("a")
    scene.hear("a", old("1", live=6))
    scene.hear("a", new("2"))
    assert scene.view().verdict == Verdict(UNPROVEN, 0, 6)


def test_an_address_upgraded_in_place_is_proven_by_the_boot_that_drained():
    scene = rollout("a")
    scene.hear("a", old("1", "drained"))
    scene.hear("a", old("1", "exited", exit_code=0), bye=True)
    scene.hear("a", new("2", live=3))
    assert scene.view().verdict == Verdict(PROVEN)


def test_one_process_behind_two_addresses_counts_once():
    scene = rollout("a", "b")
    for key in ("a", "b"):
        scene.hear(key, old("1", live=6, counts={"cut": 2}))
    view = scene.view()
    assert view.verdict == Verdict(VIOLATED, 2, 2)
    assert [line.calls for line in view.versions] == [6, 0]
    scene.die("a")
    scene.hear("b", old("1", live=5, counts={"cut": 2, "completed": 1}))
    assert scene.view().verdict == Verdict(VIOLATED, 2, 2), "heard at one address, it is not lost"


def test_it_follows_a_ledger_that_changes_while_the_state_stays():
    scene = rollout("a")
    scene.hear("a", old("1", live=3))
    assert scene.view().verdict == Verdict(OPEN)
    scene.hear("a", old("1", live=2, counts={"cut": 1}))
    assert (scene.view().verdict, scene.view().verdict_reason) == (Verdict(VIOLATED, 1, 1), "1 call cut on a")
    scene.hear("a", old("1", live=1, counts={"cut": 1, "crashed": 1}))
    assert (scene.view().verdict, scene.view().verdict_reason) == (
        Verdict(VIOLATED, 2, 2),
        "1 call cut, 1 crashed on a",
    )


def test_one_process_behind_two_addresses_counts_where_it_was_heard_last():
    scene = rollout("a", "b")
    for key in "abab":
        scene.hear(key, old("1", live=6))
        assert sum(line.calls for line in scene.view().versions) == 6


@pytest.mark.parametrize("missing", [9, 300])
def test_boots_too_many_to_be_remembered_one_by_one_keep_their_numbers(missing):
    scene = rollout("a")
    for number in range(missing):
        scene.hear("a", old(f"boot-{number}", live=1, counts={"cut": 1}))
    scene.hear("a", old("last", "drained"))
    view = scene.view()
    assert view.verdict == Verdict(VIOLATED, missing, 2 * missing)
    assert len(view.rows) <= 9


def test_a_worker_taken_out_of_the_file_without_a_proof_is_not_forgotten():
    scene = rollout("a", "b")
    scene.hear("a", old("1", "serving"))
    scene.hear("b", old("2", "drained"))
    scene.targets("b")
    view = scene.view()
    assert [row.key for row in view.rows] == ["b"]
    assert view.verdict == Verdict(UNPROVEN, 0, 0, exact=False)
    assert view.verdict_reason == "a is no longer watched"


# -- without a rollout -------------------------------------------------------------------------------------------


def test_without_a_rollout_it_is_the_number_so_far_of_all_boots():
    scene = Scene("a", "b")
    scene.hear("a", report("1", live=2, counts={"cut": 1}))
    scene.hear("b", report("2", live=3))
    assert scene.view().rollout is None
    assert scene.view().verdict == Verdict(OPEN, 1, 1)
    scene.die("b")
    assert scene.view().verdict == Verdict(OPEN, 1, 4, exact=False)


# -- the reason --------------------------------------------------------------------------------------------------


def test_the_reason_names_a_lost_worker_its_calls_and_since_when():
    scene = rollout("voice-a-4", "b")
    scene.hear("voice-a-4", old("1", live=6))
    scene.hear("b", old("2", live=2))
    scene.now += 3
    scene.die("voice-a-4")
    view = scene.view()
    assert view.verdict == Verdict(UNPROVEN, 0, 6)
    assert view.verdict_reason == "voice-a-4 unreachable with 6 calls since 22:13:20"


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (old("1", counts={"cut": 2}), "2 calls cut on a"),
        (old("1", counts={"crashed": 1}), "1 call crashed on a"),
        (old("1", counts={"cut": 2, "lost": 1}), "2 calls cut, 1 lost on a"),
        (old("1", counts={"offers_lost": 1}), "1 offer lost on a"),
        (old("1", counts={"launch_failed": 2}), "2 calls failed to start on a"),
        (old("1", counts={"offers_lost": 2, "launch_failed": 1}), "2 offers lost, 1 failed to start on a"),
        (old("1", "drained", counts={"started": 9}), "a: ledger does not balance: 9 started, 0 told"),
        (plain(draining=True, live=1), "a keeps no full ledger"),
        (old("1", live=4), ""),
        (old("1", "drained"), ""),
    ],
)
def test_the_reason_says_what_the_ledger_says(snapshot, reason):
    scene = rollout("a")
    scene.hear("a", snapshot)
    assert scene.view().verdict_reason == reason


def test_the_reason_tells_how_a_boot_went_away():
    scene = rollout("a")
    scene.hear("a", old("1", live=6))
    scene.now += 2
    scene.hear("a", new("2"))
    assert scene.view().verdict_reason == "a restarted with 6 calls at 22:13:22"
    scene.hear("a", new("2", died=("1", 6)))
    assert scene.view().verdict_reason == "6 calls died with it on a"


def test_the_reason_tells_a_restart_without_calls_and_an_exit_with_calls():
    scene = rollout("a", "b")
    scene.hear("a", old("1"))
    scene.hear("a", new("2"))
    scene.hear("b", old("3", "exited", live=2), bye=True)
    assert scene.view().verdict_reason == "b exited with 2 calls live · a restarted before it was drained at 22:13:20"


def test_the_reason_warns_of_a_silent_worker_with_calls():
    scene = rollout("a")
    scene.hear("a", old("1", live=4))
    scene.now += 7
    view = scene.view()
    assert view.verdict == Verdict(OPEN)
    assert view.verdict_reason == "a silent with 4 calls since 22:13:20"


def test_the_heaviest_causes_come_first_and_the_others_are_counted():
    scene = rollout("a", "b", "c", "d")
    for key, live in [("a", 1), ("b", 7), ("c", 3)]:
        scene.hear(key, old(key, live=live))
        scene.die(key)
    scene.hear("d", old("d", counts={"cut": 1}))
    assert scene.view().verdict_reason == "1 call cut on d · b unreachable with 7 calls since 22:13:20 · 2 more"


def test_a_proof_says_of_whom_nothing_is_known():
    scene = rollout("a", "b")
    scene.hear("a", old("1", "drained"))
    scene.now += 11
    view = scene.view()
    assert (view.verdict.word, view.verdict_reason) == (PROVEN, "b was never heard")
    scene.targets("a", "b", "c")
    scene.now += 11
    assert scene.view().verdict_reason == "2 workers were never heard"


def test_nothing_is_proven_before_every_target_was_heard_or_tried():
    """A dashboard that starts late in a rollout must not say PROVEN while the worker with the calls still answers."""
    scene = rollout("a", "b")
    scene.hear("a", old("1", "drained"))
    assert scene.view().verdict == Verdict(OPEN)
    scene.fail("b", "refused")
    assert scene.view().verdict == Verdict(PROVEN)
    scene.hear("b", old("2", live=3))
    assert scene.view().verdict == Verdict(OPEN)


def test_a_target_that_never_answers_holds_a_proof_back_for_ten_seconds_only():
    scene = rollout("a", "b")
    scene.hear("a", old("1", "drained"))
    scene.now += 9.9
    assert scene.view().verdict == Verdict(OPEN)
    scene.now += 0.1
    assert scene.view().verdict == Verdict(PROVEN)


def test_nothing_is_proven_while_a_boot_of_the_new_version_is_out_of_contact():
    """It may have dropped its calls a moment ago: a PROVEN that is taken back would have been a lie."""
    scene = rollout("a", "b")
    scene.hear("a", old("1", "drained"))
    scene.hear("b", new("2", live=3))
    assert scene.view().verdict == Verdict(PROVEN)
    scene.fail("b", "broken")
    assert scene.view().verdict == Verdict(OPEN)
    scene.hear("b", new("2", live=3))
    assert scene.view().verdict == Verdict(PROVEN)
    scene.fail("b", "broken")
    scene.beat("b")
    assert scene.view().verdict == Verdict(PROVEN)
    scene.wait(6)
    assert scene.view().verdict == Verdict(OPEN)
    assert scene.view().verdict_reason == "b silent with 3 calls since 22:13:20"
    scene.wait(6)
    assert scene.view().verdict == Verdict(UNPROVEN, 0, 3, exact=False)


def test_a_dashboard_opened_in_mid_rollout_proves_nothing_of_whom_it_never_heard():
    """The worker that does not answer may have been killed with calls before this dashboard was opened."""
    scene = rollout("a", "b", "gone")
    scene.hear("a", old("1", "drained", timestamp=START, uptime_seconds=600))
    scene.hear("b", new("2", live=3, timestamp=START, uptime_seconds=60))
    assert scene.view().verdict_reason == "", "nobody has been tried yet"
    scene.fail("gone", "refused")
    assert scene.view().verdict == Verdict(OPEN)
    assert scene.view().verdict_reason == "gone was never heard", "said at once, not when it is given up"
    scene.wait(11, hearing=["a", "b"])
    assert scene.view().verdict == Verdict(UNPROVEN, exact=False)
    assert scene.view().verdict_reason == "gone was never heard"


def test_an_address_that_was_dead_before_the_rollout_began_holds_no_proof_back():
    scene = rollout("a", "b", "dead")
    scene.hear("a", old("1", "serving"))
    scene.fail("dead", "refused")
    scene.wait(60, hearing=["a"])
    scene.hear("b", new("2", timestamp=scene.now, uptime_seconds=5))
    scene.hear("a", old("1", "drained"))
    assert scene.view().verdict == Verdict(PROVEN)


def test_the_reason_follows_a_worker_that_is_renamed_in_the_file():
    scene = rollout("a")
    scene.hear("a", old("1", counts={"cut": 2}))
    assert scene.view().verdict_reason == "2 calls cut on a"
    scene.targets(Target("voice-a", "http://a.test:9464"))
    assert scene.view().verdict_reason == "2 calls cut on voice-a"


# -- the arithmetic ----------------------------------------------------------------------------------------------


def test_combining_nothing_is_open():
    assert combine([]) == Verdict(OPEN)
    assert total([]) == Verdict(OPEN)


@pytest.mark.parametrize(
    ("leaving", "others", "expected"),
    [
        ([(Verdict(PROVEN), True)], [], Verdict(PROVEN)),
        ([(Verdict(PROVEN), True), (Verdict(OPEN), False)], [], Verdict(OPEN)),
        ([(Verdict(PROVEN), True), (Verdict(UNPROVEN, 0, 6), True)], [], Verdict(UNPROVEN, 0, 6)),
        ([(Verdict(UNPROVEN, 0, 6), True), (Verdict(OPEN), False)], [], Verdict(UNPROVEN, 0, 6)),
        ([(Verdict(VIOLATED, 2, 2), False), (Verdict(UNPROVEN, 0, 6), True)], [], Verdict(VIOLATED, 2, 8)),
        ([(Verdict(VIOLATED, 1, 1), True)], [Verdict(OPEN)], Verdict(VIOLATED, 1, 1)),
        ([(Verdict(PROVEN), True)], [Verdict(OPEN)], Verdict(PROVEN)),
        ([(Verdict(PROVEN), True)], [Verdict(OPEN, 0, 1)], Verdict(UNPROVEN, 0, 1)),
        ([(Verdict(PROVEN), True)], [Verdict(OPEN, 0, 0, exact=False)], Verdict(UNPROVEN, 0, 0, exact=False)),
        ([(Verdict(OPEN, 0, 1), False)], [], Verdict(OPEN, 0, 1)),
        ([], [Verdict(VIOLATED, 1, 1)], Verdict(VIOLATED, 1, 1)),
        ([], [Verdict(OPEN)], Verdict(OPEN)),
    ],
)
def test_how_verdicts_combine(leaving, others, expected):
    assert combine(leaving, others) == expected


def test_time_of_day_is_said_in_the_operator_s_own_time():
    from openrtc_tui.state.fleet import local_time

    assert len(local_time(START)) == len("22:13:20")
    assert local_time(1e300) == "an unknown time"


@pytest.mark.parametrize("gap", [0.5, 9.0])
def test_a_boot_killed_to_make_room_for_the_first_of_the_new_version_counts(gap):
    """It is heard last before the rollout begins, and it is what the rollout dropped."""
    scene = rollout("a", "b")
    scene.hear("a", old("1", live=6))
    scene.die("a")
    scene.now += gap
    scene.hear("b", new("2", uptime_seconds=0.0))
    assert scene.view().verdict == Verdict(UNPROVEN, 0, 6)


def test_a_boot_replaced_by_the_first_of_the_new_version_counts_however_long_that_took():
    scene = rollout("a")
    scene.hear("a", old("1", live=6))
    scene.die("a")
    scene.now += 300
    scene.hear("a", new("2", uptime_seconds=0.0))
    assert scene.view().verdict == Verdict(UNPROVEN, 0, 6)


# -- what nobody here saw ------------------------------------------------------------------------------------------


def test_calls_that_died_with_a_boot_never_heard_here_are_confirmed_by_its_successor():
    scene = rollout("a", "b")
    scene.hear("a", old("1", "drained"))
    scene.hear("b", new("2", uptime_seconds=5.0, died=("gone", 2)))
    view = scene.view()
    assert view.verdict == Verdict(VIOLATED, 2, 2)
    assert view.verdict_reason == "2 calls died with an earlier boot of b"


def test_calls_that_died_long_before_the_rollout_are_not_its_own():
    scene = rollout("a", "b", "c")
    scene.hear("a", old("1", "drained"))
    scene.hear("b", old("2", "drained", uptime_seconds=900.0, died=("gone", 2)))
    scene.hear("c", new("3", uptime_seconds=5.0))
    assert scene.view().verdict == Verdict(PROVEN)


def test_a_boot_that_two_targets_show_at_once_is_not_proven():
    scene = rollout("a", "a-again", "b")
    scene.hear("b", new("2"))
    scene.hear("a-again", old("1", live=3))
    scene.hear("a", old("1", "drained", counts={"completed": 3}))
    assert scene.view().verdict.word is OPEN


def test_a_rollback_turns_the_rollout_round_until_the_file_says_otherwise():
    scene = rollout("a", "b")
    scene.hear("a", old("1", "serving"))
    scene.hear("b", new("2", live=2))
    scene.fleet.turn(Turn(("v2", "v1"), scene.now))
    turned = scene.view().rollout
    assert turned is not None
    assert (turned.from_version, turned.to_version, turned.started_at) == ("v2", "v1", scene.now)
    assert [row.key for row in scene.view().rows] == ["b", "a"], "the version being left comes first"
    scene.hear("b", new("2", "drained", counts={"completed": 2}))
    assert scene.view().verdict == Verdict(PROVEN)
    scene.fleet.configure(rollout=("v1", "v2"))
    assert scene.view().rollout.from_version == "v2", "an edit of something else changes nothing"
    scene.fleet.configure(rollout=("v2", "v3"))
    assert scene.view().rollout.to_version == "v3"


def test_a_rollback_that_was_over_before_anybody_looked_turns_round_only_the_rollout_that_it_was_about():
    scene = Scene("a", "b")
    scene.fleet.turn(Turn(("v2", "v1"), scene.now - 60, past=True))
    assert scene.view().rollout is None, "by itself it is none"
    scene.hear("a", old("1", "serving", uptime_seconds=900.0))
    scene.hear("b", new("2", "serving", uptime_seconds=300.0))
    turned = scene.view().rollout
    assert turned is not None
    assert (turned.from_version, turned.to_version, turned.started_at) == ("v2", "v1", START - 60)
    scene.targets("a", "c")
    scene.hear("c", report("3", version="v3", state="serving", uptime_seconds=5.0))
    later = scene.view().rollout
    assert later is not None
    assert (later.from_version, later.to_version) == ("v1", "v3"), "nobody rolled that back"
    scene.fleet.turn(Turn(("v3", "v1"), scene.now))
    assert scene.view().rollout.from_version == "v3"
    scene.fleet.turn(None)
    assert scene.view().rollout.from_version == "v1", "that plan changed nothing"


def test_promoting_again_turns_a_rollback_round():
    scene = rollout("a", "b")
    scene.hear("a", old("1", "serving"))
    scene.hear("b", new("2"))
    began = scene.view().rollout.started_at
    scene.fleet.turn(Turn(("v2", "v1"), scene.now))
    scene.fleet.turn(Turn(("v1", "v2"), scene.now))
    assert scene.view().rollout.started_at == began
    assert scene.view().rollout.from_version == "v1"
