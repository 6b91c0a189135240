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
class Turn:
    """A plan takes the fleet from one version to the other since ``since``, Unix seconds.

    ``past``: the plan was over before anybody looked here. It turns round the rollout that it was about, and is
    none by itself: its versions may be long gone.
    """

    pair: Pair
    since: float
    past: bool = False

    def holds(self, usual: Pair | None) -> bool:
        """Whether it says more than *usual*, which the fleet file says, or what is alive."""
        return usual == self.pair[::-1] if self.past else usual != self.pair


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
