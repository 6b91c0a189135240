"""The machine, step by step: what it does next, what it looks at first, and where it stops."""

from __future__ import annotations

from dataclasses import replace

import pytest

from openrtc_tui.operations.plans.build import PlatformFacts, plan_drain, plan_promote, plan_rollback
from openrtc_tui.operations.plans.machine import advance
from openrtc_tui.operations.plans.plan import (
    Drain,
    DrainStep,
    Finish,
    Objection,
    Publish,
    Start,
    StepDone,
    Stop,
    Wait,
)
from openrtc_tui.operations.platforms.platform import Description
from openrtc_tui.state.view import Verdict, VerdictWord, WorkerState

from .fleets import NOW, PROVEN, Journal, fleet, unheard, violated, worker

V1, V2, BOTH = ("v1",), ("v2",), ("v1", "v2")
PLATFORM = PlatformFacts(name="kubernetes", ends_other=True, description=Description(token="t"))


def pair(held=(4, V2), good=V1[0], **bad):
    return fleet(worker("a", good, held=held), worker("b", "v2", held=held, **bad), rollout=("v1", "v2"))


def rollback(view=None, **options):
    return Journal(plan_rollback(view or pair(calls=2), publishes=True, **options))


def drained(*rows, **options):
    """A drain of every v1 worker of *rows*, with a v2 that has room for all."""
    view = fleet(*rows, worker("z", "v2", room=99))
    return Journal(plan_drain(view, version="v1", **options)), view


# ----------------------------------------------------------------------------------------------------- publish


def test_a_manifest_is_published_once_and_its_answer_ends_the_step():
    journal = rollback()
    view = pair(calls=2)
    assert advance(journal.plan, journal.progress, view, NOW) == Publish(active=V1)
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    assert advance(journal.plan, journal.progress, view, NOW) == Publish(active=V1), "the same one, after a kill"
    journal.write("op.outcome", op_id="p", outcome="started", manifest_seq=5)
    assert advance(journal.plan, journal.progress, view, NOW) == StepDone(detail="manifest 5 names v1")


def test_a_manifest_that_the_fleet_shows_is_not_published_again_after_a_kill():
    journal = rollback()
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    assert isinstance(advance(journal.plan, journal.progress, pair((5, V1)), NOW), StepDone)
    assert isinstance(advance(journal.plan, journal.progress, pair((6, V1)), NOW), StepDone), "nor a later one"


@pytest.mark.parametrize("held", [(5, V2), (6, V2), (6, ("v3",))])
def test_another_manifest_under_the_same_number_or_a_later_one_stops_the_plan(held):
    journal = rollback()
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    decision = advance(journal.plan, journal.progress, pair(held), NOW)
    assert isinstance(decision, Stop)
    assert "somebody else published" in decision.why


def test_a_lost_answer_waits_to_be_seen_and_then_says_that_nobody_knows():
    journal = rollback()
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    journal.write("op.outcome", op_id="p", outcome="unknown", detail="timed out")
    wait = advance(journal.plan, journal.progress, pair(), NOW + 1)
    assert isinstance(wait, Wait)
    assert wait.until == NOW + 15
    stop = advance(journal.plan, journal.progress, pair(), NOW + 16)
    assert isinstance(stop, Stop)
    assert "nobody knows" in stop.why
    assert isinstance(advance(journal.plan, journal.progress, pair((5, V1)), NOW + 16), StepDone)


@pytest.mark.parametrize("outcome", ["refused", "unreached"])
def test_a_manifest_that_was_not_taken_stops_the_plan(outcome):
    journal = rollback()
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    journal.write("op.outcome", op_id="p", outcome=outcome, detail="no release key")
    decision = advance(journal.plan, journal.progress, pair(), NOW)
    assert isinstance(decision, Stop)
    assert "no release key" in decision.why


