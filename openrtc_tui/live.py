"""A fleet as it is now: watched, folded into one picture, and asked. Screen and commands both stand on this."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from openrtc_tui.discovery.membership import verifier_of
from openrtc_tui.discovery.static import Edited, access_of, follow, targets_of
from openrtc_tui.fleet_file import FleetFileError
from openrtc_tui.http import Http, HttpFailure
from openrtc_tui.operations.batch import WIDTH, run_batch
from openrtc_tui.operations.control import LOOK_DEADLINE, ControlClient
from openrtc_tui.operations.journal import Journal, journal_path, state_folder
from openrtc_tui.operations.journaled import JournaledSender
from openrtc_tui.operations.operator import KeyFileError, Operator
from openrtc_tui.sources.inbox import Inbox
from openrtc_tui.sources.watch import Watch
from openrtc_tui.state.fleet import Fleet, fold, view
from openrtc_tui.state.observation import NoticeSeen, SnapshotSeen
from openrtc_worker.contract.snapshot import SnapshotError, decode_snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from openrtc_tui.fleet_file import FleetFile
    from openrtc_tui.http import Access, HttpResponse
    from openrtc_tui.operations.batch import BatchResult
    from openrtc_tui.operations.request import Answer, Ask
    from openrtc_tui.state.observation import Observation
    from openrtc_tui.state.rollout import Turn
    from openrtc_tui.state.view import FleetView, Severity
    from openrtc_worker.contract.snapshot import RuntimeSnapshot

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
        FleetFileError: the read token or a membership master cannot be used.
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
        self.journal: Journal | None = None
        """What is asked is written here before it is; None where nobody acts."""
        if not read_only and not file.read_only and file.operator is not None:
            self._operator = Operator.load(file.operator.name, file.operator.key_file)
            path = journal_path(file.name, state_folder())
            self.journal = Journal(path, operator=self._operator, clock=clock)
        self._fleet = Fleet(file.name, beat=file.refresh, rollout=_pair(file), verifier=verifier_of(file))
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
    def http(self) -> Http:
        """The way out, for a platform that is asked over it."""
        return self._http

    @property
    def fleet(self) -> Fleet:
        """All that is known, up to what was observed just now."""
        self._inbox.empty()
        return self._fleet

    def turn(self, turn: Turn | None) -> None:
        """A plan takes the fleet from one version to the other: the screen and its verdict are about that now.

        None: no plan does, and they are about what the fleet file says, or what is alive.
        """
        self.fleet.turn(turn)

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
            if self.journal is not None:
                self.journal.close()

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
        *,
        width: int = WIDTH,
        all_of_them: bool = False,
    ) -> BatchResult:
        """Ask, *width* at a time, each with its intent in the journal before and its outcome after.

        What the answers show of the workers is in the next view. After one that gets no yes no further one is
        asked, unless ``all_of_them``.

        Raises:
            PermissionError: nothing may be asked here.
        """
        if self.read_only or self._operator is None or self.journal is None:
            raise PermissionError("watching only: nothing is asked of any worker")
        client = ControlClient(self._http, self._operator, self._access, clock=self._clock, sleep=self._sleep)
        sender = JournaledSender(client, self.journal, on_trouble=lambda text: self.say(text, severity="bad"))

        def answered(answer: Answer) -> None:
            if answer.snapshot is not None and answer.raw is not None:
                self._saw(answer.ask.key, answer.snapshot, answer.raw)
            self._watch.check_now(answer.ask.key)
            if on_answer is not None:
                on_answer(answer)

        return await run_batch(
            sender, asks, width=width, all_of_them=all_of_them, on_answer=answered, on_progress=on_progress
        )

    async def look(self, key: str) -> RuntimeSnapshot | None:
        """What the worker *key* shows when it is asked now, and not when it last told; None when it does not answer.

        It is in the next view.
        """
        try:
            response = await self._http.request(
                "GET",
                f"{self.fleet.workers[key].target.url}/v1/snapshot",
                deadline=LOOK_DEADLINE,
                access=self._access(key),
            )
            if response.status != HTTPStatus.OK:
                return None
            snapshot = decode_snapshot(response.body)
        except (HttpFailure, SnapshotError, KeyError):
            return None
        self._saw(key, snapshot, response.body)
        return snapshot

    def observe(self, observation: Observation) -> None:
        """Take over what somebody else saw of the fleet: its platform shows pods."""
        self._put(observation)

    async def get(self, key: str, path: str) -> HttpResponse:
        """What the worker *key* answers to one reading of *path*, whatever its status.

        Raises:
            HttpFailure: it did not answer.
            KeyError: there is no such worker.
        """
        return await self._http.request("GET", self.fleet.workers[key].target.url + path, access=self._access(key))

    def _saw(self, key: str, snapshot: RuntimeSnapshot, raw: bytes) -> None:
        row = self.view().row(key)
        via = row.via if row is not None and row.via is not None else "poll"
        self._put(SnapshotSeen(key, snapshot, raw, via=via))

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
