"""The columns of the fleet's table: their widths follow from the screen's alone, never from what stands in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

ColumnName = Literal["worker", "version", "state", "calls", "trend", "load", "oldest", "deadline", "seen", "note"]

GAP: Final = 2
"""Cells between two columns."""

MARGIN: Final = 2
"""Cells before the first column: for the cursor's bar and the mark."""

ROOMY: Final = 120
"""From this width on every column is there, and what is wider goes to the names first."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``least`` is the width of the screen from which on it is shown."""

    name: ColumnName
    heading: str
    width: int
    right: bool = False
    least: int = 0


_COLUMNS: Final = (
    Column("worker", "WORKER", 13),
    Column("version", "VERSION", 7),
    Column("state", "STATE", 10),
    Column("calls", "CALLS", 5, right=True),
    Column("trend", "TREND", 7, least=100),
    Column("load", "LOAD", 4, right=True, least=ROOMY - 8),
    Column("oldest", "OLDEST", 7, right=True),
    Column("deadline", "DEADLINE", 8, right=True),
    Column("seen", "SEEN", 5, right=True, least=96),
    Column("note", "NOTE", 0),
)


@lru_cache(64)
def columns_for(width: int) -> tuple[Column, ...]:
    """The columns of a screen of *width* cells; the note takes what is left, but for the last cell."""
    spare = max(0, width - ROOMY)
    wider = {"worker": min(19, spare // 2), "version": min(9, spare // 4)}
    shown = [
        replace(column, width=column.width + wider.get(column.name, 0))
        for column in _COLUMNS
        if width >= column.least
    ]
    taken = MARGIN + sum(column.width + GAP for column in shown[:-1]) + 1
    return (*shown[:-1], replace(shown[-1], width=max(0, width - taken)))
