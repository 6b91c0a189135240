"""Requests that were interrupted: what became of each is looked up and written down, and it is not sent again.

A plan is resumed by whoever decides so. A single request of an earlier life is not: the operator who pressed the key
may have seen to it in another way since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from openrtc_tui.operations.plans.progress import OUTCOME
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openrtc_tui.operations.journal import Journal
    from openrtc_tui.operations.request import Outcome
    from openrtc_tui.state.view import FleetView, WorkerRow


class _AuditPage(msgspec.Struct):
    events: list[dict[str, Any]] = []


_page = msgspec.json.Decoder(_AuditPage)


def audit_events(body: bytes) -> list[dict[str, Any]] | None:
    """The events of a worker's ``/v1/audit``; None when they make no sense."""
    try:
        return _page.decode(body).events
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def boot_of(request: Mapping[str, Any], view: FleetView) -> WorkerRow | None:
    """The row of the boot that *request*, an intent of the journal, was for; None when it is not there any more."""
    boot_id = request["subject"]["boot_id"]
    return next((row for row in view.rows if row.boot_id == boot_id), None)


def judge(
    request: Mapping[str, Any], row: WorkerRow | None, events: Sequence[Mapping[str, Any]] | None
) -> tuple[Outcome, str] | None:
    """What became of *request*, as its worker shows it; None when that cannot be told yet.

    Args:
        request: the intent, from the journal.
        row: the row of its boot, None when that is gone.
        events: the worker's audit events, None when they could not be read.
    """
    action, op_id = request.get("action"), request.get("op_id")
    if row is None:
        return "unknown", f"interrupted: that boot is gone, it may have taken the {action}"
    snapshot = row.snapshot
    drain = snapshot.drain if snapshot is not None else None
    if drain is not None and drain.op_id == op_id:
        return "started", f"interrupted: the worker shows that it took the {action}"
    if events is None:
        return None
    if any(event.get("op_id") == op_id for event in events):
        return "started", f"interrupted: the worker's audit names it: it took the {action}"
    first = events[0] if events else None
    reached = first.get("timestamp") if first is not None else None  # a worker's own words: anything may stand there
    covers = isinstance(reached, int | float) and reached <= float(request.get("timestamp", 0.0))
    if first is not None and first.get("seq") != 1 and not covers:
        return "unknown", f"interrupted: the worker's audit does not reach back, it may have taken the {action}"
    return "unreached", f"interrupted: the worker knows nothing of it: the {action} was not done"


async def settle(journal: Journal, request: Mapping[str, Any], outcome: Outcome, detail: str) -> None:
    """Write down what became of *request*. Raises JournalError."""
    await journal.write(
        OUTCOME,
        target=str(request.get("target", "")),
        result=outcome,
        version=request.get("version"),
        op_id=request["op_id"],
        action=request.get("action"),
        outcome=outcome,
        detail=printable(detail),
    )
