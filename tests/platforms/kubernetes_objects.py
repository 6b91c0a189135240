"""Objects as an API server sends them, for tests of the pure parts."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from openrtc_tui.operations.platforms.kubernetes.objects import Deployment, Pod, ReplicaSet

_numbers = itertools.count(1)
DEPLOYMENT_UID = "d-uid"


def template(version: str = "v1", **changes: Any) -> dict[str, Any]:
    """A pod template of *version*, with a field that no model of ours knows."""
    return {
        "metadata": {"labels": {"app": "voice", "app.kubernetes.io/version": version}},
        "spec": {
            "terminationGracePeriodSeconds": changes.get("grace", 3700),
            "aFieldOfTheNextRelease": {"kept": True},
            "containers": [
                {
                    "name": "worker",
                    "image": f"registry.example:5000/voice:{version}",
                    "readinessProbe": {"httpGet": {"path": changes.get("ready", "/readyz"), "port": 9464}},
                }
            ],
        },
    }


def hashed(inner: dict[str, Any], value: str) -> dict[str, Any]:
    """*inner* as the controller writes it to a ReplicaSet."""
    metadata = inner["metadata"]
    return {**inner, "metadata": {**metadata, "labels": {**metadata["labels"], "pod-template-hash": value}}}


def deployment_json(inner: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "voice",
            "namespace": "prod",
            "uid": DEPLOYMENT_UID,
            "generation": 7,
            "labels": changes.pop("labels", {}),
            "annotations": changes.pop("annotations", {}),
            "managedFields": changes.pop("managed", []),
        },
        "status": changes.pop("status", {}),
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "voice"}}, **changes, "template": inner},
    }


def deployment(version: str = "v2", inner: dict[str, Any] | None = None, **changes: Any) -> Deployment:
    return msgspec.convert(deployment_json(inner or template(version), **changes), Deployment)


def replica_set(
    version: str = "v1",
    *,
    revision: int = 1,
    uid: str | None = None,
    owner: str = DEPLOYMENT_UID,
    replicas: int = 3,
    inner: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
) -> ReplicaSet:
    number = next(_numbers)
    raw = {
        "metadata": {
            "name": f"voice-{number}",
            "uid": uid or f"rs-{number}",
            "annotations": {"deployment.kubernetes.io/revision": str(revision), **(annotations or {})},
            "ownerReferences": [{"kind": "Deployment", "name": "voice", "uid": owner, "controller": True}],
        },
        "spec": {"replicas": replicas, "template": hashed(inner or template(version), f"h{number}")},
    }
    return msgspec.convert(raw, ReplicaSet)


def pod(
    owner: ReplicaSet | None = None,
    *,
    uid: str | None = None,
    grace: int = 3700,
    ends_at: str | None = None,
    phase: str = "Running",
    version: str = "v2",
    annotations: dict[str, str] | None = None,
    managed: list[dict[str, Any]] | None = None,
    conditions: list[dict[str, Any]] | None = None,
    exit_code: int | None = None,
) -> Pod:
    number = next(_numbers)
    references = [{"kind": "ReplicaSet", "uid": owner.metadata.uid, "controller": True}] if owner else []
    state = {"running": {}} if exit_code is None else {"terminated": {"exitCode": exit_code}}
    metadata: dict[str, Any] = {
        "name": f"voice-pod-{number}",
        "namespace": "prod",
        "uid": uid or f"pod-{number}",
        "labels": {"app": "voice", "app.kubernetes.io/version": version},
        "annotations": annotations or {},
        "ownerReferences": references,
        "managedFields": managed or [],
    }
    if ends_at is not None:
        metadata["deletionTimestamp"] = ends_at
    raw = {
        "metadata": metadata,
        "spec": {"containers": [{"name": "worker"}], "nodeName": "n1", "terminationGracePeriodSeconds": grace},
        "status": {
            "phase": phase,
            "conditions": conditions or [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "sidecar", "state": {"terminated": {"exitCode": 9}}},
                {"name": "worker", "state": state},
            ],
        },
    }
    return msgspec.convert(raw, Pod)
