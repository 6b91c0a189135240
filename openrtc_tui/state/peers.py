"""What workers have in common: two that show one identity, and agents whose workers are all full.

Of two that show one identity neither counts as one that takes calls: nobody knows which of them is meant.

Kept up to date worker by worker, so that a change costs the same in a fleet of ten and of a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Agent: TypeAlias = tuple[str, str]
"""What LiveKit dispatches to: agent name and deployment, empty where there is none."""

FULL_LOAD: Final = 0.7
"""A worker that reports this load or more gets no call from LiveKit, although it calls itself available."""

_TOLD: Final = 8
"""Workers of one identity that are told at once when another joins or leaves them; more would cost too much."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one heard worker shows. ``agent`` is set only while it accepts; ``full`` says that it has no room."""

    worker_id: str | None
    boot_id: str | None
    agent: Agent | None
    full: bool = False


@dataclass(slots=True)
class _Crew:
    """The accepting workers of one agent."""

    keys: dict[str, None] = field(default_factory=dict)
    full: int = 0

    @property
    def saturated(self) -> bool:
        return bool(self.keys) and self.full == len(self.keys)


class Peers:
    """The claims of all workers that are heard."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._by_worker: dict[str, dict[str, None]] = {}
        self._by_boot: dict[str, dict[str, None]] = {}
        self._crews: dict[Agent, _Crew] = {}
        self._duplicates: set[str] = set()
        self._touched: set[str] = set()

    def show(self, key: str, claim: Claim | None) -> None:
        """The worker *key* shows *claim* from now on; None when it is not heard."""
        before = self._claims.get(key)
        if claim == before:
            return
        if before is not None:
            self._withdraw(key, before)
        if claim is None:
            del self._claims[key]
        else:
            self._claims[key] = claim
            self._enter(key, claim)

    def touched(self) -> set[str]:
        """The workers whose findings may have changed through others since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def is_duplicate(self, key: str) -> bool:
        """Whether another worker shows the same worker id or the same boot id."""
        return key in self._duplicates

    def duplicate_text(self, key: str) -> str:
        """With whom a duplicate shares its identity."""
        claim = self._claims[key]
        what, shown_by = (
            ("boot", self._by_boot[claim.boot_id])
            if claim.boot_id and _shared(self._by_boot, claim.boot_id)
            else ("worker id", self._by_worker[claim.worker_id or ""])
        )
        other = next(name for name in shown_by if name != key)
        more = f" and {len(shown_by) - 2} more" if len(shown_by) > 2 else ""
        return f"same {what} as {other}{more}"

    def is_saturated(self, key: str) -> bool:
        """Whether this worker and all others that accept calls of its agent are full."""
        claim = self._claims.get(key)
        crew = self._crews.get(claim.agent) if claim is not None and claim.agent is not None else None
        return crew is not None and key in crew.keys and crew.saturated

    def saturated_text(self, key: str) -> str:
        """Who gets nobody while it lasts."""
        agent = self._claims[key].agent
        name = agent[0] if agent else ""
        return f"callers of {name} get nobody: all workers full" if name else "callers get nobody: all workers full"

    def _enter(self, key: str, claim: Claim) -> None:
        for index, name in self._identities(claim):
            shown_by = index.setdefault(name, {})
            shown_by[key] = None
            if len(shown_by) > 1:
                self._mark(shown_by, key)
        if key not in self._duplicates:
            self._join(key, claim)

    def _join(self, key: str, claim: Claim) -> None:
        if claim.agent is None:
            return
        crew = self._crews.setdefault(claim.agent, _Crew())
        before = crew.saturated
        if key not in crew.keys:
            crew.keys[key] = None
            crew.full += claim.full
        self._weigh(crew, before)

    def _leave(self, key: str, claim: Claim) -> None:
        crew = self._crews.get(claim.agent) if claim.agent is not None else None
        if claim.agent is None or crew is None or key not in crew.keys:
            return
        before = crew.saturated
        del crew.keys[key]
        crew.full -= claim.full
        if crew.keys:
            self._weigh(crew, before)
        else:
            del self._crews[claim.agent]

    def _withdraw(self, key: str, claim: Claim) -> None:
        for index, name in self._identities(claim):
            shown_by = index[name]
            del shown_by[key]
            if not shown_by:
                del index[name]
            else:
                self._mark(shown_by, key)
        self._duplicates.discard(key)
        self._leave(key, claim)

    def _identities(self, claim: Claim) -> Iterator[tuple[dict[str, dict[str, None]], str]]:
        if claim.worker_id:
            yield self._by_worker, claim.worker_id
        if claim.boot_id:
            yield self._by_boot, claim.boot_id

    def _mark(self, shown_by: dict[str, None], changed: str) -> None:
        """*changed* joined or left those that show one identity."""
        for key in (*shown_by, changed) if len(shown_by) <= _TOLD else (changed,):
            claim = self._claims[key]
            if _shared(self._by_worker, claim.worker_id) or _shared(self._by_boot, claim.boot_id):
                self._duplicates.add(key)
                self._leave(key, claim)
            elif key in self._duplicates:
                self._duplicates.discard(key)
                self._join(key, claim)
            self._touched.add(key)

    def _weigh(self, crew: _Crew, before: bool) -> None:
        if crew.saturated is not before:
            self._touched.update(crew.keys)


def _shared(index: dict[str, dict[str, None]], name: str | None) -> bool:
    return bool(name) and len(index.get(name or "", ())) > 1
