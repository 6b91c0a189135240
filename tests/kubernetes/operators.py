"""Operators with the dashboard's rights, and a Deployment of pods that only wait: for tests of the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openrtc_tui.fleet_specs import KubernetesSpec
from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform
from tests.kubernetes.namespace import KubectlError, eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.kubernetes.api import Object
    from tests.kubernetes.namespace import Namespace

Rule = tuple["Sequence[str]", "Sequence[str]", "Sequence[str]"]

DASHBOARD: tuple[Rule, ...] = (
    (["apps"], ["deployments"], ["get", "patch"]),
    (["apps"], ["replicasets"], ["list"]),
    ([""], ["pods"], ["list", "watch", "delete", "patch"]),
)


async def operator(
    namespace: Namespace, user: str = "alice", *, rules: Sequence[Rule] = DASHBOARD, name: str = "voice", **more: Any
) -> KubernetesPlatform:
    """The platform as *user* has it, once the API server knows the user's rights."""
    await namespace.grant(user, *rules)
    groups, resources, verbs = rules[-1]
    resource = f"{resources[-1]}.{groups[-1]}".removesuffix(".")

    async def granted() -> bool:
        try:
            return "yes" in await namespace.kubectl("auth", "can-i", verbs[-1], resource, user=user)
        except KubectlError:
            return False

    await eventually(granted, what=f"the rights of {user}")
    return KubernetesPlatform(KubernetesSpec(namespace.name, name, kubeconfig=namespace.kubeconfig(user)), **more)


def idle(version: str, *, name: str = "voice", replicas: int = 1, grace: int = 3, **spec: Any) -> Object:
    """A Deployment whose pods wait; ``trap`` keeps them through SIGTERM, to the end of their grace."""
    container = {
        "name": "worker",
        "image": f"registry.example/voice:{version}",
        "command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"],
        "env": [{"name": "LEVEL", "value": version}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "annotations": {"kubernetes.io/change-cause": f"deploy {version}", "team": "telephony"},
        },
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
            "selector": {"matchLabels": {"app": name}},
            **spec,
            "template": {
                "metadata": {
                    "labels": {"app": name, "app.kubernetes.io/version": version},
                    "annotations": {"prometheus.io/scrape": "true"},
                },
                "spec": {
                    "terminationGracePeriodSeconds": grace,
                    "containers": [container],
                    # what the platform's own types know nothing of
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": {"app": name}},
                        }
                    ],
                },
            },
        },
    }


async def rolled_to(namespace: Namespace, *versions: str, name: str = "voice", **arguments: Any) -> None:
    """Roll one version after the other out, and wait until the controller has a ReplicaSet of each."""
    for version in versions:
        await namespace.apply(idle(version, name=name, **arguments))
        await namespace.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