def test_what_was_ready_when_the_plan_was_made_has_to_be_ready_when_it_switches():
    journal = rollback()
    for good in (
        worker("a", "v1", held=(4, V2), state="draining"),
        worker("a", "v1", held=(4, V2), shown=WorkerState.STALE),
        worker("a", "v1", held=(4, V2), findings=("foreign",)),
        worker("a", "v1", held=(4, V2), room=1),
        worker("a", "v1", held=(4, V2), agent="other"),
    ):
        view = fleet(good, worker("b", "v2", held=(4, V2), calls=2))
        assert isinstance(advance(journal.plan, journal.progress, view, NOW), Stop), good


def test_an_agent_that_appeared_after_the_plan_was_made_is_not_left_without_workers():
    journal = rollback()
    view = fleet(*pair(calls=2).rows, worker("c", "v2", held=(4, V2), agent="billing"))
    decision = advance(journal.plan, journal.progress, view, NOW)
    assert isinstance(decision, Stop)
    assert "billing" in decision.why


def test_an_overridden_switch_is_made_with_nobody_ready():
    journal = rollback(fleet(worker("b", "v2", held=(4, V2), calls=1), rollout=("v1", "v2")), wait=False)
    assert journal.plan.overrides == {"last_worker"}
    view = fleet(worker("b", "v2", held=(4, V2), calls=1))
    assert advance(journal.plan, journal.progress, view, NOW) == Publish(active=V1)


# ------------------------------------------------------------------------------------------------ start and ready


def cold(view=None):
    return rollback(view or fleet(worker("b", "v2", held=(4, V2), calls=1), rollout=("v1", "v2")), platform=PLATFORM)


def test_a_platform_is_not_asked_before_the_newest_manifest_names_the_version():
    journal = cold()
    journal.to_step(1)
    decision = advance(journal.plan, journal.progress, fleet(worker("b", "v2", held=(4, V2))), NOW)
    assert isinstance(decision, Stop)
    assert "nobody would take calls" in decision.why
    named = fleet(worker("b", "v2", held=(5, BOTH)))
    assert advance(journal.plan, journal.progress, named, NOW) == Start(version="v1", token="t")


def test_a_manifest_just_published_is_given_time_to_be_seen_before_the_platform_is_asked():
    journal = cold()
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    journal.write("op.outcome", op_id="p", outcome="started", manifest_seq=5)
    journal.to_step(1)
    behind = fleet(worker("b", "v2", held=(4, V2)))
    assert isinstance(advance(journal.plan, journal.progress, behind, NOW + 1), Wait)
    assert isinstance(advance(journal.plan, journal.progress, behind, NOW + 16), Stop)


@pytest.mark.parametrize("bad", [{"state": "cordoned"}, {"shown": WorkerState.LOST}, {"held": None}])
def test_with_nobody_ready_at_all_both_versions_are_named_before_the_platform_is_asked(bad):
    """The bad version crashed: a manifest that takes calls from nobody lets the first good worker take them."""
    dead = fleet(worker("b", "v2", **{"held": (4, V2), "connected": False, **bad}), rollout=("v1", "v2"))
    journal = cold(dead)
    assert advance(journal.plan, journal.progress, dead, NOW) == Publish(active=BOTH)


def test_naming_both_versions_leaves_no_callers_of_a_third_one_without_workers():
    rows = (worker("b", "v2", held=(4, BOTH), state="cordoned"), worker("c", "v3", agent="billing"))
    journal = cold(fleet(*rows, rollout=("v1", "v2")))
    decision = advance(journal.plan, journal.progress, fleet(*rows), NOW)
    assert isinstance(decision, Stop)
    assert "billing" in decision.why


