"""A rollback as one patch: what it changes, what it keeps, what it is refused for."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.operations.platforms.kubernetes.objects import Deployment
from openrtc_tui.operations.platforms.kubernetes.patch import (
    Looked,
    changes_since,
    is_done,
    looked_at,
    rollback_patch,
    was_done,
)
from tests.platforms.json_patch import NotAsTestedError, applied
from tests.platforms.kubernetes_objects import deployment_json, replica_set, template


def read(raw: dict[str, Any]) -> Deployment:
    return msgspec.convert(raw, Deployment)


_keys = st.sampled_from(
    [
        "team",
        "example.com/on~call",
        "kubernetes.io/change-cause",
        "deployment.kubernetes.io/revision",
        "kubectl.kubernetes.io/last-applied-configuration",
        "openrtc.rollback-op",
    ]
)
_annotations = st.dictionaries(_keys, st.text(max_size=5))


@given(_annotations, _annotations)
def test_afterwards_it_wants_the_good_template_whole_and_nothing_else_changed(mine, theirs):
    raw = deployment_json(template("v2"), annotations=mine, strategy={"type": "RollingUpdate"}, unknownField=[1])
    good = replica_set("v1", annotations=theirs)
    after = applied(rollback_patch(read(raw), good, op_id="op-1", reason="bad"), raw)
    assert after["spec"]["template"] == template("v1")
    assert {**after["spec"], "template": 0} == {**raw["spec"], "template": 0}
    assert {**after["metadata"], "annotations": 0} == {**raw["metadata"], "annotations": 0}
    assert is_done(read(after), good)
    assert was_done(read(after), "op-1")
    kept = {"deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration"}
    for key in kept & mine.keys():
        assert after["metadata"]["annotations"][key] == mine[key]


@given(_annotations)
def test_annotations_that_others_wrote_since_stay(mine):
    raw = deployment_json(template("v2"), annotations={**mine, "someone.else/wrote": "this"})
    after = applied(rollback_patch(read(raw), replica_set("v1")), raw)
    assert after["metadata"]["annotations"]["someone.else/wrote"] == "this"


def test_the_good_version_s_cause_replaces_the_bad_one_s():
    cause = "kubernetes.io/change-cause"
    raw = deployment_json(template("v2"), annotations={cause: "deploy v2"})
    after = applied(rollback_patch(read(raw), replica_set("v1", annotations={cause: "deploy v1"})), raw)
    assert after["metadata"]["annotations"][cause] == "deploy v1"
    without = applied(rollback_patch(read(raw), replica_set("v1")), raw)
    assert cause not in without["metadata"]["annotations"]


@pytest.mark.parametrize("what", ["template", "uid", "paused"])
def test_it_is_refused_when_somebody_changed_what_it_rests_on(what):
    raw = deployment_json(template("v2"))
    operations = rollback_patch(read(raw), replica_set("v1"))
    changed = copy.deepcopy(raw)
    match what:
        case "template":
            changed["spec"]["template"] = template("v3")
        case "uid":
            changed["metadata"]["uid"] = "made anew"
        case "paused":
            changed["spec"]["paused"] = True
    with pytest.raises(NotAsTestedError):
        applied(operations, changed)
    assert changes_since(looked_at(read(raw), replica_set("v1")), read(changed))


def test_an_autoscaling_in_between_is_no_reason_to_refuse():
    raw = deployment_json(template("v2"))
    operations = rollback_patch(read(raw), replica_set("v1"))
    changed = copy.deepcopy(raw)
    changed["spec"]["replicas"] = 9
    changed["metadata"]["generation"] = 8
    changed["metadata"]["annotations"]["autoscaler"] = "was here"
    after = applied(operations, changed)
    assert after["spec"]["replicas"] == 9
    assert not changes_since(looked_at(read(raw), replica_set("v1")), read(changed))


def test_what_changed_is_said_in_words():
    looked = looked_at(read(deployment_json(template("v2"))), replica_set("v1"))
    changed = read(deployment_json(template("v3"), paused=True))
    assert changes_since(looked, changed) == ("its pod template was changed, it now runs v3", "it was paused")


def test_a_token_survives_a_journal():
    looked = looked_at(read(deployment_json(template("v2"))), replica_set("v1"))
    assert Looked.read(looked.token()) == looked
    with pytest.raises(msgspec.MsgspecError):
        Looked.read("something else")
