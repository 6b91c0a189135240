"""The callers of the embedded fleet: a pure schedule, and the runner that follows it."""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from statistics import mean, median, quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker.local.calls import CallProfile, SimulatedCall, follow, schedule
from openrtc_worker.local.worker import DEFAULT_LENGTH, length_of

PROFILE = CallProfile(per_second=2.0, agents={"booking": 2, "support": 1}, tenants={"acme": 3, "globex": 1})


def first(number: int, profile: CallProfile = PROFILE, seed: int = 1) -> list[SimulatedCall]:
    return list(islice(schedule(profile, seed), number))


def test_the_same_seed_gives_the_same_calls_and_another_seed_others():
    assert first(50) == first(50)
    assert first(50) != first(50, seed=2)


@given(st.integers(0, 2**32))
def test_calls_come_in_order_with_lengths_within_their_bounds_and_rooms_of_their_own(seed):
    calls = first(100, seed=seed)
    assert [call.at for call in calls] == sorted(call.at for call in calls)
    assert all(PROFILE.shortest <= call.length <= PROFILE.longest for call in calls)
    assert len({call.room for call in calls}) == len(calls)
    assert {call.agent for call in calls} <= set(PROFILE.agents)


def test_arrivals_and_lengths_are_distributed_as_the_profile_says():
    calls = first(4000)
    assert 0.9 < len(calls) / calls[-1].at / PROFILE.per_second < 1.1
    lengths = [call.length for call in calls]
    assert 42 < median(lengths) < 48
    assert 0.9 < mean(lengths) / PROFILE.mean_length < 1.1
    assert quantiles(lengths, n=100)[98] > 200, "one in a hundred lasts for minutes"
    assert 0.6 < sum(call.agent == "booking" for call in calls) / len(calls) < 0.73


def test_an_opening_fills_the_fleet_faster():
    profile = CallProfile(
        per_second=0.1, opening=10.0, opening_per_second=5.0, agents={"booking": 1}, tenants={"acme": 1}
    )
    calls = first(200, profile)
    early = [call for call in calls if call.at < 10]
    assert 30 < len(early) < 75
    assert calls[-1].at > 500


def test_a_calls_metadata_routes_it_and_tells_the_entrypoint_its_length():
    call = SimulatedCall(at=0, room="booking-00001", length=12.345, agent="booking", tenant="acme")
    assert json.loads(call.metadata) == {"agent": "booking", "tenant": "acme", "call_seconds": 12.35}
    assert length_of(call.metadata) == 12.35


@pytest.mark.parametrize("metadata", ["", "{", "[]", "{}", '{"call_seconds": "long"}', '{"call_seconds": -1}', "7"])
def test_a_call_that_does_not_say_its_length_has_the_default_one(metadata):
    assert length_of(metadata) == DEFAULT_LENGTH


class FakeTime:
    """A clock that only ``sleep`` moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        await asyncio.sleep(0)


async def test_each_call_is_placed_at_its_time_without_waiting_for_the_one_before():
    time, placed, answered = FakeTime(), [], asyncio.Event()

    async def place(call: SimulatedCall) -> None:
        placed.append((call, time.now))
        if len(placed) == 20:
            answered.set()
        await answered.wait()  # nobody is answered before the last one has called

    calls = first(20)
    await follow(calls, place, clock=time.clock, sleep=time.sleep)
    assert [call for call, _ in placed] == calls
    late = [now - 100.0 - call.at for call, now in placed]
    # a caller's task runs when the runner next waits, so it sees the clock of the call after it at most
    assert all(-1e-9 <= lateness < 5 for lateness in late)


async def test_calls_that_are_overdue_are_placed_at_once():
    placed = []

    async def place(call: SimulatedCall) -> None:
        placed.append(call)

    calls = first(10)

    async def never(_seconds: float) -> None:
        raise AssertionError("nothing is to be waited for")

    ticks = iter([0.0])
    await follow(calls, place, clock=lambda: next(ticks, 1e6), sleep=never)
    assert placed == calls
