"""What people read of a plan: before it, while it runs, and when it stopped."""

from __future__ import annotations

import pytest

from openrtc_tui.operations.plans.build import PlatformFacts, plan_drain, plan_promote, plan_rollback
from openrtc_tui.operations.plans.plan import Objection
from openrtc_tui.operations.plans.words import objection_words, plan_lines, run_of, title
from openrtc_tui.operations.platforms.platform import Description
from openrtc_tui.state.view import WorkerState

from .fleets import NOW, Journal, fleet, worker

HELD = (4, ("v2",))
COLD = fleet(
    worker("b-1", "v2", held=HELD, agent="booking", calls=3, oldest_seconds=720.0),
    worker("b-2", "v2", held=HELD, agent="booking", calls=1),
    rollout=("v1", "v2"),
)
FACTS = PlatformFacts(name="kubernetes", ends_other=True, description=Description(peak=6))


def test_a_whole_rollback_in_words():
    plan = plan_rollback(COLD, publishes=True, platform=FACTS, wave=1, timeout=600.0, reason="v2 repeats itself")
    assert plan_lines(plan) == (
        "Roll back from v2 to v1 · test",
        "4 calls live, the oldest for 12m",
        "",
        "1. publish a manifest: v1 and v2 may take new calls",
        "2. ask the platform to start v1",
        "3. wait until v1 is ready for booking with room for 4, at most 10m",
        "4. publish a manifest: v1 may take new calls",
        "5. wait until no worker of v2 takes new calls, at most 1m",
        "6. drain v2 (2 now) in 2 waves of 1, each when the one before is empty; what is live after 10m is cut",
        "7. watch v2 until every worker has ended and the verdict is known",
        "",
        "now    v2: 2 ready, room for 20, 4 live",
        "after  no worker ready yet",
        "meanwhile up to 6 workers run at once",
        "warning: the oldest call of b-1 lasts 12m already, the drain budget is 10m: what is live after it is cut",
        "reason: v2 repeats itself",
    )


def test_titles_say_what_and_whom():
    view = fleet(worker("a", "v1"), worker("b", "v1"), worker("c", "v2"), rollout=("v1", "v2"))
    assert title(plan_promote(view, "v2", publishes=True)) == "Promote v2"
    assert title(plan_drain(view, version="v1")) == "Drain v1"
    assert title(plan_drain(view, keys=["a"])) == "Drain a"
    assert title(plan_drain(view, keys=["a", "b"])) == "Drain 2 workers"
    assert title(plan_rollback(view, publishes=True)) == "Roll back from v2 to v1"


def test_an_objection_says_first_what_it_means():
    assert objection_words(Objection(code="a", text="paused", blocks=True)) == "refused: paused"
    assert objection_words(Objection(code="a", text="alone", blocks=True, override="LAST")) == "needs LAST: alone"
    assert objection_words(Objection(code="a", text="slow")) == "warning: slow"


def test_a_run_says_what_it_waits_for_until_when_and_what_would_happen_next():
    journal = Journal(plan_rollback(COLD, publishes=True, platform=FACTS))
    journal.write("op.intent", op_id="p", action="publish", manifest_seq=5)
    journal.write("op.outcome", op_id="p", outcome="started", manifest_seq=5)
    journal.write("step.done", step=0, detail="manifest 5 names v1, v2")
    journal.write("step.done", step=1, detail="3 pods start")
    run = run_of(journal.plan, journal.progress, COLD, NOW + 5)
    assert run.doing == (
        "waits for v1 to be ready: no worker of the agent booking is ready; the platform: 3 pods start"
    )
    assert run.until == NOW + 600
    assert run.next == "publish a manifest: v1 may take new calls"
    assert run.done == ("manifest 5 names v1, v2", "3 pods start")
    assert run.not_done == ()


def test_a_plan_that_stopped_says_what_was_and_what_was_not_done():
    journal = Journal(plan_rollback(COLD, publishes=True, platform=FACTS))
    journal.write("step.done", step=0, detail="manifest 5 names v1, v2")
    journal.write("op.intent", op_id="s", action="start")
    run = run_of(journal.plan, journal.progress, COLD, NOW, "failed", "the platform is gone")
    assert run.done == (
        "manifest 5 names v1, v2",
        "not known whether it was done: ask the platform to start v1",
    )
    assert run.not_done[0] == "ask the platform to start v1"
    assert len(run.not_done) == 6
    assert (run.doing, run.next, run.why) == ("", "", "the platform is gone")


def test_a_drain_that_stopped_half_way_says_how_many_were_asked():
    view = fleet(*(worker(f"a-{n}", "v1") for n in range(3)), worker("z", "v2", room=99))
    journal = Journal(plan_drain(view, version="v1", wave=2))
    journal.asked(view.rows[0], "1", outcome="started")
    journal.asked(view.rows[1], "2", outcome="refused")
    run = run_of(journal.plan, journal.progress, view, NOW, "failed", "a-1 does not drain")
    assert run.done == ("v1 goes on draining (2 of 3 were asked, 1 said yes)",)
    watch = "watch v1 until every worker has ended and the verdict is known"
    assert run.not_done == ("drain a-2", watch), "of the drain only what was not asked"


@pytest.mark.parametrize("word", ["aborted", "interrupted"])
def test_what_was_asked_to_drain_goes_on_when_its_plan_ends_and_is_not_called_undone(word):
    view = fleet(*(worker(f"a-{n}", "v1", calls=2) for n in range(3)), worker("z", "v2", room=99))
    journal = Journal(plan_rollback(view, to="v2", bad="v1", publishes=False))
    for step in range(len(journal.plan.steps) - 2):
        journal.write("step.done", step=step)
    for number, row in enumerate(view.rows[:3]):
        journal.asked(row, str(number), outcome="started")
    run = run_of(journal.plan, journal.progress, view, NOW, word)
    assert run.done[-1] == "v1 goes on draining (3 of 3 were asked)"
    assert run.not_done == ("watch v1 until every worker has ended and the verdict is known",)
    gone = fleet(*(worker(f"a-{n}", "v1", calls=0, shown=WorkerState.EXITED) for n in range(3)), view.rows[3])
    run = run_of(journal.plan, journal.progress, gone, NOW, word)
    assert run.done[-1] == "3 of 3 were asked to drain; what drained has ended"


def test_of_a_worker_that_drains_by_itself_nothing_is_undone():
    """A plan asks no worker that drains already."""
    view = fleet(*(worker(f"a-{n}", "v1", calls=2) for n in range(2)), worker("z", "v2", room=99))
    journal = Journal(plan_drain(view, version="v1"))
    journal.asked(view.rows[0], "1", outcome="started")
    by_itself = fleet(view.rows[0], worker("a-1", "v1", calls=2, state="draining"), view.rows[2])
    run = run_of(journal.plan, journal.progress, by_itself, NOW, "aborted")
    assert run.done == ("v1 goes on draining (1 of 1 was asked)",)
    assert len(run.not_done) == 1, "only to watch it"
