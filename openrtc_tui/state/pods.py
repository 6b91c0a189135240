"""Pods as their platform shows them, joined to workers by what those say of themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openrtc_tui.state.observation import PodSeen
    from openrtc_worker.contract.snapshot import PlatformInfo

KEPT_GONE: Final = 1_024
"""Pods remembered that are not there any more."""


class Pods:
    """All pods seen. One that was shown and is not any more is gone."""

    def __init__(self) -> None:
        self._by_uid: dict[str, PodSeen] = {}
        self._by_name: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._by_uid)

    def take(self, pods: Iterable[PodSeen]) -> bool:
        """These are all there are now; returns whether anything changed."""
        shown = {pod.uid: pod for pod in pods}
        gone = [pod if pod.gone else replace(pod, gone=True) for uid, pod in self._by_uid.items() if uid not in shown]
        merged = {pod.uid: pod for pod in gone[-KEPT_GONE:]} | shown
        changed = merged != self._by_uid
        if changed:
            self._by_uid = merged
            # of pods that had one name after the other, the one that is there, else the last
            ordered = sorted(merged.values(), key=lambda pod: not pod.gone)
            self._by_name = {pod.name: pod.uid for pod in ordered}
        return changed

    def of(self, told: PlatformInfo | None) -> PodSeen | None:
        """The pod that a worker says it runs in; None where it does not say, or none like it was seen."""
        if told is None or not told.pod:
            return None
        pod = self._by_uid.get(told.uid or self._by_name.get(told.pod, ""))
        if pod is None or pod.name != told.pod:
            return None
        return pod if not (told.namespace and pod.namespace) or told.namespace == pod.namespace else None
