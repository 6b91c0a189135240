"""Audit events as CloudEvents 1.0 (https://github.com/cloudevents/spec), for whoever collects events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

SPEC_VERSION: Final = "1.0"
TYPE_PREFIX: Final = "openrtc."


def cloud_event(record: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The line *record* of the chained file named *file* as a CloudEvent in its JSON format.

    ``id`` is the line's ``hash``: the same line gives the same event however often it is exported. ``time`` is left
    out when the record has none that a calendar knows.
    """
    event: dict[str, Any] = {
        "specversion": SPEC_VERSION,
        "id": str(record["hash"]),
        "source": f"/openrtc/audit/{quote(file, safe='')}",
        "type": f"{TYPE_PREFIX}{record.get('event') or 'unnamed'}",
        "datacontenttype": "application/json",
        "data": dict(record),
    }
    time = rfc3339(record.get("timestamp"))
    if time is not None:
        event["time"] = time
    target = record.get("target")
    if isinstance(target, str) and target:
        event["subject"] = target
    return event


def rfc3339(timestamp: object) -> str | None:
    """Unix seconds as ``2026-11-21T11:40:13.403Z``; None when they are no time."""
    if isinstance(timestamp, bool) or not isinstance(timestamp, (int, float)):
        return None
    try:
        moment = datetime.fromtimestamp(timestamp, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return f"{moment.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
