"""Which registered agent answers a job. Pure: names and metadata in, a route out; the same in worker and job."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_TENANT = 128


@dataclass(frozen=True, slots=True)
class Route:
    """Where a job goes. Either ``agent`` is set, or ``refusal`` says why no agent here answers it."""

    agent: str | None = None
    refusal: Literal["unknown_agent", "unrouted"] | None = None
    asked_for: str | None = None
    """The name that metadata asked for, when it is not registered."""


def route(names: Collection[str], *, job_metadata: str, room_metadata: str, room: str) -> Route:
    """Choose among the registered *names*: job metadata, room metadata, the room's prefix, the only agent.

    Metadata is JSON with a key ``agent``; text that is no JSON object names nobody. A name that is not registered
    is refused, never sent to a default: the caller asked for somebody else. Of several registered names that
    a room's name begins with (followed by ``-``), the longest counts.
    """
    for metadata in (job_metadata, room_metadata):
        wanted = _value(metadata, "agent")
        if wanted is None or wanted == "":
            continue
        if isinstance(wanted, str) and wanted in names:
            return Route(agent=wanted)
        return Route(refusal="unknown_agent", asked_for=printable(str(wanted), MAX_TENANT))
    prefixes = [name for name in names if room.startswith(f"{name}-")]
    if prefixes:
        return Route(agent=max(prefixes, key=len))
    if len(names) == 1:
        return Route(agent=next(iter(names)))
    return Route(refusal="unrouted")


def tenant(*, job_metadata: str, room_metadata: str) -> str | None:
    """The tenant that a call is attributed to: the key ``tenant`` of the job's metadata, else of the room's."""
    for metadata in (job_metadata, room_metadata):
        value = _value(metadata, "tenant")
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return printable(str(value), MAX_TENANT)
    return None


def _value(metadata: str, key: str) -> Any:
    return _fields(metadata).get(key)


@lru_cache(maxsize=4)  # an offer's two texts are asked for the agent, then for the tenant: each is parsed once
def _fields(metadata: str) -> Mapping[str, Any]:
    if not metadata.lstrip().startswith("{"):
        return {}
    try:
        parsed = json.loads(metadata)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
