"""From what an operator wants to a plan: steps, what blocks, what warns, what has to be typed."""

from __future__ import annotations

import pytest

from openrtc_tui.operations.intent import LAST
from openrtc_tui.operations.plans.build import (
    PlanError,
    PlatformFacts,
    plan_drain,
    plan_promote,
    plan_rollback,
    rollback_versions,
)
from openrtc_tui.operations.plans.interlocks import OUTAGE, SHORT
from openrtc_tui.operations.plans.plan import (
    DrainStep,
    Need,
    Objection,
    PublishStep,
    QuietStep,
    ReadyStep,
    StartStep,
    WatchStep,
)
from openrtc_tui.operations.platforms.platform import Description
from openrtc_tui.state.view import WorkerState

from .fleets import fleet, unheard, violated, worker

V1, V2 = (3, ("v1",)), (4, ("v2",))


def kinds(plan) -> list[str]:
    return [type(step).__name__.removesuffix("Step").lower() for step in plan.steps]


def codes(plan) -> set[str]:
    return {objection.code for objection in plan.objections}


def platform(*, ends_other=True, current=None, known=(), objections=()) -> PlatformFacts:
    return PlatformFacts(
        name="kubernetes",
        ends_other=ends_other,
        description=Description(current=current, known=known, peak=7, token="token"),
        objections=objections,
    )


WARM = fleet(
    worker("a-1", "v1", held=V2, agent="booking"),
    worker("b-1", "v2", held=V2, agent="booking", calls=3, oldest_seconds=60.0),
    worker("b-2", "v2", held=V2, agent="booking", calls=2),
    rollout=("v1", "v2"),
)
COLD = fleet(worker("b-1", "v2", held=V2, agent="booking", calls=3), rollout=("v1", "v2"))


# --------------------------------------------------------------------------------------------------- rollback


def test_a_rollback_to_a_version_that_is_ready_publishes_it_then_drains_the_bad_one():
    plan = plan_rollback(WARM, publishes=True)
    assert (plan.to_version, plan.from_version, plan.challenge) == ("v1", "v2", "v1")
    publish, quiet, drain, watch = plan.steps
    assert publish == PublishStep(active=("v1",), needs=(Need(agent_name="booking", deployment="", room=5),))
    assert isinstance(quiet, QuietStep)
    assert quiet.version == "v2"
    assert isinstance(drain, DrainStep)
    assert [(subject.key, subject.calls) for subject in drain.subjects] == [("b-1", 3), ("b-2", 2)]
    assert (drain.version, drain.wave, watch) == ("v2", 5, WatchStep(version="v2"))
    assert (plan.calls, plan.oldest_seconds, plan.objections, plan.blocked) == (5, 60.0, (), False)


def test_where_the_platform_ends_the_other_version_both_are_named_before_it_is_asked():
    plan = plan_rollback(COLD, publishes=True, platform=platform())
    assert kinds(plan) == ["publish", "start", "ready", "publish", "quiet", "drain", "watch"]
    both, start, ready, good = plan.steps[:4]
    assert isinstance(both, PublishStep)
    assert both.active == ("v1", "v2")
    assert start == StartStep(version="v1", token="token", ends_other=True)
    assert isinstance(ready, ReadyStep)
    assert ready.needs == (Need(agent_name="booking", deployment="", room=3),)
    assert isinstance(good, PublishStep)
    assert good.active == ("v1",)
    assert plan.peak == 7


def test_a_platform_that_leaves_the_other_version_alone_needs_no_manifest_for_both():
    plan = plan_rollback(COLD, publishes=True, platform=platform(ends_other=False))
    assert kinds(plan) == ["start", "ready", "publish", "quiet", "drain", "watch"]


def test_workers_that_read_the_manifest_by_themselves_get_both_versions_first():
    """Each reads at its own moment: with the good one alone, all could be closed for some seconds."""
    promote = plan_promote(
        fleet(worker("a-1", "v1", held=V1), worker("b-1", "v2", held=V1)), "v2", publishes=True, reread=True
    )
    both, taking, alone, _ = promote.steps
    assert both == PublishStep(active=("v2", "v1"), widens=True)
    assert (taking.version, taking.taking, taking.needs) == ("v2", True, alone.needs)
    assert alone.active == ("v2",)
    assert kinds(plan_rollback(WARM, publishes=True, reread=True)) == [
        *("publish", "ready", "publish", "quiet", "drain", "watch")
    ]
    cold = plan_rollback(COLD, publishes=True, reread=True, platform=platform())
    assert kinds(cold) == ["publish", "start", "ready", "ready", "publish", "quiet", "drain", "watch"]


