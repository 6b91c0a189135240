"""Promises that hold for every fleet, every interleaving and every point of a kill."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from openrtc_tui.operations.plans.build import PlanError, PlatformFacts, plan_drain, plan_promote, plan_rollback
from openrtc_tui.operations.plans.machine import advance
from openrtc_tui.operations.plans.plan import Drain, DrainStep, Finish, Plan, Stop, Wait
from openrtc_tui.operations.plans.progress import replay
from openrtc_tui.operations.plans.words import plan_lines, run_of
from openrtc_tui.operations.platforms.platform import Description

from .simulation import FakeExecutor, FakeFleet, FakeWorker, has_ready, takes_from_nobody

TICKS = 2_000
AGENTS = ("booking", "billing")

workers = st.builds(
    FakeWorker,
    key=st.just(""),
    version=st.sampled_from(["v1", "v2", "v2", "v3"]),
    agent=st.sampled_from(AGENTS),
    boot=st.just(""),
    state=st.sampled_from(["serving", "serving", "serving", "cordoned", "starting", "draining", "drained"]),
    calls=st.integers(0, 3),
    room=st.just(10),
    held=st.sampled_from([None, (1, ("v2",)), (1, ("v2",)), (1, ("v1", "v2"))]),
    dropped=st.sampled_from([0, 0, 0, 2]),
)


@st.composite
def fleets(draw) -> FakeFleet:
    found = draw(st.lists(workers, min_size=1, max_size=6))
    held = draw(st.sampled_from([None, (1, ("v2",)), (1, ("v1", "v2"))]))
    for number, one in enumerate(found):
        one.key, one.boot = f"w{number}", f"first-{number}"
        one.held = held if one.held is not None else None
        if one.state == "starting":
            one.register_at = 1_010.0
        if one.state == "drained":
            one.calls = 0
    return FakeFleet(found, ends_other=draw(st.booleans()), seq=1)


def make(kind: str, fleet: FakeFleet, *, platform: bool, wait: bool) -> Plan:
    view = fleet.view()
    if kind == "drain":
        return plan_drain(view, version="v2", wave=2, timeout=300.0)
    if kind == "promote":
        return plan_promote(view, "v1", publishes=True)
    facts = PlatformFacts(name="local", ends_other=fleet.ends_other, description=Description()) if platform else None
    return plan_rollback(view, "v1", publishes=kind == "rollback", bad="v2", platform=facts, wait=wait, wave=2)


@st.composite
def executors(draw) -> FakeExecutor:
    fleet = draw(fleets())
    kind = draw(st.sampled_from(["drain", "promote", "rollback", "rollback", "without manifest"]))
    try:
        plan = make(kind, fleet, platform=draw(st.booleans()), wait=draw(st.sampled_from([True, True, False])))
    except PlanError:
        assume(condition=False)
        raise
    random = draw(st.randoms(use_true_random=False))
    return FakeExecutor(plan, fleet, lambda most: random.randint(0, most))


quick = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@quick
@given(executors())
def test_every_plan_ends_and_waits_only_with_a_reason_and_a_deadline(executor):
    assert isinstance(executor.run(TICKS), Finish | Stop)
    waits = [decision for decision in executor.decisions if isinstance(decision, Wait)]
    assert all(wait.what and wait.until is not None for wait in waits)


@quick
@given(executors())
def test_no_manifest_leaves_callers_without_a_ready_worker_unless_overridden(executor):
    """Only the one that names both versions and takes calls from nobody needs none: it lets the first take them."""
    executor.run(TICKS)
    for decision, view in executor.publications:
        widens = len(decision.active) == 2 and takes_from_nobody(decision, view)
        assert has_ready(decision, view) or widens or "last_worker" in executor.plan.overrides


@quick
@given(executors())
def test_no_operation_has_two_effects_wherever_the_executor_is_killed(executor):
    executor.run(TICKS)
    fleet = executor.fleet
    identities = {}
    for op_id, boot in fleet.drains:
        assert identities.setdefault(boot, op_id) == op_id, "one boot, two operations"
    intents = [line for line in executor.lines if line["event"] == "op.intent"]
    assert len({line["op_id"] for line in intents}) == len(intents)
    actions = Counter(line["action"] for line in intents)
    kinds = [type(step).__name__ for step in executor.plan.steps]
    assert actions["publish"] <= kinds.count("PublishStep")
    assert actions["start"] <= kinds.count("StartStep")
    assert len(fleet.published) <= actions["publish"]


@quick
@given(executors())
def test_the_journal_at_any_prefix_gives_one_decision_and_reading_a_line_twice_changes_nothing(executor):
    executor.run(TICKS)
    view, now = executor.fleet.view(), executor.fleet.now
    for end in range(len(executor.lines) + 1):
        prefix = executor.lines[:end]
        progress = replay(executor.plan, prefix)
        decoded = msgspec.convert(msgspec.json.decode(msgspec.json.encode(executor.plan)), Plan)
        assert replay(decoded, msgspec.json.decode(msgspec.json.encode(prefix))) == progress
        decision = advance(executor.plan, progress, view, now)
        assert advance(decoded, progress, view, now) == decision
        for asked in decision.again if isinstance(decision, Drain) else ():
            assert asked in progress.asked
    again = [line for line in executor.lines for _ in range(1 + (line["event"] == "op.intent"))]
    assert replay(executor.plan, again) == executor.progress


@quick
@given(executors())
def test_no_more_workers_than_a_wave_are_asked_at_once_and_none_after_a_violation(executor):
    executor.run(TICKS)
    drains = [decision for decision in executor.decisions if isinstance(decision, Drain)]
    waves = [step.wave for step in executor.plan.steps if hasattr(step, "wave")]
    assert all(len(decision.subjects) <= waves[0] for decision in drains)
    last = executor.decisions[-1]
    if isinstance(last, Stop) and last.word == "violated":
        assert "dropped" in last.why


@quick
@given(executors())
def test_what_is_shown_of_a_run_has_words_at_every_point(executor):
    assert all(isinstance(line, str) for line in plan_lines(executor.plan))
    executor.run(TICKS)
    view, now = executor.fleet.view(), executor.fleet.now
    for end in range(len(executor.lines) + 1):
        progress = replay(executor.plan, executor.lines[:end])
        run = run_of(executor.plan, progress, view, now)
        assert run.doing or progress.step >= len(executor.plan.steps)
        stopped = run_of(executor.plan, progress, view, now, "failed", "why")
        left = executor.plan.steps[progress.step :]
        if left and isinstance(left[0], DrainStep) and progress.asked:  # a drain that was asked for goes on
            assert "asked" in stopped.done[-1]
            assert len(stopped.not_done) in {len(left) - 1, len(left)}
        else:
            assert len(stopped.not_done) == len(left)
        assert stopped.why == "why"


@pytest.mark.parametrize("kind", ["promote", "rollback"])
@quick
@given(fleet=fleets())
def test_a_plan_that_is_made_names_no_version_without_ready_workers_unless_it_waits_or_is_overridden(kind, fleet):
    try:
        plan = make(kind, fleet, platform=False, wait=False)
    except PlanError:
        return
    ready = {row.version for row in fleet.view().rows if row.ready_to_take}
    assert "v1" in ready or plan.overrides
