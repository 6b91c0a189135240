"""Which manifest holds: the highest number, one content for each, whatever order they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker.contract.manifest import Manifest, ManifestRefused
from openrtc_worker.manifest_holder import ManifestHolder


def manifest(seq: int, *active: str) -> Manifest:
    return Manifest(fleet="tests", seq=seq, active=active, issued_at=1.0, issued_by="alice")


def holder(version: str | None = "v1", *, required: bool = False) -> ManifestHolder:
    return ManifestHolder(version=version, required=required)


@pytest.mark.parametrize(("required", "allows"), [(False, True), (True, False)])
def test_without_a_manifest_calls_are_taken_unless_one_is_required(required, allows):
    held = holder(required=required)
    assert held.allows is allows
    assert (held.info().seq, held.info().active, held.info().allows) == (None, None, allows)


@pytest.mark.parametrize(("version", "allows"), [("v1", True), ("v2", True), ("v3", False), (None, False)])
def test_a_version_takes_calls_when_it_is_named(version, allows):
    held = holder(version)
    assert held.take(manifest(1, "v1", "v2")) == "started"
    assert held.allows is allows
    assert (held.info().seq, held.info().active) == (1, ["v1", "v2"])


def test_a_newer_manifest_gates_and_a_still_newer_one_opens_again():
    held = holder("v1")
    allowed = []
    for number, active in enumerate(["v1", "v2", "v1"], start=1):
        held.take(manifest(number, active))
        allowed.append(held.allows)
    assert allowed == [True, False, True]


def test_nobody_takes_calls_under_a_manifest_that_names_nobody():
    held = holder()
    held.take(manifest(1))
    assert not held.allows


def test_the_same_again_is_already_held_in_whatever_order_it_names_versions():
    held = holder()
    held.take(manifest(3, "v1", "v2"))
    assert held.take(manifest(3, "v2", "v1")) == "already"


def test_another_content_under_the_same_number_is_a_conflict_and_changes_nothing():
    held = holder("v1")
    held.take(manifest(3, "v1"))
    with pytest.raises(ManifestRefused, match="v2") as refused:
        held.take(manifest(3, "v2"))
    assert refused.value.reason == "conflict"
    assert held.allows


def test_an_older_one_is_refused():
    held = holder("v1")
    held.take(manifest(3, "v1"))
    with pytest.raises(ManifestRefused) as refused:
        held.take(manifest(2, "v2"))
    assert refused.value.reason == "seq"
    assert held.newest.seq == 3


@given(st.lists(st.tuples(st.integers(1, 6), st.sets(st.sampled_from(["v1", "v2"])))))
def test_whatever_comes_in_whatever_order_the_highest_number_and_its_first_content_hold(arriving):
    held, first = holder("v1"), {}
    for seq, active in arriving:
        newest = held.newest
        if newest is None or seq > newest.seq:
            assert held.take(manifest(seq, *sorted(active))) == "started"
            first[seq] = active
        elif seq == newest.seq and active == first[seq]:
            assert held.take(manifest(seq, *sorted(active))) == "already"
        else:
            with pytest.raises(ManifestRefused) as refused:
                held.take(manifest(seq, *sorted(active)))
            assert refused.value.reason == ("seq" if seq < newest.seq else "conflict")
            assert held.newest is newest
    if arriving:
        highest = max(seq for seq, _ in arriving)
        assert held.newest.seq == highest
        assert set(held.newest.active) == first[highest]
        assert held.allows == ("v1" in first[highest])