def test_a_platform_is_asked_again_under_the_same_identity_after_a_kill_and_not_when_its_answer_is_known():
    journal = cold()
    journal.to_step(1)
    view = fleet(worker("b", "v2", held=(5, BOTH)))
    journal.write("op.intent", op_id="s", action="start")
    assert advance(journal.plan, journal.progress, view, NOW) == Start(version="v1", token="t")
    assert journal.progress.op_id == "s"
    journal.write("op.outcome", op_id="s", outcome="started", detail="patched")
    assert advance(journal.plan, journal.progress, view, NOW) == StepDone(detail="patched")


def test_a_platform_is_not_asked_again_after_a_kill_when_the_version_is_not_named_any_more():
    journal = cold()
    journal.to_step(1)
    journal.write("op.intent", op_id="s", action="start")
    named = fleet(worker("b", "v2", held=(5, BOTH)))
    assert isinstance(advance(journal.plan, journal.progress, named, NOW), Start)
    stop = advance(journal.plan, journal.progress, fleet(worker("b", "v2", held=(6, V2))), NOW)
    assert isinstance(stop, Stop)
    assert "nobody would take calls" in stop.why


def test_a_version_that_is_up_already_is_not_asked_for():
    journal = cold()
    journal.to_step(1)
    view = fleet(worker("a", "v1", held=(5, BOTH)), worker("b", "v2", held=(5, BOTH)))
    assert isinstance(advance(journal.plan, journal.progress, view, NOW), StepDone)


@pytest.mark.parametrize(
    ("outcome", "ends"), [("refused", Stop), ("unreached", Stop), ("unknown", StepDone), ("already", StepDone)]
)
def test_what_came_of_a_start(outcome, ends):
    """When nobody knows, the workers will tell: the next step waits for them, with a deadline."""
    journal = cold()
    journal.to_step(1)
    journal.write("op.intent", op_id="s", action="start")
    journal.write("op.outcome", op_id="s", outcome=outcome)
    assert isinstance(advance(journal.plan, journal.progress, pair((5, BOTH)), NOW), ends)


def test_ready_waits_with_a_reason_until_its_deadline():
    journal = cold()
    journal.to_step(2, at=NOW + 10)
    waiting = fleet(worker("a", "v1", held=(5, BOTH), state="starting"), worker("b", "v2", held=(5, BOTH), calls=1))
    wait = advance(journal.plan, journal.progress, waiting, NOW + 20)
    assert isinstance(wait, Wait)
    assert wait.until == NOW + 610
    assert "no worker of the unnamed agent is ready" in wait.what
    assert isinstance(advance(journal.plan, journal.progress, waiting, NOW + 611), Stop)
    assert isinstance(advance(journal.plan, journal.progress, pair((5, BOTH)), NOW + 20), StepDone)


# ------------------------------------------------------------------------------------------------------- quiet


def test_quiet_is_when_every_worker_of_the_version_shows_the_manifest_that_does_not_name_it():
    journal = rollback()
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    journal.write("op.outcome", op_id="p", outcome="started", manifest_seq=5)
    journal.to_step(1)
    for quiet in (
        {"held": (5, V1)},
        {"held": (4, V2), "state": "draining"},
        {"held": (4, V2), "state": "cordoned"},
        {"held": (4, V2), "shown": WorkerState.LOST},
    ):
        view = fleet(worker("a", "v1", held=(5, V1)), worker("b", "v2", **quiet))
        assert isinstance(advance(journal.plan, journal.progress, view, NOW), StepDone), quiet
    for taking in (
        {"held": (4, V2)},
        {"held": (4, V1)},
        {"held": None},
        {"held": (5, V1), "accepting": True},
        {"held": None, "state": "starting"},
    ):
        view = fleet(worker("a", "v1", held=(5, V1)), worker("b", "v2", **taking))
        assert isinstance(advance(journal.plan, journal.progress, view, NOW), Wait), taking
        assert isinstance(advance(journal.plan, journal.progress, view, NOW + 61), Stop), taking


