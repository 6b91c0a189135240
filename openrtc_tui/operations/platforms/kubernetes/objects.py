"""What we read of Kubernetes' objects. Only to be read: what is written comes from the objects as received.

Every string of these came over the network; whoever shows one makes it printable first.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  # msgspec reads the annotations
from typing import Any, Final, Literal

import msgspec

HASH_LABEL: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"
CHANGE_CAUSE: Final = "kubernetes.io/change-cause"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
DEFAULT_GRACE: Final = 30.0
"""Seconds that a pod has between SIGTERM and SIGKILL where its template says nothing."""


class _Read(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all: unknown fields ignored here, because they stay in what was received."""


class Owner(_Read, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Managed(_Read, frozen=True, kw_only=True):
    """One writer of an object, and which fields it set."""

    manager: str = ""
    operation: str = ""
    fields_v1: dict[str, Any] = msgspec.field(name="fieldsV1", default_factory=dict)


class Meta(_Read, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: datetime | None = None
    """When the object is to be gone: for a pod the end of its grace, not the time of the request."""
    owner_references: list[Owner] = []
    managed_fields: list[Managed] = []

    @property
    def revision(self) -> int:
        """The Deployment's number of this ReplicaSet; 0 where there is none. It moves with every undo."""
        text = self.annotations.get(REVISION, "")
        return int(text) if text.isascii() and text.isdigit() else 0

    @property
    def controller(self) -> Owner | None:
        return next((owner for owner in self.owner_references if owner.controller), None)


class Env(_Read, frozen=True, kw_only=True):
    name: str = ""
    value: str | None = None


class HttpGet(_Read, frozen=True, kw_only=True):
    path: str = ""


class Probe(_Read, frozen=True, kw_only=True):
    http_get: HttpGet | None = None


class Container(_Read, frozen=True, kw_only=True):
    name: str = ""
    image: str = ""
    env: list[Env] = []
    readiness_probe: Probe | None = None


class PodSpec(_Read, frozen=True, kw_only=True):
    containers: list[Container] = []
    node_name: str | None = None
    termination_grace_period_seconds: float | None = None

    @property
    def grace(self) -> float:
        seconds = self.termination_grace_period_seconds
        return DEFAULT_GRACE if seconds is None else seconds


class Template(_Read, frozen=True, kw_only=True):
    metadata: Meta = Meta()
    spec: PodSpec = PodSpec()


class Requirement(_Read, frozen=True, kw_only=True):
    key: str
    operator: str
    values: list[str] = []


class Selector(_Read, frozen=True, kw_only=True):
    match_labels: dict[str, str] = {}
    match_expressions: list[Requirement] = []

    def query(self) -> str:
        """The selector as the API takes it in a query."""
        parts = [f"{key}={value}" for key, value in self.match_labels.items()]
        for need in self.match_expressions:
            match need.operator:
                case "In" | "NotIn":
                    parts.append(f"{need.key} {need.operator.lower()} ({','.join(need.values)})")
                case "Exists":
                    parts.append(need.key)
                case "DoesNotExist":
                    parts.append(f"!{need.key}")
                case other:
                    raise msgspec.ValidationError(f"a selector with the unknown operator {other!r}")
        return ",".join(parts)


class RollingUpdate(_Read, frozen=True, kw_only=True):
    max_surge: int | str | None = None
    max_unavailable: int | str | None = None


class Strategy(_Read, frozen=True, kw_only=True):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(_Read, frozen=True, kw_only=True):
    template: dict[str, Any]
    """As received, to be tested and compared whole."""
    selector: Selector
    replicas: int = 1
    paused: bool = False
    strategy: Strategy = Strategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None


class Condition(_Read, frozen=True, kw_only=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class DeploymentStatus(_Read, frozen=True, kw_only=True):
    conditions: list[Condition] = []


class Deployment(_Read, frozen=True, kw_only=True):
    metadata: Meta
    spec: DeploymentSpec
    status: DeploymentStatus = DeploymentStatus()

    def __post_init__(self) -> None:
        """Whatever is read later can be read: what cannot is told where the object came in."""
        _ = self.template, self.spec.selector.query()

    @property
    def template(self) -> Template:
        return msgspec.convert(self.spec.template, Template)


class ReplicaSetSpec(_Read, frozen=True, kw_only=True):
    template: dict[str, Any]
    replicas: int = 1


class ReplicaSet(_Read, frozen=True, kw_only=True):
    metadata: Meta
    spec: ReplicaSetSpec

    def __post_init__(self) -> None:
        _ = self.template

    @property
    def template(self) -> Template:
        return msgspec.convert(self.spec.template, Template)


class Terminated(_Read, frozen=True, kw_only=True):
    exit_code: int | None = None


class ContainerState(_Read, frozen=True, kw_only=True):
    terminated: Terminated | None = None


class ContainerStatus(_Read, frozen=True, kw_only=True):
    name: str = ""
    state: ContainerState = ContainerState()


class PodStatus(_Read, frozen=True, kw_only=True):
    phase: str | None = None
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []

    def condition(self, kind: str) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type == kind), None)


class Pod(_Read, frozen=True, kw_only=True):
    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ending(self) -> bool:
        """Whether it was deleted and has its grace still."""
        return self.metadata.deletion_timestamp is not None

    @property
    def over(self) -> bool:
        """Whether its processes have ended for good."""
        return self.status.phase in {"Succeeded", "Failed"}


class QuotaStatus(_Read, frozen=True, kw_only=True):
    hard: dict[str, str] = {}
    used: dict[str, str] = {}


class Quota(_Read, frozen=True, kw_only=True):
    metadata: Meta
    status: QuotaStatus = QuotaStatus()


class AccessStatus(_Read, frozen=True, kw_only=True):
    allowed: bool = False


class AccessReview(_Read, frozen=True, kw_only=True):
    status: AccessStatus


class Cause(_Read, frozen=True, kw_only=True):
    field: str = ""
    message: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.field or '?'}: {self.message or self.reason or '?'}"


class Details(_Read, frozen=True, kw_only=True):
    causes: list[Cause] = []


class Status(_Read, frozen=True, kw_only=True):
    """The API's own answer to what it refused."""

    kind: Literal["Status"]
    message: str = ""
    reason: str = ""
    details: Details = Details()
