"""What the workers' manifests have in common: who is behind, who holds another one, and whether anybody takes calls.

Kept up to date worker by worker. Only workers that are heard, and that are not foreign, have a say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from openrtc_worker.contract.snapshot import ManifestInfo

BEHIND_AFTER: Final = 10.0
"""Seconds that a new manifest has to reach every worker before it is worth telling that one has it not."""

_MOST_NAMED: Final = 64
_MOST_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Held:
    """What one worker shows: its manifest, where it can hold one at all, and whether it is ready to take calls."""

    version: str | None
    ready: bool
    takes_manifests: bool = False
    seq: int | None = None
    active: frozenset[str] = frozenset()

    @classmethod
    def of(cls, version: str | None, info: ManifestInfo | None, *, ready: bool) -> Held:
        if info is None or info.seq is None:
            return cls(version, ready, takes_manifests=info is not None)
        return cls(version, ready, True, info.seq, frozenset((info.active or [])[:_MOST_NAMED]))


class Manifests:
    """The manifests of all workers that are heard."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._contents: dict[int, Counter[frozenset[str]]] = {}
        self._ready: Counter[str] = Counter()
        self.newest: int | None = None
        """The highest ``seq`` that a worker shows."""
        self._newest_at = 0.0

    def show(self, key: str, held: Held | None, now: float) -> None:
        """The worker *key* shows *held* from now on; None when it has no say."""
        before = self._held.get(key)
        if before == held:
            return
        if before is not None:
            self._withdraw(key, before)
        if held is None:
            return
        self._held[key] = held
        if held.ready and held.version is not None:
            self._ready[held.version] += 1
        if held.seq is not None:
            self._contents.setdefault(held.seq, Counter())[held.active] += 1
            if self.newest is None or held.seq > self.newest:
                self.newest, self._newest_at = held.seq, now

    def is_disputed(self, key: str) -> bool:
        """Whether another worker shows other content under the same ``seq``."""
        held = self._held.get(key)
        return held is not None and held.seq is not None and len(self._contents[held.seq]) > 1

    def dispute_text(self, key: str) -> str:
        """What there is to say then."""
        return f"manifest {self._held[key].seq} names other versions on other workers: publish a new one"

    def behind_text(self, key: str, now: float) -> str:
        """That this worker has not the newest manifest; empty when it has, or has had too little time."""
        held = self._held.get(key)
        if held is None or not held.takes_manifests or self.newest is None or held.seq == self.newest:
            return ""
        if now - self._newest_at < BEHIND_AFTER:
            return ""
        what = "no manifest" if held.seq is None else f"manifest {held.seq}"
        return f"holds {what}, others {self.newest}"

    def holds_newest(self, key: str) -> bool:
        held = self._held.get(key)
        return held is not None and held.seq is not None and held.seq == self.newest

    def nobody_text(self) -> str:
        """That the newest manifest leaves nobody to take calls; empty while somebody is."""
        if self.newest is None:
            return ""
        named = set().union(*self._contents[self.newest])
        if any(version in self._ready for version in named):
            return ""
        if not named:
            return f"manifest {self.newest} names no version"
        some = sorted(named)[:_MOST_SHOWN]
        more = f" and {len(named) - len(some)} more" if len(named) > len(some) else ""
        return f"manifest {self.newest} names {', '.join(some)}{more}, and no worker of it is ready to take calls"

    def _withdraw(self, key: str, held: Held) -> None:
        del self._held[key]
        if held.ready and held.version is not None:
            self._ready[held.version] -= 1
            if not self._ready[held.version]:
                del self._ready[held.version]
        if held.seq is None:
            return
        contents = self._contents[held.seq]
        contents[held.active] -= 1
        if not contents[held.active]:
            del contents[held.active]
        if not contents:
            del self._contents[held.seq]
            if held.seq == self.newest:
                self.newest = max(self._contents, default=None)
