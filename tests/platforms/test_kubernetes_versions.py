"""Which version a template runs, and which ReplicaSet brings one back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.operations.platforms.kubernetes.objects import Selector
from openrtc_tui.operations.platforms.kubernetes.versions import (
    choose,
    known_versions,
    owned,
    plain_template,
    same_template,
    version_of,
)
from tests.platforms.kubernetes_objects import deployment, hashed, replica_set, template


def test_the_label_says_the_version_before_variable_and_image():
    inner = template("v1")
    inner["spec"]["containers"][0]["env"] = [{"name": "OPENRTC_VERSION", "value": "v9"}]
    assert version_of(deployment(inner=inner).template) == "v1"


def test_without_a_label_the_variable_says_it_whichever_container_has_it():
    inner = template("v1")
    inner["metadata"]["labels"] = {"app": "voice"}
    inner["spec"]["containers"].append(
        {"name": "two", "env": [{"name": "OPENRTC_DEPLOYMENT_VERSION", "value": "v9"}]}
    )
    assert version_of(deployment(inner=inner).template) == "v9"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("voice:v3", "v3"),
        ("registry.example:5000/team/voice:v3", "v3"),
        ("registry.example:5000/team/voice:v3@sha256:0123", "v3"),
        ("registry.example:5000/team/voice", None),
        ("voice@sha256:0123", None),
        ("voice:latest", None),
    ],
)
def test_else_the_tag_of_the_image_says_it_and_latest_says_nothing(image, version):
    inner = template()
    inner["metadata"]["labels"] = {}
    inner["spec"]["containers"][0]["image"] = image
    assert version_of(deployment(inner=inner).template) == version


def test_a_label_that_is_no_version_is_no_version_rather_than_something_else():
    inner = template()
    inner["metadata"]["labels"]["app.kubernetes.io/version"] = "-v1"
    assert version_of(deployment(inner=inner).template) is None


def test_of_several_replica_sets_of_one_version_the_one_used_last_is_taken():
    old, new = replica_set("v1", revision=2), replica_set("v1", revision=11)
    choice = choose("v1", [old, replica_set("v2", revision=12), new])
    assert choice is not None
    assert (choice.replica_set, choice.others) == (new, 1)


def test_a_replica_set_of_another_deployment_with_the_same_labels_is_not_ours():
    ours, theirs = replica_set("v1"), replica_set("v0", owner="another")
    assert owned(deployment(), [theirs, ours]) == (ours,)


def test_known_versions_are_told_the_newest_revision_first_and_each_once():
    sets = [replica_set("v1", revision=1), replica_set("v2", revision=3), replica_set("v1", revision=2)]
    assert known_versions(owned(deployment(), sets)) == ("v2", "v1")


_labels = st.dictionaries(st.sampled_from(["app", "pod-template-hash", "tier"]), st.text(max_size=4))
_values = st.recursive(st.none() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3))
_templates = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({}, optional={"labels": _labels, "x": _values})},
    optional={"spec": st.dictionaries(st.text(max_size=4), _values, max_size=3)},
)


@given(_templates)
def test_a_plain_template_is_all_of_it_but_the_controller_s_label(inner):
    plain = plain_template(inner)
    labels = dict(inner["metadata"].get("labels") or {})
    labels.pop("pod-template-hash", None)
    assert (plain["metadata"].get("labels") or {}) == labels
    assert {**plain, "metadata": None} == {**inner, "metadata": None}
    assert plain_template(plain) == plain


@given(_templates, st.text(max_size=4), st.text(max_size=4))
def test_the_hash_alone_never_makes_two_templates_differ(inner, one, other):
    inner["metadata"].setdefault("labels", {})
    assert same_template(hashed(inner, one), hashed(inner, other))


def test_a_selector_is_written_as_the_api_reads_it():
    selector = Selector(match_labels={"app": "voice"})
    assert selector.query() == "app=voice"
    raw = {
        "matchLabels": {"app": "voice"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "old", "operator": "DoesNotExist"},
            {"key": "new", "operator": "Exists"},
            {"key": "zone", "operator": "NotIn", "values": ["z"]},
        ],
    }
    assert msgspec.convert(raw, Selector).query() == "app=voice,tier in (a,b),!old,new,zone notin (z)"
