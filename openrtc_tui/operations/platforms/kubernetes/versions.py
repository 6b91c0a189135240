"""Which deployment version a pod template runs, and which ReplicaSet brings a version back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.operations.platforms.kubernetes.objects import HASH_LABEL
from openrtc_worker.contract.snapshot import VERSION_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openrtc_tui.operations.platforms.kubernetes.objects import (
        Container,
        Deployment,
        Meta,
        PodSpec,
        ReplicaSet,
        Template,
    )

VERSION_LABEL: Final = "app.kubernetes.io/version"
VERSION_VARIABLES: Final = ("OPENRTC_DEPLOYMENT_VERSION", "OPENRTC_VERSION", "DEPLOYMENT_VERSION")
"""Variables of a worker's environment that name its version, where no label does."""


def version_of(template: Template) -> str | None:
    """The deployment version that *template* runs: by label, else by variable, else by image tag."""
    return version_in(template.metadata, template.spec)


def version_in(metadata: Meta, spec: PodSpec) -> str | None:
    """The same of a pod's own parts."""
    label = metadata.labels.get(VERSION_LABEL)
    if label:
        return _version(label)
    variables = (env for container in spec.containers for env in container.env)
    variable = next((env.value for env in variables if env.name in VERSION_VARIABLES and env.value), None)
    if variable:
        return _version(variable)
    return next((tag for container in spec.containers[:1] if (tag := _tag(container))), None)


def _tag(container: Container) -> str | None:
    """The tag of an image: ``host:5000/voice:v1@sha256:…`` has ``v1``. ``latest`` says nothing."""
    name = container.image.partition("@")[0].rpartition("/")[2]
    tag = name.partition(":")[2]
    return None if tag in {"", "latest"} else _version(tag)


def _version(text: str) -> str | None:
    text = text.strip()
    return text if VERSION_PATTERN.fullmatch(text) else None


def plain_template(template: dict[str, Any]) -> dict[str, Any]:
    """*template* without the label that the controller adds to a ReplicaSet's; nothing else is touched."""
    metadata = template.get("metadata")
    if not isinstance(metadata, dict) or HASH_LABEL not in (metadata.get("labels") or {}):
        return template
    labels = {key: value for key, value in metadata["labels"].items() if key != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def same_template(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the controller would take both for one revision."""
    return plain_template(one) == plain_template(other)


def owned(deployment: Deployment, replica_sets: Iterable[ReplicaSet]) -> tuple[ReplicaSet, ...]:
    """Those of *replica_sets* that this very Deployment controls, the newest revision first."""
    mine = [
        item
        for item in replica_sets
        if (owner := item.metadata.controller) is not None and owner.uid == deployment.metadata.uid
    ]
    return tuple(sorted(mine, key=lambda item: item.metadata.revision, reverse=True))


def known_versions(replica_sets: Iterable[ReplicaSet]) -> tuple[str, ...]:
    """Every version that one of them runs, in their order."""
    return tuple(dict.fromkeys(version for item in replica_sets if (version := version_of(item.template))))


@dataclass(frozen=True, slots=True)
class Choice:
    """The ReplicaSet that brings a version back, and how many others run the same version."""

    replica_set: ReplicaSet
    others: int = 0


def choose(version: str, replica_sets: Iterable[ReplicaSet]) -> Choice | None:
    """The ReplicaSet of *version*: of several the one with the highest revision, the one used last."""
    found = [item for item in replica_sets if version_of(item.template) == version]
    if not found:
        return None
    best = max(found, key=lambda item: item.metadata.revision)
    return Choice(best, others=len(found) - 1)
