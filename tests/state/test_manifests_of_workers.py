"""Gated workers, manifests that differ between workers, and a manifest that leaves nobody to take calls."""

from __future__ import annotations

from typing import Any

import pytest

from openrtc_tui.state.manifests import BEHIND_AFTER
from openrtc_tui.state.rows import filter_rows, sort_rows
from openrtc_tui.state.view import WorkerState
from openrtc_worker.contract.snapshot import LiveKitInfo, ManifestInfo, RuntimeSnapshot
from tests.state.scenes import Scene, report


def holding(boot: str, version: str, seq: int | None, *active: str, **fields: Any) -> RuntimeSnapshot:
    """A worker of *version* that holds manifest *seq*; without a seq it takes manifests and holds none."""
    allows = version in active if seq is not None else True
    fields.setdefault("accepting", allows)
    info = ManifestInfo(seq=seq, active=list(active) if seq is not None else None, allows=allows)
    return report(boot, version=version, manifest=info, max_sessions=10, **fields)


def codes(scene: Scene, key: str) -> set[str]:
    return {finding.code for finding in scene.row(key).findings}


def text_of(scene: Scene, key: str, code: str) -> str:
    return next(finding.text for finding in scene.row(key).findings if finding.code == code)


# -------------------------------------------------------------------------------------------------------- gated


def test_a_worker_that_its_manifest_does_not_name_is_gated_ready_and_without_room():
    it = Scene("a")
    it.hear("a", holding("b1", "v1", 2, "v2"))
    row = it.row("a")
    assert (row.state, row.accepting, row.ready_to_take, row.actionable) == ("gated", False, True, True)
    line = it.view().versions[0]
    assert (line.by_state, line.room) == (((WorkerState.GATED, 1),), 0)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"state": "cordoned"}, "cordoned"),
        ({"state": "draining"}, "draining"),
        ({"state": "drained"}, "drained"),
        ({"accepting": True}, "serving"),  # it takes calls, whatever else it says
    ],
)
def test_gated_hides_nothing_that_weighs_more(fields, state):
    it = Scene("a")
    it.hear("a", holding("b1", "v1", 2, "v2", **fields))
    assert (it.row("a").state, it.row("a").ready_to_take) == (state, state == "serving")


def test_a_gated_worker_without_livekit_is_not_ready():
    it = Scene("a")
    it.hear("a", holding("b1", "v1", 2, "v2", livekit=LiveKitInfo(connected=False)))
    assert (it.row("a").state, it.row("a").ready_to_take) == ("gated", False)


def test_a_gated_worker_goes_stale_and_comes_back_gated():
    it = Scene("a")
    it.hear("a", holding("b1", "v1", 2, "v2"))
    it.wait(7)
    assert (it.row("a").state, it.row("a").ready_to_take) == ("stale", False)
    it.beat("a")
    assert (it.row("a").state, it.row("a").ready_to_take) == ("gated", True)


def test_gated_workers_are_filtered_and_sorted_as_such():
    it = Scene("a", "b", "c")
    it.hear("a", holding("b1", "v2", 2, "v2"))
    it.hear("b", holding("b2", "v1", 2, "v2"))
    it.hear("c", report("b3", state="cordoned"))
    rows = it.view().rows
    assert [row.key for row in filter_rows(rows, "state:gated")] == ["b"]
    assert [row.key for row in sort_rows(rows, "state")] == ["c", "b", "a"]


def test_gating_proves_nothing_and_drops_nothing():
    """A gated worker may take calls again at any time: its verdict stays open, as that of a serving one."""
    it = Scene("a", rollout=("v1", "v2"))
    it.hear("a", holding("b1", "v1", 2, "v2", live=2))
    it.hear("a", holding("b1", "v1", 2, "v2", live=0, counts={"completed": 2}))
    it.wait(20, hearing=["a"])
    assert it.verdict("a").word == "open"


# -------------------------------------------------------------------------------------------- what differs


def test_other_content_under_one_seq_is_found_on_all_that_hold_it():
    it = Scene("a", "b", "c")
    it.hear("a", holding("b1", "v1", 7, "v1", "v2"))
    it.hear("b", holding("b2", "v2", 7, "v2", "v1"))
    it.hear("c", holding("b3", "v2", 6, "v2"))
    assert all("manifest_conflict" not in codes(it, key) for key in "abc"), "the order of versions is no difference"
    it.hear("b", holding("b2", "v2", 7, "v2"))
    it.now += 1
    assert [("manifest_conflict" in codes(it, key)) for key in "abc"] == [True, True, False]
    assert "manifest 7" in text_of(it, "a", "manifest_conflict")
    it.hear("a", holding("b1", "v1", 7, "v2"))
    it.now += 1
    assert all("manifest_conflict" not in codes(it, key) for key in "abc")


def test_who_has_not_the_newest_is_behind_once_it_had_time():
    it = Scene("a", "b", "c", "d")
    it.hear("a", holding("b1", "v2", 7, "v2"))
    it.hear("b", holding("b2", "v2", 6, "v2"))
    it.hear("c", holding("b3", "v2", None))
    it.hear("d", report("b4"))  # takes no manifests at all
    assert codes(it, "b") == set()
    it.wait(BEHIND_AFTER + 1, hearing=["a", "b", "c", "d"])
    assert text_of(it, "b", "manifest_behind") == "holds manifest 6, others 7"
    assert text_of(it, "c", "manifest_behind") == "holds no manifest, others 7"
    assert codes(it, "a") == codes(it, "d") == set()
    it.hear("b", holding("b2", "v2", 7, "v2"))
    assert codes(it, "b") == set()


