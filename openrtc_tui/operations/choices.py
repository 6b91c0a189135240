"""Which versions a rollout can go forward or back to, as far as the fleet shows them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_tui.operations.capacity import is_ours
from openrtc_tui.operations.plans.sight import newest_manifest

if TYPE_CHECKING:
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


def returnable(view: FleetView, resolved: str, leaving: str | None) -> tuple[str, ...]:
    """The versions that a rollback away from *leaving* could go to: *resolved* first, then whatever else was seen."""
    seen = {row.version for row in view.rows if row.version is not None and is_ours(row)}
    return (resolved, *sorted(seen - {resolved, leaving}))