def test_a_version_that_is_not_there_yet_can_be_named_beside_the_one_that_takes_the_calls():
    """What to publish before a Deployment starts the new pods and ends the old ones."""
    plan = plan_promote(fleet(worker("a-1", "v1", held=V1, calls=3)), "v2", publishes=True, beside=["v1"])
    assert plan.steps == (PublishStep(active=("v2", "v1"), widens=True),)
    assert (plan.objections, plan.challenge, plan.from_version, plan.calls) == ((), "", None, 0)
    assert [(room.version, room.workers) for room in plan.after] == [("v1", 1)]


def test_naming_two_versions_still_leaves_nobody_alone_whom_a_third_one_serves():
    rows = (worker("a-1", "v1", agent="booking"), worker("b-1", "v2", agent="booking"))
    third = worker("c-1", "v3", agent="billing", calls=1)
    plan = plan_promote(fleet(*rows, third), "v2", publishes=True, beside=["v1"])
    assert [objection.code for objection in plan.objections] == ["last_worker"]
    assert isinstance(plan.steps[0], PublishStep)
    assert plan.steps[0].active == ("v2", "v1")


def test_where_the_good_version_takes_calls_already_one_manifest_is_enough():
    rows = (worker("a-1", "v1"), worker("b-1", "v2"))
    assert kinds(plan_promote(fleet(*rows), "v2", publishes=True, reread=True)) == ["publish", "quiet"]


@pytest.mark.parametrize(
    "coming",
    [
        worker("a-1", "v1", held=V2, state="starting", agent="booking"),
        worker("a-1", "v1", held=V2, shown=WorkerState.STALE, agent="booking"),
        worker("a-1", "v1", held=V2, room=1, agent="booking"),
        unheard("a-1"),
    ],
    ids=["starting", "stale", "short of room", "not heard yet"],
)
def test_without_a_platform_the_plan_waits_for_workers_that_can_be_ready_yet(coming):
    plan = plan_rollback(fleet(coming, *COLD.rows, rollout=("v1", "v2")), publishes=True)
    assert kinds(plan) == ["ready", "publish", "quiet", "drain", "watch"]
    assert codes(plan) == {"no_platform"}
    assert not plan.blocked


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (worker("a-1", "v1", held=V2, state="draining", agent="booking"),),
        (worker("a-1", "v1", held=V2, shown=WorkerState.LOST, agent="booking"),),
        (worker("a-1", "v1", held=V2, findings=("foreign",), agent="booking"),),
        (worker("a-1", "v1", held=V2, agent="billing"),),
    ],
    ids=["none", "draining", "lost", "foreign", "another agent"],
)
def test_without_a_platform_nothing_is_waited_for_where_nobody_can_come(rows):
    """The ten minutes would end in the same words, with the bad version taking the calls meanwhile."""
    view = fleet(*rows, *COLD.rows, rollout=("v1", "v2"))
    plan = plan_rollback(view, publishes=True)
    assert plan.blocked
    (refused,) = [objection for objection in plan.objections if objection.blocks]
    assert refused.code == "nobody_comes"
    assert "no worker of the agent booking is ready on v1, none is on its way" in refused.text
    assert "no platform" in refused.text
    assert not plan_rollback(view, publishes=True, platform=platform()).blocked
    assert plan_rollback(view, publishes=True, wait=False).overrides == {"last_worker"}


def test_going_to_a_version_that_drains_is_a_warning_that_says_whether_others_have_to_be_started():
    """A drain is never taken back: what was meant as the way back is on its way out."""
    going = [worker(f"a-{n}", "v1", held=V2, state="draining", agent="booking", calls=1) for n in range(3)]
    gone = worker("a-9", "v1", held=V2, state="drained", agent="booking")
    cold = fleet(*going, gone, *COLD.rows, rollout=("v1", "v2"))
    text = "3 workers of v1 are draining: they take no new call any more"
    for plan in (
        plan_rollback(cold, publishes=True, platform=platform(ends_other=False)),
        plan_promote(cold, "v1", publishes=True),
    ):
        (warning,) = [objection for objection in plan.objections if not objection.blocks]
        assert (warning.code, warning.text) == ("target_drains", f"{text}; others have to be started")
        assert not plan.blocked
    assert kinds(plan_rollback(cold, publishes=True, platform=platform(ends_other=False)))[:2] == ["start", "ready"]
    warm = fleet(going[0], *WARM.rows, rollout=("v1", "v2"))
    (warning,) = plan_rollback(warm, publishes=True).objections
    assert warning.text == "1 worker of v1 is draining: it takes no new call any more"


