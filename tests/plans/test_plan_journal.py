"""What a journal's lines add up to."""

from __future__ import annotations

import msgspec

from openrtc_tui.operations.plans.build import plan_drain, plan_promote, plan_rollback
from openrtc_tui.operations.plans.machine import advance
from openrtc_tui.operations.plans.plan import Publish, StepDone, Stop, Wait
from openrtc_tui.operations.plans.sight import newest_manifest, outage, subject_of

from .fleets import NOW, Journal, fleet, violated, worker

V1, V2 = (5, ("v1",)), (4, ("v2",))


def test_a_boot_that_was_asked_once_keeps_its_first_identity():
    a = worker("a", calls=1)
    journal = Journal(plan_drain(fleet(a, worker("z", "v2", room=9)), keys=["a"]))
    journal.asked(a, "1")
    journal.asked(a, "2")
    assert [asked.op_id for asked in journal.progress.asked] == ["1"]


def test_what_was_dropped_before_is_known_from_the_plan_where_the_line_does_not_say():
    a = worker("a", calls=1, verdict=violated(3), settled=False)
    journal = Journal(plan_drain(fleet(a, worker("z", "v2", room=9)), keys=["a"]))
    subject = msgspec.to_builtins(subject_of(a))
    del subject["dropped"]
    progress = journal.write("op.intent", op_id="1", action="drain", subject=subject, wave=1)
    assert progress.asked[0].subject.dropped == 3


def test_manifests_put_to_single_workers_and_lines_of_other_plans_are_no_steps_of_this_one():
    view = fleet(worker("a", "v1"), worker("b", "v2"))
    journal = Journal(plan_promote(view, "v1", publishes=True))
    before = journal.progress
    subject = msgspec.to_builtins(subject_of(view.rows[0]))
    journal.write("op.intent", op_id="x", action="manifest", subject=subject, publish="p")
    journal.write("op.outcome", op_id="x", outcome="started")
    journal.write("op.intent", op_id="y", action="publish", manifest_seq=9, plan_id="other")
    journal.write("plan.resumed")
    after = journal.progress
    assert (after.step, after.op_id, after.seq, after.effect) == (before.step, None, None, None)


def test_the_number_of_a_manifest_is_not_the_number_of_the_line():
    journal = Journal(plan_promote(fleet(worker("a", "v1"), worker("b", "v2")), "v1", publishes=True))
    progress = journal.write("op.intent", op_id="p", action="publish", manifest_seq=9, seq=77)
    assert progress.seq == 9
    assert journal.write("op.outcome", op_id="p", outcome="started", seq=78).seq == 9


def test_nothing_counts_after_the_end():
    journal = Journal(plan_promote(fleet(worker("a", "v1"), worker("b", "v2")), "v1", publishes=True))
    ended = journal.write("plan.ended", word="failed", why="x")
    assert journal.write("step.done", step=0) == ended
    assert isinstance(advance(journal.plan, ended, fleet(worker("a", "v1")), NOW), Stop)


def test_an_older_manifest_with_the_same_versions_does_not_prove_that_ours_was_published():
    view = fleet(worker("a", "v1", held=(4, ("v1",))), worker("b", "v2", held=(4, ("v1",))), rollout=("v1", "v2"))
    journal = Journal(plan_rollback(view, "v1", bad="v2", publishes=True))
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    assert isinstance(advance(journal.plan, journal.progress, view, NOW), Publish)
    seen = fleet(worker("a", "v1", held=V1), worker("b", "v2", held=V1))
    assert isinstance(advance(journal.plan, journal.progress, seen, NOW), StepDone)


def test_a_promotion_that_needs_no_agent_still_needs_somebody_ready():
    gated = fleet(worker("a", "v1", held=V2))
    journal = Journal(plan_promote(gated, "v1", publishes=True))
    assert isinstance(advance(journal.plan, journal.progress, gated, NOW), Publish)
    stop = advance(journal.plan, journal.progress, fleet(worker("a", "v1", held=V2, ready=False)), NOW)
    assert isinstance(stop, Stop)
    assert "no worker is ready" in stop.why


def test_a_gated_newcomer_without_calls_holds_no_verdict_open_and_one_with_calls_does():
    view = fleet(worker("a", "v1", held=V2), worker("b", "v2", held=V2), rollout=("v1", "v2"))
    journal = Journal(plan_rollback(view, publishes=True))
    journal.to_step(3)
    good = worker("a", "v1", held=V1)
    idle = fleet(good, worker("c", "v2", held=V1))
    assert isinstance(advance(journal.plan, journal.progress, idle, NOW), StepDone)
    busy = fleet(good, worker("c", "v2", held=V1, calls=1))
    assert isinstance(advance(journal.plan, journal.progress, busy, NOW), Wait)


def test_a_manifest_that_only_a_stranger_shows_is_none():
    assert newest_manifest(fleet(worker("a", held=(9, ("v9",)), findings=("foreign",)))) is None


def test_one_worker_without_livekit_is_no_outage():
    assert outage(fleet(worker("a", connected=False))) is None
    assert outage(fleet(worker("a", connected=False), worker("b", connected=False))) is not None
