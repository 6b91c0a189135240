"""Pods as the dashboard sees them, through lists, changes and gaps."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.operations.platforms.kubernetes.pods import pod_seen
from openrtc_tui.operations.platforms.kubernetes.watching import Sight
from tests.platforms.kubernetes_objects import pod


def test_a_pod_that_is_ending_tells_when_it_is_killed():
    seen = pod_seen(pod(ends_at="2026-03-01T12:00:00Z"))
    assert seen.killed_at == datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
    assert pod_seen(pod()).killed_at is None


def test_the_exit_code_is_the_worker_s_and_not_a_sidecar_s():
    assert pod_seen(pod(exit_code=3)).exit_code == 3
    assert pod_seen(pod()).exit_code is None


def test_a_pod_that_went_is_told_once_as_gone():
    sight, there = Sight(), pod(uid="a")
    sight.listed([there])
    assert [seen.gone for seen in sight.take()] == [False]
    sight.changed("DELETED", pod(uid="a", exit_code=137))
    (gone,) = sight.take()
    assert (gone.gone, gone.exit_code) == (True, 137)
    assert sight.take() == ()


def test_what_a_new_list_does_not_have_any_more_went_unseen():
    sight = Sight()
    sight.listed([pod(uid="a"), pod(uid="b")])
    sight.take()
    sight.listed([pod(uid="b")])
    assert {seen.uid: seen.gone for seen in sight.take()} == {"a": True, "b": False}


@given(st.lists(st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED", "list"]), st.sampled_from("abc"))))
def test_what_is_shown_is_what_a_plain_replay_of_the_same_changes_has(changes):
    sight, plain, seen = Sight(), set(), {}
    for kind, uid in changes:
        if kind == "list":
            sight.listed([pod(uid=uid)])
            plain = {uid}
        else:
            sight.changed(kind, pod(uid=uid))
            (plain.discard if kind == "DELETED" else plain.add)(uid)
        seen = {pod.uid for pod in sight.take() if not pod.gone}
        assert seen == plain
    assert {pod.uid for pod in sight.take()} == plain
