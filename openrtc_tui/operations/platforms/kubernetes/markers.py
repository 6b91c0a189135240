"""Who else writes this Deployment, and would bring the bad version back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.platforms.kubernetes.objects import LAST_APPLIED
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openrtc_tui.operations.platforms.kubernetes.objects import Managed, Meta


@dataclass(frozen=True, slots=True)
class Marker:
    """One that would undo the rollback. ``code`` is an objection's."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class _Tool:
    """How the objects of one GitOps tool are known: by keys of labels and annotations, or by who wrote fields."""

    name: str
    keys: tuple[str, ...]
    managers: tuple[str, ...]
    text: str


_TOOLS: Final = (
    _Tool(
        "Argo CD",
        ("argocd.argoproj.io/",),
        ("argocd-controller", "argocd-application-controller"),
        "Argo CD manages this Deployment: its next sync brings the bad version back, with self-heal at once;"
        " turn that off or revert in Git",
    ),
    _Tool(
        "Flux",
        ("kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"),
        ("kustomize-controller", "helm-controller"),
        "Flux manages this Deployment: its next reconciliation brings the bad version back;"
        " suspend it or revert in Git",
    ),
    _Tool(
        "Helm",
        ("meta.helm.sh/",),
        ("helm",),
        "Helm manages this Deployment: the next helm upgrade brings the bad version back; revert the chart's values",
    ),
)


def markers(metadata: Meta) -> tuple[Marker, ...]:
    """Everything of *metadata* that says so."""
    return (*_tools(metadata), *_applies(metadata))


def _tools(metadata: Meta) -> Iterator[Marker]:
    keys = metadata.labels.keys() | metadata.annotations.keys()
    managers = {managed.manager for managed in metadata.managed_fields}
    for tool in _TOOLS:
        marked = any(key.startswith(tool.keys) for key in keys) or bool(managers.intersection(tool.managers))
        by_label = metadata.labels.get("app.kubernetes.io/managed-by") == tool.name
        if marked or by_label:
            yield Marker("gitops", tool.text)


def _applies(metadata: Meta) -> Iterator[Marker]:
    if LAST_APPLIED in metadata.annotations:
        text = "it is kept by kubectl apply: the next apply (CI's too) brings the bad version back; revert its source"
        yield Marker("client_side_apply", text)
    known = {manager for tool in _TOOLS for manager in tool.managers}
    for managed in metadata.managed_fields:
        if managed.operation == "Apply" and managed.manager not in known and _owns_template(managed):
            text = (
                f"it is kept by a server-side apply of {printable(managed.manager, 60)}: its next one fails with"
                " conflicts, or brings the bad version back where it is forced; revert its source"
            )
            yield Marker("server_side_apply", text)


def _owns_template(managed: Managed) -> bool:
    spec = managed.fields_v1.get("f:spec")
    return isinstance(spec, dict) and "f:template" in spec
