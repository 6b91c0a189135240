"""Pod deletion costs by live calls, so that a scale-down ends idle workers first. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.capacity import is_ours
from openrtc_worker.contract.snapshot import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from openrtc_tui.operations.platforms.kubernetes.objects import Meta, Pod
    from openrtc_tui.state.view import FleetView

COST: Final = "controller.kubernetes.io/pod-deletion-cost"
LOWEST: Final = -(2**31)
"""Of a pod that never takes a call again: the first to go."""
_STEPS: Final = (1, 5, 20)
"""A cost rises where the calls reach one of these. Few steps: each change is a write to the API server."""
PAUSE: Final = 30.0
"""Seconds between two writes to one pod."""


@dataclass(frozen=True, slots=True)
class PodLoad:
    """The calls on one pod, as its worker says. ``drained``: it never takes one again."""

    name: str
    uid: str
    calls: int
    drained: bool = False


@dataclass(frozen=True, slots=True)
class CostWrite:
    """One annotation to write."""

    name: str
    uid: str
    cost: int


def loads_of(view: FleetView) -> tuple[PodLoad, ...]:
    """What runs on which pod, of every worker that told its pod's name and uid.

    A worker that may be somebody else has no say, and a pod that two claim is as busy as they are together: a drained
    pod is deleted on the strength of this.
    """
    found: dict[str, PodLoad] = {}
    for row in view.rows:
        where = row.snapshot.platform if row.snapshot else None
        if row.closed or row.snapshot is None or where is None or not where.uid or not where.pod or not is_ours(row):
            continue
        calls = row.snapshot.active_sessions
        drained = row.snapshot.state == State.DRAINED and not calls
        other = found.get(where.uid)
        if other is not None:
            calls, drained = calls + other.calls, drained and other.drained
        found[where.uid] = PodLoad(where.pod, where.uid, calls, drained=drained)
    return tuple(found.values())


def cost_of(load: PodLoad) -> int:
    return LOWEST if load.drained else sum(load.calls >= step for step in _STEPS)


class CostBook:
    """What was written to which pod, and when; decides what is to be written next."""

    def __init__(self) -> None:
        self._written: dict[str, int] = {}
        self._at: dict[str, float] = {}
        self._not_ours: set[str] = set()

    def unseen(self, loads: Iterable[PodLoad]) -> bool:
        """Whether a pod is among them of which it is not known what it carries already."""
        return any(load.uid not in self._written and load.uid not in self._not_ours for load in loads)

    def saw(self, pods: Iterable[Pod], manager: str) -> None:
        """Take over what *pods* carry: costs written under *manager* are ours, others are never touched."""
        for pod in pods:
            uid = pod.metadata.uid
            text = pod.metadata.annotations.get(COST)
            if text is None:
                self._written[uid] = 0
                self._not_ours.discard(uid)
            elif written_by(pod.metadata, manager):
                self._written[uid] = int(text) if text.lstrip("-").isdigit() else 0
            else:
                self._not_ours.add(uid)

    def due(self, loads: Iterable[PodLoad], now: float) -> tuple[CostWrite, ...]:
        """What is to be written now: a step changed, and the last write to that pod is long enough ago."""
        return tuple(
            CostWrite(load.name, load.uid, cost)
            for load in loads
            if load.uid in self._written
            and load.uid not in self._not_ours
            and (cost := cost_of(load)) != self._written[load.uid]
            and now - self._at.get(load.uid, -PAUSE) >= PAUSE
        )

    def wrote(self, write: CostWrite, now: float, *, done: bool = True) -> None:
        """*write* was tried at *now*; one that failed is tried again after the same pause."""
        self._at[write.uid] = now
        if done:
            self._written[write.uid] = write.cost

    def forget(self, present: Mapping[str, object]) -> None:
        """Drop what is known of pods that are not *present*."""
        for known in (self._written, self._at):
            for uid in known.keys() - present.keys():
                del known[uid]
        self._not_ours &= present.keys()


def written_by(metadata: Meta, manager: str) -> bool:
    """Whether the cost on a pod was written under this field manager's name."""
    return any(
        managed.manager == manager and f"f:{COST}" in (_annotations(managed.fields_v1))
        for managed in metadata.managed_fields
    )


def _annotations(fields: Mapping[str, object]) -> Mapping[str, object]:
    metadata = fields.get("f:metadata")
    found = metadata.get("f:annotations") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}
