"""Deletion costs: steps by live calls, few writes, never over somebody else's."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.operations.platforms.kubernetes.costs import COST, LOWEST, PAUSE, CostBook, PodLoad, cost_of
from openrtc_tui.operations.platforms.kubernetes.keeper import COST_MANAGER, may_end
from tests.platforms.kubernetes_objects import pod, replica_set


def load(calls: int, uid: str = "u", *, drained: bool = False) -> PodLoad:
    return PodLoad("pod", uid, calls, drained=drained)


def book(*pods, **costs: str) -> CostBook:
    made = CostBook()
    fields = {"f:metadata": {"f:annotations": {f"f:{COST}": {}}}}
    ours = [{"manager": COST_MANAGER, "operation": "Update", "fieldsV1": fields}]
    made.saw(
        [*pods, *(pod(uid=uid, annotations={COST: cost}, managed=ours) for uid, cost in costs.items())], COST_MANAGER
    )
    return made


@pytest.mark.parametrize(("calls", "cost"), [(0, 0), (1, 1), (4, 1), (5, 2), (19, 2), (20, 3), (5000, 3)])
def test_the_cost_rises_in_four_steps(calls, cost):
    assert cost_of(load(calls)) == cost


def test_a_drained_pod_is_the_first_to_go_whatever_else_there_is():
    assert cost_of(load(0, drained=True)) == LOWEST < cost_of(load(0))


def test_an_idle_pod_without_a_cost_needs_no_write():
    assert book(pod(uid="u")).due([load(0)], 0.0) == ()


def test_a_change_within_a_step_needs_no_write():
    assert book(u="1").due([load(4)], 0.0) == ()


def test_a_cost_that_somebody_else_set_is_never_touched():
    theirs = pod(uid="u", annotations={COST: "7"})
    assert book(theirs).due([load(30)], 0.0) == ()


def test_of_a_pod_that_was_not_looked_at_nothing_is_written():
    made = CostBook()
    assert made.unseen([load(1)])
    assert made.due([load(1)], 0.0) == ()


def test_a_write_that_failed_is_tried_again_after_the_pause():
    made = book(pod(uid="u"))
    (write,) = made.due([load(1)], 0.0)
    made.wrote(write, 0.0, done=False)
    assert made.due([load(1)], PAUSE - 0.1) == ()
    assert made.due([load(1)], PAUSE) == (write,)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 40)), max_size=40))
def test_one_pod_is_written_at_most_once_in_thirty_seconds_and_ends_right(changes):
    made, now, writes = book(pod(uid="u")), 0, []
    for pause, calls in changes:
        now += pause
        for write in made.due([load(calls)], now):
            made.wrote(write, now)
            writes.append((now, write.cost))
    assert all(later - earlier >= PAUSE for (earlier, _), (later, _) in itertools.pairwise(writes))
    if changes:
        last = changes[-1][1]
        for write in made.due([load(last)], now + PAUSE):
            made.wrote(write, now + PAUSE)
            writes.append((now + PAUSE, write.cost))
        assert (writes[-1][1] if writes else 0) == cost_of(load(last))


def test_a_pod_may_be_ended_only_when_its_replica_set_wants_fewer_already():
    wants_two = replica_set("v1", replicas=2)
    pods = [pod(wants_two) for _ in range(3)]
    assert may_end(pods[0], pods, [wants_two])
    assert not may_end(pods[0], pods[:2], [wants_two])
    ending = [pods[0], pods[1], pod(wants_two, ends_at="2026-01-01T00:00:00Z"), pod(wants_two, phase="Failed")]
    assert not may_end(pods[0], ending, [wants_two])
    assert not may_end(pod(), pods, [wants_two])  # nobody's: whoever made it may make it again
