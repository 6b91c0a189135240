"""Looks after a Deployment's pods while a plan of this operator runs: deletion costs, and the end of drained pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.platforms.kubernetes.costs import COST, LOWEST, CostBook, loads_of, written_by
from openrtc_tui.operations.platforms.kubernetes.failures import RefusedError
from openrtc_tui.operations.platforms.kubernetes.pods import controlled_by
from openrtc_tui.operations.platforms.platform import PlatformError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from openrtc_tui.operations.platforms.kubernetes.client import KubernetesClient
    from openrtc_tui.operations.platforms.kubernetes.costs import CostWrite, PodLoad
    from openrtc_tui.operations.platforms.kubernetes.objects import Pod, ReplicaSet
    from openrtc_tui.operations.platforms.platform import Record
    from openrtc_tui.state.view import FleetView

BEAT: Final = 1.0
"""Seconds between two looks at the fleet."""
LOOK_EVERY: Final = 5.0
"""Seconds between two readings of the pods, which every decision is made from."""
COST_MANAGER: Final = "openrtc-tui-pod-cost"
"""Costs are written under a field manager of their own, so that ours can be told from everybody else's."""
WAITING: Final = "drained, waiting: scale down or roll out to remove"
REMOVED: Final = "drained: its pod is being removed"


@dataclass(frozen=True, slots=True)
class Tended:
    """What became of a drained pod, for its row's note."""

    name: str
    uid: str
    text: str


def may_end(pod: Pod, pods: Iterable[Pod], replica_sets: Iterable[ReplicaSet]) -> bool:
    """Whether deleting *pod* starts no other in its place: its ReplicaSet already wants fewer than it has."""
    owner = pod.metadata.controller
    replica_set = next((item for item in replica_sets if owner and item.metadata.uid == owner.uid), None)
    return replica_set is not None and len(controlled_by(pods, replica_set)) > replica_set.spec.replicas


async def keep(
    keeper: PodKeeper,
    view: Callable[[], FleetView],
    say: Callable[[str], None],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Tend until cancelled, then take the costs away.

    Args:
        keeper: who tends.
        view: the fleet as it is now.
        say: hears, once each, what becomes of a drained pod and what keeps the pods from being tended.
        sleep: waits between two looks.

    Raises:
        Exception: what the keeper's ``record`` raises; nothing more is done then.
    """
    told: set[str] = set()

    def tell(line: str) -> None:
        if line not in told:
            told.add(line)
            say(line)

    now = 0.0
    try:
        while True:
            try:
                for tended in await keeper.tend(loads_of(view()), now):
                    tell(f"{tended.name}: {tended.text}")
            except PlatformError as error:
                tell(str(error))
            await sleep(BEAT)
            now += BEAT
    finally:
        try:
            await keeper.let_go()
        except PlatformError as error:
            say(f"deletion costs of pods could not be taken away: {error}")


class PodKeeper:
    """Tends the pods of one Deployment while a plan runs; never made for a read-only dashboard.

    Args:
        client: the way to the cluster.
        selector: the Deployment's.
        record: journals what is about to be done, as event and fields, before it is; what it raises stops the deed.
    """

    def __init__(self, client: KubernetesClient, selector: str, record: Record) -> None:
        self._client = client
        self._selector = selector
        self._record = record
        self._book = CostBook()
        self._looked_at = float("-inf")
        self._tended: tuple[Tended, ...] = ()

    async def tend(self, loads: Iterable[PodLoad], now: float) -> tuple[Tended, ...]:
        """Write the costs that are due and end the drained pods that may go; cheap to call on every beat.

        Args:
            loads: the calls on every pod, from the fleet's view.
            now: a clock in seconds that never goes back.

        Raises:
            PlatformError: the pods cannot be read. A single pod that went meanwhile is no error.
        """
        loads = tuple(loads)
        drained = [load for load in loads if load.drained]
        if now - self._looked_at >= LOOK_EVERY and (drained or self._book.unseen(loads)):
            self._looked_at = now
            pods = await self._client.pods(self._selector)
            self._book.saw(pods, COST_MANAGER)
            self._book.forget({pod.metadata.uid: pod for pod in pods})
            self._tended = await self._end(drained, pods) if drained else ()
        for write in self._book.due(loads, now):
            await self._write(write, now)
        return self._tended

    async def let_go(self) -> None:
        """Take every cost away that was written under our name, also by an earlier run that was killed.

        A drained pod keeps the lowest: it takes no call any more, and should go first whoever scales down.
        """
        for pod in await self._client.pods(self._selector):
            text = pod.metadata.annotations.get(COST)
            if text is not None and text != str(LOWEST) and written_by(pod.metadata, COST_MANAGER):
                await self._annotate(pod.metadata.name, pod.metadata.uid, None)
        self._book = CostBook()

    async def _end(self, drained: Iterable[PodLoad], pods: tuple[Pod, ...]) -> tuple[Tended, ...]:
        by_uid = {pod.metadata.uid: pod for pod in pods}
        replica_sets = await self._client.replica_sets(self._selector)
        tended: list[Tended] = []
        for load in drained:
            pod = by_uid.get(load.uid)
            if pod is None or pod.ending or pod.over:
                continue
            if not may_end(pod, by_uid.values(), replica_sets):
                tended.append(Tended(load.name, load.uid, WAITING))
                continue
            await self._record("pod.deleted", {"pod": load.name, "uid": load.uid})
            try:
                await self._client.delete_pod(pod.metadata.name)
            except RefusedError:
                tended.append(Tended(load.name, load.uid, WAITING))
                continue
            del by_uid[load.uid]  # it counts no more when the next one is judged
            tended.append(Tended(load.name, load.uid, REMOVED))
        return tuple(tended)

    async def _write(self, write: CostWrite, now: float) -> None:
        try:
            done = await self._annotate(write.name, write.uid, write.cost)
        except PlatformError:
            self._book.wrote(write, now, done=False)
            raise
        self._book.wrote(write, now, done=done)

    async def _annotate(self, name: str, uid: str, cost: int | None) -> bool:
        about = {"pod": name, "uid": uid}
        await (
            self._record("pod.cost_removed", about)
            if cost is None
            else self._record("pod.cost", {**about, "cost": cost})
        )
        try:
            await self._client.annotate_pod(name, uid, {COST: None if cost is None else str(cost)}, COST_MANAGER)
        except RefusedError:
            return False  # gone, another pod by now, or no right: told by preflight, and nothing rests on it
        return True
