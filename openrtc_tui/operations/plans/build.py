"""From what an operator wants to a plan: what would be done, and what speaks against it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from openrtc_tui.operations.plans.plan import Objection, Plan
    from openrtc_tui.operations.platforms.platform import Description
    from openrtc_tui.state.view import FleetView


class PlanError(ValueError):
    """No plan can be made of what was asked; one line for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformFacts:
    """What a platform said of bringing the good version up: asked before the plan is made."""

    name: str
    ends_other: bool
    description: Description
    objections: tuple[Objection, ...] = ()


def plan_drain(
    view: FleetView,
    *,
    keys: Iterable[str] = (),
    version: str | None = None,
    wave: int = 5,
    timeout: float | None = None,
    reason: str | None = None,
    operator: str | None = None,
) -> Plan:
    """Drain the rows *keys*, or every worker of *version*, in waves. Raises PlanError."""
    raise NotImplementedError


def plan_promote(
    view: FleetView, version: str, *, publishes: bool, reason: str | None = None, operator: str | None = None
) -> Plan:
    """Let *version* alone take new calls; nothing is drained. *publishes*: the fleet file names a manifest."""
    raise NotImplementedError


def plan_rollback(
    view: FleetView,
    to: str | None = None,
    *,
    publishes: bool,
    bad: str | None = None,
    history: Sequence[Sequence[str]] = (),
    platform: PlatformFacts | None = None,
    wait: bool = True,
    within: float = 600.0,
    wave: int = 5,
    timeout: float | None = None,
    reason: str | None = None,
    operator: str | None = None,
) -> Plan:
    """Back to the version *to* (None: the previous active one). Raises PlanError.

    Args:
        history: ``active`` of the manifests that were published, the oldest first.
        platform: what the fleet's platform said; None: the fleet file names none.
        wait: False: switch at once, ready or not, which needs a typed override.
    """
    raise NotImplementedError


def rollback_versions(
    view: FleetView, to: str | None = None, *, bad: str | None = None, history: Sequence[Sequence[str]] = ()
) -> tuple[str, str]:
    """(good, bad) of a rollback: needed to ask the platform before the plan is made. Raises PlanError."""
    raise NotImplementedError
