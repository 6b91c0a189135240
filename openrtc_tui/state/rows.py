"""Which rows are shown, and in what order: the filter's language and the ways to sort. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from openrtc_tui.state.sane import name_order
from openrtc_tui.state.view import WorkerRow, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SortKey = Literal["worker", "version", "state", "calls", "oldest", "deadline"]
"""What rows can be sorted by; the names of the columns."""

SORT_KEYS: Final[tuple[SortKey, ...]] = get_args(SortKey)

UNTAGGED: Final = "untagged"
"""What ``version:`` finds workers without a version by."""

_STATE_RANK: Final = {
    state: rank
    for rank, state in enumerate(
        (
            WorkerState.LOST,
            WorkerState.STALE,
            WorkerState.STARTING,
            WorkerState.DRAINING,
            WorkerState.CORDONED,
            WorkerState.GATED,
            WorkerState.SERVING,
            WorkerState.DRAINED,
            WorkerState.EXITED,
        )
    )
}
"""What needs a look comes first."""


# -- order ------------------------------------------------------------------------------------------------------


def sort_rows(rows: Iterable[WorkerRow], key: SortKey) -> tuple[WorkerRow, ...]:
    """*rows* by *key*: calls and ages from the largest, deadlines from the nearest, states from the worst.

    Rows that are equal stay in the order they had, and what a row does not tell comes last.
    """
    return tuple(sorted(rows, key=_SORTS[key]))


def _descending(number: float | None) -> tuple[bool, float]:
    return number is None, -(number or 0)


_SORTS: Final[dict[SortKey, Callable[[WorkerRow], Any]]] = {
    "worker": lambda row: name_order(row.key),
    "version": lambda row: (row.version is None, name_order(row.version or "")),
    "state": lambda row: (row.closed, _STATE_RANK[row.state]),
    "calls": lambda row: _descending(row.calls),
    "oldest": lambda row: _descending(row.oldest_seconds),
    "deadline": lambda row: (row.deadline is None, row.deadline or 0.0),
}


# -- filter -----------------------------------------------------------------------------------------------------


def filter_rows(rows: Iterable[WorkerRow], text: str) -> tuple[WorkerRow, ...]:
    """The rows that *text* asks for, in their order.

    Words are separated by spaces, and all of them must hold. ``version:v1``, ``state:draining``, ``agent:booking``
    and ``region:eu`` look at that alone; any other word is looked for in name, version, state, region, worker id,
    agents and findings. Parts of words count, upper and lower case are the same, ``a,b`` means either, and a word
    that begins with ``!`` must not hold. A word that is still being typed (``version:``, ``!``) asks for nothing.
    """
    tests = [test for test in map(_test, text.split()) if test is not None]
    return tuple(row for row in rows if all(test(row) for test in tests))


def _test(word: str) -> Callable[[WorkerRow], bool] | None:
    inverted = word.startswith("!")
    field, colon, rest = word.removeprefix("!").partition(":")
    told = _FIELDS.get(field.casefold()) if colon else None
    sought = rest if told is not None else word.removeprefix("!")
    wanted = [part for part in sought.casefold().split(",") if part]
    if not wanted:
        return None
    tell = told or _everything

    def test(row: WorkerRow) -> bool:
        texts = [text.casefold() for text in tell(row)]
        return any(part in text for part in wanted for text in texts) is not inverted

    return test


def _version(row: WorkerRow) -> tuple[str, ...]:
    if row.version is not None:
        return (row.version,)
    return (UNTAGGED,) if row.snapshot is not None else ()


def _state(row: WorkerRow) -> tuple[str, ...]:
    return (row.state.value,)


def _agents(row: WorkerRow) -> tuple[str, ...]:
    livekit = row.snapshot.livekit if row.snapshot is not None else None
    registered = (livekit.agent_name,) if livekit is not None and livekit.agent_name else ()
    return (*row.by_agent, *registered)


def _region(row: WorkerRow) -> tuple[str, ...]:
    return (row.region,) if row.region else ()


_FIELDS: Final[dict[str, Callable[[WorkerRow], tuple[str, ...]]]] = {
    "version": _version,
    "state": _state,
    "agent": _agents,
    "region": _region,
}


def _everything(row: WorkerRow) -> tuple[str, ...]:
    findings = (text for finding in row.findings for text in (finding.code, finding.text))
    own = (row.key, *((row.worker_id,) if row.worker_id else ()))
    return (*own, *_version(row), *_state(row), *_region(row), *_agents(row), *findings)
