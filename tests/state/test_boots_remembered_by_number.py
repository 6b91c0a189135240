"""Boots too many to be remembered one by one: their numbers add up as they would one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.state.remains import Remnant
from openrtc_tui.state.verdict import Standing, combine, judge

if TYPE_CHECKING:
    from openrtc_tui.state.view import Verdict

small = st.integers(0, 3)
over = st.builds(
    Standing,
    dropped=small,
    open_calls=small,
    doubtful=small,
    live=small,
    complete=st.booleans(),
    closing=st.booleans(),
    at_rest=st.booleans(),
    final=st.booleans(),
    gone=st.just(True),
)


@given(st.lists(over, min_size=1, max_size=6), st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=6))
def test_together_they_say_what_they_said_one_by_one(standings, times):
    verdicts = [judge(standing) for standing in standings]
    remnants = [Remnant(verdict, *moment) for verdict, moment in zip(verdicts, times, strict=False)]
    together = remnants[0]
    for remnant in remnants[1:]:
        together = together.joined(remnant)

    def of_rollout(parts: list[Verdict]) -> Verdict:
        return combine([(verdict, True) for verdict in parts])

    assert of_rollout([together.verdict]) == of_rollout(verdicts)
    assert together.began == min(remnant.began for remnant in remnants)
    assert together.seen_at == max(remnant.seen_at for remnant in remnants)
