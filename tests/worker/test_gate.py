"""The gate: the hard cap counts what was accepted, for as long as it may still become a call."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker.gate import ASSIGNMENT_GRACE, BEAT, STALL, Gate


def test_an_accepted_offer_takes_a_place_for_three_seconds_without_an_assignment():
    gate = Gate(capacity=1)
    gate.answered("a", 10.0)
    assert gate.refusal(10.0, live=0) == "capacity"
    assert gate.refusal(10.0 + ASSIGNMENT_GRACE - 0.01, live=0) == "capacity"
    assert gate.refusal(10.0 + ASSIGNMENT_GRACE, live=0) is None
    assert gate.pending == 1  # it may still launch: a drain waits for it


def test_an_assigned_offer_takes_its_place_until_it_launched_or_failed():
    gate = Gate(capacity=1)
    gate.answered("a", 10.0)
    gate.all_assigned_but(("a",))
    gate.all_assigned_but(())
    assert gate.refusal(1_000.0, live=0) == "capacity"
    gate.settled("a")
    assert gate.refusal(1_000.0, live=0) is None
    assert gate.refusal(1_000.0, live=1) == "capacity"


def test_an_offer_that_livekit_has_not_in_its_books_yet_is_not_taken_for_an_assigned_one():
    """A beat may come between our yes and livekit's note of it."""
    gate = Gate(capacity=1)
    gate.answered("a", 10.0)
    gate.all_assigned_but(())
    gate.all_assigned_but(("a",))
    assert gate.refusal(10.0 + ASSIGNMENT_GRACE, live=0) is None
    gate.answered("b", 20.0)  # assigned before any beat
    gate.all_assigned_but(("a",))
    gate.all_assigned_but(("a",))
    assert gate.refusal(20.0 + ASSIGNMENT_GRACE, live=0) == "capacity"


def test_what_was_never_accepted_can_be_settled_without_harm():
    gate = Gate(capacity=1)
    gate.settled("nobody")
    assert gate.pending == 0


def test_after_a_stall_offers_are_stale_until_the_next_beat():
    gate = Gate(capacity=5)
    assert gate.beat(0.0) == 0.0
    assert gate.beat(BEAT) == 0.0
    assert not gate.is_stale(BEAT + STALL)
    stalled = 2 * BEAT + STALL + 0.5
    assert gate.refusal(stalled, live=0) == "stale_offer"  # before the late beat's turn …
    assert gate.beat(stalled) > STALL
    assert gate.refusal(stalled + 0.01, live=0) == "stale_offer"  # … and after it, what had waited in the socket
    gate.beat(stalled + BEAT)
    assert gate.refusal(stalled + BEAT, live=0) is None


def test_a_loop_that_is_late_by_less_is_no_stall():
    gate = Gate(capacity=5)
    gate.beat(0.0)
    gate.beat(BEAT + STALL - 0.1)
    assert gate.refusal(BEAT + STALL - 0.1, live=0) is None


@given(
    capacity=st.integers(1, 20),
    offers=st.lists(st.tuples(st.floats(0, 0.2), st.booleans(), st.booleans()), max_size=60),
)
def test_a_burst_never_takes_more_than_the_capacity(capacity, offers):
    """Each offer waits a while, then launches or fails at once: within the grace nothing exceeds the cap."""
    gate, now, live, highest = Gate(capacity=capacity), 0.0, 0, 0
    waiting: list[str] = []
    for number, (pause, launch, succeed) in enumerate(offers):
        now += min(pause, ASSIGNMENT_GRACE / 100)
        if gate.refusal(now, live=live) is None:
            gate.answered(f"job-{number}", now)
            waiting.append(f"job-{number}")
        if launch and waiting:
            job = waiting.pop(0)
            gate.all_assigned_but(waiting)
            live += succeed
            gate.settled(job)
        highest = max(highest, live + gate.pending)
    assert highest <= capacity
