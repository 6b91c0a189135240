"""The watch over a fleet: a follower per target, however the targets change."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from openrtc_tui.sources.follower import Follower
from openrtc_tui.sources.pacing import Pacer
from openrtc_tui.state.observation import TargetsSeen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from openrtc_tui.http import Access, Http
    from openrtc_tui.state.observation import Observation, Target


class Watch:
    """Watches targets and hands everything that is observed to one function.

    Args:
        http: the way out; it stays the caller's to close.
        put: receives each observation, on the event loop. It must not block, and should not raise: what it raises is
            logged and costs the worker its contact.
        beat: seconds between two polls of a worker that has no event stream.
        clock: seconds that only go forward, of any origin.
        sleep: waits for seconds.
        rng: draws the jitter.
    """

    def __init__(
        self,
        http: Http,
        *,
        put: Callable[[Observation], None],
        beat: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._http = http
        self._put = put
        self._beat = beat
        self._clock = clock
        self._rng = rng or random.Random()
        self._pacer = Pacer(clock, sleep)
        self._followers: dict[str, tuple[Target, Access | None, Follower]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def set_targets(self, targets: Sequence[Target], access: Callable[[str], Access | None]) -> None:
        """Watch exactly *targets* from now on; ``access(key)`` tells how each is reached.

        A target whose address and access stay the same keeps its connection.
        """
        self._put(TargetsSeen(tuple(targets)))
        wanted = {target.key: (target, access(target.key)) for target in targets}
        for key, (target, granted, _) in tuple(self._followers.items()):
            if key not in wanted or (wanted[key][0].url, wanted[key][1]) != (target.url, granted):
                del self._followers[key]
                self._stop(key)
        for key, (target, granted) in wanted.items():
            if key not in self._followers:
                follower = Follower(
                    target,
                    granted,
                    http=self._http,
                    put=self._put,
                    beat=self._beat,
                    pacer=self._pacer,
                    clock=self._clock,
                    rng=self._rng,
                )
                self._followers[key] = (target, granted, follower)
                self._start(key, follower)

    def set_beat(self, beat: float) -> None:
        """Poll every *beat* seconds from now on."""
        self._beat = beat
        for _, _, follower in self._followers.values():
            follower.beat = beat

    def check_now(self, key: str) -> None:
        """Read this worker again without waiting for its turn; a live stream tells of every change by itself."""
        if key in self._followers:
            self._followers[key][2].wake()

    async def run(self) -> None:
        """Watch until cancelled. Targets may be set before and while it runs."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for key, (_, _, follower) in self._followers.items():
                    self._start(key, follower)
                try:
                    await self._pacer.run()
                finally:
                    self._group = None  # a group that is ending takes no new tasks
        finally:
            self._tasks.clear()

    def _start(self, key: str, follower: Follower) -> None:
        if self._group is not None:
            self._tasks[key] = self._group.create_task(follower.run(), name=f"watch {key}")

    def _stop(self, key: str) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
