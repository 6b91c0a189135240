"""A rollback as one JSON patch: what ``kubectl rollout undo`` changes, with tests on what the operator looked at.

kubectl tests nothing, so of two operators both are told "rolled back" and the last one wins. A test on the object's
generation would refuse after every autoscaling; these are on what the rollback replaces, and on nothing else.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrtc_tui.operations.platforms.kubernetes.objects import CHANGE_CAUSE, LAST_APPLIED, REVISION
from openrtc_tui.operations.platforms.kubernetes.versions import plain_template, same_template, version_of
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from openrtc_tui.operations.platforms.kubernetes.objects import Deployment, ReplicaSet

OP_ID: Final = "openrtc.rollback-op"
"""Annotation with the identity of the last rollback, so that asking again for the same one changes nothing."""
REASON: Final = "openrtc.rollback-reason"

_NOT_COPIED: Final = frozenset(
    {
        LAST_APPLIED,
        REVISION,
        "deployment.kubernetes.io/revision-history",
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
        OP_ID,
        REASON,
    }
)
"""Annotations of a ReplicaSet that are its controller's own (kubectl skips the same), and ours of another time."""

Operation = dict[str, Any]


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator looked at when a rollback was planned; travels as an opaque token."""

    deployment: str
    """The Deployment's uid: another one of the same name is another one."""
    replica_set: str
    """The ReplicaSet's uid, because revision numbers move."""
    paused: bool = False
    template: str
    """Digest of the Deployment's template; the whole one would make a long token."""

    def token(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, token: str) -> Looked:
        """Raises msgspec.MsgspecError when *token* is not one of ours."""
        return msgspec.json.decode(token, type=cls)


def looked_at(deployment: Deployment, replica_set: ReplicaSet) -> Looked:
    return Looked(
        deployment=deployment.metadata.uid,
        replica_set=replica_set.metadata.uid,
        paused=deployment.spec.paused,
        template=_digest(deployment.spec.template),
    )


def _digest(template: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(template, order="sorted")).hexdigest()


def rollback_patch(
    deployment: Deployment, replica_set: ReplicaSet, *, op_id: str | None = None, reason: str | None = None
) -> list[Operation]:
    """The operations that make *deployment* run *replica_set*'s template, if nobody changed it meanwhile.

    Annotations go key by key: replacing the map, as kubectl does, wipes what others wrote since.
    """
    operations: list[Operation] = [
        {"op": "test", "path": "/metadata/uid", "value": deployment.metadata.uid},
        {"op": "test", "path": "/spec/template", "value": deployment.spec.template},
        # false is left out of the object, and a missing field passes a test for null alone
        {"op": "test", "path": "/spec/paused", "value": True if deployment.spec.paused else None},
        {"op": "replace", "path": "/spec/template", "value": plain_template(replica_set.spec.template)},
    ]
    wanted = _annotations(deployment, replica_set, op_id, reason)
    present = deployment.metadata.annotations
    if wanted and not present:
        operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
    for key, value in sorted(wanted.items()):
        path = f"/metadata/annotations/{_escape(key)}"
        if value is None:
            operations.append({"op": "remove", "path": path})
        elif present.get(key) != value:
            operations.append({"op": "add", "path": path, "value": value})
    return operations


def _annotations(
    deployment: Deployment, replica_set: ReplicaSet, op_id: str | None, reason: str | None
) -> dict[str, str | None]:
    """What each annotation is to be; None: taken away."""
    wanted: dict[str, str | None] = {
        key: value for key, value in replica_set.metadata.annotations.items() if key not in _NOT_COPIED
    }
    # the controller copies the Deployment's annotations to the ReplicaSet: what is left would become its cause
    stale = {CHANGE_CAUSE, OP_ID, REASON} & deployment.metadata.annotations.keys() - wanted.keys()
    wanted |= dict.fromkeys(stale)
    if op_id is not None:
        wanted[OP_ID] = op_id
        if reason:
            wanted[REASON] = printable(reason)
    return wanted


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def changes_since(looked: Looked, deployment: Deployment) -> tuple[str, ...]:
    """What of the things that a rollback rests on is not as it was looked at, in words. Empty: nothing."""
    if deployment.metadata.uid != looked.deployment:
        return ("it was deleted and made anew",)
    found: list[str] = []
    if _digest(deployment.spec.template) != looked.template:
        version = version_of(deployment.template)
        found.append(
            f"its pod template was changed, it now runs {printable(version or 'a version that it names nowhere')}"
        )
    if deployment.spec.paused and not looked.paused:
        found.append("it was paused")
    return tuple(found)


def is_done(deployment: Deployment, replica_set: ReplicaSet) -> bool:
    """Whether *deployment* wants *replica_set*'s template already."""
    return same_template(deployment.spec.template, replica_set.spec.template)


def was_done(deployment: Deployment, op_id: str) -> bool:
    """Whether the rollback with this identity was carried out, whatever came after it."""
    return deployment.metadata.annotations.get(OP_ID) == op_id
