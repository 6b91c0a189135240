"""What is asked, what is never asked, and what has to be typed for it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrtc_tui.operations.capacity import accepts
from openrtc_tui.operations.intent import LAST, Challenge, confirm, intend, last_words, reason_text
from openrtc_tui.state.view import WorkerState
from openrtc_worker.contract.snapshot import Limits, PlatformInfo

from .views import row, view

SPARE = row("spare", version="v2", room=50)


def refusal(intent) -> tuple[str, str]:
    assert not intent.subjects
    (found,) = intent.refusals
    return found.cause, found.why


# ------------------------------------------------------------------------------------------------ what it says


def test_a_drain_names_calls_ages_tenants_deadline_and_the_room_that_stays():
    busy = row("a", calls=4, oldest_seconds=231.0, by_tenant={"globex": 1, "acme": 3}, drain_timeout=3060)
    intent = intend(
        view(busy, row("b", room=3), row("c", version="v2", room=79), row("d", "cordoned")), ["a"], "drain"
    )
    assert (intent.calls, intent.calls_known, intent.oldest_seconds) == (4, True, 231.0)
    assert intent.tenants == (("acme", 3), ("globex", 1))
    assert intent.deadline_seconds == 3060
    assert intent.room == (("v1", 3), ("v2", 79))
    assert intent.room_elsewhere == 82
    assert intent.challenge is None
    (subject,) = intent.subjects
    assert (subject.worker_id, subject.boot_id, subject.state) == ("id-a", "boot", "serving")


def test_the_deadline_is_the_shorter_of_what_is_asked_and_what_the_worker_allows():
    fleet = view(row("a", drain_timeout=600), row("b", drain_timeout=None), SPARE)
    assert intend(fleet, ["a"], "drain", timeout=60).deadline_seconds == 60
    assert intend(fleet, ["a"], "drain", timeout=6000).deadline_seconds == 600
    assert intend(fleet, ["b"], "drain").deadline_seconds is None
    assert intend(fleet, ["a"], "cordon", timeout=60).timeout is None


def test_workers_that_do_not_tell_their_calls_or_room_are_counted_as_such():
    intent = intend(view(row("a", calls=None), row("b", room=None), SPARE), ["a"], "drain")
    assert (intent.calls, intent.calls_known, intent.silent_elsewhere) == (0, False, 1)


@pytest.mark.parametrize(
    ("after_drain", "kind", "stays"),
    [
        ("exit", "kubernetes", False),
        ("wait", None, True),
        ("auto", "kubernetes", True),
        ("auto", None, False),
        (None, "kubernetes", False),
    ],
)
def test_a_worker_that_waits_after_its_drain_is_known_as_one(after_drain, kind, stays):
    base = row("a")
    snapshot = msgspec.structs.replace(
        base.snapshot, limits=Limits(after_drain=after_drain), platform=PlatformInfo(kind=kind) if kind else None
    )
    (subject,) = intend(view(replace(base, snapshot=snapshot), SPARE), ["a"], "drain").subjects
    assert subject.stays is stays


# --------------------------------------------------------------------------------------------- what is not asked


@pytest.mark.parametrize(
    ("bad", "cause", "why"),
    [
        (row("a", findings=("duplicate_id",)), "not_actionable", "duplicate id"),
        (row("a", findings=("foreign",)), "not_actionable", "foreign"),
        (row("a", version=None), "not_actionable", "no version"),
        (row("a", version="v1 [/x]"), "not_actionable", "its version is not one"),
        (row("a", actionable=False), "not_actionable", "not acted on"),
        (row("a", closed=True, actionable=False), "not_actionable", "over"),
        (row("a", shown=WorkerState.LOST, last_failure="connection refused"), "gone", "lost (connection refused)"),
        (
            row("a", "starting", heard=False, version=None, actionable=False, last_failure="name not found"),
            "gone",
            "not heard yet (name not found)",
        ),
        (replace(row("a"), worker_id=None), "gone", "does not tell its ids"),
        (row("a", "draining"), "done", "draining already"),
        (row("a", "drained"), "done", "drained already"),
        (row("a", shown=WorkerState.EXITED), "done", "drained already"),
    ],
)
def test_a_drain_is_not_asked_of(bad, cause, why):
    found = refusal(intend(view(bad, SPARE), ["a"], "drain"))
    assert found[0] == cause
    assert why in found[1]


@pytest.mark.parametrize(
    ("action", "state", "cause"),
    [
        ("cordon", "cordoned", "done"),
        ("cordon", "draining", "impossible"),
        ("cordon", "drained", "impossible"),
        ("uncordon", "serving", "done"),
        ("uncordon", "draining", "impossible"),
    ],
)
def test_cordon_and_uncordon_are_not_asked_where_they_mean_nothing(action, state, cause):
    assert refusal(intend(view(row("a", state), SPARE), ["a"], action))[0] == cause


def test_a_row_that_is_gone_and_one_named_twice():
    intent = intend(view(row("a"), SPARE), ["a", "gone", "a"], "drain")
    assert [subject.key for subject in intent.subjects] == ["a"]
    assert [(refused.key, refused.cause) for refused in intent.refusals] == [("gone", "gone")]


def test_a_stale_worker_may_be_asked_it_may_answer_yet():
    assert intend(view(row("a", shown=WorkerState.STALE), SPARE), ["a"], "drain").subjects


def test_a_deadline_is_brought_forward_only_where_that_was_meant():
    fleet = view(row("a", "draining", calls=2), SPARE)
    assert not intend(fleet, ["a"], "drain", timeout=60).subjects
    (subject,) = intend(fleet, ["a"], "drain", timeout=60, shorten=True).subjects
    assert subject.state == "draining"


# ------------------------------------------------------------------------------------------------- what is typed


def test_a_drain_that_leaves_less_room_than_live_calls_wants_the_version():
    fleet = view(row("a", calls=5), row("b", version="v2", room=4))
    assert intend(fleet, ["a"], "drain").challenge == Challenge("version", "v1")
    assert intend(fleet, ["a"], "cordon").challenge is None


def test_several_want_their_number_and_a_whole_version_its_name():
    fleet = view(row("a"), row("b"), row("c", "drained"), SPARE)
    assert intend(fleet, ["a", "b"], "cordon").challenge == Challenge("number", "2")
    assert intend(fleet, ["a", "b", "c"], "drain").challenge == Challenge("number", "2")  # c is not asked
    assert intend(fleet, ["a", "b"], "drain", whole_version="v1").challenge == Challenge("version", "v1")


def test_the_last_accepting_worker_of_an_agent_wants_the_word():
    fleet = view(row("a", agent="booking"), row("b", agent="billing"), row("c", "cordoned", agent="booking"))
    for action in ("drain", "cordon"):
        intent = intend(fleet, ["a"], action)
        assert intent.challenge == Challenge("last", LAST)
        assert intent.last_of == (("booking", ""),)
        assert "agent booking" in last_words(intent)
    assert intend(fleet, ["c"], "drain").challenge is None  # it takes no calls anyway
    assert intend(fleet, ["c"], "uncordon").challenge is None


def test_several_that_together_are_the_last_want_the_word_too():
    fleet = view(row("a"), row("b"), row("c", "draining"))
    assert intend(fleet, ["a"], "drain").challenge is None
    assert intend(fleet, ["a", "b"], "drain").challenge == Challenge("last", LAST)
    assert intend(fleet, ["a", "b"], "drain", whole_version="v1").challenge == Challenge("last", LAST)


def test_another_deployment_of_the_same_agent_is_no_help():
    """LiveKit sends a dispatch that names a deployment to no other."""
    fleet = view(row("a", agent="x", deployment="blue"), row("b", agent="x", deployment="green"))
    intent = intend(fleet, ["a"], "drain")
    assert intent.last_of == (("x", "blue"),)
    assert "in the deployment blue" in last_words(intent)


@pytest.mark.parametrize(
    "other",
    [
        row("b", findings=("duplicate_id",)),
        row("b", shown=WorkerState.STALE),
        row("b", shown=WorkerState.LOST),
        row("b", accepting=None),
        row("b", accepting=False),
        row("b#1", closed=True),
    ],
)
def test_what_may_not_take_calls_does_not_count_as_another(other):
    assert intend(view(row("a"), other), ["a"], "drain").challenge == Challenge("last", LAST)


def test_a_worker_that_does_not_tell_whether_it_accepts_may_be_the_last():
    assert intend(view(row("a", accepting=None)), ["a"], "drain").challenge == Challenge("last", LAST)


# ---------------------------------------------------------------------------------------------------- confirming


def test_a_confirmed_intent_becomes_one_request_for_each_worker():
    fleet = view(row("a"), row("b"), SPARE)
    asks = confirm(intend(fleet, ["a", "b"], "drain", timeout=90), fleet, reason="  canary\nfailed ").asks
    assert [(ask.key, ask.url, ask.boot_id, ask.state, ask.timeout, ask.reason) for ask in asks] == [
        ("a", "http://a:9464", "boot", "serving", 90, "canary failed"),
        ("b", "http://b:9464", "boot", "serving", 90, "canary failed"),
    ]
    assert len({ask.op_id for ask in asks}) == 2


def test_the_override_stands_in_the_reason():
    fleet = view(row("a"))
    intent = intend(fleet, ["a"], "drain")
    assert confirm(intent, fleet).asks[0].reason == "override last-worker:"
    assert confirm(intent, fleet, reason="out of hours").asks[0].reason == "override last-worker: out of hours"


def test_a_reason_is_one_line_of_bounded_length():
    assert reason_text(None, override=False) is None
    assert reason_text(" \n", override=False) is None
    assert reason_text("a\x1b[2Jb", override=False) == "a[2Jb"
    text = reason_text("x" * 999, override=True)
    assert text
    assert len(text) <= 256


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (row("a", boot_id="other"), "another boot"),
        (replace(row("a"), worker_id="other"), "another worker"),
        (row("a", "cordoned"), "was serving when it was confirmed and is cordoned"),
        (row("a", "draining"), "is draining now"),
        (row("a", "drained"), "drained already"),
        (row("a", shown=WorkerState.LOST), "lost"),
        (row("a", findings=("duplicate_id",)), "duplicate id"),
        (row("other"), "no longer in the fleet"),
    ],
)
def test_what_changed_since_the_confirmation_opened_is_refused_with_all_the_rest(now, why):
    before = view(row("a"), row("b"), SPARE)
    confirmed = confirm(intend(before, ["a", "b"], "drain"), view(now, row("b"), SPARE))
    assert confirmed.asks == ()
    assert why in confirmed.refusals[0].why


def test_a_worker_that_became_the_last_one_meanwhile_was_not_confirmed_as_such():
    intent = intend(view(row("a"), SPARE), ["a"], "drain")
    confirmed = confirm(intent, view(row("a"), replace(SPARE, state=WorkerState.LOST)))
    assert confirmed.asks == ()
    assert "now the last accepting worker" in confirmed.refusals[0].why


def test_a_last_worker_that_is_so_no_more_is_asked_all_the_same():
    intent = intend(view(row("a")), ["a"], "drain")
    assert confirm(intent, view(row("a"), SPARE)).asks


# ----------------------------------------------------------------------------------------------- for all fleets

STATES = st.sampled_from(["starting", "serving", "cordoned", "draining", "drained"])
ROWS = st.builds(
    row,
    st.sampled_from("abcdef"),
    STATES,
    version=st.sampled_from(["v1", "v2", None, "v 3"]),
    calls=st.none() | st.integers(0, 9),
    room=st.none() | st.integers(0, 9),
    agent=st.sampled_from(["", "x"]),
    shown=st.none() | st.sampled_from([WorkerState.STALE, WorkerState.LOST]),
    findings=st.sampled_from([(), (), ("duplicate_id",)]),
    accepting=st.none() | st.booleans(),
)
FLEETS = st.lists(ROWS, max_size=6, unique_by=lambda worker: worker.key).map(lambda rows: view(*rows))
ACTIONS = st.sampled_from(["drain", "cordon", "uncordon"])


@settings(deadline=None)  # a busy machine is no failure
@given(FLEETS, st.sets(st.sampled_from("abcdefg")), ACTIONS)
def test_every_worker_is_either_asked_or_refused_once_and_never_a_hostile_one(fleet, keys, action):
    intent = intend(fleet, sorted(keys), action)
    asked = [subject.key for subject in intent.subjects]
    assert sorted([*asked, *(refused.key for refused in intent.refusals)]) == sorted(keys)
    for key in asked:
        worker = fleet.row(key)
        assert worker.version in {"v1", "v2"}
        assert not worker.findings
        assert worker.state is not WorkerState.LOST


@settings(deadline=None)  # a busy machine is no failure
@given(FLEETS, st.sets(st.sampled_from("abcdef")), st.sampled_from(["drain", "cordon"]))
def test_no_agent_loses_its_last_accepting_worker_without_the_word(fleet, keys, action):
    intent = intend(fleet, sorted(keys), action)
    asked = {subject.key for subject in intent.subjects}
    before = {worker.snapshot.livekit.agent_name for worker in fleet.rows if accepts(worker)}
    after = {
        worker.snapshot.livekit.agent_name for worker in fleet.rows if accepts(worker) and worker.key not in asked
    }
    if before - after:
        assert intent.challenge == Challenge("last", LAST)
        assert {name for name, _ in intent.last_of} >= before - after


@settings(deadline=None)  # a busy machine is no failure
@given(FLEETS, st.sets(st.sampled_from("abcdef")), ACTIONS)
def test_what_nothing_changed_about_is_asked_as_it_was_confirmed(fleet, keys, action):
    intent = intend(fleet, sorted(keys), action)
    confirmed = confirm(intent, fleet)
    assert confirmed.refusals == ()
    assert [ask.key for ask in confirmed.asks] == [subject.key for subject in intent.subjects]
