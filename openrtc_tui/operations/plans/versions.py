"""Which version a rollback goes back to, and which one it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_tui.operations.capacity import accepts
from openrtc_tui.operations.plans import sight
from openrtc_worker.contract.snapshot import VERSION_PATTERN
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openrtc_tui.state.view import FleetView


class PlanError(ValueError):
    """No plan can be made of what was asked; one line for people."""


def checked(version: str) -> str:
    """*version*, if it is one that may be acted on; raises PlanError."""
    if not VERSION_PATTERN.fullmatch(version):
        raise PlanError(f"{printable(version, 64)!r} is not a version")
    return version


def rollback_versions(
    view: FleetView, to: str | None = None, *, bad: str | None = None, history: Sequence[Sequence[str]] = ()
) -> tuple[str, str]:
    """(good, bad) of a rollback: needed to ask the platform before the plan is made.

    The bad version, where none is named, is the one that takes calls now by the newest manifest, else the one that
    the rollout goes to, else the only other one alive. The good one, where none is named, is the one that was active
    before it, else the one that the rollout comes from.

    Args:
        view: the fleet now.
        to: the version to go back to.
        bad: the version to leave.
        history: ``active`` of the manifests that were published, the oldest first.

    Raises:
        PlanError: it cannot be told, or both are one.
    """
    published = [tuple(active) for active in history]
    held = sight.newest_manifest(view)
    if held is not None and (not published or frozenset(published[-1]) != held.active):
        published.append(tuple(sorted(held.active)))
    leaving = checked(bad) if bad is not None else _leaving(view, to, published)
    good = checked(to) if to is not None else _before(view, leaving, published)
    if good == leaving:
        raise PlanError(f"{good} is the version to leave: name the one to go back to, or the one to leave")
    return good, leaving


def _leaving(view: FleetView, to: str | None, published: Sequence[tuple[str, ...]]) -> str:
    active = [version for version in published[-1] if version != to] if published else []
    if len(active) == 1:
        return active[0]
    if view.rollout is not None:
        pair = (view.rollout.to_version, view.rollout.from_version)
        if to is None or to in pair:
            return pair[1] if to == pair[0] else pair[0]
    tagged = [(row, row.version) for row in view.rows if row.version is not None and row.version != to]
    alive = {version for row, version in tagged if sight.is_living(row)}
    taking = {version for row, version in tagged if accepts(row)}
    for found in (taking, alive):
        if to is not None and len(found) == 1:
            (only,) = found
            return checked(only)
    known = ", ".join(sorted(alive)) or "none"
    raise PlanError(f"cannot tell which version to leave (alive: {known}): name both versions")


def _before(view: FleetView, leaving: str, published: Sequence[tuple[str, ...]]) -> str:
    for active in reversed(published):
        others = [version for version in active if version != leaving]
        if len(others) == 1:
            return checked(others[0])
    if view.rollout is not None and leaving == view.rollout.to_version:
        return checked(view.rollout.from_version)
    raise PlanError(f"cannot tell which version was active before {leaving}: name the one to go back to")
