"""What the exit code of a plan says: it never claims a proof that there is none of."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from openrtc_tui.commands import steer
from openrtc_tui.commands.dashboard import plan_stands_still
from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_tui.operations.plans.interlocks import LEFT_BEFORE
from openrtc_tui.operations.plans.plan import Asked, Objection, PublishStep, Run
from openrtc_tui.state.view import FleetView, Verdict, VerdictWord, WorkerRow, WorkerState
from tests.screens import plans

if TYPE_CHECKING:
    from openrtc_tui.live import LiveFleet
    from openrtc_tui.steering import Steering

SUBJECT = plans.subjects(plans.NEW)[0]


def boot(verdict: Verdict, *, live: int = 1) -> SimpleNamespace:
    shown = SimpleNamespace(accepting=False)
    settled = verdict.word is not VerdictWord.OPEN
    return SimpleNamespace(verdict=verdict, settled=settled, version=plans.NEW, live=live, snapshot=shown)


def fleet_with(verdict: Verdict | None, *rows: WorkerRow, **others: Verdict) -> LiveFleet:
    """A fleet that knows the one boot with this verdict, or does not know it any more; and other boots beside it."""
    boots = {name: boot(each) for name, each in others.items()}
    if verdict is not None:
        boots[SUBJECT.boot_id] = boot(verdict)
    view = FleetView(fleet="tests", at=0.0, rows=rows)
    return cast("LiveFleet", SimpleNamespace(fleet=SimpleNamespace(boots=boots), view=lambda: view))


def ended(*, word: str = "done", dropped: int = 0, kind: str = "rollback") -> Run:
    """A plan that drained one boot, which had dropped so many calls when the plan was made."""
    subject = msgspec.structs.replace(SUBJECT, dropped=dropped)
    asked = (Asked(subject=subject, op_id="1", wave=0, outcome="started"),)
    progress = msgspec.structs.replace(plans.DONE.progress, asked=asked)
    plan = msgspec.structs.replace(plans.ROLLBACK, kind=kind)
    return msgspec.structs.replace(plans.DONE, plan=plan, progress=progress, word=word, why="so it was")


@pytest.mark.parametrize(
    ("verdict", "dropped", "code"),
    [
        (Verdict(VerdictWord.PROVEN), 0, Exit.ROLLED_BACK),
        (Verdict(VerdictWord.VIOLATED, 2, 2), 2, Exit.ROLLED_BACK),
        (Verdict(VerdictWord.VIOLATED, 3, 3), 2, Exit.DROPPED),
        (Verdict(VerdictWord.VIOLATED, 2, 5), 2, Exit.DROPPED),
        (Verdict(VerdictWord.VIOLATED, 2, 2, exact=False), 2, Exit.DROPPED),
        (Verdict(VerdictWord.UNPROVEN, 0, 4), 0, Exit.UNPROVEN),
        (Verdict(VerdictWord.OPEN), 0, Exit.UNPROVEN),
        (None, 0, Exit.UNPROVEN),
    ],
)
def test_a_rollback_ends_with_7_only_when_it_dropped_nothing_itself(
    verdict: Verdict | None, dropped: int, code: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert steer._told(fleet_with(verdict), ended(dropped=dropped)) is code
    said = capsys.readouterr().out
    assert said.startswith("rolled back to v1.0.0: dropped ")
    assert ("before the plan began" in said) is bool(dropped)


def test_a_boot_that_was_lost_before_the_rollback_began_leaves_it_without_proof() -> None:
    lost = Verdict(VerdictWord.UNPROVEN, 0, 6)
    assert steer._told(fleet_with(Verdict(VerdictWord.PROVEN), lost=lost), ended()) is Exit.UNPROVEN
    nobody = msgspec.structs.replace(ended(), progress=plans.DONE.progress)
    assert steer._told(fleet_with(None, lost=lost), nobody) is Exit.UNPROVEN
    assert steer._told(fleet_with(None), nobody) is Exit.ROLLED_BACK, "nobody was left to lose a call"


def test_a_worker_that_its_supervisor_started_again_and_that_takes_no_call_leaves_the_proof_as_it_is() -> None:
    fleet = fleet_with(Verdict(VerdictWord.PROVEN))
    cast("Any", fleet).fleet.boots["anew"] = boot(Verdict(VerdictWord.OPEN), live=0)
    assert steer._told(fleet, ended()) is Exit.ROLLED_BACK
    cast("Any", fleet).fleet.boots["anew"] = boot(Verdict(VerdictWord.OPEN), live=1)
    assert steer._told(fleet, ended()) is Exit.UNPROVEN


def test_calls_on_a_plain_worker_that_nobody_could_drain_are_not_proven() -> None:
    plain = WorkerRow(key="p", target="p", url="http://p", version=plans.NEW, calls=3)
    assert steer._told(fleet_with(Verdict(VerdictWord.PROVEN), plain), ended()) is Exit.UNPROVEN


def test_a_worker_of_the_good_version_that_was_lost_meanwhile_is_named_and_nothing_is_proven(
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = plans.ROLLBACK.made_at + 60
    lost = WorkerRow(
        key="a-2",
        target="a-2",
        url="http://a-2",
        version=plans.OLD,
        boot_id="lost",
        state=WorkerState.LOST,
        silent_since=at,
        verdict=Verdict(VerdictWord.UNPROVEN, 0, 2),
        settled=True,
    )
    assert steer._told(fleet_with(Verdict(VerdictWord.PROVEN), lost), ended()) is Exit.UNPROVEN
    assert capsys.readouterr().out == "rolled back to v1.0.0: dropped 0–2 UNPROVEN; a-2 went meanwhile\n"


def test_a_version_that_is_only_named_beside_another_is_not_said_to_take_the_calls(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fleet = fleet_with(None)
    progress = msgspec.structs.replace(plans.DONE.progress, seq=8)
    done = msgspec.structs.replace(plans.DONE, plan=plans.PROMOTE, progress=progress)
    assert steer._told(fleet, done) is Exit.DONE
    assert capsys.readouterr().out == f"{plans.PROMOTE.to_version} takes the calls (manifest 8)\n"
    both = msgspec.structs.replace(plans.PROMOTE, steps=(PublishStep(active=("v2.0.0", "v1.0.0"), widens=True),))
    assert steer._told(fleet, msgspec.structs.replace(done, plan=both)) is Exit.DONE
    assert capsys.readouterr().out == "v2.0.0 and v1.0.0 may take calls (manifest 8)\n"


def test_a_drain_that_is_proven_ends_with_0() -> None:
    proven = fleet_with(Verdict(VerdictWord.PROVEN))
    assert steer._told(proven, ended(kind="drain")) is Exit.DONE


@pytest.mark.parametrize(
    ("word", "code"),
    [("violated", Exit.DROPPED), ("failed", Exit.ERROR), ("aborted", Exit.ERROR), ("interrupted", Exit.ERROR)],
)
def test_a_plan_that_did_not_come_to_its_end_never_ends_well(
    word: str, code: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert steer._told(fleet_with(Verdict(VerdictWord.PROVEN)), ended(word=word)) is code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "so it was" in captured.err
    assert ("openrtc-tui resume" in captured.err) is (word == "interrupted")


def args(**given: Any) -> Namespace:
    return Namespace(**{"command": "rollback", "yes": True, "overrides": [], **given})


async def test_ctrl_c_in_the_middle_says_that_the_plan_stands_still_and_how_it_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def deed() -> Run:
        await asyncio.Event().wait()
        raise AssertionError

    steering = cast("Steering", SimpleNamespace(run=plans.RUNNING))
    live = cast("LiveFleet", SimpleNamespace(view=lambda: plans.GATED))
    task = asyncio.ensure_future(steer._see_through(args(timeout=None), live, steering, deed()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    said = capsys.readouterr().err
    assert "interrupted at step 3 of 4" in said
    assert "workers that drain go on draining. `openrtc-tui resume` goes on with the plan" in said


async def test_a_blocked_plan_is_refused_whatever_is_given() -> None:
    with pytest.raises(CommandError, match="The Deployment is paused") as refused:
        await steer._confirmed(args(overrides=["LAST", "SHORT"]), plans.BLOCKED)
    assert refused.value.code is Exit.REFUSED


async def test_a_repeated_rollback_does_not_go_to_what_the_first_one_left_unless_it_is_named() -> None:
    warning = Objection(code=LEFT_BEFORE, text="v1.0.0 is what the last rollback left")
    there = msgspec.structs.replace(plans.ROLLBACK, objections=(warning,))
    with pytest.raises(
        CommandError, match=r"what the last rollback left; --to v1\.0\.0 goes there all the same"
    ) as told:
        await steer._confirmed(args(version_asked=None), there)
    assert told.value.code is Exit.REFUSED
    await steer._confirmed(args(version_asked="v1.0.0"), there)


async def test_yes_confirms_a_typed_version_and_an_override_needs_its_own_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steer, "can_ask", lambda: False)
    await steer._confirmed(args(version_asked=None), plans.COLD_ROLLBACK)
    with pytest.raises(CommandError, match="--override SWITCH does it all the same"):
        await steer._confirmed(args(command="promote"), plans.OVERRIDE)
    await steer._confirmed(args(command="promote", overrides=["SWITCH"]), plans.OVERRIDE)


async def test_on_a_terminal_the_whole_plan_is_shown_and_its_word_has_to_be_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["v2.0.0", "v1.0.0"])

    async def ask(question: str) -> str:
        assert question == "Type v1.0.0 to rollback: "
        return next(answers)

    monkeypatch.setattr(steer, "can_ask", lambda: True)
    monkeypatch.setattr(steer, "ask", ask)
    with pytest.raises(CommandError, match="not confirmed: nothing was done"):
        await steer._confirmed(args(yes=False), plans.COLD_ROLLBACK)
    await steer._confirmed(args(yes=False), plans.COLD_ROLLBACK)
    said = capsys.readouterr().err
    assert "1. publish a manifest" in said
    assert "warning: The pods of v2.0.0 are killed" in said


def test_what_a_dashboard_that_was_left_says_of_its_plan() -> None:
    said = plan_stands_still(plans.RUNNING)
    assert said.startswith("The rollback to v1.0.0 stands still at step 3 of 4")
    assert "openrtc-tui resume" in said
