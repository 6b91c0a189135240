"""The verdict on one boot, path by path: what proves, what confirms, what stays in doubt."""

from __future__ import annotations

import pytest

from openrtc_tui.state.verdict import Standing, is_open, judge, range_text
from openrtc_tui.state.view import Verdict, VerdictWord, WorkerRow
from tests.state.scenes import Scene, plain, report

OPEN, PROVEN = VerdictWord.OPEN, VerdictWord.PROVEN
UNPROVEN, VIOLATED = VerdictWord.UNPROVEN, VerdictWord.VIOLATED


# -- proven ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["drained", "exited"])
def test_a_boot_is_proven_by_drained_or_goodbye_with_nobody_left_and_a_clean_ledger(last):
    scene = Scene("a")
    scene.hear("a", report(state="draining", live=1))
    assert scene.verdict("a") == Verdict(OPEN)
    scene.hear("a", report(state=last, counts={"completed": 9, "failed": 2, "removed": 1}), bye=last == "exited")
    assert scene.verdict("a") == Verdict(PROVEN)


def test_a_failed_or_removed_call_is_not_a_dropped_call():
    scene = Scene("a")
    scene.hear("a", report(state="drained", counts={"failed": 5, "removed": 2}))
    assert scene.verdict("a") == Verdict(PROVEN)


def test_a_proof_outlives_the_silence_after_it():
    scene = Scene("a")
    scene.hear("a", report(state="drained"))
    scene.now += 3600
    assert scene.verdict("a") == Verdict(PROVEN)


def test_a_gap_in_contact_that_the_same_boot_outlived_changes_nothing():
    scene = Scene("a")
    scene.hear("a", report(state="draining", live=4))
    scene.now += 60
    assert scene.verdict("a").word is UNPROVEN
    scene.hear("a", report(state="drained", counts={"completed": 4}))
    assert scene.verdict("a") == Verdict(PROVEN)


def test_a_cordoned_boot_is_proven_after_ten_seconds_without_a_break():
    scene = Scene("a")
    scene.hear("a", report(state="cordoned"))
    scene.wait(9, hearing="a")
    assert scene.verdict("a") == Verdict(OPEN)
    scene.wait(1, hearing="a")
    assert scene.verdict("a") == Verdict(PROVEN)


def test_polls_prove_a_cordoned_boot_as_heartbeats_do():
    scene = Scene("a")
    for _ in range(11):
        scene.hear("a", report(state="cordoned"), via="poll")
        scene.now += 1
    assert scene.verdict("a") == Verdict(PROVEN)


def test_a_cordon_with_a_call_live_proves_nothing_until_that_has_ended():
    scene = Scene("a")
    scene.hear("a", report(state="cordoned", live=1))
    scene.wait(30, hearing="a")
    assert scene.verdict("a") == Verdict(OPEN)
    scene.hear("a", report(state="cordoned", counts={"completed": 1}))
    assert scene.verdict("a") == Verdict(PROVEN)


def test_an_uncordon_begins_the_ten_seconds_anew_and_takes_the_proof_back():
    scene = Scene("a")
    scene.hear("a", report(state="cordoned"))
    scene.wait(10, hearing="a")
    assert scene.verdict("a").word is PROVEN
    scene.hear("a", report(state="serving"))
    assert scene.verdict("a") == Verdict(OPEN)
    scene.hear("a", report(state="cordoned"))
    scene.wait(9, hearing="a")
    assert scene.verdict("a") == Verdict(OPEN)
    scene.wait(1, hearing="a")
    assert scene.verdict("a").word is PROVEN


@pytest.mark.parametrize("break_", ["failure", "silence"])
def test_a_break_in_contact_is_a_break_in_the_cordon(break_):
    """While nobody looked it may have been uncordoned, and an offer taken then may still become a call."""
    scene = Scene("a")
    scene.hear("a", report(state="cordoned"))
    scene.wait(9, hearing="a")
    if break_ == "failure":
        scene.fail("a", "broken")
    else:
        scene.now += 7
        assert scene.row("a").state == "stale"
    scene.now += 1
    scene.hear("a", report(state="cordoned"))
    assert scene.verdict("a") == Verdict(OPEN)
    scene.wait(10, hearing="a")
    assert scene.verdict("a").word is PROVEN


def test_a_long_cordoned_boot_that_is_lost_stays_proven():
    scene = Scene("a")
    scene.hear("a", report(state="cordoned"))
    scene.wait(10, hearing="a")
    scene.die("a")
    assert scene.verdict("a") == Verdict(PROVEN)


# -- violated ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "crashed", "lost"])
def test_each_kind_of_dropped_call_violates_even_while_the_boot_runs(how):
    scene = Scene("a")
    scene.hear("a", report(live=3, counts={how: 2}))
    assert scene.verdict("a") == Verdict(VIOLATED, 2, 2)


