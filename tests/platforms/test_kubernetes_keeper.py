"""Pods tended while a plan runs: what is done to which pod, journaled before, told once, taken away at the end."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from openrtc_tui.operations.platforms.kubernetes.costs import COST, LOWEST, loads_of
from openrtc_tui.operations.platforms.kubernetes.failures import RefusedError, UnansweredError
from openrtc_tui.operations.platforms.kubernetes.keeper import COST_MANAGER, REMOVED, WAITING, PodKeeper, keep
from openrtc_tui.state.view import Finding, FleetView, WorkerRow
from openrtc_worker.contract.snapshot import PlatformInfo, RuntimeSnapshot
from tests.platforms.kubernetes_objects import pod, replica_set

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openrtc_tui.operations.platforms.kubernetes.objects import Pod, ReplicaSet


class FakeCluster:
    """Stands in for KubernetesClient: pods in memory, and what was asked of them."""

    def __init__(self, pods: list[Pod], *replica_sets: ReplicaSet) -> None:
        self.there = {each.metadata.uid: each for each in pods}
        self.sets = replica_sets
        self.done: list[str] = []
        self.failure: Exception | None = None

    async def pods(self, _: str) -> tuple[Pod, ...]:
        if self.failure is not None:
            raise self.failure
        return tuple(self.there.values())

    async def replica_sets(self, _: str) -> tuple[ReplicaSet, ...]:
        return self.sets

    async def annotate_pod(self, _: str, uid: str, annotations: Mapping[str, str | None], manager: str) -> None:
        assert manager == COST_MANAGER
        if uid not in self.there:
            raise RefusedError("annotate it", 404, "not found")
        cost = annotations[COST]
        self.done.append(f"cost {uid} {cost}")
        fields = {"f:metadata": {"f:annotations": {f"f:{COST}": {}}}}
        self.there[uid] = pod(
            uid=uid,
            annotations={} if cost is None else {COST: cost},
            managed=[{"manager": manager, "operation": "Update", "fieldsV1": fields}],
        )

    async def delete_pod(self, name: str) -> None:
        [uid] = [uid for uid, each in self.there.items() if each.metadata.name == name]
        del self.there[uid]
        self.done.append(f"delete {uid}")


class Journal:
    def __init__(self, cluster: FakeCluster) -> None:
        self.lines: list[tuple[str, str, int]] = []
        self.full = False
        self._cluster = cluster

    async def record(self, event: str, fields: Mapping[str, Any]) -> None:
        if self.full:
            raise OSError("no space left on device")
        self.lines.append((event, fields["uid"], len(self._cluster.done)))


def row(uid: str, calls: int, *, state: str = "serving", closed: bool = False) -> WorkerRow:
    where = PlatformInfo(kind="kubernetes", pod=f"name-{uid}", uid=uid)
    shown = RuntimeSnapshot(
        deployment_version="v1", draining=False, active_sessions=calls, state=state, platform=where
    )
    return WorkerRow(key=uid, target=uid, url="http://x", snapshot=shown, closed=closed)


def seen(*rows: WorkerRow) -> FleetView:
    return FleetView(fleet="f", at=0.0, rows=rows)


def test_the_loads_are_what_workers_in_pods_say_of_themselves():
    nameless = WorkerRow(key="n", target="n", url="http://x")
    view = seen(
        row("a", 4), row("b", 0, state="drained"), row("c", 1, state="drained"), nameless, row("d", 1, closed=True)
    )
    assert [(load.uid, load.calls, load.drained) for load in loads_of(view)] == [
        ("a", 4, False),
        ("b", 0, True),
        ("c", 1, False),  # a late call on it: not empty
    ]


def test_a_strangers_word_for_it_empties_no_pod():
    """A drained pod is deleted: nobody may say so of another's."""
    stranger = replace(row("a", 0, state="drained"), key="x", findings=(Finding("foreign", "shows no membership"),))
    [load] = loads_of(seen(row("a", 4), stranger))
    assert (load.calls, load.drained) == (4, False)
    another = replace(row("a", 0, state="drained"), key="y")
    for rows in ((row("a", 4), another), (another, row("a", 4))):
        [load] = loads_of(seen(*rows))
        assert (load.calls, load.drained) == (4, False)