def test_a_later_manifest_of_somebody_else_that_names_the_bad_version_stops_the_plan():
    journal = rollback()
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    journal.write("op.outcome", op_id="p", outcome="started", manifest_seq=5)
    journal.to_step(1)
    assert isinstance(advance(journal.plan, journal.progress, pair((6, V2)), NOW), Stop)


# ------------------------------------------------------------------------------------------------------- drain


def test_waves_the_next_one_when_the_last_is_empty():
    a, b, c = (worker(key, calls=1) for key in "abc")
    journal, view = drained(a, b, c, wave=2)
    first = advance(journal.plan, journal.progress, view, NOW)
    assert isinstance(first, Drain)
    assert ([subject.key for subject in first.subjects], first.wave) == (["a", "b"], 1)
    journal.asked(a, "1", outcome="started")
    journal.asked(b, "2", outcome="started")
    z = view.rows[-1]
    busy = fleet(worker("a", state="draining"), worker("b", state="draining", calls=1), c, z)
    wait = advance(journal.plan, journal.progress, busy, NOW)
    assert isinstance(wait, Wait)
    assert wait.what == "wave 1 to be empty: b (1 call)"
    empty = fleet(worker("a", state="drained", verdict=PROVEN), worker("b", state="draining"), c, z)
    second = advance(journal.plan, journal.progress, empty, NOW)
    assert isinstance(second, Drain)
    assert ([subject.key for subject in second.subjects], second.wave) == (["c"], 2)


def test_a_verdict_that_is_known_lets_the_next_wave_go_but_a_violation_does_not():
    a, b = worker("a", calls=2), worker("b", calls=1)
    journal, view = drained(a, b, wave=1)
    journal.asked(a, "1", outcome="started")
    lost = worker("a", calls=2, shown=WorkerState.LOST)
    decision = advance(journal.plan, journal.progress, fleet(lost, b, view.rows[-1]), NOW)
    assert isinstance(decision, Drain), "unproven, and known"
    hurt = worker("a", state="draining", calls=1, verdict=violated(1), settled=False)
    decision = advance(journal.plan, journal.progress, fleet(hurt, b, view.rows[-1]), NOW)
    assert isinstance(decision, Stop)
    assert (decision.word, "a dropped 1 call" in decision.why) == ("violated", True)


def test_what_a_boot_had_dropped_before_it_was_asked_is_no_violation_of_the_plan():
    a, b = worker("a", calls=2, verdict=violated(3), settled=False), worker("b", calls=1)
    journal, view = drained(a, b, wave=1)
    journal.asked(a, "1", outcome="started")
    same = worker("a", state="drained", verdict=violated(3))
    assert isinstance(advance(journal.plan, journal.progress, fleet(same, b, view.rows[-1]), NOW), Drain)
    more = worker("a", state="drained", verdict=violated(4))
    assert isinstance(advance(journal.plan, journal.progress, fleet(more, b, view.rows[-1]), NOW), Stop)


def test_a_boot_that_drains_already_or_is_over_is_not_asked():
    a, b, c = (worker(key, calls=1) for key in "abc")
    journal, view = drained(a, b, c)
    now = fleet(worker("a", state="draining", calls=1), replace(b, closed=True, key="b#1"), c, view.rows[-1])
    decision = advance(journal.plan, journal.progress, now, NOW)
    assert isinstance(decision, Drain)
    assert [subject.key for subject in decision.subjects] == ["c"]


def test_after_a_kill_a_boot_that_shows_its_drain_is_not_asked_again_and_another_is_under_its_own_op_id():
    a, b, c = (worker(key, calls=1) for key in "abc")
    journal, view = drained(a, b, c, wave=2)
    journal.asked(a, "1")
    journal.asked(b, "2")
    decision = advance(
        journal.plan, journal.progress, fleet(worker("a", state="draining", calls=1), b, c, view.rows[-1]), NOW
    )
    assert isinstance(decision, Drain)
    assert decision.subjects == ()
    assert [(asked.subject.key, asked.op_id) for asked in decision.again] == [("b", "2")]


