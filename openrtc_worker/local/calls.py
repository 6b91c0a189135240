"""Simulated callers: when they call, for how long, whom; a pure schedule, and a runner that follows it."""

from __future__ import annotations

import asyncio
import json
import math
import random
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping

LENGTH_KEY = "call_seconds"
"""The job metadata key that holds a simulated call's length, in seconds."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProfile:
    """What the callers of a fleet are like.

    Calls arrive at random (a Poisson process) at ``per_second``, in the first ``opening`` seconds at
    ``opening_per_second``, so that an empty fleet fills up soon. Lengths are log-normal: half of them are shorter
    than ``median`` seconds, and ``spread`` (the standard deviation of the logarithm) makes the tail; none is shorter
    than ``shortest`` or longer than ``longest``. ``agents`` and ``tenants`` map names to their share.
    """

    per_second: float
    opening: float = 0.0
    opening_per_second: float = 0.0
    median: float = 45.0
    spread: float = 0.75
    shortest: float = 8.0
    longest: float = 480.0
    agents: Mapping[str, float]
    tenants: Mapping[str, float]

    @property
    def mean_length(self) -> float:
        """The mean of the log-normal before it is clipped, in seconds: ``median · exp(spread² / 2)``."""
        return self.median * math.exp(self.spread**2 / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedCall:
    """One caller. ``at`` is in seconds since the schedule began, ``length`` in seconds from the answer."""

    at: float
    room: str
    length: float
    agent: str
    tenant: str

    @property
    def metadata(self) -> str:
        """The job metadata: it routes the call, names the tenant, and tells the entrypoint how long to live."""
        return json.dumps({"agent": self.agent, "tenant": self.tenant, LENGTH_KEY: round(self.length, 2)})


def schedule(profile: CallProfile, seed: int) -> Iterator[SimulatedCall]:
    """The endless list of calls of one seed, in order of time: the same seed, the same calls."""
    rng = random.Random(seed)
    at = 0.0
    for number in count(1):
        at += rng.expovariate(profile.opening_per_second if at < profile.opening else profile.per_second)
        length = rng.lognormvariate(math.log(profile.median), profile.spread)
        agent = _draw(profile.agents, rng)
        yield SimulatedCall(
            at=at,
            room=f"{agent}-{number:05d}",
            length=min(max(length, profile.shortest), profile.longest),
            agent=agent,
            tenant=_draw(profile.tenants, rng),
        )


async def follow(
    calls: Iterable[SimulatedCall],
    place: Callable[[SimulatedCall], Coroutine[Any, Any, None]],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Place each call at its time, none waiting for another, until *calls* ends or this is cancelled.

    A call that is due already (the loop was busy, or the machine slept) is placed at once. ``clock`` is monotonic.
    Cancelling ends the callers that wait for an answer too.
    """
    began = clock()
    async with asyncio.TaskGroup() as callers:
        for call in calls:
            wait = began + call.at - clock()
            if wait > 0:
                await sleep(wait)
            callers.create_task(place(call), name=f"caller-{call.room}")


def _draw(shares: Mapping[T, float], rng: random.Random) -> T:
    return rng.choices(list(shares), list(shares.values()))[0]
