"""Which versions a rollout can go forward or back to, as far as the fleet shows them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_tui.operations.capacity import is_ours, is_ready
from openrtc_tui.operations.plans.sight import is_living, living, newest_manifest

if TYPE_CHECKING:
    from openrtc_tui.operations.history import JournaledPlan
    from openrtc_tui.state.view import FleetView


def promotable(view: FleetView) -> tuple[str, ...]:
    """The versions that could take the calls now: with a worker that is ready to, and not the only one named already.

    The one that the rollout goes to comes first.
    """
    held = newest_manifest(view)
    alone = held.active if held is not None and len(held.active) == 1 else frozenset()
    ready = {row.version for row in view.rows if row.ready_to_take and row.version is not None}
    wanted = view.rollout.to_version if view.rollout is not None else None
    return tuple(sorted(ready - alone, key=lambda version: (version != wanted, version)))


def returnable(view: FleetView, resolved: str, leaving: str | None, bad: str | None = None) -> tuple[str, ...]:
    """The versions that a rollback away from *leaving* could go to: *resolved* first, then whatever else was seen.

    *bad*, which the last rollback left, comes last; also where that rollback is what is offered once more.
    """
    seen = {row.version for row in view.rows if row.version is not None and is_ours(row)}
    others = seen - {resolved, *({leaving} if leaving != bad else ())}
    return (resolved, *sorted(others, key=lambda version: (version == bad, version)))


def return_to(view: FleetView, resolved: str, leaving: str, last: JournaledPlan | None) -> str:
    """Where a rollback away from *leaving* goes to, where nobody says: not to what the *last* one left, if it can.

    *resolved* is what was active before. Where that is the version that the last rollback left: the version that it
    went to, if it stopped before its end and there is still something to drain, else another one that lives. There
    may be none: then it is *resolved* all the same.
    """
    if last is None or last.plan.from_version != resolved:
        return resolved
    if last.word != "done" and last.plan.to_version == leaving and living(view, resolved):
        return leaving
    rows = [row for row in view.rows if row.version is not None and is_living(row) and is_ours(row)]
    ready = {row.version for row in rows if is_ready(row)}
    others = {row.version for row in rows if row.version is not None} - {resolved, leaving}
    return min(others, key=lambda version: (version not in ready, version), default=resolved)
