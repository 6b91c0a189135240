"""What speaks against a rollback through a Deployment, judged from what was read of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_tui.durations import roughly
from openrtc_tui.operations.plans.plan import Objection
from openrtc_tui.operations.platforms.kubernetes.failures import FORBIDDEN, RefusedError
from openrtc_tui.operations.platforms.kubernetes.markers import markers
from openrtc_tui.operations.platforms.kubernetes.patch import is_done
from openrtc_tui.operations.platforms.kubernetes.pods import controlled_by, peak, waiting_for_room
from openrtc_tui.operations.platforms.kubernetes.versions import known_versions
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from openrtc_tui.operations.platforms.kubernetes.objects import Deployment, Pod, Quota, ReplicaSet
    from openrtc_tui.operations.platforms.kubernetes.rights import Right
    from openrtc_tui.operations.platforms.kubernetes.versions import Choice
    from openrtc_tui.operations.platforms.platform import PlatformError

READY_PATH: Final = "/readyz"
"""The worker answers this with 200 only once it is registered with LiveKit and takes calls."""
GRACE_MARGIN: Final = 10.0
"""Seconds between the end of a drain and SIGKILL: for preStop, the last snapshot and a busy node."""
FEW_REVISIONS: Final = 2
_DEFAULT_HISTORY: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known when a rollback to *version* is judged.

    Attributes:
        replica_sets: the Deployment's own, newest first.
        pods: None where they may not be read.
        drain_seconds: what a worker takes at most from SIGTERM to its exit.
        missing: rights that whoever asks does not have.
        changes: what is not as the description said, in words.
        refusal: what the server said to a dry run.
    """

    version: str
    deployment: Deployment
    replica_sets: tuple[ReplicaSet, ...]
    choice: Choice | None
    drain_seconds: float
    pods: tuple[Pod, ...] | None = None
    quotas: tuple[Quota, ...] = ()
    missing: tuple[Right, ...] = ()
    changes: tuple[str, ...] = ()
    refusal: PlatformError | None = None


def objections(facts: Facts) -> tuple[Objection, ...]:
    """What speaks against it: first what forbids it, then what to know before."""
    found = [*_forbidding(facts), *_ending(facts), *_starting(facts), *_afterwards(facts)]
    return tuple(sorted(found, key=lambda objection: not objection.blocks))


def _forbidding(facts: Facts) -> Iterator[Objection]:
    deployment = facts.deployment
    for right in facts.missing:
        rest = "" if right.needed else " (the rollback works without)"
        text = f"you lack the right to {right}{rest}: {right.lost}"
        yield Objection(code="rights", text=text, blocks=right.needed)
    if facts.changes:
        yield Objection(code="changed", text=f"the Deployment changed: {'; '.join(facts.changes)}", blocks=True)
    if deployment.spec.paused:
        text = "the Deployment is paused: it would take the change and start nothing; kubectl rollout resume it first"
        yield Objection(code="paused", text=text, blocks=True)
    if facts.choice is None:
        known = ", ".join(known_versions(facts.replica_sets)) or "none"
        text = (
            f"no ReplicaSet runs {facts.version} (there are: {known}; revisionHistoryLimit is {_history(deployment)})"
        )
        yield Objection(code="unknown_version", text=text, blocks=True)
    elif is_done(deployment, facts.choice.replica_set):
        text = f"the Deployment wants {facts.version} already: asking for it changes nothing"
        yield Objection(code="same_template", text=text, blocks=True)
    elif facts.choice.others:
        name = printable(facts.choice.replica_set.metadata.name)
        text = f"{facts.choice.others + 1} ReplicaSets run {facts.version}; the one used last is taken: {name}"
        yield Objection(code="several_templates", text=text)
    if facts.refusal is not None and not _told_already(facts, facts.refusal):
        yield Objection(code="refused", text=f"the server would not take it: {facts.refusal}", blocks=True)


def _told_already(facts: Facts, refusal: PlatformError) -> bool:
    """Whether a better objection says why the dry run failed."""
    if not isinstance(refusal, RefusedError):
        return False
    if refusal.code == FORBIDDEN:
        return any(right.verb == "patch" and right.needed for right in facts.missing)
    return refusal.test_failed and (bool(facts.changes) or facts.deployment.spec.paused)


