"""A rollback through a real Deployment: the same as kubectl's undo, and refused where undo would go wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from openrtc_tui.fleet_specs import KubernetesSpec
from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform
from openrtc_tui.operations.platforms.kubernetes.client import KubernetesClient
from openrtc_tui.operations.platforms.kubernetes.config import find_cluster
from openrtc_tui.operations.platforms.kubernetes.failures import RefusedError, UnansweredError
from openrtc_tui.operations.platforms.kubernetes.patch import rollback_patch
from openrtc_tui.operations.platforms.kubernetes.versions import choose, owned
from openrtc_tui.operations.platforms.platform import PlatformError
from tests.kubernetes.namespace import eventually
from tests.kubernetes.operators import idle, operator, rolled_to

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kubernetes.api import Object
    from tests.kubernetes.namespace import Namespace

OURS = {"openrtc.rollback-op", "openrtc.rollback-reason"}


def plain(value: Any, name: str) -> Any:
    """*value* without what differs between any two Deployments: their name, and what the controller makes of it."""
    if isinstance(value, dict):
        return {
            key: plain(item, name) for key, item in value.items() if key != "pod-template-hash" and key not in OURS
        }
    if isinstance(value, list):
        return [plain(item, name) for item in value]
    return "NAME" if value == name else value


async def outcome(namespace: Namespace, name: str) -> dict[str, Any]:
    """What a rollback left: the Deployment, and its ReplicaSets by version, as far as one can be told."""

    async def settled() -> Object | None:
        found = await namespace.get("deployment", name)
        return found if found["status"].get("observedGeneration") == found["metadata"]["generation"] else None

    deployment = await eventually(settled, what="the controller")
    sets = await namespace.all("replicasets", selector=f"app={name}")
    annotations = dict(deployment["metadata"]["annotations"])
    del annotations["kubectl.kubernetes.io/last-applied-configuration"]  # has the name in it; both keep theirs
    return plain(
        {
            "annotations": annotations,
            "spec": deployment["spec"],
            "sets": {
                each["metadata"]["labels"]["app.kubernetes.io/version"]: {
                    "template": each["spec"]["template"],
                    "revision": each["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
                    "cause": each["metadata"]["annotations"]["kubernetes.io/change-cause"],
                }
                for each in sets
            },
        },
        name,
    )


async def confirmed(platform: KubernetesPlatform, version: str) -> str:
    """The token of what an operator looked at, when nothing but warnings spoke against it."""
    description = await platform.describe(version)
    found = await platform.preflight(version, description)
    assert not [objection for objection in found if objection.blocks]
    return description.token


async def wants(namespace: Namespace) -> str:
    deployment = await namespace.get("deployment", "voice")
    return str(deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"])


async def test_a_rollback_leaves_what_kubectl_rollout_undo_leaves(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", "v2", name="voice")
    await rolled_to(namespace, "v1", "v2", name="undone")
    platform = await operator(namespace)
    asked = await platform.roll_back("v1", token=await confirmed(platform, "v1"), op_id="op-1", reason="v2 is deaf")
    await platform.close()
    assert asked.changed
    await namespace.kubectl("rollout", "undo", "deployment/undone")
    ours, theirs = await outcome(namespace, "voice"), await outcome(namespace, "undone")
    assert ours == theirs
    assert ours["annotations"]["kubernetes.io/change-cause"] == "deploy v1"
    record = (await namespace.get("deployment", "voice"))["metadata"]["annotations"]
    assert (record["openrtc.rollback-op"], record["openrtc.rollback-reason"]) == ("op-1", "v2 is deaf")


async def test_annotations_that_others_wrote_stay_where_undo_wipes_them(namespace: Namespace) -> None:
    for name in ("voice", "undone"):
        await rolled_to(namespace, "v1", "v2", name=name)
        await namespace.kubectl("annotate", f"deployment/{name}", "oncall=carol")
    platform = await operator(namespace)
    await platform.roll_back("v1", token=await confirmed(platform, "v1"), op_id="op-1", reason=None)
    await platform.close()
    await namespace.kubectl("rollout", "undo", "deployment/undone")
    assert (await namespace.get("deployment", "voice"))["metadata"]["annotations"]["oncall"] == "carol"
    assert "oncall" not in (await namespace.get("deployment", "undone"))["metadata"]["annotations"]


async def test_of_two_operators_at_once_one_wins_and_the_other_is_told_what_changed(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", "v2", "v3")
    alice, bob = await operator(namespace, "alice"), await operator(namespace, "bob")
    to_v1, to_v2 = await confirmed(alice, "v1"), await confirmed(bob, "v2")
    done = await asyncio.gather(
        alice.roll_back("v1", token=to_v1, op_id="of-alice", reason=None),
        bob.roll_back("v2", token=to_v2, op_id="of-bob", reason=None),
        return_exceptions=True,
    )
    await alice.close()
    await bob.close()
    [refused] = [each for each in done if isinstance(each, PlatformError)]
    won = await wants(namespace)
    assert won in {"v1", "v2"}
    assert refused.happened is False
    assert f"it now runs {won}" in str(refused)


async def test_a_patch_made_from_what_is_past_is_refused_by_the_server_itself(namespace: Namespace) -> None:
    """The window between reading and writing is closed by the patch's own tests: a bare 422, never a 409."""
    await rolled_to(namespace, "v1", "v2")
    await (await operator(namespace)).close()
    api = KubernetesClient(find_cluster(kubeconfig=namespace.kubeconfig("alice")), namespace.name)
    deployment = await api.deployment("voice")
    good = choose("v1", owned(deployment, await api.replica_sets("app=voice")))
    assert good is not None
    stale = rollback_patch(deployment, good.replica_set)
    await namespace.apply(idle("v3"))
    with pytest.raises(RefusedError) as told:
        await api.patch_deployment("voice", stale)
    assert (told.value.code, told.value.test_failed) == (422, True)
    assert await wants(namespace) == "v3"
    broken = [{"op": "replace", "path": "/spec/replicas", "value": -1}]
    with pytest.raises(RefusedError, match=r"spec\.replicas") as told:
        await api.patch_deployment("voice", broken)
    assert (told.value.code, told.value.test_failed) == (422, False)
    await api.close()


