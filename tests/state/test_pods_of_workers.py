"""Pods joined to workers: being ended, killed with calls live, a grace that is too short, drained and waiting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrtc_tui.state.observation import PodSeen
from openrtc_worker.contract.snapshot import DrainInfo, Limits, PlatformInfo, RuntimeSnapshot
from tests.state.scenes import START, Scene, report

LIMITS = Limits(drain_timeout=3600.0, cut_grace=30.0, drain_linger=3.0, after_drain="auto")


def pod(name: str = "voice-1", uid: str = "uid-1", **fields: Any) -> PodSeen:
    return PodSeen(name=name, uid=uid, namespace="voice", **fields)


def in_pod(name: str = "voice-1", uid: str | None = "uid-1", namespace: str | None = "voice") -> PlatformInfo:
    return PlatformInfo(kind="kubernetes", namespace=namespace, pod=name, uid=uid)


def inside(boot: str = "b1", *, where: PlatformInfo | None = None, **fields: Any) -> RuntimeSnapshot:
    return report(boot, platform=where or in_pod(), limits=LIMITS, max_sessions=10, **fields)


def scene(**fields: Any) -> Scene:
    it = Scene("a", rollout=("v1", "v2"))
    it.hear("a", inside(**fields))
    return it


def found(it: Scene) -> dict[str, str]:
    return {finding.code: finding.text for finding in it.row("a").findings}


# -------------------------------------------------------------------------------------------------------- joined


@pytest.mark.parametrize(
    ("told", "joined"),
    [
        (in_pod(), True),
        (in_pod(uid=None), True),
        (in_pod(namespace=None), True),
        (in_pod(uid="uid-2"), False),
        (in_pod(name="voice-2"), False),
        (in_pod(namespace="other"), False),
        (PlatformInfo(kind="systemd"), False),
    ],
)
def test_a_pod_is_joined_by_name_and_uid(told, joined):
    it = Scene("a")
    it.hear("a", inside(where=told))
    it.pods(pod(killed_at=it.now + 250))
    assert it.row("a").killed_at == (it.now + 250 if joined else None)


def test_a_worker_that_is_heard_after_its_pod_was_seen_is_joined_too():
    it = Scene("a")
    it.pods(pod(killed_at=it.now + 250))
    it.hear("a", inside())
    assert it.row("a").killed_at == it.now + 250


def test_the_next_pod_of_the_same_name_is_another_one():
    it = Scene("a")
    it.pods(pod(uid="uid-0"))
    it.pods(pod(uid="uid-1", killed_at=it.now + 10))
    it.hear("a", inside(where=in_pod(uid=None)))
    assert it.row("a").killed_at == it.now + 10


# --------------------------------------------------------------------------------------------------- being ended


def test_a_pod_that_is_being_ended_says_when_it_is_killed():
    it = scene(live=3)
    assert it.row("a").ready_to_take
    it.pods(pod(killed_at=it.now + 250))
    row = it.row("a")
    assert (row.killed_at, row.ready_to_take) == (it.now + 250, False)
    assert found(it) == {"terminating": "terminating, 3 calls live, killed in 4m10s unless empty"}
    assert it.lines()[-1] == "the platform ends a | 3 calls"
    it.wait(60, hearing=["a"])
    assert found(it)["terminating"] == "terminating, 3 calls live, killed in 3m10s unless empty"
    it.hear("a", inside(state="draining", live=0, counts={"completed": 3}))
    assert found(it)["terminating"] == "terminating, no call live"
    assert sum("ends" in line for line in it.lines()) == 1, "told once"


def test_many_pods_that_are_ended_are_one_line():
    it = Scene("a", "b", "c")
    pods = []
    for index, key in enumerate("abc"):
        it.hear(key, inside(f"b{index}", where=in_pod(f"voice-{index}", f"uid-{index}"), live=1))
        pods.append(pod(f"voice-{index}", f"uid-{index}", killed_at=it.now + 30 + index))
    it.pods(*pods)
    assert it.lines() == ["the platform ends a … c | 3 workers · 3 calls"]


# --------------------------------------------------------------------------------------------------------- killed


def test_a_pod_killed_with_calls_live_dropped_them():
    it = scene(live=4, state="draining")
    it.pods(pod(killed_at=it.now + 30))
    it.wait(30, hearing=["a"])
    it.pods()  # it is not there any more
    row = it.row("a")
    assert (row.verdict.word, row.verdict.confirmed, row.verdict.possible) == ("violated", 4, 4)
    assert (row.state, row.killed_at, row.settled) == ("lost", None, True)
    assert it.view().verdict_reason == "4 calls died with it on a"
    assert it.lines()[-1] == "a killed with 4 calls live"


def test_a_pod_that_is_marked_gone_is_gone():
    it = scene(live=4)
    it.pods(pod())
    it.pods(pod(gone=True, exit_code=137))
    assert it.verdict("a").confirmed == 4


def test_calls_of_a_pod_that_was_silent_before_it_was_gone_are_possible_only():
    it = scene(live=4, state="draining")
    it.pods(pod(killed_at=it.now + 60))
    it.wait(60)
    it.pods()
    verdict = it.verdict("a")
    assert (verdict.word, verdict.confirmed, verdict.possible) == ("unproven", 0, 4)


@pytest.mark.parametrize("code", [0, 3])
def test_a_worker_that_ended_by_itself_was_not_killed(code):
    it = scene(live=1, state="draining")
    it.pods(pod())
    it.pods(pod(gone=True, exit_code=code))
    assert (it.verdict("a").word, it.verdict("a").confirmed) == ("unproven", 0)


def test_a_pod_that_is_gone_after_the_goodbye_changes_nothing():
    it = scene(live=1, state="draining")
    it.pods(pod(killed_at=it.now + 30))
    it.hear("a", inside(state="exited", live=0, counts={"completed": 1}), bye=True)
    it.pods()
    assert (it.row("a").state, it.verdict("a").word) == ("exited", "proven")


def test_the_last_word_of_a_worker_holds_when_its_pod_is_gone():
    it = scene(live=2, state="draining")
    it.pods(pod(killed_at=it.now + 30))
    it.hear("a", inside(state="exited", live=1, counts={"completed": 1}), bye=True)
    before = it.verdict("a")
    it.pods()
    assert it.verdict("a") == before
    assert not any("killed" in line for line in it.lines())


def test_a_pod_that_is_shown_again_was_never_gone():
    it = scene(live=2)
    it.pods(pod())
    it.pods()  # a list that was cut short
    it.pods(pod(killed_at=it.now + 30))
    it.beat("a")
    assert (it.row("a").state, it.row("a").killed_at, it.verdict("a").word) == ("serving", it.now + 30, "open")
    it.pods()
    assert (it.verdict("a").word, it.verdict("a").confirmed) == ("violated", 2)


def test_a_drained_pod_that_is_gone_has_exited():
    it = scene(state="drained", live=0)
    it.pods(pod())
    it.pods()
    it.fail("a", "broken")
    assert (it.row("a").state, it.verdict("a").word) == ("exited", "proven")


def test_a_worker_that_is_heard_again_is_not_gone():
    it = scene(live=4)
    it.pods(pod())
    it.pods()
    assert it.verdict("a").confirmed == 4
    it.beat("a")
    assert (it.row("a").state, it.verdict("a").word, it.verdict("a").confirmed) == ("serving", "open", 0)


def test_a_killed_pod_whose_address_another_boot_took_is_judged_too():
    """Behind the address of a Service the next pod may answer before the platform tells of the last one's end."""
    it = scene(live=4)
    it.pods(pod())
    it.now += 1
    it.hear("a", inside("b2", where=in_pod("voice-2", "uid-2"), version="v2"))
    it.pods(pod("voice-2", "uid-2"))
    closed = next(row for row in it.view().rows if row.closed)
    assert (closed.verdict.word, closed.verdict.confirmed) == ("violated", 4)
    assert it.row("a").state == "serving"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["beat", "report", "gone", "back", "ending", "wait", "die", "bye"]), min_size=1, max_size=25
    )
)
def test_whatever_the_platform_says_no_proof_hides_a_kill(steps):
    """Calls that were live at the last word of a boot are never proven to have ended well."""
    it = scene(live=2)
    live = 2
    for step in steps:
        match step:
            case "beat":
                it.beat("a")
            case "report":
                it.hear("a", inside(live=live, state="draining"))
            case "gone":
                it.pods()
            case "back":
                it.pods(pod())
            case "ending":
                it.pods(pod(killed_at=it.now + 5))
            case "wait":
                it.wait(4)
            case "die":
                it.die("a")
            case "bye":
                live = 0
                it.hear("a", inside(live=0, counts={"completed": 2}, state="exited"), bye=True)
        if live:
            assert it.verdict("a").word != "proven"
        else:
            assert it.verdict("a").word == "proven"
            return


