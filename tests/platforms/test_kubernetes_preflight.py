"""What speaks against a rollback through a Deployment: every finding, and nothing where there is none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from openrtc_tui.operations.platforms.kubernetes.failures import RefusedError
from openrtc_tui.operations.platforms.kubernetes.objects import Quota
from openrtc_tui.operations.platforms.kubernetes.pods import peak
from openrtc_tui.operations.platforms.kubernetes.preflight import Facts, objections
from openrtc_tui.operations.platforms.kubernetes.rights import RIGHTS
from openrtc_tui.operations.platforms.kubernetes.versions import Choice
from tests.platforms.kubernetes_objects import deployment, pod, replica_set, template

DRAIN = 3600 + 30 + 3.0
HEALTHY = {"revisionHistoryLimit": 10}


def found(*, version: str = "v1", good: Any = "some", **facts: Any) -> dict[str, Any]:
    """Objections by code, where all is well but for *facts*."""
    good = replica_set("v1") if good == "some" else good
    everything = {
        "version": version,
        "deployment": deployment(**HEALTHY),
        "replica_sets": (good,) if good else (),
        "choice": Choice(good) if good else None,
        "drain_seconds": DRAIN,
        "pods": (),
        **facts,
    }
    return {objection.code: objection for objection in objections(Facts(**everything))}


def test_where_all_is_well_nothing_speaks_against_it():
    assert found() == {}


def test_a_paused_deployment_is_forbidden_because_it_would_start_nothing():
    objection = found(deployment=deployment(paused=True, **HEALTHY))["paused"]
    assert objection.blocks
    assert objection.override is None


def test_the_same_template_is_forbidden_because_nothing_would_happen():
    assert found(deployment=deployment("v1", **HEALTHY))["same_template"].blocks


def test_a_version_that_no_replica_set_runs_is_forbidden_and_the_known_ones_are_named():
    other = replica_set("v7")
    objection = found(good=None, replica_sets=(other,))["unknown_version"]
    assert objection.blocks
    assert "v7" in objection.text


def test_a_grace_shorter_than_a_drain_is_told_with_the_seconds_to_set():
    objection = found(pods=(pod(replica_set("v2"), grace=30),))["grace_too_short"]
    assert not objection.blocks
    assert "30s" in objection.text
    assert "3643" in objection.text


@pytest.mark.parametrize(("grace", "told"), [(3642, True), (3643, False)])
def test_the_grace_has_to_hold_a_drain_its_cut_its_linger_and_ten_seconds(grace, told):
    assert ("grace_too_short" in found(pods=(pod(replica_set("v2"), grace=grace),))) is told


def test_pods_keep_the_grace_they_began_with_so_theirs_counts_and_not_the_template_s():
    running = (pod(replica_set("v2"), grace=3700),)
    short = template("v2", grace=30)
    assert "grace_too_short" not in found(pods=running, deployment=deployment(inner=short, **HEALTHY))
    assert "grace_too_short" in found(pods=None, deployment=deployment(inner=short, **HEALTHY))


def test_the_grace_of_pods_that_stay_does_not_matter():
    good = replica_set("v1")
    assert "grace_too_short" not in found(good=good, pods=(pod(good, grace=30), pod(replica_set("v2"), grace=3700)))


def test_recreate_leaves_callers_alone_and_needs_a_typed_word():
    objection = found(deployment=deployment(strategy={"type": "Recreate"}, **HEALTHY))["recreate"]
    assert (objection.blocks, objection.override) == (True, "RECREATE")


@pytest.mark.parametrize("path", ["/healthz", "/"])
def test_a_readiness_that_does_not_mean_registered_is_told(path):
    assert "readiness" in found(good=replica_set("v1", inner=template("v1", ready=path)))


@pytest.mark.parametrize("right", RIGHTS, ids=str)
def test_a_missing_right_forbids_only_where_the_rollback_needs_it(right):
    objection = found(missing=(right,))["rights"]
    assert objection.blocks is right.needed
    assert str(right) in objection.text


def test_what_the_server_says_to_a_dry_run_forbids_it():
    refusal = RefusedError("change it", 422, "", ("spec.template.spec.containers[0].image: Required value",))
    objection = found(refusal=refusal)["refused"]
    assert objection.blocks
    assert "Required value" in objection.text


def test_a_refusal_that_a_better_objection_explains_is_not_told_twice():
    patching = next(right for right in RIGHTS if right.verb == "patch" and right.needed)
    assert set(found(refusal=RefusedError("x", 403, "no"), missing=(patching,))) == {"rights"}
    assert set(found(refusal=RefusedError("x", 422, ""), changes=("it was paused",))) == {"changed"}


def test_pods_without_a_node_and_full_quotas_are_no_room_for_the_peak():
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    assert "no_room" in found(pods=(pod(replica_set("v2"), conditions=[unplaced]),))
    full = msgspec.convert(
        {"metadata": {"name": "q"}, "status": {"hard": {"pods": "5"}, "used": {"pods": "3"}}}, Quota
    )
    assert "room for 2 more pods, 3 would start" in found(quotas=(full,))["no_room"].text
    failing = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]}
    assert "exceeded quota" in found(deployment=deployment(status=failing, **HEALTHY))["no_room"].text


def test_a_short_history_is_told():
    assert "history" in found(deployment=deployment(revisionHistoryLimit=1))
    assert "history" not in found(deployment=deployment())  # ten is Kubernetes' own


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, "gitops", "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}, "gitops", "Flux"),
        ({"managed": [{"manager": "helm-controller", "operation": "Apply"}]}, "gitops", "Flux"),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "gitops", "Helm"),
        ({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}, "client_side_apply", "CI"),
        (
            {"managed": [{"manager": "ci", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}}]},
            "server_side_apply",
            "conflicts",
        ),
    ],
)
def test_whoever_would_bring_the_bad_version_back_is_named(changes, code, words):
    objection = found(deployment=deployment(**HEALTHY, **changes))[code]
    assert words in objection.text
    assert not objection.blocks


def test_what_forbids_it_comes_first():
    facts = Facts(
        version="v1",
        deployment=deployment(paused=True, revisionHistoryLimit=0),
        replica_sets=(),
        choice=None,
        drain_seconds=DRAIN,
        pods=(pod(grace=1),),
    )
    blocking = [objection.blocks for objection in objections(facts)]
    assert blocking == sorted(blocking, reverse=True)
    assert len(blocking) == 4


def test_the_peak_counts_what_is_ending_what_runs_and_what_has_to_start():
    good, bad = replica_set("v1", replicas=0), replica_set("v2")
    ending = [pod(good, ends_at="2026-01-01T00:00:00Z") for _ in range(3)]
    running = [pod(bad) for _ in range(3)]
    assert peak(deployment(), good, [*ending, *running, pod(bad, phase="Failed")]) == 9  # three times replicas
    kept = [pod(good) for _ in range(3)]
    assert peak(deployment(), good, [*kept, *running]) == 6  # an early undo keeps the very same pods
