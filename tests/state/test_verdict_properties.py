"""The verdict's arithmetic, for all facts that there can be."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.state.verdict import Standing, combine, judge, range_text, total
from openrtc_tui.state.view import Verdict, VerdictWord

OPEN, PROVEN = VerdictWord.OPEN, VerdictWord.PROVEN
UNPROVEN, VIOLATED = VerdictWord.UNPROVEN, VerdictWord.VIOLATED

small = st.integers(0, 4)
standings = st.builds(
    Standing,
    dropped=small,
    open_calls=small,
    doubtful=small,
    live=small,
    complete=st.booleans(),
    closing=st.booleans(),
    at_rest=st.booleans(),
    final=st.booleans(),
    gone=st.booleans(),
)
many = st.lists(standings, max_size=5)


def rolled(leaving: list[Standing], others: list[Standing]) -> Verdict:
    return combine([(judge(boot), boot.settled) for boot in leaving], [judge(boot) for boot in others])


@given(standings)
def test_confirmed_is_never_above_possible_and_each_word_keeps_its_promise(boot):
    verdict = judge(boot)
    assert 0 <= boot.dropped <= verdict.confirmed <= verdict.possible
    match verdict.word:
        case VerdictWord.PROVEN:
            assert (verdict.possible, verdict.exact) == (0, True)
            assert boot.complete
            assert boot.live == 0
            assert boot.final or boot.at_rest
        case VerdictWord.VIOLATED:
            assert verdict.confirmed > 0
        case VerdictWord.UNPROVEN:
            assert boot.settled
            assert verdict.confirmed == 0
            assert range_text(verdict) != "0"
        case VerdictWord.OPEN:
            assert not boot.settled


@given(standings)
def test_going_away_never_makes_a_verdict_better(boot):
    here, away = judge(replace(boot, gone=False)), judge(replace(boot, gone=True))
    assert away.confirmed >= here.confirmed
    assert away.possible >= here.possible
    assert here.word is not UNPROVEN or away.word in (UNPROVEN, VIOLATED)


@given(many, many)
def test_proven_is_printed_only_when_everything_is_proven(leaving, others):
    verdict = rolled(leaving, others)
    assert 0 <= verdict.confirmed <= verdict.possible
    if verdict.word is PROVEN:
        assert leaving
        assert all(judge(boot).word is PROVEN for boot in leaving)
        assert all(judge(boot).possible == 0 for boot in others)
        assert verdict.exact
    if verdict.word is UNPROVEN:
        assert range_text(verdict) != "0"
    assert (verdict.word is VIOLATED) == (verdict.confirmed > 0)


@given(many, many)
def test_the_rollout_adds_up_its_boots(leaving, others):
    verdict = rolled(leaving, others)
    verdicts = [judge(boot) for boot in (*leaving, *others)]
    assert verdict.confirmed == sum(one.confirmed for one in verdicts)
    assert verdict.possible == sum(one.possible for one in verdicts)
    assert verdict.exact == all(one.exact for one in verdicts)
    assert total(verdicts) == Verdict(OPEN, verdict.confirmed, verdict.possible, verdict.exact)


@given(many, many, st.randoms(use_true_random=False))
def test_the_order_of_boots_does_not_matter(leaving, others, random):
    verdict = rolled(leaving, others)
    random.shuffle(leaving)
    random.shuffle(others)
    assert rolled(leaving, others) == verdict


@given(many, many, standings)
def test_one_open_boot_of_the_version_being_left_rules_a_proof_out(leaving, others, boot):
    still = replace(boot, gone=False, final=False, at_rest=False)
    assert rolled([*leaving, still], others).word is not PROVEN


@given(many, many)
def test_open_boots_of_the_new_version_hold_nothing_open(leaving, others):
    alone = rolled(leaving, [])
    serving = Standing(live=7)
    assert rolled(leaving, [serving]) == alone