async def test_an_autoscaling_in_between_is_no_refusal(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", "v2")
    platform = await operator(namespace)
    token = await confirmed(platform, "v1")
    await namespace.kubectl("scale", "deployment/voice", "--replicas=2")
    await platform.roll_back("v1", token=token, op_id="op-1", reason=None)
    await platform.close()
    assert (await namespace.get("deployment", "voice"))["spec"]["replicas"] == 2
    assert await wants(namespace) == "v1"


async def test_another_s_template_in_between_is_a_refusal_that_changes_nothing(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", "v2")
    platform = await operator(namespace)
    token = await confirmed(platform, "v1")
    await namespace.apply(idle("v3"))
    with pytest.raises(PlatformError, match="it now runs v3") as told:
        await platform.roll_back("v1", token=token, op_id="op-1", reason=None)
    await platform.close()
    assert told.value.happened is False
    assert await wants(namespace) == "v3"


async def test_a_deployment_made_anew_is_not_the_one_that_was_confirmed(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", "v2")
    platform = await operator(namespace)
    token = await confirmed(platform, "v1")
    await namespace.kubectl("delete", "deployment", "voice")
    await rolled_to(namespace, "v1", "v2")
    with pytest.raises(PlatformError, match="made anew"):
        await platform.roll_back("v1", token=token, op_id="op-1", reason=None)
    await platform.close()
    assert await wants(namespace) == "v2"


async def test_a_paused_deployment_is_refused_before_and_in_between(namespace: Namespace) -> None:
    """kubectl refuses too; a bare patch would be taken, and start nothing."""
    await rolled_to(namespace, "v1", "v2")
    platform = await operator(namespace)
    token = await confirmed(platform, "v1")
    await namespace.kubectl("rollout", "pause", "deployment/voice")
    with pytest.raises(PlatformError, match="it was paused"):
        await platform.roll_back("v1", token=token, op_id="op-1", reason=None)
    found = await platform.preflight("v1", await platform.describe("v1"))
    await platform.close()
    assert [objection.code for objection in found if objection.blocks] == ["paused"]
    assert await wants(namespace) == "v2"


async def test_a_version_that_runs_already_and_one_that_is_unknown_are_refused(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", "v2")
    platform = await operator(namespace)
    description = await platform.describe("v2")
    assert (description.current, description.known) == ("v2", ("v2", "v1"))
    found = await platform.preflight("v2", description)
    assert [objection.code for objection in found if objection.blocks] == ["same_template"]
    unknown = await platform.preflight("v9", await platform.describe("v9"))
    await platform.close()
    assert [objection.code for objection in unknown if objection.blocks] == ["unknown_version"]


async def test_asking_again_under_one_identity_has_one_effect(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", "v2")
    platform = await operator(namespace)
    token = await confirmed(platform, "v1")
    await platform.roll_back("v1", token=token, op_id="op-1", reason=None)
    generation = (await namespace.get("deployment", "voice"))["metadata"]["generation"]
    assert (await platform.roll_back("v1", token=token, op_id="op-1", reason=None)).changed
    assert (await namespace.get("deployment", "voice"))["metadata"]["generation"] == generation
    assert not (await platform.roll_back("v1", token=token, op_id="op-2", reason=None)).changed
    await namespace.apply(idle("v2"))  # CI brings the bad version back: whoever resumes does not fight it
    with pytest.raises(PlatformError, match="was rolled back to v1, and changed since") as told:
        await platform.roll_back("v1", token=token, op_id="op-1", reason=None)
    await platform.close()
    assert told.value.happened is True
    assert await wants(namespace) == "v2"


@pytest.mark.parametrize("lost", ["the request", "the answer"])
async def test_a_lost_request_or_answer_is_looked_after_and_has_one_effect(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    await rolled_to(namespace, "v1", "v2")
    platform = await operator(namespace, sleep=_at_once)
    token = await confirmed(platform, "v1")
    generation = (await namespace.get("deployment", "voice"))["metadata"]["generation"]
    send = KubernetesClient.patch_deployment
    sendings: list[str] = []

    async def lossy(self: KubernetesClient, *arguments: Any, **keywords: Any) -> Any:
        sendings.append("sent")
        if len(sendings) > 1:
            return await send(self, *arguments, **keywords)
        if lost == "the answer":
            await send(self, *arguments, **keywords)
        raise UnansweredError("the connection broke", happened=None)

    monkeypatch.setattr(KubernetesClient, "patch_deployment", lossy)
    asked = await platform.roll_back("v1", token=token, op_id="op-1", reason=None)
    await platform.close()
    assert asked.changed
    assert len(sendings) == (1 if lost == "the answer" else 2)
    deployment = await namespace.get("deployment", "voice")
    assert deployment["metadata"]["generation"] == generation + 1
    assert await wants(namespace) == "v1"


async def _at_once(_: float) -> None:
    return


async def test_a_preflight_changes_nothing(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", "v2")
    platform = await operator(namespace)
    before = await namespace.get("deployment", "voice")
    await confirmed(platform, "v1")
    await platform.close()
    assert await namespace.get("deployment", "voice") == before


async def test_missing_rights_are_told_before_anything_is_asked(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", "v2")
    looking = ((["apps"], ["deployments"], ["get"]), (["apps"], ["replicasets"], ["list"]))
    viewer = await operator(namespace, "viewer", rules=looking)
    found = await viewer.preflight("v1", await viewer.describe("v1"))
    told = {objection.text.removeprefix("you lack the right to ").split(" (")[0] for objection in found}
    assert [objection.code for objection in found if objection.blocks] == ["rights"]
    assert {"list pods", "watch pods", "delete pods", "patch pods"} <= told
    with pytest.raises(RefusedError, match="cannot patch resource"):
        await viewer.roll_back("v1", token=(await viewer.describe("v1")).token, op_id="op-1", reason=None)
    with pytest.raises(RefusedError, match="cannot list resource") as forbidden:
        await anext(viewer.watch())
    assert forbidden.value.for_good
    await viewer.close()
    assert await wants(namespace) == "v2"


async def test_what_a_policy_of_the_cluster_forbids_is_told_by_the_dry_run(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", "v2")
    platform = await operator(namespace)
    group = "admissionregistration.k8s.io"
    named = {"metadata": {"name": namespace.name}, "apiVersion": f"{group}/v1"}
    deployments = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["deployments"],
    }
    rule = {
        "expression": "object.spec.template.metadata.labels['app.kubernetes.io/version'] != 'v1'",
        "message": "v1 has a known hole",
    }
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}}}
    await namespace.apply(
        {
            **named,
            "kind": "ValidatingAdmissionPolicy",
            "spec": {"matchConstraints": {"resourceRules": [deployments]}, "validations": [rule]},
        },
        {
            **named,
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {"policyName": namespace.name, "validationActions": ["Deny"], "matchResources": here},
        },
    )
    try:

        async def refused() -> str | None:
            found = await platform.preflight("v1", await platform.describe("v1"))
            return next((each.text for each in found if each.code == "refused" and each.blocks), None)

        assert "v1 has a known hole" in await eventually(refused, what="the policy")
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            await namespace.kubectl("delete", kind, namespace.name)
        await platform.close()
    assert await wants(namespace) == "v2"


async def test_inside_a_pod_its_own_account_rolls_back(namespace: Namespace, tmp_path: Path) -> None:
    """No kubeconfig anywhere: the folder of the service account, its token by file, its namespace."""
    await rolled_to(namespace, "v1", "v2")
    await namespace.kubectl("create", "serviceaccount", "dashboard")
    await (await operator(namespace)).close()  # makes the Role
    subject = f"--serviceaccount={namespace.name}:dashboard"
    await namespace.kubectl("create", "rolebinding", "dashboard", "--role=test-alice", subject)
    (tmp_path / "token").write_text(await namespace.kubectl("create", "token", "dashboard"))
    (tmp_path / "namespace").write_text(namespace.name)
    (tmp_path / "ca.crt").write_bytes(namespace.control_plane.authority.read_bytes())
    address = urlsplit(namespace.control_plane.url)
    environ = {"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}
    cluster = find_cluster(environ=environ, home=tmp_path, service_account=tmp_path)
    platform = KubernetesPlatform(KubernetesSpec(cluster.namespace, "voice"), cluster=cluster)

    async def allowed() -> str | None:
        try:
            return (await platform.describe("v1")).token
        except RefusedError:
            return None

    token = await eventually(allowed, what="the account's rights")
    await platform.roll_back("v1", token=token, op_id="op-1", reason=None)
    await platform.close()
    assert await wants(namespace) == "v1"
