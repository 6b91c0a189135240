"""Reads the whole trail of a fleet: this machine's journal, and the audit events of every worker that answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.state.view import WorkerState
from openrtc_tui.watched import ReadFailed
from openrtc_tui.widgets.trail import JOURNAL, Entry, Trail, in_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openrtc_tui.state.view import FleetView
    from openrtc_tui.watched import Session

AT_ONCE: Final = 8
"""Workers that are read side by side."""


async def read_trail(session: Session, view: FleetView) -> Trail:
    """All there is now. A worker that does not answer is named among the problems, and the others are shown.

    One that has exited answers nobody any more; it is counted, and no problem.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    entries: list[Entry] = []
    problems: list[str] = []
    exited = {row.key for row in view.rows if row.state is WorkerState.EXITED}
    gone: list[str] = []

    async def worker(key: str) -> None:
        async with gate:
            try:
                told = await session.audit(key)
            except ReadFailed as failure:
                if key in exited:
                    gone.append(key)
                else:
                    problems.append(f"{key} {failure}")
                return
        entries.extend(Entry(key, event) for event in told)

    try:
        names = {row.worker_id: row.key for row in view.rows if row.worker_id is not None}
        records, total = await session.journal()
        entries.extend(
            Entry(JOURNAL, record, about=_subject(record) or names.get(str(record.get("target")), ""))
            for record in records
        )
        if len(records) < total:
            problems.append(f"journal: the newest {len(records)} of {total}; `openrtc-tui audit show` has them all")
    except ReadFailed as failure:
        problems.append(f"journal {failure}")
    keys = [row.key for row in view.rows if not row.closed and row.snapshot is not None]
    await asyncio.gather(*map(worker, keys))
    return Trail(in_order(entries), tuple(sorted(problems)), len(gone))


def _subject(record: Mapping[str, Any]) -> str:
    """The worker that a journaled request was for, by the name that it had then."""
    subject = record.get("subject")
    return str(subject.get("key", "")) if isinstance(subject, dict) else ""
