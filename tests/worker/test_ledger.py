"""The accounts: every call in exactly one place at any time, and each ending where it belongs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrtc_worker.contract.snapshot import SESSION_AGE_BOUNDS
from openrtc_worker.ledger import Call, Ending, Ledger, Outcome

DROPPED = (Outcome.CUT, Outcome.CRASHED, Outcome.LOST)


def call(number: int = 1, **fields) -> Call:
    return Call(job_id=f"job-{number}", room=f"room-{number}", **fields)


def ended(*steps, cut_at: int | None = None) -> Outcome:
    """How a call ends that reports *steps* (an ending, or a number of callers), and is cut before step *cut_at*."""
    ledger = Ledger()
    ledger.call_started(call(), 0.0)
    for number, step in enumerate([*steps, None]):
        if number == cut_at:
            ledger.call_cut("job-1")
        if isinstance(step, Ending):
            ledger.ending_reported("job-1", step)
        elif step is not None:
            ledger.callers_changed("job-1", step, 1.0)
    done = ledger.call_ended("job-1", 9.0)
    assert done is not None
    assert ledger.counts().balanced
    return done.outcome


class TestHowACallEnded:
    @pytest.mark.parametrize(
        ("steps", "outcome"),
        [
            ([Ending.HANGUP], Outcome.COMPLETED),
            ([Ending.ERROR], Outcome.FAILED),
            ([Ending.REMOVED], Outcome.REMOVED),
            ([Ending.LOST], Outcome.LOST),
            ([Ending.STOPPED], Outcome.COMPLETED),
            ([], Outcome.CRASHED),
            ([1, Ending.LOST], Outcome.LOST),
            ([1], Outcome.CRASHED),
        ],
    )
    def test_by_what_its_job_saw_while_nobody_cut_it(self, steps, outcome):
        assert ended(*steps) is outcome

    @pytest.mark.parametrize("steps", [[1, 0], [2, 1, 0], [1, 0, Ending.LOST], [1, 0, Ending.STOPPED]])
    def test_a_call_whose_last_caller_left_before_is_completed_whatever_ends_it(self, steps):
        assert ended(*steps) is Outcome.COMPLETED
        assert ended(*steps, cut_at=len(steps)) is Outcome.COMPLETED

    def test_a_caller_who_came_back_counts_again(self):
        assert ended(1, 0, 1) is Outcome.CRASHED

    def test_a_caller_who_never_came_has_not_left(self):
        """An agent that waits in an empty room has a caller on the way: one that dies there leaves them alone."""
        assert ended(0) is Outcome.CRASHED
        assert ended(0, cut_at=1) is Outcome.CUT

    @pytest.mark.parametrize("steps", [[], [1], [2, 1], [Ending.STOPPED]])
    def test_a_call_that_the_worker_ended_with_a_caller_on_it_is_cut(self, steps):
        assert ended(*steps, cut_at=len(steps)) is Outcome.CUT

    def test_what_the_job_reports_after_the_cut_is_the_cut(self):
        assert ended(1, Ending.HANGUP, cut_at=1) is Outcome.CUT
        assert ended(1, 0, Ending.HANGUP, cut_at=1) is Outcome.CUT

    @pytest.mark.parametrize(
        ("ending", "outcome"),
        [
            (Ending.HANGUP, Outcome.COMPLETED),
            (Ending.ERROR, Outcome.FAILED),
            (Ending.REMOVED, Outcome.REMOVED),
            (Ending.LOST, Outcome.LOST),
        ],
    )
    def test_what_the_job_reported_before_the_cut_stands(self, ending, outcome):
        assert ended(1, ending, cut_at=2) is outcome

    def test_the_first_ending_stands(self):
        assert ended(Ending.REMOVED, Ending.HANGUP) is Outcome.REMOVED


class TestReadings:
    def test_without_caller_counts_those_who_are_seen_to_be_alone(self):
        ledger = Ledger()
        for number in range(3):
            ledger.call_started(call(number), 0.0)
        ledger.callers_changed("job-0", 1, 1.0)
        ledger.callers_changed("job-1", 1, 1.0)
        ledger.callers_changed("job-1", 0, 5.0)
        ledger.callers_changed("job-1", 0, 7.0)
        assert ledger.without_caller == 1
        alone = ledger.sessions(10.0)[1]
        assert (alone.callers, alone.alone_since, alone.age_seconds) == (0, 5.0, 10.0)
        assert ledger.sessions(10.0)[2].callers is None

    def test_by_agent_and_by_tenant(self):
        ledger = Ledger()
        ledger.call_started(call(1, agent="booking", tenant="acme"), 0.0)
        ledger.call_started(call(2, agent="booking"), 0.0)
        ledger.call_started(call(3), 0.0)
        assert ledger.by_agent() == {"booking": 2}
        assert ledger.by_tenant() == {"acme": 1}

    @given(st.lists(st.floats(0, 1e5), max_size=30))
    def test_every_live_call_is_in_one_class_of_age(self, ages):
        ledger = Ledger()
        for number, age in enumerate(ages):
            ledger.call_started(call(number), 1e6 - age)
        counted = ledger.session_ages(1e6)
        assert len(counted) == len(SESSION_AGE_BOUNDS) + 1
        assert sum(counted) == len(ages)
        assert ledger.oldest_seconds(1e6) == (max(ages, default=None) and pytest.approx(max(ages), abs=1e-6))

    def test_a_class_of_age_includes_its_bound(self):
        ledger = Ledger()
        ledger.call_started(call(), 0.0)
        assert ledger.session_ages(30.0)[0] == 1
        assert ledger.session_ages(30.1)[1] == 1
        assert ledger.session_ages(3601.0)[8] == 1


events = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.integers(0, 5)),
        st.tuples(st.just("report"), st.integers(0, 5), st.sampled_from(Ending)),
        st.tuples(st.just("callers"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("cut"), st.integers(0, 5)),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.sampled_from(["lost", "launch_failed", "rejected"])),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(events)
def test_the_books_balance_whatever_is_said_in_whatever_order(said):
    """Datagrams come late, twice, or for calls that are over; a job id may even be seen again."""
    ledger = Ledger()
    outcomes = []
    over = set()
    for number, (kind, *arguments) in enumerate(said):
        match kind, arguments:
            case "start", [job]:
                ledger.call_started(call(job), float(number))
            case "report", [job, ending]:
                if ledger.ending_reported(f"job-{job}", ending) and ending.dropped_nobody:
                    over.add(job)
            case "callers", [job, callers]:
                ledger.callers_changed(f"job-{job}", callers, float(number))
            case "cut", [job]:
                ledger.call_cut(f"job-{job}")
            case "end", [job]:
                done = ledger.call_ended(f"job-{job}", float(number))
                if done is not None:
                    outcomes.append(done.outcome)
                    assert job not in over or done.outcome not in DROPPED, "its end has been told to the next boot"
                    over.discard(job)
            case "lost", _:
                ledger.offer_lost()
            case "launch_failed", _:
                ledger.launch_failed()
            case "rejected", _:
                ledger.offer_rejected("capacity")
        counts = ledger.counts()
        assert counts.balanced
        assert counts.active == len(ledger.live_calls)
        for outcome in Outcome:
            assert getattr(counts, outcome.value) == outcomes.count(outcome)
        assert counts.dropped == sum(outcome in DROPPED for outcome in outcomes)
