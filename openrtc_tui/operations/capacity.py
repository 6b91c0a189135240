"""What stays for callers when workers stop taking calls: room by version, and agents left without a worker."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

from openrtc_tui.state.view import WorkerState
from openrtc_worker.contract.snapshot import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openrtc_tui.state.view import WorkerRow

NEVER_ACTED_ON: Final = frozenset({"duplicate_id", "foreign"})
"""Findings of a worker that may be somebody else: it is never asked for anything and never counts as capacity."""

Agent: TypeAlias = tuple[str, str]
"""What LiveKit dispatches to: agent name and deployment, empty where there is none."""


def accepts(row: WorkerRow) -> bool:
    """Whether new calls can be counted on to land there; what is not known does not count."""
    return (
        row.accepting is True
        and not row.closed
        and row.state is WorkerState.SERVING
        and not any(finding.code in NEVER_ACTED_ON for finding in row.findings)
    )


def _may_accept(row: WorkerRow) -> bool:
    """Whether new calls may land there now; what is not known counts."""
    state = row.snapshot.state if row.snapshot else None
    return row.accepting is not False and state not in {State.CORDONED, State.DRAINING, State.DRAINED, State.EXITED}


def _agent(row: WorkerRow) -> Agent:
    livekit = row.snapshot.livekit if row.snapshot else None
    return (livekit.agent_name or "", livekit.deployment or "") if livekit else ("", "")


def agent_words(agent: Agent) -> str:
    name, deployment = agent
    words = f"of the agent {name}" if name else "of the unnamed agent"
    return f"{words} in the deployment {deployment}" if deployment else words


def left_alone(rows: Sequence[WorkerRow], others: Sequence[WorkerRow]) -> tuple[Agent, ...]:
    """The agents that *rows* may answer for now and none of *others* does."""
    answered = {_agent(row) for row in others}
    return tuple(sorted({_agent(row) for row in rows if _may_accept(row)} - answered))


def room_of(others: Sequence[WorkerRow]) -> tuple[tuple[tuple[str | None, int], ...], int]:
    room: Counter[str | None] = Counter()
    silent = 0
    for row in others:
        if row.max_sessions is None or row.calls is None:
            silent += 1
        else:
            room[row.version] += max(0, row.max_sessions - row.calls)
    return tuple(sorted(room.items(), key=lambda item: item[0] or "")), silent
