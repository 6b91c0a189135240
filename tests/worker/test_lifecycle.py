"""The lifecycle machine: latching, deadlines, codes. Every path is driven, also by hypothesis."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from openrtc_worker.contract.snapshot import State
from openrtc_worker.lifecycle import (
    CutDue,
    DrainCompleted,
    DrainShortened,
    DrainStarted,
    Exit,
    ExitCode,
    KillDue,
    Lifecycle,
    LifecycleConflictError,
)


def lifecycle(**changed) -> Lifecycle:
    return Lifecycle(**{"drain_timeout": 100.0, "cut_grace": 10.0, "drain_linger": 3.0, **changed})


def tick(machine, now, *, live=0, pending=0, cut=0):
    """Time passes, and the numbers are what they are."""
    return machine.calls_changed(now, live=live, pending=pending, cut=cut)


def serving(**changed) -> Lifecycle:
    machine = lifecycle(**changed)
    machine.registered(0.0)
    return machine


class TestStates:
    def test_it_starts_serves_and_is_cordoned_and_back(self):
        machine = lifecycle()
        assert (machine.state, machine.refusal) == (State.STARTING, "starting")
        machine.registered(1.0)
        assert (machine.state, machine.refusal) == (State.SERVING, None)
        assert machine.cordon() == "started"
        assert machine.cordon() == "already"
        assert (machine.state, machine.refusal) == (State.CORDONED, "cordoned")
        assert machine.uncordon() == "started"
        assert machine.uncordon() == "already"
        assert machine.state is State.SERVING

    def test_a_cordon_while_starting_holds_from_the_first_registration(self):
        machine = lifecycle()
        assert machine.cordon() == "started"
        assert (machine.state, machine.refusal) == (State.STARTING, "cordoned")
        machine.registered(1.0)
        assert machine.state is State.CORDONED

    @pytest.mark.parametrize("before", ["starting", "serving", "cordoned"])
    def test_draining_is_reachable_from_all_three_and_one_way(self, before):
        machine = lifecycle()
        if before != "starting":
            machine.registered(0.0)
        if before == "cordoned":
            machine.cordon()
        machine.calls_changed(0.0, live=1, pending=0, cut=0)
        effect, decisions = machine.begin_drain(1.0, source="http", actor="alice", op_id="op-1")
        assert effect == "started"
        assert [type(decision) for decision in decisions] == [DrainStarted]
        assert (machine.state, machine.refusal) == (State.DRAINING, "draining")
        for verb in (machine.cordon, machine.uncordon):
            with pytest.raises(LifecycleConflictError, match=r"http.*alice.*one-way"):
                verb()
        machine.registered(2.0)
        assert machine.state is State.DRAINING


class TestTheEnd:
    def test_with_no_call_it_is_drained_at_once_and_exits_after_the_linger(self):
        machine = serving()
        _, decisions = machine.begin_drain(10.0, source="signal")
        assert [type(decision) for decision in decisions] == [DrainStarted, DrainCompleted]
        assert machine.state is State.DRAINED
        assert tick(machine, 12.9) == ()
        assert tick(machine, 13.0) == (Exit(ExitCode.DRAINED),)
        assert (machine.state, machine.exit_code) == (State.EXITED, ExitCode.DRAINED)
        assert tick(machine, 99.0) == ()

    def test_a_pending_offer_keeps_it_draining_until_it_launched_or_failed(self):
        machine = serving(drain_linger=0.0)
        machine.calls_changed(0.0, live=0, pending=1, cut=0)
        machine.begin_drain(1.0, source="signal")
        assert machine.state is State.DRAINING
        machine.calls_changed(2.0, live=1, pending=0, cut=0)
        assert machine.state is State.DRAINING
        decisions = machine.calls_changed(3.0, live=0, pending=0, cut=0)
        assert decisions == (DrainCompleted("ok"), Exit(ExitCode.DRAINED))

    def test_the_deadline_cuts_and_the_code_says_so(self):
        machine = serving()
        machine.calls_changed(0.0, live=2, pending=0, cut=0)
        machine.begin_drain(0.0, source="signal")
        assert tick(machine, 99.9, live=2) == ()
        assert tick(machine, 100.0, live=2) == (CutDue(),)
        assert machine.calls_changed(101.0, live=0, pending=0, cut=2) == (DrainCompleted("cut"),)
        assert machine.state is State.DRAINING  # never drained: that would be a clean end
        assert tick(machine, 104.0, cut=2) == (Exit(ExitCode.CUT),)

    def test_calls_that_hung_up_by_themselves_at_the_deadline_were_not_cut(self):
        machine = serving()
        machine.calls_changed(0.0, live=1, pending=0, cut=0)
        machine.begin_drain(0.0, source="signal")
        tick(machine, 100.0, live=1)
        assert machine.calls_changed(100.5, live=0, pending=0, cut=0) == (DrainCompleted("ok"),)
        assert tick(machine, 103.5) == (Exit(ExitCode.DRAINED),)

    def test_what_cannot_be_ended_is_killed_at_the_hard_cap(self):
        machine = serving()
        machine.calls_changed(0.0, live=1, pending=0, cut=0)
        machine.begin_drain(0.0, source="signal")
        tick(machine, 100.0, live=1)
        assert tick(machine, 109.9, live=1) == ()
        assert tick(machine, 110.0, live=1) == (KillDue(),)
        assert machine.all_killed(110.1) == (DrainCompleted("cut"),)
        assert tick(machine, 113.1) == (Exit(ExitCode.KILLED),)

    def test_an_offer_that_never_becomes_a_call_is_gone_at_the_hard_cap_and_nobody_was_killed(self):
        machine = serving()
        machine.calls_changed(0.0, live=0, pending=1, cut=0)
        machine.begin_drain(0.0, source="signal")
        assert machine.calls_changed(100.0, live=0, pending=1, cut=0) == (CutDue(),)  # should it launch yet
        assert machine.calls_changed(109.9, live=0, pending=1, cut=0) == ()
        assert machine.calls_changed(110.0, live=0, pending=1, cut=0) == (DrainCompleted("ok"),)
        assert machine.state is State.DRAINED
        assert machine.calls_changed(113.0, live=0, pending=1, cut=0) == (Exit(ExitCode.DRAINED),)

    def test_one_that_launches_even_later_ends_with_the_process_and_the_code_says_so(self):
        machine = serving()
        machine.calls_changed(0.0, live=0, pending=1, cut=0)
        machine.begin_drain(0.0, source="signal")
        machine.calls_changed(100.0, live=0, pending=1, cut=0)
        machine.calls_changed(110.0, live=0, pending=1, cut=0)
        assert machine.calls_changed(111.0, live=1, pending=0, cut=0) == ()
        assert machine.state is State.DRAINING
        assert machine.calls_changed(113.0, live=1, pending=0, cut=0) == (Exit(ExitCode.CUT),)

    def test_losing_livekit_for_good_exits_4_after_the_calls(self):
        machine = serving(waits=True)
        machine.calls_changed(0.0, live=1, pending=0, cut=0)
        machine.begin_drain(0.0, source="livekit")
        machine.calls_changed(5.0, live=0, pending=0, cut=0)
        assert tick(machine, 8.0) == (Exit(ExitCode.NEVER_CONNECTED),)


class TestDeadline:
    def test_later_requests_only_shorten_it(self):
        machine = serving()
        machine.calls_changed(0.0, live=1, pending=0, cut=0)
        machine.begin_drain(0.0, source="signal")
        effect, decisions = machine.begin_drain(10.0, source="http", actor="bob", timeout=20.0)
        assert effect == "already"
        [shortened] = decisions
        assert isinstance(shortened, DrainShortened)
        assert (shortened.drain.deadline, shortened.drain.source) == (30.0, "signal")
        assert machine.begin_drain(11.0, source="http", timeout=50.0) == ("already", ())
        assert machine.begin_drain(11.0, source="signal") == ("already", ())
        assert machine.drain.deadline == 30.0

    def test_a_request_beyond_the_workers_own_limit_counts_as_that(self):
        machine = serving()
        machine.calls_changed(0.0, live=1, pending=0, cut=0)
        machine.begin_drain(5.0, source="http", timeout=9_999.0)
        assert machine.drain.deadline == 105.0


class TestWaiting:
    def test_it_stays_drained_until_a_signal_comes(self):
        machine = serving(waits=True)
        machine.begin_drain(0.0, source="http")
        assert machine.state is State.DRAINED
        assert tick(machine, 1_000.0) == ()
        assert machine.begin_drain(1_001.0, source="signal") == ("already", (Exit(ExitCode.DRAINED),))

    def test_a_signal_that_came_first_does_not_wait(self):
        machine = serving(waits=True)
        machine.begin_drain(0.0, source="signal")
        assert tick(machine, 3.0) == (Exit(ExitCode.DRAINED),)

    def test_one_that_cut_calls_waits_too_and_tells_it_at_the_end(self):
        """A platform that restarts whatever the code would bring the old version back."""
        machine = serving(waits=True)
        machine.calls_changed(0.0, live=1, pending=0, cut=0)
        machine.begin_drain(0.0, source="http")
        machine.calls_changed(100.0, live=1, pending=0, cut=0)
        assert machine.calls_changed(101.0, live=0, pending=0, cut=1) == (DrainCompleted("cut"),)
        assert machine.calls_changed(1_000.0, live=0, pending=0, cut=1) == ()
        assert machine.state is State.DRAINING  # never drained: that would be a clean end
        assert machine.begin_drain(1_001.0, source="signal") == ("already", (Exit(ExitCode.CUT),))

    def test_one_that_had_to_kill_does_not_wait(self):
        """Its process may hold threads that nobody can end."""
        machine = serving(waits=True)
        machine.calls_changed(0.0, live=1, pending=0, cut=0)
        machine.begin_drain(0.0, source="http")
        machine.calls_changed(100.0, live=1, pending=0, cut=0)
        assert machine.calls_changed(110.0, live=1, pending=0, cut=0) == (KillDue(),)
        machine.calls_changed(110.1, live=0, pending=0, cut=1)
        assert machine.calls_changed(113.1, live=0, pending=0, cut=1) == (Exit(ExitCode.KILLED),)


class LifecycleMachine(RuleBasedStateMachine):
    """Anything in any order; what must hold is in the invariants."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.live = self.pending = self.cut = 0
        self.machine = lifecycle()
        self.decisions: list[object] = []
        self.was_draining = self.had_calls = False
        self.cut_at_exit: int | None = None
        self.deadline = float("inf")

    def note(self, decisions) -> None:
        self.decisions.extend(decisions)
        if self.machine.draining:
            assert self.machine.drain.deadline <= self.deadline
            self.deadline = self.machine.drain.deadline

    def numbers(self) -> None:
        self.note(self.machine.calls_changed(self.now, live=self.live, pending=self.pending, cut=self.cut))

    @rule(seconds=st.floats(0, 60))
    def time_passes(self, seconds) -> None:
        self.now += seconds
        self.numbers()

    @rule()
    def registers(self) -> None:
        self.note(self.machine.registered(self.now))

    @precondition(lambda self: self.machine.refusal is None)
    @rule()
    def accepts(self) -> None:
        self.pending += 1
        self.numbers()

    @precondition(lambda self: self.pending)
    @rule(launched=st.booleans())
    def settles(self, launched) -> None:
        self.pending -= 1
        self.live += launched
        self.had_calls |= launched
        self.numbers()

    @precondition(lambda self: self.live)
    @rule()
    def hangs_up(self) -> None:
        self.live -= 1
        self.cut += any(isinstance(decision, CutDue) for decision in self.decisions)
        self.numbers()

    @rule(wanted=st.booleans())
    def cordons(self, wanted) -> None:
        try:
            (self.machine.cordon if wanted else self.machine.uncordon)()
        except LifecycleConflictError:
            assert self.machine.draining

    @rule(
        source=st.sampled_from(["signal", "http", "api"]),
        timeout=st.none() | st.floats(1, 200),
    )
    def drains(self, source, timeout) -> None:
        was = self.machine.draining
        effect, decisions = self.machine.begin_drain(self.now, source=source, timeout=timeout)
        assert effect == ("already" if was else "started")
        self.note(decisions)

    @precondition(lambda self: any(isinstance(d, KillDue) for d in self.decisions) and self.live + self.pending)
    @rule()
    def all_is_killed(self) -> None:
        self.cut += self.live
        self.live = self.pending = 0
        self.numbers()
        self.note(self.machine.all_killed(self.now))

    @invariant()
    def draining_is_one_way(self) -> None:
        assert not (self.was_draining and not self.machine.draining)
        self.was_draining = self.machine.draining

    @invariant()
    def everything_happens_once_and_in_order(self) -> None:
        kinds = [type(decision) for decision in self.decisions if not isinstance(decision, DrainShortened)]
        order = [DrainStarted, CutDue, KillDue, DrainCompleted, Exit]
        assert len(kinds) == len(set(kinds))
        assert kinds == sorted(kinds, key=order.index)

    @invariant()
    def nobody_is_killed_where_no_call_was(self) -> None:
        if any(isinstance(decision, KillDue) for decision in self.decisions):
            assert self.had_calls

    @invariant()
    def nothing_completes_while_a_call_is_live_or_may_come(self) -> None:
        if self.machine.state is State.DRAINED:
            assert self.live == 0
            if self.pending:  # given up for gone, but not before the hard cap
                assert self.now >= self.machine.drain.deadline + 10.0
        if self.machine.state is State.EXITED and self.live:
            assert self.machine.exit_code in (ExitCode.CUT, ExitCode.KILLED)
        if self.machine.draining and self.live + self.pending == 0:
            assert DrainCompleted in [type(decision) for decision in self.decisions]

    @invariant()
    def the_code_tells_what_became_of_the_calls(self) -> None:
        code = self.machine.exit_code
        if code is not None:
            killed = any(isinstance(decision, KillDue) for decision in self.decisions)
            cut = self.cut_at_exit if self.cut_at_exit is not None else self.cut + self.live
            self.cut_at_exit = cut
            assert code is (ExitCode.KILLED if killed else ExitCode.CUT if cut else ExitCode.DRAINED)


TestAnyOrder = LifecycleMachine.TestCase
TestAnyOrder.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@given(timeout=st.none() | st.floats(1, 1e6), limit=st.floats(1, 1e6))
def test_no_request_goes_beyond_the_limit(timeout, limit):
    machine = serving(drain_timeout=limit)
    machine.calls_changed(0.0, live=1, pending=0, cut=0)
    machine.begin_drain(50.0, source="http", timeout=timeout)
    assert machine.drain.deadline <= 50.0 + limit
