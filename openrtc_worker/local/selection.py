"""Who is offered a call: pure, as livekit-server 1.13.5 was read and seen to choose.

Two steps. First a server *bids* for the call with the room that its workers have: the sum of
``max(0, TARGET_LOAD - load)`` over the available ones; a bid of 0 leaves the caller alone. Then the server that won
asks its own workers one after another, each drawn at random with weight ``max(0, 1 - load)``. So a worker above the
target load is still asked, as long as another one of its name is below.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

TARGET_LOAD: float = struct.unpack("<f", struct.pack("<f", 0.7))[0]
"""``agents.target_load`` of a LiveKit server that is not configured otherwise, in the 32 bits that loads have on the
wire: a worker that reports 0.7 has nothing left to bid."""


class Candidate(Protocol):
    """A registered worker as it last reported itself."""

    @property
    def available(self) -> bool: ...
    @property
    def load(self) -> float: ...


C = TypeVar("C", bound=Candidate)


def bid(candidates: Iterable[Candidate]) -> float:
    """What a server with these workers bids for a call; 0 means that the caller gets nobody."""
    return sum(max(0.0, TARGET_LOAD - worker.load) for worker in candidates if worker.available)


def choose(candidates: Iterable[C], rng: random.Random) -> C | None:
    """The worker to ask next, or None when no available one has any load to spare."""
    workers = [worker for worker in candidates if worker.available and worker.load < 1]
    if not workers:
        return None
    return rng.choices(workers, [1 - worker.load for worker in workers])[0]