def test_a_switch_at_once_to_a_version_without_ready_workers_has_to_be_typed_and_is_audited():
    plan = plan_rollback(COLD, publishes=True, wait=False, reason="worse than nobody")
    assert kinds(plan) == ["publish", "quiet", "drain", "watch"]
    (objection,) = plan.objections
    assert (objection.code, objection.blocks, objection.override) == ("last_worker", True, LAST)
    assert plan.challenge == LAST
    assert plan.reason == "override last-worker: worse than nobody"
    assert plan.overrides == {"last_worker"}


def test_ready_workers_without_room_for_the_live_calls_are_not_enough():
    rows = (worker("a-1", "v1", held=V2, room=4), worker("b-1", "v2", held=V2, calls=5))
    plan = plan_rollback(fleet(*rows, rollout=("v1", "v2")), publishes=True, wait=False)
    assert plan.challenge == SHORT
    assert kinds(plan_rollback(fleet(*rows, rollout=("v1", "v2")), publishes=True))[0] == "ready"


def test_each_agent_and_deployment_of_the_bad_version_needs_a_worker_of_its_own():
    rows = (
        worker("a-1", "v1", held=V2, agent="booking"),
        worker("b-1", "v2", held=V2, agent="booking", calls=1),
        worker("b-2", "v2", held=V2, agent="billing", deployment="eu", calls=2),
    )
    plan = plan_rollback(fleet(*rows, rollout=("v1", "v2")), publishes=True)
    ready = plan.steps[0]
    assert isinstance(ready, ReadyStep)
    assert ready.needs == (
        Need(agent_name="billing", deployment="eu", room=2),
        Need(agent_name="booking", deployment="", room=1),
    )


def test_a_bad_version_that_is_cordoned_already_still_says_what_the_good_one_needs():
    rows = (worker("b-1", "v2", held=V2, state="cordoned", agent="booking", calls=1),)
    plan = plan_rollback(fleet(*rows, rollout=("v1", "v2")), publishes=True)
    ready = plan.steps[0]
    assert isinstance(ready, ReadyStep)
    assert ready.needs == (Need(agent_name="booking", deployment="", room=1),)


def test_without_a_manifest_the_bad_workers_drain_at_once_after_the_good_ones_are_ready_and_it_says_so():
    rows = [worker(f"b-{n}", "v2", calls=1) for n in range(8)]
    plan = plan_rollback(fleet(*rows, rollout=("v1", "v2")), publishes=False, platform=platform(ends_other=False))
    assert kinds(plan) == ["start", "ready", "drain", "watch"]
    drain = plan.steps[2]
    assert isinstance(drain, DrainStep)
    assert drain.wave == 8
    assert "no_manifest" in codes(plan)
    assert not plan.blocked


def test_starting_a_version_that_the_workers_manifest_does_not_name_is_refused_where_none_can_be_published():
    """The platform would start workers that take no call, and end those that do."""
    plan = plan_rollback(COLD, publishes=False, platform=platform())
    assert plan.blocked
    assert next(objection for objection in plan.objections if objection.blocks).code == "nobody_takes_calls"


def test_a_platform_that_would_start_the_bad_version_again_is_named():
    plan = plan_rollback(WARM, publishes=True, platform=platform(current="v2"))
    assert codes(plan) == {"platform_wants_bad"}
    assert kinds(plan) == ["publish", "quiet", "drain", "watch"]


def test_without_a_manifest_a_platform_that_wants_the_bad_version_is_asked_even_if_the_good_one_is_ready():
    rows = (worker("a-1", "v1"), worker("b-1", "v2"))
    plan = plan_rollback(fleet(*rows, rollout=("v1", "v2")), publishes=False, platform=platform(current="v2"))
    assert kinds(plan) == ["start", "ready", "drain", "watch"]


def test_what_the_platform_objects_to_counts_only_when_it_is_asked():
    paused = Objection(code="paused", text="the Deployment is paused", blocks=True)
    assert plan_rollback(COLD, publishes=True, platform=platform(objections=(paused,))).blocked
    assert not plan_rollback(WARM, publishes=True, platform=platform(objections=(paused,))).blocked


def test_a_platform_that_does_not_know_the_version_blocks_a_start():
    plan = plan_rollback(COLD, publishes=True, platform=platform(known=("v2", "v3")))
    assert plan.blocked
    assert "unknown_version" in codes(plan)


