"""The process kubelet does to a pod what Kubernetes documents: the tests of rollouts conclude from it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from tests.kubernetes.namespace import eventually

if TYPE_CHECKING:
    from tests.kubernetes.api import Object
    from tests.kubernetes.namespace import Namespace

WAITS_FOR_EVER = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"]
ENDS_WHEN_TOLD = ["sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"]


async def test_a_second_deletion_shortens_the_grace_and_a_third_does_not_prolong_it(namespace: Namespace) -> None:
    await up(namespace, pod(WAITS_FOR_EVER, grace=600))
    await namespace.kubectl("delete", "pod", "one", "--wait=false")
    [term] = await namespace.has(event="term")
    assert term["grace"] > 500
    await namespace.kubectl("delete", "pod", "one", "--wait=false", "--grace-period=2")
    await namespace.kubectl("delete", "pod", "one", "--wait=false", "--grace-period=400")
    [kill] = await namespace.has(event="kill")
    assert 1.5 <= kill["at"] - term["at"] < 60
    await namespace.has(event="deleted")


async def test_a_pod_may_be_given_more_grace_than_its_template_has(namespace: Namespace) -> None:
    await up(namespace, pod(ENDS_WHEN_TOLD, grace=1))
    await namespace.kubectl("delete", "pod", "one", "--wait=false", "--grace-period=3600")
    [term] = await namespace.has(event="term")
    assert term["grace"] > 3500
    [exited] = await namespace.has(event="exited")
    assert exited["code"] == 0


async def test_a_prestop_hook_comes_before_sigterm_and_its_time_is_the_graces(namespace: Namespace) -> None:
    await up(namespace, pod(WAITS_FOR_EVER, grace=3, lifecycle={"preStop": {"sleep": {"seconds": 2}}}))
    await namespace.kubectl("delete", "pod", "one", "--wait=false")
    await namespace.has(event="deleted")
    prestop, term, kill = (namespace.events(event=each)[0]["at"] for each in ("prestop", "term", "kill"))
    assert term - prestop >= 1.9
    assert kill - prestop < 60
    assert kill - term >= 1.9, "whatever a hook took, the process has two seconds"


async def test_a_container_that_ends_is_started_again_with_its_volumes(namespace: Namespace) -> None:
    """Also after exit code 0: a Deployment's pods always are."""
    script = 'test -e "$STATE/life" && { echo again; exec sleep 600; }; touch "$STATE/life"'
    mounted = pod(
        ["sh", "-c", script],
        env=[{"name": "STATE", "value": "/state"}],
        volumeMounts=[{"name": "state", "mountPath": "/state"}],
    )
    mounted["spec"]["volumes"] = [{"name": "state", "emptyDir": {}}]
    await namespace.apply(mounted)
    await eventually(lambda: said(namespace, "again"), what="its second life")
    status = (await namespace.get("pod", "one"))["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1


async def test_a_pod_waits_for_its_secret(namespace: Namespace) -> None:
    """CreateContainerConfigError until it is there, and then what it holds, as variable and as file."""
    shown = 'echo "$WORD $(cat "$FILE")"; exec sleep 600'
    secret = {"name": "word", "key": "word"}
    waiting = pod(
        ["sh", "-c", shown],
        env=[
            {"name": "WORD", "valueFrom": {"secretKeyRef": secret}},
            {"name": "FILE", "value": "/secrets/word"},
        ],
        volumeMounts=[{"name": "secrets", "mountPath": "/secrets"}],
    )
    waiting["spec"]["volumes"] = [{"name": "secrets", "secret": {"secretName": "word", "defaultMode": 0o400}}]
    await namespace.apply(waiting)

    async def refused() -> bool:
        container = (await namespace.get("pod", "one"))["status"].get("containerStatuses", [{}])[0]
        return container.get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError"

    await eventually(refused, what="CreateContainerConfigError")
    data = {"word": base64.b64encode(b"sesame").decode()}
    await namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "word"}, "data": data})
    await eventually(lambda: said(namespace, "sesame sesame"), what="its secret")


async def test_a_dead_worker_is_restarted_by_its_liveness_probe(namespace: Namespace) -> None:
    """Nothing answers at its port: after the failures that the probe allows it gets SIGTERM, and starts again."""
    probe = {"httpGet": {"path": "/", "port": 9}, "periodSeconds": 1, "failureThreshold": 2}
    await namespace.apply(pod(ENDS_WHEN_TOLD, livenessProbe=probe))
    await namespace.has(event="liveness")
    await namespace.has(2, event="started")
    assert "ready" in [event["event"] for event in namespace.events()], "without a readiness probe it is ready"


async def test_pods_have_addresses_of_their_own_and_know_themselves(namespace: Namespace) -> None:
    script = "import os, json; print(json.dumps([os.environ[name] for name in ('IP', 'NAME', 'UID')]))"
    fields = {"IP": "status.podIP", "NAME": "metadata.name", "UID": "metadata.uid"}
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    for name in ("one", "two"):
        await namespace.apply(pod(["python", "-c", script], name=name, env=env))
    addresses = set()
    for name in ("one", "two"):
        [exited, *_] = await namespace.has(event="exited", pod=name)
        assert json.loads(namespace.log(name).splitlines()[0]) == [exited["ip"], name, exited["uid"]]
        addresses.add(exited["ip"])
    assert len(addresses) == 2
    assert all(address.startswith("127.") for address in addresses)


def pod(command: list[str], *, name: str = "one", grace: int = 5, **container: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": grace,
            "containers": [{"name": "main", "image": "none", "command": command, **container}],
        },
    }


async def up(namespace: Namespace, wanted: Object) -> None:
    """Start it and wait until it has set its traps."""
    await namespace.apply(wanted)
    await eventually(lambda: said(namespace, "up"), what="the pod")


async def said(namespace: Namespace, word: str) -> bool:
    return word in namespace.log("one")
