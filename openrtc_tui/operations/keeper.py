"""Keeps the fleet on the manifest that this operator published last: a boot that lacks it is given it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.history import TAKEN, publications, puts_of
from openrtc_tui.operations.publisher import lacking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from openrtc_tui.operations.history import Publication, Put
    from openrtc_tui.operations.publisher import Publisher
    from openrtc_tui.state.view import FleetView, WorkerRow

AGAIN_AFTER: Final = 15.0
"""Seconds until a boot that could not be reached is asked once more."""
_BROUGHT: Final = TAKEN | {"unknown"}
"""Outcomes after which a manifest may be spread: everybody was asked. One that is on its way is its plan's alone,
which closes nobody before somebody is opened; a refused one left the other version as it was, on purpose."""


class ManifestKeeper:
    """Puts the manifest that the journal has last to boots that show a lower number or none.

    Only once it was brought to everybody, and while it is the highest that anybody of the fleet shows: it never takes
    a fleet back, and it never takes a side in a conflict. A boot that refused it is not asked again.
    """

    def __init__(self) -> None:
        self._publication: Publication | None = None
        self._not_before: dict[str, float] = {}
        self._open: dict[str, Put] = {}

    def know(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take over what the journal says."""
        newest = max(
            (found for found in publications(records) if found.token), key=lambda found: found.seq, default=None
        )
        if newest is not None and (self._publication is None or newest.seq != self._publication.seq):
            self._not_before.clear()
        if newest is not None and newest.outcome not in _BROUGHT:
            newest = None
        self._publication = newest
        puts = puts_of(records, newest.op_id, plan_id=None) if newest is not None else {}
        self._open = {boot_id: put for boot_id, put in puts.items() if put.outcome is None}

    def due(self, view: FleetView, now: float) -> list[WorkerRow]:
        """The workers that lack it and may be asked now."""
        if self._publication is None:
            return []
        return [
            row
            for row in lacking(view, self._publication)
            if row.boot_id is not None and now >= self._not_before.get(row.boot_id, 0.0)
        ]

    async def keep(self, publisher: Publisher, view: FleetView, now: float) -> tuple[str, ...]:
        """Ask those that are due; returns the keys of workers that took it. Raises PermissionError."""
        rows = self.due(view, now)
        if not rows or self._publication is None:
            return ()
        result = await publisher.put(self._publication, rows, self._open)
        for answer in result.answers:
            refused = answer.outcome == "refused"
            self._not_before[answer.ask.boot_id] = float("inf") if refused else now + AGAIN_AFTER
        return tuple(answer.ask.key for answer in result.answers if answer.done)