def test_a_worker_that_is_gone_has_no_say():
    it = Scene("a", "b")
    it.hear("a", holding("b1", "v2", 7, "v2"))
    it.hear("b", holding("b2", "v2", 6, "v2"))
    it.die("a")
    it.wait(BEHIND_AFTER + 1, hearing=["b"])
    assert codes(it, "b") == set()


# ------------------------------------------------------------------------------------------ nobody takes calls


def test_a_manifest_that_names_nobody_who_is_ready_is_told_on_every_row_that_holds_it():
    it = Scene("a", "b")
    it.hear("a", holding("b1", "v1", 7, "v2"))
    assert codes(it, "a") == set(), "the other one may be the worker that takes them"
    it.hear("b", holding("b2", "v2", 7, "v2", state="starting", accepting=False))
    why = "manifest 7 names v2, and no worker of it is ready to take calls"
    assert text_of(it, "a", "nobody_takes_calls") == f"nobody will take calls: {why}"
    assert "nobody_takes_calls" in codes(it, "b")
    it.hear("b", holding("b2", "v2", 7, "v2"))
    assert codes(it, "a") == codes(it, "b") == set()
    assert [line for line in it.lines() if "take calls" in line] == [
        f"nobody will take calls | {why}",
        "there are workers to take calls again",
    ]


def test_a_manifest_without_versions_leaves_nobody():
    it = Scene("a")
    it.hear("a", holding("b1", "v1", 7))
    assert "names no version" in text_of(it, "a", "nobody_takes_calls")


def test_workers_that_go_silent_leave_nobody():
    it = Scene("a", "b")
    it.hear("a", holding("b1", "v1", 7, "v2"))
    it.hear("b", holding("b2", "v2", 7, "v2"))
    it.wait(7, hearing=["a"])
    assert "nobody_takes_calls" in codes(it, "a")


def test_a_fleet_without_manifests_says_nothing_of_them():
    it = Scene("a")
    it.hear("a", report("b1", state="cordoned"))
    assert codes(it, "a") == set()


# --------------------------------------------------------------------------------------------- the event lines


def test_a_switch_of_the_whole_fleet_is_one_line_with_who_did_it():
    keys = [f"w{number}" for number in range(1, 7)]
    it = Scene(*keys)
    for key in keys:
        it.hear(key, holding(f"b-{key}", "v1", 6, "v1"))
    before = len(it.lines())
    for key in keys:
        it.now += 0.1
        if key in ("w2", "w5"):  # the audit event may come before or after the report
            it.audit(key, "manifest.accepted", actor="alice", manifest_seq=7, active=["v2"])
        it.hear(key, holding(f"b-{key}", "v1", 7, "v2"))
        if key not in ("w2", "w5"):
            it.audit(key, "manifest.accepted", actor="alice", manifest_seq=7, active=["v2"])
    switch, *others = it.lines()[before:]
    assert switch == "alice's manifest 7 reached w1 … w6 | 6 workers · calls go to v2"
    assert [line for line in others if "nobody will take calls" not in line] == []


def test_a_manifest_that_came_without_anybodys_doing_names_nobody():
    it = Scene("a")
    it.hear("a", holding("b1", "v1", 6, "v1"))
    it.hear("a", holding("b1", "v1", 7, "v1", "v2", "v3", "v4"))
    it.audit("a", "manifest.accepted", actor="system", manifest_seq=7, active=["v1"])
    assert it.lines()[-1] == "manifest 7 reached a | calls go to v1, v2, v3…"


def test_what_a_worker_held_when_it_was_heard_first_is_no_news():
    it = Scene("a")
    it.hear("a", holding("b1", "v1", 6, "v1"))
    it.hear("a", holding("b1", "v1", 6, "v1", live=1))
    assert it.lines() == []


def test_a_refused_manifest_is_told_with_its_reason():
    it = Scene("a", "b")
    for key in ("a", "b"):
        it.hear(key, report(f"b-{key}"))
        it.audit(key, "manifest.refused", actor="alice", reason="signature")
    assert it.lines() == ["a, b refused a manifest by alice | signature"]


def test_calls_that_a_gated_worker_passes_on_are_no_warning():
    it = Scene("a")
    it.hear("a", holding("b1", "v1", 7, "v2"))
    it.audit("a", "worker.rejected", reason="manifest")
    line = it.view().events[0]
    assert (line.text, line.severity) == ("a passes calls on: gated by its manifest", "info")


@pytest.mark.parametrize("seq", [None, True, -1, 2**60, pytest.param(10**5000, id="endless"), "7", 7.0])
@pytest.mark.parametrize("active", [None, "v1", [None, 3, "v\x1b1"], pytest.param(["v"] * 100_000, id="many")])
def test_whatever_an_audit_event_claims_nothing_breaks(seq, active):
    it = Scene("a")
    it.hear("a", report("b1"))
    it.audit("a", "manifest.accepted", actor="alice", manifest_seq=seq, active=active)
    assert all("\x1b" not in line and len(line) < 300 for line in it.lines())


def test_a_worker_that_comes_up_gated_says_so():
    it = Scene("a", "b")
    it.hear("b", holding("b2", "v1", 7, "v1"))
    it.hear("a", holding("b1", "v2", 7, "v1", state="starting"))
    it.hear("a", holding("b1", "v2", 7, "v1"))
    assert it.lines() == ["a is up, gated by its manifest | v2"]


def test_an_uncordoned_worker_that_is_gated_was_uncordoned_all_the_same():
    it = Scene("a", "b")
    it.hear("b", holding("b2", "v2", 7, "v2"))
    it.hear("a", holding("b1", "v1", 7, "v2", state="cordoned"))
    it.hear("a", holding("b1", "v1", 7, "v2"))
    assert it.lines() == ["a uncordoned"]
