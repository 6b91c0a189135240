"""The Kubernetes example, applied and run: what its comments and its README promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from openrtc_tui.fleet_specs import KubernetesSpec
from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform
from openrtc_worker.contract.membership import FleetVerifier
from tests.kubernetes.example import Example
from tests.kubernetes.line import Line
from tests.kubernetes.namespace import eventually
from tests.kubernetes.voice import Voice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.kubernetes.namespace import Namespace
    from tests.support.worker_process import Switchboard

Shipped = tuple[Example, Voice]


@pytest.fixture
async def shipped(
    namespace: Namespace, board: Switchboard, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Shipped]]]:
    """The example, prepared; and its workers, asked with the read token."""
    sessions: list[aiohttp.ClientSession] = []

    async def prepare(**arguments: int) -> Shipped:
        example = Example(namespace, board, tmp_path, **arguments)
        await example.prepare()
        headers = {"Authorization": f"Bearer {example.read_token}"}
        http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10), headers=headers)
        sessions.append(http)
        return example, Voice(namespace, board, http)

    yield prepare
    for session in sessions:
        await session.close()


async def test_as_shipped_its_workers_prove_their_version_and_obey_the_operator(
    shipped: Callable[..., Awaitable[Shipped]],
) -> None:
    """Every step of README as it stands there, and then the dashboard's own commands."""
    example, voice = await shipped()
    await example.release("v1.0.0")
    workers = await voice.serving("v1.0.0", 2)
    verifier = FleetVerifier(masters=[example.master])
    for worker in workers:
        shown = await worker.snapshot()
        assert shown.platform is not None
        assert (shown.platform.pod, shown.platform.uid) == (worker.name, worker.uid)
        assert shown.platform.grace_seconds == 3660
        assert shown.limits is not None
        assert (shown.limits.drain_timeout, shown.limits.cut_grace) == (3600, 30)
        assert (shown.fleet, shown.deployment_version) == ("voice", "v1.0.0")
        claim = shown.membership
        assert claim is not None
        verifier.verify(
            token=claim.token, version=claim.version, worker_id=claim.worker_id, timestamp=claim.timestamp
        )
        async with aiohttp.ClientSession() as stranger, stranger.get(f"{worker.url}/v1/snapshot") as answer:
            assert answer.status == 401
    for pod in await voice.namespace.pods():
        assert pod["spec"]["terminationGracePeriodSeconds"] == 3660 >= 3600 + 30 + 3 + 10

    example.write_fleet_file({worker.name: worker.url for worker in workers})
    await example.run(f"openrtc-tui --fleet fleet.yaml cordon {workers[0].name} --yes")
    await workers[0].state("cordoned")


async def test_a_rolling_update_with_live_calls_drops_none(
    shipped: Callable[..., Awaitable[Shipped]], board: Switchboard
) -> None:
    """An undo of it while v1 still drains drops none either: v1 starts anew, the terminating pods go on ending."""
    example, voice = await shipped()
    await example.release("v1.0.0")
    old = await voice.serving("v1.0.0", 2)
    first = [await board.held(f"first-{number}") for number in range(4)]
    async with Line(board) as line:
        await example.release("v2.0.0")
        new = await voice.serving("v2.0.0", 2)
        await voice.rolled_out()
        busy = {call.attributes["openrtc.worker"] for call in first}
        for worker in old:
            if worker.name in busy:  # another one is gone already
                await worker.state("draining")
        await line.more_on("v2.0.0")
        assert await objections_of_alice(voice.namespace, "v1.0.0") == {"client_side_apply"}
        second = [await board.held(f"second-{number}") for number in range(4)]

        await voice.namespace.kubectl("rollout", "undo", "deployment/voice")
        again = await voice.serving("v1.0.0", 2)
        assert not {worker.uid for worker in again} & {worker.uid for worker in old}, "an undo revives nothing"
        await voice.rolled_out()
        await line.more_on("v1.0.0")
    for call in (*first, *second):
        board.hang_up(call)
    for worker in (*old, *new):
        await voice.gone(worker)
    await line.nobody_was_lost()
    ends = [voice.namespace.events(event="exited", uid=worker.uid) for worker in (*old, *new)]
    assert [[each["code"] for each in lives] for lives in ends] == [[0]] * 4
    assert voice.namespace.events(event="kill") == []


async def test_its_roles_give_the_dashboards_rights_and_no_others(
    shipped: Callable[..., Awaitable[Shipped]],
) -> None:
    example, voice = await shipped()
    await example.run("kubectl apply -f rbac.yaml")
    watching = {"get deployments.apps", "list replicasets.apps", "list pods", "watch pods"}
    acting = {*watching, "patch deployments.apps", "patch pods", "delete pods"}

    async def operators_act() -> bool:  # the API server hears of a role a moment later
        return await rights(voice.namespace, "alice") == acting

    await eventually(operators_act, what=f"exactly these rights: {sorted(acting)}")
    assert await rights(voice.namespace, "viewer") == watching
    assert await rights(voice.namespace, "nobody") == set()


async def objections_of_alice(namespace: Namespace, version: str) -> set[str]:
    """What the dashboard would say against a rollback, with the rights that the example gives an operator."""
    spec = KubernetesSpec(namespace.name, "voice", kubeconfig=namespace.kubeconfig("alice"))
    platform = KubernetesPlatform(spec)
    try:
        found = await platform.preflight(version, await platform.describe(version))
    finally:
        await platform.close()
    return {objection.code for objection in found}


async def rights(namespace: Namespace, user: str) -> set[str]:
    """What *user* may do with objects of the namespace, asking about their own rights left out."""
    listed = await namespace.kubectl("auth", "can-i", "--list", "--no-headers", user=user)
    found = set()
    for line in listed.splitlines():  # RESOURCE [URLS] [NAMES] [VERBS]; without a resource it is about URLs
        resource, _, rest = line.partition(" ")
        if resource and not resource.endswith((".authorization.k8s.io", ".authentication.k8s.io")):
            found |= {f"{verb} {resource}" for verb in rest.rpartition("[")[2].rstrip("] ").split()}
    return found