class Kept:
    """A keeper at work on *cluster*; each turn of its loop waits until the test lets it go on."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.journal = Journal(cluster)
        self.view = seen()
        self.said: list[str] = []
        self._turn = asyncio.Semaphore(0)
        self._waits = asyncio.Event()
        keeper = PodKeeper(cluster, "app=voice", self.journal.record)
        self.task = asyncio.create_task(keep(keeper, lambda: self.view, self.said.append, self._sleep))

    async def _sleep(self, _: float) -> None:
        self._waits.set()
        await self._turn.acquire()

    async def turns(self, count: int = 1) -> None:
        """Let it look so many times more."""
        for _ in range(count):
            await self._waits.wait()
            self._waits.clear()
            self._turn.release()
        await self._waits.wait()

    async def end(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def test_costs_follow_the_calls_are_journaled_before_and_taken_away_at_the_end():
    cluster = FakeCluster([pod(uid="a"), pod(uid="b")])
    kept = Kept(cluster)
    kept.view = seen(row("a", 7), row("b", 0))
    await kept.turns(5)
    kept.view = seen(row("a", 25), row("b", 0))
    await kept.turns(20)
    assert cluster.done == ["cost a 2"]  # the next is due 30 s after
    await kept.turns(12)
    assert cluster.done == ["cost a 2", "cost a 3"]
    await kept.end()
    assert cluster.done[2:] == ["cost a None"]
    assert kept.journal.lines == [("pod.cost", "a", 0), ("pod.cost", "a", 1), ("pod.cost_removed", "a", 2)]


async def test_of_drained_pods_only_as_many_are_deleted_as_the_replica_set_wants_fewer():
    wants_two = replica_set("v1", replicas=2)
    cluster = FakeCluster([pod(wants_two, uid=uid) for uid in "abc"], wants_two)
    kept = Kept(cluster)
    kept.view = seen(row("a", 0, state="drained"), row("b", 0, state="drained"), row("c", 3))
    await kept.turns(3)
    assert [each for each in cluster.done if each.startswith("delete")] == ["delete a"]
    assert kept.said[:2] == [f"name-a: {REMOVED}", f"name-b: {WAITING}"]
    assert f"cost b {LOWEST}" in cluster.done
    await kept.turns(30)
    assert len(kept.said) == 2  # told once
    assert kept.journal.lines[0] == ("pod.deleted", "a", 0)
    await kept.end()
    assert f"cost b {LOWEST}" in cluster.done
    assert "cost b None" not in cluster.done  # it takes no call any more, and goes first whoever scales down


async def test_pods_that_are_ending_already_are_left_alone():
    wants_none = replica_set("v1", replicas=0)
    ending = pod(wants_none, uid="a", ends_at="2026-01-01T00:00:00Z")
    cluster = FakeCluster([ending], wants_none)
    kept = Kept(cluster)
    kept.view = seen(row("a", 0, state="drained"))
    await kept.turns(2)
    await kept.end()
    assert [each for each in cluster.done if each.startswith("delete")] == []


async def test_what_keeps_it_from_looking_is_told_once_and_it_goes_on():
    cluster = FakeCluster([pod(uid="a")])
    cluster.failure = UnansweredError("no answer in time")
    kept = Kept(cluster)
    kept.view = seen(row("a", 7))
    await kept.turns(12)
    assert kept.said == ["no answer in time"]
    cluster.failure = None
    await kept.turns(8)
    assert cluster.done == ["cost a 2"]
    cluster.failure = UnansweredError("no answer in time")
    await kept.end()
    assert "could not be taken away" in kept.said[-1]


async def test_a_pod_that_went_meanwhile_is_no_trouble():
    cluster = FakeCluster([pod(uid="a")])
    kept = Kept(cluster)
    kept.view = seen(row("a", 0))
    await kept.turns(2)
    cluster.there.clear()
    kept.view = seen(row("a", 7))
    await kept.turns(2)
    assert kept.said == []
    await kept.end()


async def test_a_journal_that_is_full_ends_it_before_anything_is_done():
    cluster = FakeCluster([pod(uid="a")])
    kept = Kept(cluster)
    kept.journal.full = True
    kept.view = seen(row("a", 7))
    with pytest.raises(OSError, match="no space"):
        await kept.task
    assert cluster.done == []
