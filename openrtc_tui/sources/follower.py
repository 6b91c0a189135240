"""One worker, watched for as long as it is a target: contact, loss of contact, and contact again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from openrtc_tui.http import HttpFailure
from openrtc_tui.sources.contact import ContactError
from openrtc_tui.sources.events import StreamEnd, follow_events
from openrtc_tui.sources.pacing import Backoff
from openrtc_tui.sources.polling import read_snapshot
from openrtc_tui.state.observation import ContactFailed, SnapshotSeen
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable

    from openrtc_tui.http import Access, Http
    from openrtc_tui.sources.pacing import Pacer
    from openrtc_tui.state.observation import FailureKind, Observation, Target

AFTER_BYE: Final = (1.0, 1.8)
"""Seconds, drawn between these, from one look for a new boot to the next at an address whose worker has left."""

STEADY: Final = 5.0
"""Seconds of contact after which the back-off begins anew, and seconds from one attempt *at once* to the next: so an
address that answers and hangs up, again and again, is not hammered."""

POLL_WHEN_FULL: Final = 30.0
"""Seconds of polling a worker that serves no more streams, until it is asked for one again."""

logger = logging.getLogger("openrtc.sources")


class Follower:
    """Watches one target; :meth:`run` until cancelled.

    Failures of contact are put as observations, with one exception: what follows a goodbye is not worth telling until
    another boot is heard at that address.
    """

    def __init__(
        self,
        target: Target,
        access: Access | None,
        *,
        http: Http,
        put: Callable[[Observation], None],
        beat: float,
        pacer: Pacer,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.target = target
        self.beat = beat
        """Seconds between two polls; may change at any time."""
        self._access = access
        self._http = http
        self._put = put
        self._pacer = pacer
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(rng)
        self._wait: asyncio.Future[None] | None = None
        self._woken = False
        self._heard = False
        self._boot: str | None = None
        self._gone = False  # the boot heard last has said goodbye
        self._sought_at_once = float("-inf")

    def wake(self) -> None:
        """Do not wait, ask again now. A live stream needs no asking: it tells of every change itself."""
        self._woken = True
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    async def run(self) -> None:
        """Watch the target until cancelled."""
        while True:
            await self._pacer.admission()
            self._heard = self._woken = False
            since = self._clock()
            try:
                end = await follow_events(self._http, self.target, self._access, self._see, self._clock)
                if end is not StreamEnd.BYE:
                    await self._poll(POLL_WHEN_FULL if end is StreamEnd.FULL else float("inf"))
                    continue
            except (HttpFailure, ContactError) as failure:
                self._fail(failure.kind, failure.detail)
            except Exception as error:  # task boundary: a fault of ours must not pass for a silent worker
                logger.exception("watching %s failed", self.target.key)
                self._fail("garbage", printable(f"fault in the dashboard: {type(error).__name__}: {error}"))
            await self._pause(self._clock() - since)

    async def _poll(self, duration: float) -> None:
        """Poll until *duration* in seconds has passed or another boot answers; raises what ends contact."""
        until = self._clock() + duration
        boot: str | None = None
        while self._clock() < until:
            seen = await read_snapshot(self._http, self.target, self._access)
            self._see(seen)
            self._backoff.reset()
            await self._until(self._pacer.turn(self.target.key, self.beat))
            if boot not in {None, self._boot}:
                return  # a later version of the worker may have an event stream
            boot = self._boot

    async def _pause(self, contact: float) -> None:
        """Wait until contact, which lasted *contact* seconds, is sought again."""
        now = self._clock()
        if self._gone:
            await self._until(self._pacer.later(self._rng.uniform(*AFTER_BYE)))
            return
        if self._heard and contact >= STEADY:
            self._backoff.reset()
        if self._heard and now - self._sought_at_once >= STEADY:
            # whether it is only the connection that broke, or the worker, is known when this is refused or not
            self._sought_at_once = now
            return
        await self._until(self._pacer.later(self._backoff.next()))

    async def _until(self, wait: asyncio.Future[None]) -> None:
        if self._woken:
            self._woken = False
            wait.cancel()
            return
        self._wait = wait
        try:
            await wait
        finally:
            self._wait = None
            self._woken = False

    def _see(self, seen: Observation) -> None:
        self._heard = True
        if isinstance(seen, SnapshotSeen):
            boot = seen.snapshot.boot_id
            self._gone = seen.bye or (self._gone and boot == self._boot)
            self._boot = boot
        self._put(seen)

    def _fail(self, kind: FailureKind, detail: str) -> None:
        if not self._gone:
            self._put(ContactFailed(self.target.key, kind, detail))