def _ending(facts: Facts) -> Iterator[Objection]:
    """How the pods of the bad version end."""
    needed = facts.drain_seconds + GRACE_MARGIN
    shortest = _shortest_grace(facts)
    if shortest < needed:
        text = (
            f"its pods are killed {roughly(shortest)} after they are told to end, a drain may take"
            f" {roughly(facts.drain_seconds)}: longer calls are dropped."
            f" Set terminationGracePeriodSeconds to {needed:.0f} (pods that run already keep theirs)"
        )
        yield Objection(code="grace_too_short", text=text)
    if facts.deployment.spec.strategy.type == "Recreate":
        text = (
            f"its strategy is Recreate: all pods are ended before the first of {facts.version} starts,"
            " callers in between find nobody"
        )
        yield Objection(code="recreate", text=text, blocks=True, override="RECREATE")


def _shortest_grace(facts: Facts) -> float:
    """Of the pods that the rollback ends, which keep what they began with; else of the template."""
    good = facts.choice.replica_set.metadata.uid if facts.choice else None
    ended = [
        pod.spec.grace
        for pod in facts.pods or ()
        if not pod.over and ((owner := pod.metadata.controller) is None or owner.uid != good)
    ]
    return min(ended, default=facts.deployment.template.spec.grace)


def _starting(facts: Facts) -> Iterator[Objection]:
    """Whether the good version comes up, and what Kubernetes takes for up."""
    if facts.choice is None:
        return
    good = facts.choice.replica_set
    probes = [container.readiness_probe for container in good.template.spec.containers]
    if not any(probe and probe.http_get and probe.http_get.path == READY_PATH for probe in probes):
        text = (
            f"{facts.version} has no readiness probe on {READY_PATH}: Kubernetes takes it for ready, and ends the"
            " other version, before it is registered with LiveKit"
        )
        yield Objection(code="readiness", text=text)
    yield from _room(facts, good)


def _room(facts: Facts, good: ReplicaSet) -> Iterator[Objection]:
    failure = next(
        (
            item
            for item in facts.deployment.status.conditions
            if item.type == "ReplicaFailure" and item.status == "True"
        ),
        None,
    )
    if failure is not None:
        yield Objection(
            code="no_room", text=f"pods cannot be made now: {printable(failure.message or failure.reason)}"
        )
    if facts.pods is None:
        return
    unplaced = len(waiting_for_room(facts.pods))
    if unplaced:
        yield Objection(code="no_room", text=f"{unplaced} of its pods wait for a node with room already")
    there = len(controlled_by(facts.pods, good))
    starts = max(0, facts.deployment.spec.replicas - there)
    for quota in facts.quotas:
        left = _pods_left(quota)
        if left is not None and left < starts:
            top = peak(facts.deployment, good, facts.pods)
            text = (
                f"the quota {printable(quota.metadata.name)} has room for {left} more pods, {starts} would start"
                f" (up to {top} at once)"
            )
            yield Objection(code="no_room", text=text)


def _pods_left(quota: Quota) -> int | None:
    left = [
        int(hard) - int(quota.status.used.get(key, "0"))
        for key, hard in quota.status.hard.items()
        if key in {"pods", "count/pods"} and hard.isdigit() and quota.status.used.get(key, "0").isdigit()
    ]
    return max(0, min(left)) if left else None


def _afterwards(facts: Facts) -> Iterable[Objection]:
    """What may bring the bad version back, or take the good one away."""
    found = [Objection(code=marker.code, text=marker.text) for marker in markers(facts.deployment.metadata)]
    history = _history(facts.deployment)
    if history < FEW_REVISIONS:
        text = f"revisionHistoryLimit is {history}: Kubernetes soon forgets the versions that could be gone back to"
        found.append(Objection(code="history", text=text))
    return found


def _history(deployment: Deployment) -> int:
    limit = deployment.spec.revision_history_limit
    return _DEFAULT_HISTORY if limit is None else limit
