"""When to contact whom: one wheel of 20 ticks a second for a whole fleet.

A timer per worker costs twice the CPU and lets a thousand of them come due in one breath. Here every wait of every
worker ends on a tick: its turn to be polled, its back-off, its admission to connect.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

TICKS_PER_SECOND: Final = 20

CONNECTS_PER_TICK: Final = 20
"""New connections begun on one tick, so that 1,000 workers are connected in 2.5 s without a burst.

It bounds the rate and not the number under way: workers that never answer must not keep those waiting that would.
"""


class Pacer:
    """The wheel. Its waits return futures, so that whoever waits may also be woken early by setting them.

    Args:
        clock: seconds that only go forward, of any origin.
        sleep: waits for seconds.
    """

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._wheel: dict[int, list[asyncio.Future[None]]] = {}
        self._filled = asyncio.Event()
        self._admitted: dict[int, int] = {}

    async def run(self) -> None:
        """End the waits, until cancelled."""
        while True:
            if not self._wheel:
                self._filled.clear()
                await self._filled.wait()
            now = self._clock()
            await self._sleep((self._tick_at(now) + 1) / TICKS_PER_SECOND - now)
            self._end_waits(self._tick_at(self._clock()))

    def turn(self, key: str, period: float) -> asyncio.Future[None]:
        """The next turn of *key*, which has one each *period* seconds, at a place in it that its name decides."""
        slots = max(1, round(period * TICKS_PER_SECOND))
        now = self._tick_at(self._clock())
        slot = zlib.crc32(key.encode()) % slots
        return self._wait_for(now + 1 + (slot - now - 1) % slots)

    def later(self, seconds: float) -> asyncio.Future[None]:
        """The first tick when *seconds* have passed."""
        return self._wait_for(math.ceil((self._clock() + seconds) * TICKS_PER_SECOND))

    def admission(self) -> asyncio.Future[None]:
        """Leave to connect: at once while the present tick has room, else on the first tick that has."""
        now = tick = self._tick_at(self._clock())
        for past in [past for past in self._admitted if past < now]:
            del self._admitted[past]
        while self._admitted.get(tick, 0) >= CONNECTS_PER_TICK:
            tick += 1
        self._admitted[tick] = self._admitted.get(tick, 0) + 1
        return self._wait_for(tick)

    def _wait_for(self, tick: int) -> asyncio.Future[None]:
        wait = asyncio.get_running_loop().create_future()
        if tick <= self._tick_at(self._clock()):
            wait.set_result(None)
        else:
            self._wheel.setdefault(tick, []).append(wait)
            self._filled.set()
        return wait

    def _end_waits(self, now: int) -> None:
        for tick in sorted(tick for tick in self._wheel if tick <= now):
            for wait in self._wheel.pop(tick):
                if not wait.done():
                    wait.set_result(None)

    @staticmethod
    def _tick_at(when: float) -> int:
        return math.floor(when * TICKS_PER_SECOND)


class Backoff:
    """Full jitter: the n-th pause is drawn from zero to ``first * 2**n`` seconds, at most *cap*."""

    def __init__(self, rng: random.Random, *, first: float = 0.5, cap: float = 3.0) -> None:
        self._rng = rng
        self._first = first
        self._cap = cap
        self._ceiling = first

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        ceiling = self._ceiling
        self._ceiling = min(self._cap, 2 * ceiling)
        return self._rng.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Contact was made: begin anew."""
        self._ceiling = self._first
