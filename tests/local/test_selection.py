"""Who is offered a call."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import agent

from openrtc_worker.local.selection import TARGET_LOAD, bid, choose


@dataclass(frozen=True)
class FakeCandidate:
    """A worker's last report, without the worker."""

    available: bool
    load: float


candidates = st.lists(st.builds(FakeCandidate, available=st.booleans(), load=st.floats(0, 2, width=32)), max_size=8)


@given(candidates)
def test_there_is_a_bid_exactly_when_an_available_worker_is_below_seven_tenths(workers):
    assert (bid(workers) > 0) == any(worker.available and worker.load < TARGET_LOAD for worker in workers)


@given(candidates, st.integers())
def test_a_chosen_worker_is_available_and_has_load_to_spare(workers, seed):
    chosen = choose(workers, random.Random(seed))
    if chosen is None:
        assert all(not worker.available or worker.load >= 1 for worker in workers)
    else:
        assert chosen in workers
        assert chosen.available
        assert chosen.load < 1


def test_workers_are_drawn_in_proportion_to_what_they_have_left_of_a_full_load():
    light, heavy = FakeCandidate(available=True, load=0.1), FakeCandidate(available=True, load=0.7)
    rng = random.Random(3)
    drawn = [choose([light, heavy], rng) for _ in range(4000)]
    assert 0.72 < drawn.count(light) / len(drawn) < 0.78  # 0.9 to 0.3


def test_a_bid_is_the_sum_of_what_each_has_left_of_the_target():
    workers = [FakeCandidate(available=True, load=0.2), FakeCandidate(available=True, load=0.6)]
    full = [FakeCandidate(available=False, load=0.0), FakeCandidate(available=True, load=0.9)]
    assert abs(bid(workers + full) - 0.6) < 1e-6
    assert bid(full) == 0


def test_a_load_of_seven_tenths_as_the_wire_carries_it_bids_nothing():
    reported = agent.UpdateWorkerStatus(load=0.7).load
    assert reported < 0.7, "32 bits"
    assert bid([FakeCandidate(available=True, load=reported)]) == 0
