"""Pods of a real Deployment: seen to their end, and tended while a plan runs."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from openrtc_tui.operations.platforms.kubernetes.client import KubernetesClient
from openrtc_tui.operations.platforms.kubernetes.config import find_cluster
from openrtc_tui.operations.platforms.kubernetes.costs import COST, LOWEST, PodLoad
from openrtc_tui.operations.platforms.kubernetes.failures import RefusedError
from openrtc_tui.operations.platforms.kubernetes.keeper import WAITING, PodKeeper
from tests.kubernetes.following import Following
from tests.kubernetes.operators import idle, operator, rolled_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from tests.kubernetes.api import Object
    from tests.kubernetes.namespace import Namespace


async def test_a_pod_being_ended_tells_when_it_is_killed_and_how_it_went(namespace: Namespace) -> None:
    """``deletionTimestamp`` is the end of the grace, not the time of the request: nothing is to be added to it."""
    await rolled_to(namespace, "v1", grace=4)
    [pod] = await namespace.pods()
    async with Following(await operator(namespace)) as eye:
        before = time.time()
        await namespace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
        pods = await eye.shows(lambda pods: any(each.killed_at for each in pods), what="a pod that is being ended")
        [ending] = [each for each in pods if each.killed_at]
        assert (ending.uid, ending.version, ending.grace_seconds) == (pod["metadata"]["uid"], "v1", 4)
        assert ending.killed_at is not None
        assert 3 <= ending.killed_at - before <= 4 + 5  # whole seconds, and a busy machine
        [kill] = await namespace.has(event="kill", uid=ending.uid)
        assert abs(kill["at"] - ending.killed_at) <= 2.5
        gone = await eye.gone(ending.name)
        assert gone.exit_code == 137


async def test_a_deletion_may_ask_for_more_grace_and_a_later_one_can_only_shorten_it(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", grace=2)
    [pod] = await namespace.pods()
    name = pod["metadata"]["name"]
    async with Following(await operator(namespace)) as eye:

        async def killed_in(grace: str) -> float:
            before = time.time()
            await namespace.kubectl("delete", "pod", name, "--wait=false", f"--grace-period={grace}")
            stamp = (await namespace.get("pod", name))["metadata"]["deletionTimestamp"]
            end = datetime.fromisoformat(stamp).timestamp()
            await eye.shows(lambda pods: any(each.killed_at == end for each in pods), what=f"its end at {stamp}")
            return end - before

        assert 95 <= await killed_in("100") <= 110
        assert await killed_in("200") <= 110
        assert await killed_in("20") <= 30


async def test_a_watch_outlives_a_restart_of_the_deployment_and_names_the_new_pods(namespace: Namespace) -> None:
    await rolled_to(namespace, "v1", grace=0)
    async with Following(await operator(namespace)) as eye:
        [old] = eye.told[-1]
        await namespace.apply(idle("v2", grace=0))
        pods = await eye.shows(
            lambda pods: [each.version for each in pods if each.ready and not each.gone] == ["v2"], what="v2 alone"
        )
        assert old.uid not in {each.uid for each in pods if not each.gone}
        assert (await eye.gone(old.name)).version == "v1"


# -- while a plan runs --------------------------------------------------------------------------------------------


class Tending:
    """A keeper with what it journaled, over pods whose loads a test makes up."""

    def __init__(self, keeper: PodKeeper, pods: list[Object]) -> None:
        self.keeper = keeper
        self.uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}
        self.now = 1000.0

    async def tend(self, calls: Mapping[str, int], *, drained: str | None = None) -> list[str]:
        self.now += 60.0
        loads = [PodLoad(name, self.uids[name], count, drained=name == drained) for name, count in calls.items()]
        return [tended.text for tended in await self.keeper.tend(loads, self.now)]


async def costs(namespace: Namespace) -> dict[str, str | None]:
    pods = await namespace.pods()
    return {
        pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get(COST)
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
    }


Made = tuple[Tending, list[dict[str, Any]], list[str]]
Tend = "Callable[[int], Awaitable[Made]]"


@pytest.fixture
async def tending(namespace: Namespace) -> AsyncIterator[Callable[[int], Awaitable[Made]]]:
    """Makes so many pods of v1, and a keeper of them: ``(tending, what it journaled, names of the pods)``."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(replicas: int) -> Made:
            await rolled_to(namespace, "v1", replicas=replicas, grace=0)
            platform = await operator(namespace)
            stack.push_async_callback(platform.close)
            journal: list[dict[str, Any]] = []

            async def record(event: str, fields: Mapping[str, Any]) -> None:
                journal.append({"event": event, **fields})

            keeper = await platform.keeper(record)
            pods = await namespace.pods()
            return Tending(keeper, pods), journal, [pod["metadata"]["name"] for pod in pods]

        yield make


