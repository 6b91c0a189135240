"""The rights that the platform needs, and what is missing without each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource. Without a *needed* one no rollback is possible; ``lost`` says what is missing."""

    verb: str
    group: str
    resource: str
    lost: str
    needed: bool = False

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"

    def attributes(self, namespace: str) -> dict[str, str]:
        """As a SelfSubjectAccessReview asks for it."""
        return {"namespace": namespace, "verb": self.verb, "group": self.group, "resource": self.resource}


RIGHTS: Final = (
    Right("get", "apps", "deployments", "the Deployment cannot be read", needed=True),
    Right("patch", "apps", "deployments", "the Deployment cannot be rolled back", needed=True),
    Right("list", "apps", "replicasets", "the good version cannot be found", needed=True),
    Right("list", "", "pods", "calls on terminating pods cannot be seen"),
    Right("watch", "", "pods", "calls on terminating pods cannot be seen"),
    Right("delete", "", "pods", "drained pods are not removed"),
    Right("patch", "", "pods", "scale-downs may end busy pods before idle ones"),
)
