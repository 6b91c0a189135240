"""A Deployment's pods as the dashboard sees them, and how many may run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_tui.operations.platforms.kubernetes.versions import version_in
from openrtc_tui.state.observation import PodSeen
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openrtc_tui.operations.platforms.kubernetes.objects import Deployment, Pod, ReplicaSet


def pod_seen(pod: Pod, *, gone: bool = False) -> PodSeen:
    """*pod* as an observation.

    Kubernetes sets ``deletionTimestamp`` to the end of the grace, not to the time of the request, so it is when
    SIGKILL falls as it stands.
    """
    ready = pod.status.condition("Ready")
    end = pod.metadata.deletion_timestamp
    return PodSeen(
        name=printable(pod.metadata.name),
        uid=printable(pod.metadata.uid),
        namespace=printable(pod.metadata.namespace),
        version=version_in(pod.metadata, pod.spec),
        node=printable(pod.spec.node_name) if pod.spec.node_name else None,
        phase=printable(pod.status.phase) if pod.status.phase else None,
        ready=None if ready is None else ready.status == "True",
        grace_seconds=pod.spec.grace,
        killed_at=None if end is None else end.timestamp(),
        gone=gone,
        exit_code=_exit_code(pod),
    )


def _exit_code(pod: Pod) -> int | None:
    """Of the first container of the spec: sidecars end as they like."""
    main = pod.spec.containers[0].name if pod.spec.containers else None
    for status in pod.status.container_statuses:
        if main in {None, status.name} and status.state.terminated is not None:
            return status.state.terminated.exit_code
    return None


def controlled_by(pods: Iterable[Pod], replica_set: ReplicaSet) -> tuple[Pod, ...]:
    """Those of *pods* that *replica_set* counts as its own: neither over nor being ended."""
    uid = replica_set.metadata.uid
    return tuple(
        pod
        for pod in pods
        if (owner := pod.metadata.controller) is not None and owner.uid == uid and not pod.ending and not pod.over
    )


def peak(deployment: Deployment, good: ReplicaSet, pods: Iterable[Pod]) -> int:
    """The most pods that may run at once while *good* comes back.

    An undo revives nothing: pods that are ending go on ending, the bad ones are told to end and keep their calls, and
    of the good version all that are missing start. So up to three times ``replicas``.
    """
    running = [pod for pod in pods if not pod.over]
    there = len(controlled_by(running, good))
    return len(running) + max(0, deployment.spec.replicas - there)


def waiting_for_room(pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """Pods that no node has room for now."""
    return tuple(
        pod
        for pod in pods
        if (placed := pod.status.condition("PodScheduled")) is not None
        and placed.status == "False"
        and placed.reason == "Unschedulable"
    )