def test_cut_crashed_and_lost_add_up():
    scene = Scene("a")
    scene.hear("a", report(state="exited", counts={"cut": 1, "crashed": 2, "lost": 3}, exit_code=3), bye=True)
    assert scene.verdict("a") == Verdict(VIOLATED, 6, 6)


def test_a_violated_boot_that_is_lost_may_have_dropped_its_live_calls_too():
    scene = Scene("a")
    scene.hear("a", report(state="draining", live=6, counts={"cut": 2}))
    scene.die("a")
    assert scene.verdict("a") == Verdict(VIOLATED, 2, 8)


def test_the_next_boot_confirms_what_this_one_left_open():
    scene = Scene("a")
    scene.hear("a", report("one", state="draining", live=6))
    scene.hear("a", report("two", died=("one", 6)))
    assert scene.verdict("a#one") == Verdict(VIOLATED, 6, 6)


def test_calls_left_open_are_no_longer_in_doubt_and_the_others_are():
    scene = Scene("a")
    scene.hear("a", report("one", state="draining", live=6, counts={"cut": 1, "offers_lost": 1}))
    scene.hear("a", report("two", died=("one", 4)))
    assert scene.verdict("a#one") == Verdict(VIOLATED, 5, 8)


def test_more_calls_left_open_than_were_live_when_last_heard_are_all_confirmed():
    scene = Scene("a")
    scene.hear("a", report("one", live=1))
    scene.hear("a", report("two", died=("one", 3)))
    assert scene.verdict("a#one") == Verdict(VIOLATED, 3, 3, exact=False)


def test_the_next_boot_may_answer_at_another_address():
    scene = Scene("a", "b")
    scene.hear("a", report("one", state="draining", live=6))
    scene.die("a")
    scene.hear("b", report("two", died=("one", 6)))
    assert scene.verdict("a") == Verdict(VIOLATED, 6, 6)


def test_a_boot_that_is_still_heard_is_not_called_dead_by_another():
    scene = Scene("a", "b")
    scene.hear("a", report("one", live=6))
    scene.hear("b", report("two", died=("one", 6)))
    assert scene.verdict("a") == Verdict(OPEN)
    scene.die("a")
    assert scene.verdict("a").confirmed == 6


# -- unproven ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "exact"), [("draining", True), ("cordoned", True), ("serving", False), ("starting", False)]
)
@pytest.mark.parametrize("how", ["lost", "silent", "replaced"])
def test_a_boot_gone_with_calls_live_is_unproven_and_open_ended_unless_it_had_stopped_taking_calls(state, exact, how):
    scene = Scene("a")
    scene.hear("a", report("one", state=state, live=6))
    key = "a"
    if how == "lost":
        scene.die("a")
    elif how == "silent":
        scene.now += 10
    else:
        scene.hear("a", report("two"))
        key = "a#one"
    assert scene.verdict(key) == Verdict(UNPROVEN, 0, 6, exact)


def test_a_stale_boot_is_only_at_risk_and_stays_open():
    scene = Scene("a")
    scene.hear("a", report(live=6))
    scene.now += 7
    assert scene.row("a").state == "stale"
    assert scene.verdict("a") == Verdict(OPEN)


def test_a_lost_boot_is_open_again_when_it_returns():
    scene = Scene("a")
    scene.hear("a", report(live=6))
    scene.die("a")
    assert scene.verdict("a").word is UNPROVEN
    scene.beat("a")
    assert scene.verdict("a") == Verdict(OPEN)


@pytest.mark.parametrize("state", ["draining", "cordoned", "serving", "starting"])
def test_zero_calls_without_a_proof_are_never_a_bare_zero(state):
    scene = Scene("a")
    scene.hear("a", report(state=state))
    scene.die("a")
    verdict = scene.verdict("a")
    assert verdict == Verdict(UNPROVEN, 0, 0, exact=False)
    assert range_text(verdict) == "0+"


@pytest.mark.parametrize("counter", ["launch_failed", "offers_lost"])
def test_callers_who_most_likely_got_nobody_add_to_the_upper_end(counter):
    scene = Scene("a")
    scene.hear("a", report(live=2, counts={counter: 3}))
    assert scene.verdict("a") == Verdict(OPEN, 0, 3)
    scene.hear("a", report(state="drained", counts={counter: 3, "completed": 2}))
    assert scene.verdict("a") == Verdict(UNPROVEN, 0, 3)


def test_a_goodbye_with_calls_live_leaves_exactly_these_in_doubt():
    scene = Scene("a")
    scene.hear("a", report(state="exited", live=2, exit_code=5), bye=True)
    assert scene.verdict("a") == Verdict(UNPROVEN, 0, 2)