def test_a_foreign_worker_is_neither_capacity_nor_drained():
    rows = (
        worker("a-1", "v1", held=V2, findings=("foreign",)),
        worker("b-1", "v2", held=V2, calls=1),
        worker("b-2", "v2", held=V2, findings=("duplicate_id",)),
    )
    plan = plan_rollback(fleet(*rows, rollout=("v1", "v2")), publishes=True)
    assert kinds(plan)[0] == "ready"
    (drain,) = [step for step in plan.steps if isinstance(step, DrainStep)]
    assert [subject.key for subject in drain.subjects] == ["b-1"]
    assert "not_asked" in codes(plan)


def test_calls_that_a_boot_has_dropped_before_are_part_of_the_plan_so_that_they_violate_nothing_later():
    rows = (worker("a-1", "v1", held=V2), worker("b-1", "v2", held=V2, calls=1, verdict=violated(3)))
    plan = plan_rollback(fleet(*rows, rollout=("v1", "v2")), publishes=True)
    (drain,) = [step for step in plan.steps if isinstance(step, DrainStep)]
    assert [subject.dropped for subject in drain.subjects] == [3]


def test_after_a_rollback_nothing_of_the_bad_version_is_left_and_a_third_version_takes_no_call():
    rows = (*WARM.rows, worker("c-1", "v3", held=V2, calls=1))
    plan = plan_rollback(fleet(*rows, rollout=("v1", "v2")), "v1", publishes=True)
    assert [(room.version, room.workers, room.places, room.calls) for room in plan.after] == [
        ("v1", 1, 10, 0),
        ("v3", 0, 0, 1),
    ]


# ---------------------------------------------------------------------------------- which version, and which not


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([("v1",), ("v2",)], ("v1", "v2")),
        ([("v1",), ("v1", "v2"), ("v2",)], ("v1", "v2")),
        ([("v0",), ("v1",), ("v2",), ("v1",), ("v2",)], ("v1", "v2")),
        ([], ("v1", "v2")),
    ],
)
def test_the_version_to_go_back_to_is_the_one_that_was_active_before_else_the_rollouts(history, expected):
    assert rollback_versions(WARM, history=history) == expected


def test_the_newest_manifest_that_a_worker_holds_says_which_version_is_left():
    view = fleet(worker("a", "v1", held=(9, ("v3",))), worker("c", "v3", held=(9, ("v3",))))
    assert rollback_versions(view, "v1") == ("v1", "v3")
    assert rollback_versions(view, history=[("v2",)]) == ("v2", "v3")


def test_a_rollback_of_a_rollback_leaves_the_version_that_the_rollout_came_from():
    view = fleet(worker("a", "v1"), worker("b", "v2"), rollout=("v1", "v2"))
    assert rollback_versions(view, "v2") == ("v2", "v1")
    assert rollback_versions(view, "v1") == ("v1", "v2")


@pytest.mark.parametrize(
    ("view", "to"),
    [
        (fleet(worker("a", "v1"), worker("b", "v2"), worker("c", "v3")), "v1"),
        (fleet(worker("a", "v1")), None),
        (fleet(worker("b", "v2", held=V2)), None),
        (WARM, "../etc"),
    ],
)
def test_what_cannot_be_told_is_asked_for_and_not_guessed(view, to):
    with pytest.raises(PlanError):
        plan_rollback(view, to, publishes=True)


def test_one_version_cannot_be_both():
    with pytest.raises(PlanError, match="v2 is the version to leave"):
        plan_rollback(WARM, "v2", bad="v2", publishes=True)


# ---------------------------------------------------------------------------------------------------- promote


def test_promoting_publishes_and_waits_for_quiet_and_drains_nothing():
    view = fleet(worker("a-1", "v1", calls=2), worker("b-1", "v2"), rollout=("v1", "v2"))
    plan = plan_promote(view, "v2", publishes=True)
    assert kinds(plan) == ["publish", "quiet"]
    assert (plan.to_version, plan.from_version, plan.challenge, plan.calls) == ("v2", "v1", "", 2)
    assert [(room.version, room.workers, room.places, room.calls) for room in plan.after] == [
        ("v1", 0, 0, 2),
        ("v2", 1, 10, 0),
    ]


def test_promoting_a_version_without_ready_workers_is_refused_but_for_a_typed_override():
    plan = plan_promote(fleet(worker("a", "v1"), worker("b", "v2", state="cordoned")), "v2", publishes=True)
    assert plan.challenge == LAST
    assert plan.overrides == {"last_worker"}
    short = plan_promote(fleet(worker("a", "v1", calls=9), worker("b", "v2", room=8)), "v2", publishes=True)
    assert short.challenge == SHORT
    silent = plan_promote(fleet(worker("a", "v1", calls=9), worker("b", "v2", room=None)), "v2", publishes=True)
    assert silent.challenge == SHORT, "room that nobody tells is none"


