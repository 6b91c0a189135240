"""Which version is being left for which: said by the fleet file, or inferred from what is alive. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from openrtc_tui.state.sane import name_order

if TYPE_CHECKING:
    from collections.abc import Mapping

Pair: TypeAlias = tuple[str, str]
"""The version being left, and the one that takes over."""


@dataclass(frozen=True, slots=True)
class Alive:
    """What is seen of one version that has a living boot: whether any drains, and when its oldest boot began."""

    draining: bool
    began: float


def infer(alive: Mapping[str, Alive], *, complete: bool) -> Pair | None:
    """The rollout, when the fleet file names none: of two versions the one that drains is being left, else the older.

    Args:
        alive: the tagged versions with a living boot.
        complete: every target was heard or given up: until then what is alive may not be all there is.
    """
    if len(alive) != 2 or not complete:
        return None
    first, second = sorted(alive.items(), key=lambda item: (item[1].began, name_order(item[0])))
    if second[1].draining and not first[1].draining:
        first, second = second, first
    return first[0], second[0]