def test_after_a_kill_nobody_is_asked_again_who_has_become_the_last_worker_meanwhile():
    a, b = worker("a", calls=1), worker("b", calls=1)
    journal, view = drained(a, b, wave=2)
    journal.asked(a, "1", outcome="started")
    journal.asked(b, "2")
    a = worker("a", state="draining", calls=1)
    assert isinstance(advance(journal.plan, journal.progress, fleet(a, b, view.rows[-1]), NOW), Drain)
    stop = advance(journal.plan, journal.progress, fleet(a, b, worker("z", "v2", shown=WorkerState.LOST)), NOW)
    assert isinstance(stop, Stop)
    assert "nobody else takes calls" in stop.why


def test_a_version_that_somebody_lets_take_calls_again_meanwhile_is_not_drained_further():
    view = fleet(worker("a", "v1", held=(4, V2)), *(worker(key, "v2", held=(4, V2)) for key in "bc"))
    journal = rollback(view, to="v1", wave=1)
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    journal.to_step(2)
    gated = fleet(worker("a", "v1", held=(5, V1)), *(worker(key, "v2", held=(5, V1)) for key in "bc"))
    assert isinstance(advance(journal.plan, journal.progress, gated, NOW), Drain)
    again = fleet(worker("a", "v1", held=(6, V2)), *(worker(key, "v2", held=(6, V2)) for key in "bc"))
    stop = advance(journal.plan, journal.progress, again, NOW)
    assert isinstance(stop, Stop)
    assert "manifest 6, which names v2 again" in stop.why


def test_after_a_kill_nobody_is_asked_before_the_dashboard_has_heard_them():
    a = worker("a", calls=1)
    journal, view = drained(a)
    journal.asked(a, "1")
    decision = advance(journal.plan, journal.progress, fleet(unheard("a"), view.rows[-1]), NOW)
    assert isinstance(decision, Wait)
    assert decision.what == "a to be heard or given up"


@pytest.mark.parametrize("step", range(4))
def test_no_step_goes_on_while_a_target_was_neither_heard_nor_given_up(step):
    """Before that, "nobody is left" would only mean that nobody was heard."""
    journal = rollback()
    journal.to_step(step)
    started = advance(journal.plan, journal.progress, fleet(unheard("a"), unheard("b")), NOW)
    assert started == Wait(what="a, b to be heard or given up", until=NOW + 10)
    given_up = fleet(*pair((5, V1)).rows, replace(unheard("c"), state=WorkerState.LOST))
    assert not isinstance(advance(journal.plan, journal.progress, given_up, NOW), Wait)


@pytest.mark.parametrize("outcome", ["refused", "unreached", "unknown"])
def test_a_no_is_looked_at_and_then_stops_the_plan(outcome):
    a, b = worker("a", calls=1), worker("b", calls=1)
    journal, view = drained(a, b, wave=1)
    journal.asked(a, "1", outcome=outcome, detail="another boot")
    assert isinstance(advance(journal.plan, journal.progress, view, NOW + 1), Wait)
    stop = advance(journal.plan, journal.progress, view, NOW + 16)
    assert isinstance(stop, Stop)
    assert "another boot" in stop.why
    gone = fleet(worker("a", boot="new", state="draining"), b, view.rows[-1])
    assert isinstance(advance(journal.plan, journal.progress, gone, NOW + 1), Drain), "it was restarted: b is next"


def test_a_worker_that_does_not_end_past_its_own_deadline_stops_the_plan():
    a, b = worker("a", calls=1), worker("b", calls=1)
    journal, view = drained(a, b, wave=1)
    journal.asked(a, "1", outcome="started")
    busy = fleet(worker("a", state="draining", calls=1, deadline=NOW + 700), b, view.rows[-1])
    wait = advance(journal.plan, journal.progress, busy, NOW)
    assert isinstance(wait, Wait)
    assert wait.until == NOW + 700 + 30 + 5 + 60
    assert isinstance(advance(journal.plan, journal.progress, busy, wait.until + 1), Stop)