def test_the_first_manifest_of_a_gated_fleet_needs_a_worker_that_is_ready():
    assert not plan_promote(fleet(worker("b", "v2", held=V1)), "v2", publishes=True).objections
    assert plan_promote(fleet(worker("b", "v2", state="starting")), "v2", publishes=True).challenge == LAST


def test_without_a_manifest_nothing_can_be_promoted():
    with pytest.raises(PlanError, match="manifest"):
        plan_promote(WARM, "v1", publishes=False)


# ------------------------------------------------------------------------------------------------------ drain


def test_a_drain_of_a_version_is_in_waves_and_ends_with_the_verdict():
    rows = [worker(f"a-{n}", "v1", calls=1) for n in range(7)]
    plan = plan_drain(fleet(*rows, worker("b", "v2", room=50)), version="v1", wave=3, timeout=60.0)
    drain, watch = plan.steps
    assert isinstance(drain, DrainStep)
    assert (len(drain.subjects), drain.wave, drain.timeout, watch) == (7, 3, 60.0, WatchStep(version="v1"))
    assert (plan.challenge, plan.calls, plan.calls_known) == ("v1", 7, True)
    assert [room.version for room in plan.after] == ["v2"]


def test_a_drain_of_some_workers_asks_for_their_number_and_says_who_is_left_out():
    view = fleet(worker("a", calls=1), worker("b"), worker("c", state="draining"), worker("d", room=9))
    plan = plan_drain(view, keys=["a", "b", "c"])
    assert kinds(plan) == ["drain"]
    assert plan.challenge == "2"
    assert [objection.text for objection in plan.objections] == ["c is draining already"]


def test_a_drain_that_takes_the_last_worker_away_has_to_be_typed():
    plan = plan_drain(fleet(worker("a"), worker("b", "v2", held=V1)), version="v1")
    assert (plan.challenge, plan.reason) == (LAST, "override last-worker:")


def test_nobody_to_drain_is_an_error_that_says_why():
    with pytest.raises(PlanError, match="a is drained already"):
        plan_drain(fleet(worker("a", state="drained")), version="v1")
    with pytest.raises(PlanError, match="v9"):
        plan_drain(fleet(worker("a")), version="v9")


# --------------------------------------------------------------------------------------------------- warnings


def test_a_drain_budget_shorter_than_the_oldest_call_is_a_warning():
    plan = plan_drain(fleet(worker("a", oldest_seconds=601.0, calls=1), worker("b")), keys=["a"])
    (objection,) = plan.objections
    assert (objection.code, objection.blocks) == ("budget_short", False)
    assert "10m 01s" in objection.text
    assert not plan_drain(fleet(worker("a", oldest_seconds=599.0), worker("b")), keys=["a"]).objections
    (objection,) = plan_drain(
        fleet(worker("a", oldest_seconds=599.0), worker("b")), keys=["a"], timeout=60
    ).objections
    assert objection.code == "budget_short"


@pytest.mark.parametrize(("grace", "warned"), [(30.0, True), (644.0, True), (645.0, False), (None, False)])
def test_a_platform_grace_shorter_than_the_whole_drain_is_a_warning(grace, warned):
    """600 s for the calls, 30 s to cut, 5 s to linger, 10 s for the exit."""
    plan = plan_drain(fleet(worker("a", grace=grace), worker("b")), keys=["a"])
    assert ("grace_short" in codes(plan)) is warned


def test_two_ways_of_ending_one_worker_are_a_warning():
    plan = plan_drain(fleet(worker("a", killed_at=2_000.0), worker("b")), keys=["a"])
    assert codes(plan) == {"two_signals"}


def test_a_livekit_outage_stops_every_plan_unless_typed():
    rows = [worker(f"a-{n}", "v1", connected=n > 1) for n in range(3)]
    view = fleet(*rows, worker("b", "v2", room=90), rollout=("v2", "v1"))
    assert not plan_drain(view, version="v1").blocked
    rows[2] = worker("a-2", "v1", connected=False)
    view = fleet(*rows, worker("b", "v2", room=90), rollout=("v2", "v1"))
    for plan in (
        plan_drain(view, version="v1"),
        plan_promote(view, "v2", publishes=True),
        plan_rollback(view, "v2", publishes=True),
    ):
        assert "livekit_outage" in plan.overrides
        assert OUTAGE in plan.challenge
