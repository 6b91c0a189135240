"""What stays for callers when workers stop taking calls: room by version, and agents left without a worker."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.plans.plan import Need, Room
from openrtc_tui.state.view import WorkerState
from openrtc_worker.contract.snapshot import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from openrtc_tui.state.peers import Agent
    from openrtc_tui.state.view import WorkerRow

NEVER_ACTED_ON: Final = frozenset({"duplicate_id", "foreign"})
"""Findings of a worker that may be somebody else: it is never asked for anything and never counts as capacity."""


def accepts(row: WorkerRow) -> bool:
    """Whether new calls can be counted on to land there; what is not known does not count."""
    counts = row.verified is not False and not row.closed and is_ours(row)
    return row.accepting is True and row.state is WorkerState.SERVING and counts


def is_ours(row: WorkerRow) -> bool:
    """Whether it is surely a worker of this fleet, and the only one of its name."""
    return not any(finding.code in NEVER_ACTED_ON for finding in row.findings)


def is_ready(row: WorkerRow) -> bool:
    """Whether it takes new calls, or would but for the manifest."""
    return row.ready_to_take and not row.closed and is_ours(row)


def may_accept(row: WorkerRow) -> bool:
    """Whether new calls may land there now; what is not known counts."""
    state = row.snapshot.state if row.snapshot else None
    return row.accepting is not False and state not in {State.CORDONED, State.DRAINING, State.DRAINED, State.EXITED}


def agent_of(row: WorkerRow) -> Agent:
    """What LiveKit dispatches to it for; both empty where it does not tell."""
    livekit = row.snapshot.livekit if row.snapshot else None
    return (livekit.agent_name or "", livekit.deployment or "") if livekit else ("", "")


def agent_words(agent: Agent) -> str:
    name, deployment = agent
    words = f"of the agent {name}" if name else "of the unnamed agent"
    return f"{words} in the deployment {deployment}" if deployment else words


def left_alone(rows: Sequence[WorkerRow], others: Sequence[WorkerRow]) -> tuple[Agent, ...]:
    """The agents that *rows* may answer for now and none of *others* does."""
    answered = {agent_of(row) for row in others}
    return tuple(sorted({agent_of(row) for row in rows if may_accept(row)} - answered))


def needs_of(rows: Iterable[WorkerRow]) -> tuple[Need, ...]:
    """What others have to be ready for when *rows* take no new call: each agent, with room for its live calls."""
    calls: Counter[Agent] = Counter()
    for row in rows:
        calls[agent_of(row)] += row.calls or 0
    return tuple(Need(agent_name=name, deployment=at, room=room) for (name, at), room in sorted(calls.items()))


@dataclass(frozen=True, slots=True)
class Lack:
    """A need that is not met: ``ready`` workers of its agent, ``room`` places known. No ``need``: of any agent."""

    need: Need | None
    ready: int
    room: int
    silent: int = 0
    """Ready workers that do not tell their room; it counts as none."""

    @property
    def nobody(self) -> bool:
        return not self.ready

    @property
    def text(self) -> str:
        if self.need is None:
            return "no worker is ready"
        who = agent_words(self.need.agent)
        if self.nobody:
            return f"no worker {who} is ready"
        silent = f" ({self.silent} not telling theirs)" if self.silent else ""
        return f"the ready workers {who} have room for {self.room} calls{silent}, {self.need.room} are live"


def lacks(rows: Iterable[WorkerRow], needs: Sequence[Need]) -> tuple[Lack, ...]:
    """What *rows* are short of: of each need a worker that is ready, and together room. What is not known is none.

    Without any need, one worker that is ready, of whatever agent, is enough.
    """
    ready: dict[Agent, list[WorkerRow]] = {}
    for row in rows:
        if is_ready(row):
            ready.setdefault(agent_of(row), []).append(row)
    if not needs:
        return () if ready else (Lack(None, 0, 0),)
    short = []
    for need in needs:
        workers = ready.get(need.agent, [])
        rooms = [places(row) for row in workers]
        room = sum(places for places in rooms if places is not None)
        if not workers or room < need.room:
            short.append(Lack(need, len(workers), room, rooms.count(None)))
    return tuple(short)


def places(row: WorkerRow) -> int | None:
    """How many more calls it has room for; None when it does not tell."""
    return None if row.max_sessions is None or row.calls is None else max(0, row.max_sessions - row.calls)


def rooms(rows: Iterable[WorkerRow]) -> tuple[Room, ...]:
    """Capacity by version: workers that are ready to take calls, their places as far as told, and all live calls."""
    versions: dict[str | None, list[WorkerRow]] = {}
    for row in rows:
        if not row.closed:
            versions.setdefault(row.version, []).append(row)
    return tuple(
        Room(
            version=version,
            workers=sum(map(is_ready, of)),
            places=sum(places(row) or 0 for row in of if is_ready(row)),
            calls=sum(row.calls or 0 for row in of),
        )
        for version, of in sorted(versions.items(), key=lambda item: (item[0] is None, item[0] or ""))
    )


def room_of(others: Sequence[WorkerRow]) -> tuple[tuple[tuple[str | None, int], ...], int]:
    room: Counter[str | None] = Counter()
    silent = 0
    for row in others:
        free = places(row)
        if free is None:
            silent += 1
        else:
            room[row.version] += free
    return tuple(sorted(room.items(), key=lambda item: item[0] or "")), silent
