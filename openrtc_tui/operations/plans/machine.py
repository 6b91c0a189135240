"""What a plan does next: a pure machine over the plan, its journal and one view of the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openrtc_tui.operations.plans.plan import Decision, Plan, Progress
    from openrtc_tui.state.view import FleetView


def advance(plan: Plan, progress: Progress, view: FleetView, now: float) -> Decision:
    """What to do next; the same arguments give the same answer, and it looks at the view before it asks anything."""
    raise NotImplementedError