def test_a_wave_that_would_take_the_last_worker_away_is_not_asked():
    a, b = worker("a", calls=1), worker("b", calls=1)
    journal, _ = drained(a, b, wave=1)
    journal.asked(a, "1", outcome="started")
    gone = fleet(worker("a", state="drained", verdict=PROVEN), b, worker("z", "v2", shown=WorkerState.LOST))
    stop = advance(journal.plan, journal.progress, gone, NOW)
    assert isinstance(stop, Stop)
    assert "nobody else takes calls" in stop.why
    silent = fleet(
        worker("a", state="drained", verdict=PROVEN),
        b,
        worker("z", "v2", shown=WorkerState.STALE, silent_since=NOW - 5),
    )
    wait = advance(journal.plan, journal.progress, silent, NOW)
    assert isinstance(wait, Wait)
    assert wait.until == NOW + 55


def test_typing_last_for_one_agent_is_none_for_another_that_becomes_alone_later():
    rows = [worker("a", agent="booking"), worker("b", agent="billing")]
    view = fleet(*rows, worker("z", "v2", agent="billing", room=99))
    journal = Journal(plan_drain(view, version="v1"))
    assert journal.plan.overrides == {"last_worker"}
    assert isinstance(advance(journal.plan, journal.progress, view, NOW), Drain)
    later = fleet(*rows, worker("z", "v2", agent="billing", shown=WorkerState.LOST))
    stop = advance(journal.plan, journal.progress, later, NOW)
    assert isinstance(stop, Stop)
    assert ("billing" in stop.why, "booking" in stop.why) == (True, False)


def test_a_switch_that_leaves_one_agent_alone_by_choice_leaves_no_other_alone():
    rows = [worker("a", agent="booking"), worker("b", agent="billing")]
    view = fleet(*rows, worker("z", "v2", agent="billing", room=99))
    journal = Journal(plan_promote(view, "v2", publishes=True))
    assert advance(journal.plan, journal.progress, view, NOW) == Publish(active=V2)
    later = fleet(*rows, worker("z", "v2", agent="billing", ready=False), worker("y", "v2", agent="chat"))
    stop = advance(journal.plan, journal.progress, later, NOW)
    assert isinstance(stop, Stop)
    assert ("billing" in stop.why, "booking" in stop.why) == (True, False)


def test_a_gated_version_is_not_drained_when_the_good_one_has_gone_meanwhile():
    journal = rollback(wave=1)
    journal.to_step(2)
    view = fleet(worker("a", "v1", held=(5, V1), state="cordoned"), worker("b", "v2", held=(5, V1), calls=2))
    assert isinstance(advance(journal.plan, journal.progress, view, NOW), Stop)


def test_a_new_boot_of_the_version_is_drained_too_but_none_that_took_the_place_of_a_drained_one():
    journal = rollback(wave=1)
    journal.to_step(2)
    b = journal.plan.steps[2]
    assert isinstance(b, DrainStep)
    good = worker("a", "v1", held=(5, V1))
    journal.asked(worker("b", "v2", held=(5, V1)), "1", outcome="started")
    anew = worker("b", "v2", held=(5, V1), boot="second")
    more = worker("c", "v2", held=(5, V1))
    decision = advance(journal.plan, journal.progress, fleet(good, anew, more), NOW)
    assert isinstance(decision, Drain)
    assert [subject.key for subject in decision.subjects] == ["c"]
    decision = advance(journal.plan, journal.progress, fleet(good, anew), NOW)
    assert isinstance(decision, StepDone), "it is gated, so it stays idle"


