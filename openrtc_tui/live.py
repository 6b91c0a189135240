"""A fleet as it is now: watched, folded into one picture, and asked. Screen and commands both stand on this."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Self

from openrtc_tui.discovery.static import Edited, access_of, follow, targets_of
from openrtc_tui.fleet_file import FleetFileError
from openrtc_tui.http import Http
from openrtc_tui.operations.batch import run_batch
from openrtc_tui.operations.control import ControlClient
from openrtc_tui.operations.operator import KeyFileError, Operator
from openrtc_tui.sources.inbox import Inbox
from openrtc_tui.sources.watch import Watch
from openrtc_tui.state.fleet import Fleet, fold, view
from openrtc_tui.state.observation import NoticeSeen, SnapshotSeen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from openrtc_tui.fleet_file import FleetFile
    from openrtc_tui.http import Access, HttpResponse
    from openrtc_tui.operations.batch import BatchResult
    from openrtc_tui.operations.request import Answer, Ask
    from openrtc_tui.state.observation import Observation
    from openrtc_tui.state.view import FleetView, Severity

__all__ = ["KeyFileError", "LiveFleet"]


class LiveFleet:
    """One fleet, from its file. Nothing is watched before :meth:`run`; everything happens on one event loop.

    Args:
        file: the fleet file, valid.
        read_only: ask nothing of any worker, whatever the file says.
        clock: Unix seconds.
        sleep: waits for seconds.

    Raises:
        KeyFileError: the operator's key cannot be used.
        FleetFileError: the read token cannot be used.
    """

    def __init__(
        self,
        file: FleetFile,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.file = file
        self.trouble = ""
        """What is wrong with the fleet file since it was edited, one line; empty when nothing is."""
        self._flag_read_only = read_only
        self._clock = clock
        self._sleep = sleep
        self._access = access_of(file)
        self._operator: Operator | None = None
        if not read_only and not file.read_only and file.operator is not None:
            self._operator = Operator.load(file.operator.name, file.operator.key_file)
        self._fleet = Fleet(file.name, beat=file.refresh, rollout=_pair(file))
        self._inbox = Inbox(partial(fold, self._fleet), clock)
        self._http = Http()
        self._watch = Watch(self._http, put=self._put, beat=file.refresh, sleep=sleep)
        self._change = asyncio.Event()
        self._orphans: set[str] = set()
        self._aim()

    @property
    def operator(self) -> str | None:
        """Who acts; None where nobody can."""
        return self._operator.name if self._operator is not None else None

    @property
    def read_only(self) -> bool:
        """Whether nothing can be asked: by flag, by the file, or because it names no operator."""
        return self._flag_read_only or self.file.read_only or self._operator is None

    @property
    def fleet(self) -> Fleet:
        """All that is known, up to what was observed just now."""
        self._inbox.empty()
        return self._fleet

    def view(self) -> FleetView:
        """The picture of this instant."""
        picture = view(self.fleet, self._clock())
        if not self._orphans <= self.fleet.workers.keys():
            self._aim()  # the last call of a worker that the file names no more has ended
        return picture

    def say(self, text: str, detail: str = "", severity: Severity = "info") -> None:
        """Put a line among the events."""
        self._put(NoticeSeen(text, detail, severity))

    async def changed(self, within: float) -> None:
        """Return when something was observed since the last call, or after *within* seconds."""
        try:
            async with asyncio.timeout(within):
                await self._change.wait()
        except TimeoutError:
            pass
        self._change.clear()

    async def run(self) -> None:
        """Watch the workers and follow the fleet file until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch.run())
                group.create_task(
                    follow(
                        self.file,
                        on_change=self._edited,
                        on_error=self._broken,
                        acting=self._operator is not None,
                        sleep=self._sleep,
                    )
                )
        finally:
            await self._http.aclose()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """:meth:`run` as long as the block lasts; should it fail, the block is cancelled and the failure raised."""
        block = asyncio.current_task()

        def stop_block(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None and block is not None:
                block.cancel()

        task = asyncio.create_task(self.run())
        task.add_done_callback(stop_block)
        try:
            yield self
        finally:
            task.remove_done_callback(stop_block)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def send(
        self,
        asks: Sequence[Ask],
        on_answer: Callable[[Answer], None] | None = None,
        on_progress: Callable[[Ask, str], None] | None = None,
    ) -> BatchResult:
        """Ask, a few at a time; what the answers show of the workers is in the next view.

        Raises:
            PermissionError: nothing may be asked here.
        """
        if self.read_only or self._operator is None:
            raise PermissionError("watching only: nothing is asked of any worker")
        client = ControlClient(self._http, self._operator, self._access, clock=self._clock, sleep=self._sleep)

        def answered(answer: Answer) -> None:
            if answer.snapshot is not None and answer.raw is not None:
                row = self.view().row(answer.ask.key)
                via = row.via if row is not None and row.via is not None else "poll"
                self._put(SnapshotSeen(answer.ask.key, answer.snapshot, answer.raw, via=via))
            self._watch.check_now(answer.ask.key)
            if on_answer is not None:
                on_answer(answer)

        return await run_batch(client, asks, on_answer=answered, on_progress=on_progress)

    async def get(self, key: str, path: str) -> HttpResponse:
        """What the worker *key* answers to one reading of *path*, whatever its status.

        Raises:
            HttpFailure: it did not answer.
            KeyError: there is no such worker.
        """
        return await self._http.request("GET", self.fleet.workers[key].target.url + path, access=self._access(key))

    def _put(self, observation: Observation) -> None:
        self._inbox.put(observation)
        self._change.set()

    def _edited(self, edited: Edited) -> None:
        try:
            access = access_of(edited.fleet)
        except FleetFileError as error:  # the token's file has other content by now
            self._broken(error)
            return
        before, self.file, self.trouble = self.file, edited.fleet, ""
        self.fleet.configure(name=self.file.name, beat=self.file.refresh, rollout=_pair(self.file))
        if self.file.refresh != before.refresh:
            self._watch.set_beat(self.file.refresh)
        orphans = self.fleet.orphans(targets_of(self.file))
        self._access = _with_earlier(access, self._access, {target.key for target in orphans})
        self._aim()
        workers = len(self.file.workers)
        self.say("fleet file taken over", f"{workers} worker{'' if workers == 1 else 's'}")
        for name in edited.restart_to_apply:
            self.say(f"{name} changed in the fleet file: restart to apply", severity="warning")

    def _aim(self) -> None:
        """Watch what the file names, and what it does not name any more while calls are live there."""
        targets = targets_of(self.file)
        orphans = self.fleet.orphans(targets)
        self._orphans = {target.key for target in orphans}
        self._watch.set_targets((*targets, *orphans), self._access)

    def _broken(self, error: FleetFileError) -> None:
        first, *others = error.problems
        self.trouble = f"{first}{f' and {len(others)} more' if others else ''}"
        self.say("fleet file not taken over, the last good one holds", self.trouble, "warning")


def _pair(file: FleetFile) -> tuple[str, str] | None:
    return (file.rollout.from_version, file.rollout.to_version) if file.rollout is not None else None


def _with_earlier(
    now: Callable[[str], Access | None], earlier: Callable[[str], Access | None], keys: set[str]
) -> Callable[[str], Access | None]:
    """The access of each worker; of *keys*, which the file names no more, the one they had."""
    kept = {key: earlier(key) for key in keys}
    return lambda key: kept[key] if key in kept else now(key)
