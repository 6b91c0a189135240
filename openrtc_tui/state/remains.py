"""What is kept of boots that are too many to be remembered one by one: the numbers that the verdict needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_tui.state.view import Verdict, VerdictWord

if TYPE_CHECKING:
    from collections.abc import Collection

    from openrtc_tui.state.boot import Boot

MOST_VERSIONS: Final = 64


@dataclass(frozen=True, slots=True)
class Remnant:
    """Boots of one version, added up. ``seen_at`` is when any was seen last, ``began`` the earliest beginning."""

    verdict: Verdict
    began: float
    seen_at: float

    def joined(self, other: Remnant) -> Remnant:
        """Both together."""
        mine, its = self.verdict, other.verdict
        confirmed = mine.confirmed + its.confirmed
        proven = mine.word is its.word is VerdictWord.PROVEN
        word = VerdictWord.PROVEN if proven else VerdictWord.VIOLATED if confirmed else VerdictWord.UNPROVEN
        return Remnant(
            Verdict(word, confirmed, mine.possible + its.possible, mine.exact and its.exact),
            min(self.began, other.began),
            max(self.seen_at, other.seen_at),
        )


class Remains:
    """The remnants of all versions."""

    def __init__(self) -> None:
        self.by_version: dict[str | None, Remnant] = {}

    def add(self, boot: Boot, *, keep: Collection[str]) -> None:
        """Add a boot that is over; *keep* are versions whose numbers must stay their own."""
        self._join(boot.version, Remnant(boot.verdict, boot.began, boot.seen_at))
        if len(self.by_version) > MOST_VERSIONS:
            version = next(name for name in self.by_version if name is not None and name not in keep)
            self._join(None, self.by_version.pop(version))

    def _join(self, version: str | None, remnant: Remnant) -> None:
        held = self.by_version.get(version)
        self.by_version[version] = held.joined(remnant) if held is not None else remnant