def test_a_platform_that_starts_the_drained_version_again_and_again_stops_the_plan():
    journal = rollback(wave=1)
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    journal.to_step(2)
    journal.asked(worker("b", "v2", held=(5, V1)), "1", outcome="started")
    good = worker("a", "v1", held=(5, V1))
    fresh = fleet(good, worker("b", "v2", boot="second", uptime=3.0))
    wait = advance(journal.plan, journal.progress, fresh, NOW)
    assert isinstance(wait, Wait)
    assert wait.until == NOW + 27, "the manifest has to be put to it first"
    old = fleet(good, worker("b", "v2", boot="second", uptime=40.0))
    assert isinstance(advance(journal.plan, journal.progress, old, NOW), Stop)


# ------------------------------------------------------------------------------------------------ watch and the end


def test_watching_lasts_until_no_boot_of_the_version_is_open_and_says_the_verdict():
    a = worker("a", calls=1)
    journal, view = drained(a)
    journal.asked(a, "1", outcome="started")
    journal.to_step(1)
    z = view.rows[-1]
    draining = fleet(worker("a", state="draining", calls=1), z)
    assert isinstance(advance(journal.plan, journal.progress, draining, NOW), Wait)
    over = fleet(worker("a", state="exited", verdict=PROVEN), z)
    assert advance(journal.plan, journal.progress, over, NOW) == StepDone(detail="dropped 0 PROVEN")
    out_of_sight = advance(journal.plan, journal.progress, fleet(z), NOW)
    assert isinstance(out_of_sight, StepDone)
    assert "no longer in sight" in out_of_sight.detail
    assert "PROVEN" not in out_of_sight.detail
    hurt = fleet(worker("a", state="exited", verdict=violated(1)), z)
    stop = advance(journal.plan, journal.progress, hurt, NOW)
    assert isinstance(stop, Stop)
    assert stop.word == "violated"


def test_workers_that_their_platform_drained_count_in_the_verdict_too():
    journal = rollback()
    journal.to_step(3)
    view = fleet(
        worker("a", "v1", held=(5, V1)), worker("b", "v2", held=(5, V1), state="exited", verdict=violated(2))
    )
    stop = advance(journal.plan, journal.progress, view, NOW)
    assert isinstance(stop, Stop)
    assert stop.word == "violated"


@pytest.mark.parametrize(
    ("verdict", "said"),
    [(PROVEN, "PROVEN"), (Verdict(VerdictWord.UNPROVEN, 0, 3), "0–3 UNPROVEN"), (violated(2), "2 VIOLATED")],
)
def test_workers_that_were_on_their_way_out_before_the_plan_was_made_count_in_the_verdict_too(verdict, said):
    leaving = worker("c", "v2", held=(4, V2), state="draining", calls=3)
    good, b = worker("a", "v1", held=(4, V2)), worker("b", "v2", held=(4, V2))
    journal = rollback(fleet(good, b, leaving, rollout=("v1", "v2")))
    journal.asked(b, "1", outcome="started")
    journal.to_step(3)
    over = worker("b", "v2", held=(5, V1), state="exited", verdict=PROVEN)
    gone = replace(leaving, state=WorkerState.LOST, verdict=verdict, settled=True)
    end = advance(journal.plan, journal.progress, fleet(worker("a", "v1", held=(5, V1)), over, gone), NOW)
    assert isinstance(end, StepDone), "nobody that this plan asked dropped a call"
    assert said in end.detail