def test_a_ledger_that_does_not_balance_proves_nothing_and_its_missing_calls_are_in_doubt():
    scene = Scene("a")
    scene.hear("a", report(state="drained", counts={"started": 9, "completed": 7}))
    assert scene.verdict("a") == Verdict(UNPROVEN, 0, 2, exact=False)


def test_a_ledger_that_accounts_for_more_than_it_started_proves_nothing():
    scene = Scene("a")
    scene.hear("a", report(state="drained", counts={"started": 5, "completed": 7}))
    assert scene.verdict("a") == Verdict(UNPROVEN, 0, 0, exact=False)


@pytest.mark.parametrize(
    "missing", ["completed", "cut", "crashed", "lost", "launch_failed", "offers_lost", "started"]
)
def test_a_ledger_with_a_term_missing_proves_nothing(missing):
    """What is missing is not zero."""
    scene = Scene("a")
    scene.hear("a", report(state="drained", counts={missing: None}))
    assert scene.verdict("a") == Verdict(UNPROVEN, 0, 0, exact=False)


def test_a_plain_worker_without_a_ledger_is_never_proven():
    scene = Scene("a")
    scene.hear("a", plain(draining=True, live=2), via="poll")
    assert scene.verdict("a") == Verdict(OPEN, 0, 0, exact=False)
    scene.hear("a", plain(draining=True, live=0), via="poll")
    scene.fail("a", "refused")
    scene.fail("a", "refused")
    assert scene.verdict("a") == Verdict(UNPROVEN, 0, 0, exact=False)


def test_drained_with_calls_live_is_believed_by_the_calls():
    scene = Scene("a")
    scene.hear("a", report(state="drained", live=2))
    assert scene.verdict("a").word is OPEN
    scene.die("a")
    assert scene.verdict("a") == Verdict(UNPROVEN, 0, 2, exact=False)


def test_calls_are_taken_at_the_higher_of_two_numbers():
    scene = Scene("a")
    scene.hear("a", report(state="draining", live=3, active_sessions=5))
    scene.die("a")
    assert scene.verdict("a") == Verdict(UNPROVEN, 0, 5, exact=False)


# -- confirmed stays confirmed -----------------------------------------------------------------------------------


def test_counters_that_go_back_take_nothing_back():
    scene = Scene("a")
    scene.hear("a", report(live=1, counts={"cut": 3}))
    scene.hear("a", report(state="drained", counts={"cut": 1, "completed": 1}))
    assert scene.verdict("a") == Verdict(VIOLATED, 3, 3, exact=False)


def test_a_report_that_was_overtaken_takes_nothing_back():
    scene = Scene("a")
    scene.hear("a", report(state="drained", seq=8, timestamp=scene.now, counts={"completed": 2}))
    scene.hear("a", report(state="draining", seq=7, timestamp=scene.now - 1, live=1, counts={"completed": 1}))
    row = scene.row("a")
    assert (row.state, row.verdict.word, row.findings) == ("drained", PROVEN, ())


# -- the arithmetic ----------------------------------------------------------------------------------------------


def test_whether_a_row_holds_the_rollout_open():
    def row(word: VerdictWord, *, settled: bool = False) -> WorkerRow:
        return WorkerRow(key="a", target="a", url="", verdict=Verdict(word), settled=settled)

    assert is_open(row(OPEN))
    assert not is_open(row(PROVEN))
    assert not is_open(row(UNPROVEN))
    assert is_open(row(VIOLATED)), "it dropped a call, and others are still live"
    assert not is_open(row(VIOLATED, settled=True))


def test_a_violated_boot_with_calls_live_holds_open_and_a_drained_one_does_not():
    scene = Scene("a")
    scene.hear("a", report(state="draining", live=2, counts={"crashed": 1}))
    assert is_open(scene.row("a"))
    scene.hear("a", report(state="drained", counts={"crashed": 1, "completed": 2}))
    assert not is_open(scene.row("a"))


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (Verdict(OPEN), "0"),
        (Verdict(UNPROVEN, 0, 6), "0–6"),
        (Verdict(UNPROVEN, 0, 6, exact=False), "0–6+"),
        (Verdict(UNPROVEN, 0, 0, exact=False), "0+"),
        (Verdict(VIOLATED, 2, 2), "2"),
        (Verdict(VIOLATED, 2, 8), "2–8"),
    ],
)
def test_the_range_as_text(verdict, text):
    assert range_text(verdict) == text


def test_a_boot_of_which_nothing_bad_is_known_is_open():
    assert judge(Standing()) == Verdict(OPEN)