# ------------------------------------------------------------------------------------------- grace and waiting


@pytest.mark.parametrize(("grace", "short"), [(30.0, True), (3642.0, True), (3643.0, False), (None, False)])
def test_a_grace_below_what_a_drain_may_take_is_found(grace, short):
    it = scene()
    it.pods(pod(grace_seconds=grace))
    assert ("grace_too_short" in found(it)) is short


def test_the_grace_that_a_worker_tells_is_good_enough():
    told = PlatformInfo(kind="kubernetes", pod="voice-1", uid="uid-1", grace_seconds=30.0)
    it = scene(where=told)
    assert found(it) == {"grace_too_short": "its platform kills it 30s after SIGTERM, a drain may take 1h00m"}
    it.pods(pod(grace_seconds=7200.0))  # the pod itself knows better
    assert found(it) == {}


@pytest.mark.parametrize("grace", [float("nan"), -1.0, float("inf"), 1e300])
def test_a_grace_that_is_no_time_is_none(grace):
    it = scene()
    it.pods(pod(grace_seconds=grace))
    it.view()
    assert found(it) == {}


@pytest.mark.parametrize(
    ("after", "source", "waits"),
    [("auto", "http", True), ("auto", "signal", False), ("wait", "signal", True), ("exit", "http", False)],
)
def test_a_drained_pod_that_stays_says_what_removes_it(after, source, waits):
    limits = Limits(drain_timeout=1.0, after_drain=after)
    it = Scene("a")
    it.hear(
        "a",
        report(platform=in_pod(), limits=limits, state="drained", drain=DrainInfo(source=source, started_at=START)),
    )
    texts = {finding.code: finding.text for finding in it.row("a").findings}
    assert texts == ({"drained_waiting": "drained, waiting: scale down or roll out to remove"} if waits else {})
    it.pods(pod(killed_at=it.now + 5))
    assert "drained_waiting" not in {finding.code for finding in it.row("a").findings}
