"""One reading of one worker's snapshot, for workers that have no event stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.sources.contact import ContactError, wrong_status
from openrtc_tui.state.observation import SnapshotSeen
from openrtc_worker.contract.snapshot import SnapshotError, decode_snapshot

if TYPE_CHECKING:
    from openrtc_tui.http import Access, Http
    from openrtc_tui.state.observation import Target

DEADLINE: Final = 5.0
"""Seconds for a whole answer."""


async def read_snapshot(http: Http, target: Target, access: Access | None) -> SnapshotSeen:
    """What *target* answers now.

    Raises:
        HttpFailure: it could not be reached, or contact broke.
        ContactError: it answered with something else than a snapshot.
    """
    url = f"{target.url.rstrip('/')}/v1/snapshot"
    answer = await http.request("GET", url, headers={"Accept": "application/json"}, deadline=DEADLINE, access=access)
    if answer.status != 200:
        raise wrong_status(answer.status)
    try:
        return SnapshotSeen(target.key, decode_snapshot(answer.body), answer.body, via="poll")
    except SnapshotError as error:
        raise ContactError("garbage", f"not a snapshot: {error}") from None