async def test_a_scale_down_ends_idle_workers_first_while_a_plan_runs(namespace: Namespace, tending: Tend) -> None:
    tended, journal, (one, two, three) = await tending(3)
    await tended.tend({one: 7, two: 0, three: 30})
    assert await costs(namespace) == {one: "2", two: None, three: "3"}
    assert [(each["event"], each["pod"], each["cost"]) for each in journal] == [
        ("pod.cost", one, 2),
        ("pod.cost", three, 3),
    ]
    await namespace.kubectl("scale", "deployment/voice", "--replicas=1")
    await namespace.has(event="deleted", pod=two)
    await namespace.has(event="deleted", pod=one)
    assert list(await costs(namespace)) == [three]
    await tended.keeper.let_go()
    assert await costs(namespace) == {three: None}


async def test_costs_of_others_stay_and_those_of_a_killed_run_are_taken_away(
    namespace: Namespace, tending: Tend
) -> None:
    tended, _, (one, two) = await tending(2)
    await namespace.kubectl("annotate", "pod", one, f"{COST}=77")
    await tended.tend({one: 7, two: 7})
    assert await costs(namespace) == {one: "77", two: "2"}
    platform = await operator(namespace)  # as after a kill: nothing is remembered
    later = await platform.keeper(tended.keeper._record)
    await later.let_go()
    await platform.close()
    assert await costs(namespace) == {one: "77", two: None}


async def test_a_drained_pod_is_left_alone_while_its_replica_set_wants_it_and_goes_first_then(
    namespace: Namespace, tending: Tend
) -> None:
    """Deleting it would start the same version again."""
    tended, journal, (one, two) = await tending(2)
    assert await tended.tend({one: 0, two: 0}, drained=two) == [WAITING]
    assert await costs(namespace) == {one: None, two: str(LOWEST)}
    assert not [each for each in journal if each["event"] == "pod.deleted"]
    await tended.keeper.let_go()
    assert (await costs(namespace))[two] == str(LOWEST)
    await namespace.kubectl("scale", "deployment/voice", "--replicas=1")
    await namespace.has(event="deleted", pod=two)
    assert list(await costs(namespace)) == [one]


async def test_a_journal_that_cannot_be_written_stops_the_deed(namespace: Namespace, tending: Tend) -> None:
    tended, _, (one,) = await tending(1)

    async def full(_: str, __: Mapping[str, Any]) -> None:
        raise OSError("no space left on device")

    tended.keeper._record = full
    with pytest.raises(OSError, match="no space"):
        await tended.tend({one: 30})
    assert await costs(namespace) == {one: None}


async def test_the_pod_of_another_uid_is_never_written_to(namespace: Namespace, tending: Tend) -> None:
    _, _, (one,) = await tending(1)
    api = KubernetesClient(find_cluster(kubeconfig=namespace.kubeconfig("alice")), namespace.name)
    with pytest.raises(RefusedError) as told:
        await api.annotate_pod(one, "another-uid", {COST: "1"}, "test")
    assert any("metadata.uid" in cause for cause in told.value.causes)
    await api.close()
    assert await costs(namespace) == {one: None}