def test_a_worker_of_the_good_version_that_is_lost_meanwhile_lets_nothing_be_proven():
    good, other, b = worker("a", "v1", held=(4, V2)), worker("z", "v1", held=(4, V2)), worker("b", "v2", held=(4, V2))
    journal = rollback(fleet(good, other, b, rollout=("v1", "v2")))
    journal.asked(b, "1", outcome="started")
    journal.to_step(3)
    over = worker("b", "v2", held=(5, V1), state="exited", verdict=PROVEN)
    made_at = journal.plan.made_at
    silent = replace(good, state=WorkerState.STALE, calls=2, silent_since=made_at + 1)
    wait = advance(journal.plan, journal.progress, fleet(silent, other, over), NOW)
    assert isinstance(wait, Wait)
    assert wait.what == "a to be heard again"
    lost = replace(silent, state=WorkerState.LOST, verdict=Verdict(VerdictWord.UNPROVEN, 0, 2), settled=True)
    end = advance(journal.plan, journal.progress, fleet(lost, other, over), NOW)
    assert end == StepDone(detail="dropped 0–2 UNPROVEN")
    long_gone = replace(lost, silent_since=made_at - 1)
    end = advance(journal.plan, journal.progress, fleet(long_gone, other, over), NOW)
    assert end == StepDone(detail="dropped 0 PROVEN"), "it was known when the plan was made"


def test_a_worker_that_tells_no_boot_id_holds_up_no_watching_and_lets_nothing_be_proven():
    """It cannot be asked, so no plan waits for it; its calls may still be dropped."""
    journal = rollback()
    journal.to_step(3)
    over = worker("b", "v2", held=(5, V1), state="exited", verdict=PROVEN)
    plain = replace(worker("c", "v2", calls=3), boot_id=None)
    end = advance(journal.plan, journal.progress, fleet(worker("a", "v1", held=(5, V1)), over, plain), NOW)
    assert end == StepDone(detail="dropped 0 so far")


def test_the_plan_is_finished_after_its_last_step():
    journal = rollback()
    journal.to_step(4)
    assert isinstance(advance(journal.plan, journal.progress, pair(), NOW), Finish)


# ------------------------------------------------------------------------------------------------- at every step


@pytest.mark.parametrize("step", range(4))
def test_an_abort_a_livekit_outage_and_a_block_stop_every_step(step):
    journal = rollback()
    journal.to_step(step)
    out = fleet(
        worker("a", "v1", held=(4, V2), connected=False),
        worker("b", "v2", held=(4, V2), connected=False),
        worker("c", "v2", held=(4, V2)),
    )
    stop = advance(journal.plan, journal.progress, out, NOW)
    assert isinstance(stop, Stop)
    assert "LiveKit outage: 2 of 3" in stop.why
    journal.write("plan.aborted")
    assert advance(journal.plan, journal.progress, pair(calls=2), NOW) == Stop(
        why="aborted by the operator", word="aborted"
    )


def test_a_blocked_plan_does_nothing():
    view = fleet(worker("b", "v2", held=(4, V2), calls=1), rollout=("v1", "v2"))
    paused = Objection(code="paused", text="the Deployment is paused", blocks=True)
    facts = PlatformFacts(name="k", ends_other=True, description=Description(), objections=(paused,))
    journal = rollback(view, platform=facts)
    assert advance(journal.plan, journal.progress, view, NOW) == Stop(why="the Deployment is paused")


def test_an_outage_that_was_typed_away_does_not_stop_the_plan():
    rows = (
        worker("a", "v1", held=(4, V2)),
        worker("b", "v2", held=(4, V2), connected=False),
        worker("c", "v2", held=(4, V2), connected=False),
    )
    view = fleet(*rows, rollout=("v1", "v2"))
    journal = rollback(view)
    assert journal.plan.challenge == "OUTAGE"
    assert isinstance(advance(journal.plan, journal.progress, view, NOW), Publish)


def test_workers_that_drain_or_have_not_registered_yet_make_no_outage():
    journal = Journal(plan_promote(pair(), "v1", publishes=True))
    view = fleet(
        *pair(calls=1).rows,
        worker("c", "v2", state="drained", connected=False),
        worker("d", "v2", state="draining", connected=False),
        worker("e", "v1", state="starting", connected=False),
        worker("f", "v2", connected=False, shown=WorkerState.LOST),
    )
    assert isinstance(advance(journal.plan, journal.progress, view, NOW), Publish)
