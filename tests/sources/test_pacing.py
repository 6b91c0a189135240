"""When whom is contacted: spread over the period, admitted without a burst, backed off with full jitter."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.sources.pacing import CONNECTS_PER_TICK, TICKS_PER_SECOND, Backoff, Pacer
from tests.sources.virtual_time import VirtualTime


@pytest.fixture
def time():
    return VirtualTime()


@pytest.fixture
async def pacer(time):
    pacer = Pacer(time.clock, time.sleep)
    running = asyncio.create_task(pacer.run())
    yield pacer
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def noted(time, wait, into, key=None):
    """Write down when *wait* ends."""

    async def note():
        await wait
        into.append((key, time.now))

    return asyncio.create_task(note())


async def poll(time, pacer, key, period, into):
    while True:
        await pacer.turn(key, period)
        into.append((key, time.now))


async def cancel(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("period", [0.2, 1.0, 2.5, 30.0])
async def test_each_key_has_one_turn_per_period(time, pacer, period):
    turns = []
    tasks = [asyncio.create_task(poll(time, pacer, f"voice-{n}", period, turns)) for n in range(20)]
    await time.advance(10 * period)
    assert all(9 <= count <= 11 for count in Counter(key for key, _ in turns).values())
    assert len({key for key, _ in turns}) == 20
    for name in ("voice-0", "voice-7"):
        times = [at for key, at in turns if key == name]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(gap == pytest.approx(period, abs=0.051) for gap in gaps)
    await cancel(tasks)


async def test_a_thousand_turns_spread_over_the_ticks_of_a_second(time, pacer):
    turns = []
    tasks = [asyncio.create_task(poll(time, pacer, f"voice-{n}", 1.0, turns)) for n in range(1000)]
    await time.advance(1.0)
    per_tick = Counter(round(at * TICKS_PER_SECOND) for _, at in turns)
    assert len(turns) == 1000
    assert len(per_tick) == TICKS_PER_SECOND
    assert max(per_tick.values()) < 100
    await cancel(tasks)


async def test_the_place_of_a_key_in_its_period_stays_over_restarts(time, pacer):
    other = Pacer(time.clock, time.sleep)
    one, two = [], []
    tasks = [
        noted(time, pacer.turn("voice-a-1", 1.0), one),
        asyncio.create_task(other.run()),
        noted(time, other.turn("voice-a-1", 1.0), two),
    ]
    await time.advance(1.0)
    assert [at for _, at in one] == [at for _, at in two]
    await cancel(tasks)


async def test_a_wait_ends_when_its_time_has_passed_and_at_most_a_tick_later(time, pacer):
    ends = []
    for seconds in (0.0, 0.01, 0.3, 1.23, 4.0):
        noted(time, pacer.later(seconds), ends, key=seconds)
    began = time.now
    await time.advance(5.0)
    assert len(ends) == 5
    for seconds, at in ends:
        assert seconds - 1e-6 <= at - began <= seconds + 1 / TICKS_PER_SECOND + 1e-6


async def test_few_connect_at_once_and_many_are_spread(time, pacer):
    ends = []
    began = time.now
    for n in range(1000):
        noted(time, pacer.admission(), ends, key=n)
    await time.advance(0.0)
    assert len(ends) == CONNECTS_PER_TICK
    await time.advance(10.0)
    per_tick = Counter(round((at - began) * TICKS_PER_SECOND) for _, at in ends)
    assert max(per_tick.values()) <= CONNECTS_PER_TICK
    assert ends[-1][1] - began == pytest.approx(1000 / CONNECTS_PER_TICK / TICKS_PER_SECOND, abs=0.1)
    assert [key for key, _ in ends] == list(range(1000))


async def test_a_quiet_fleet_wakes_nobody(time, pacer):
    ends = []
    noted(time, pacer.later(0.1), ends)
    await time.advance(1.0)
    assert ends
    assert time._sleepers == []


async def test_a_clock_that_jumps_ends_every_wait_that_was_due(time, pacer):
    """After a laptop slept the wheel does not turn through the hours that it missed."""
    ends = []
    for seconds in (1.0, 2.0, 3.0):
        noted(time, pacer.later(seconds), ends)
    await time.advance(0.0)
    time.now += 7200.0
    await time.advance(0.1)
    assert len(ends) == 3


async def test_whoever_waits_may_be_woken_early(time, pacer):
    wait = pacer.later(60.0)
    wait.set_result(None)
    await wait
    await time.advance(61.0)  # the wheel passes over it


@given(st.integers(), st.integers(1, 12))
def test_backoff_is_drawn_from_zero_to_a_ceiling_that_doubles_to_its_cap(seed, attempts):
    backoff = Backoff(random.Random(seed), first=0.5, cap=3.0)
    for attempt in range(attempts):
        assert 0.0 <= backoff.next() <= min(3.0, 0.5 * 2**attempt)
    backoff.reset()
    assert backoff.next() <= 0.5


def test_backoff_uses_the_whole_range():
    rng = random.Random(1)
    draws = []
    for _ in range(300):
        backoff = Backoff(rng, first=1.0, cap=1.0)
        draws.append(backoff.next())
    assert min(draws) < 0.05
    assert max(draws) > 0.95
