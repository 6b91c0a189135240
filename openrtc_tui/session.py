"""A live fleet as the dashboard needs it: what is asked of one worker for its details included."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrtc_tui.state.fleet import Fleet, fold, view
from openrtc_tui.state.observation import Target, TargetsSeen
from openrtc_tui.watched import CannotWatch, ReadFailed
from openrtc_worker.contract.snapshot import SnapshotError, decode_sessions
from openrtc_worker.contract.text import printable_tree

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from openrtc_tui.fleet_file import FleetFile
    from openrtc_tui.live import LiveFleet
    from openrtc_tui.operations.batch import BatchResult
    from openrtc_tui.operations.request import Answer, Ask
    from openrtc_tui.state.view import FleetView, Severity
    from openrtc_tui.watched import Steering
    from openrtc_worker.contract.chain import ChainFollower
    from openrtc_worker.contract.snapshot import SessionList


MOST_JOURNALED: Final = 5000
"""Lines of the journal that are handed to the screen, the newest."""
LOOK_FOR_NEWS: Final = 0.2
"""Seconds between two looks at what the embedded fleet's process told."""


class _AuditPage(msgspec.Struct):
    events: list[dict[str, Any]] = []


class FleetSession:
    """The dashboard's :class:`~openrtc_tui.watched.Session` over the fleet of one file.

    The screen comes first: what talks to workers takes a third of the time of a start to load, so it is loaded in
    :meth:`run`. Until then the view shows the workers that the file names.

    Args:
        file: the fleet file, valid.
        read_only: ask nothing of any worker, whatever the file says.
        clock: Unix seconds.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        file: FleetFile,
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._file = file
        self._read_only = read_only
        self._clock = clock
        self._sleep = sleep
        self._live: LiveFleet | None = None
        self._steering: Steering | None = None
        self._journal: ChainFollower | None = None
        self._unsaid: list[tuple[str, str, Severity]] = []
        pair = (file.rollout.from_version, file.rollout.to_version) if file.rollout is not None else None
        self._preview = Fleet(file.name, beat=file.refresh, rollout=pair)
        targets = tuple(Target(worker.key, worker.url, worker.region) for worker in file.workers)
        fold(self._preview, TargetsSeen(targets), clock())

    @property
    def file(self) -> FleetFile:
        """The fleet file as it holds now."""
        return self._live.file if self._live is not None else self._file

    @property
    def beat(self) -> float:
        """Seconds between two polls; the fleet file's ``refresh``."""
        return self.file.refresh

    @property
    def operator(self) -> str | None:
        operator = self.file.operator
        return operator.name if operator is not None and not self.read_only else None

    @property
    def read_only(self) -> bool:
        if self._live is not None:
            return self._live.read_only
        return self._read_only or self._file.read_only or self._file.operator is None

    @property
    def trouble(self) -> str:
        return self._live.trouble if self._live is not None else ""

    @property
    def drain_timeout(self) -> float | None:
        return self.file.drain_timeout

    def view(self) -> FleetView:
        return self._live.view() if self._live is not None else view(self._preview, self._clock())

    def say(self, text: str, detail: str = "", severity: Severity = "info") -> None:
        if self._live is not None:
            self._live.say(text, detail, severity)
        else:
            self._unsaid.append((text, detail, severity))

    async def run(self) -> None:
        """Watch the fleet until cancelled; raises :class:`~openrtc_tui.watched.CannotWatch`."""
        from openrtc_tui.fleet_file import FleetFileError
        from openrtc_tui.live import KeyFileError, LiveFleet

        try:
            live = LiveFleet(self._file, read_only=self._read_only, clock=self._clock, sleep=self._sleep)
        except (FleetFileError, KeyFileError) as error:
            raise CannotWatch(str(error)) from None
        self._live = live
        for text, detail, severity in self._unsaid:
            live.say(text, detail, severity)
        if live.read_only:
            await live.run()
            return
        from openrtc_tui.steering import Steering

        steering = self._steering = Steering(live, clock=self._clock, sleep=self._sleep)
        async with asyncio.TaskGroup() as group:
            group.create_task(live.run())
            group.create_task(steering.tend())

    @property
    def steering(self) -> Steering | None:
        """Who carries out plans; None until the fleet is watched, and where nothing may be asked."""
        return self._steering if self._live is not None and not self._live.read_only else None

    async def sleep(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def send(
        self,
        asks: Sequence[Ask],
        on_answer: Callable[[Answer], None],
        on_progress: Callable[[Ask, str], None],
    ) -> BatchResult:
        return await self._watched().send(asks, on_answer, on_progress)

    def _watched(self) -> LiveFleet:
        if self._live is None:  # nothing was seen yet, so there is nothing to ask either
            raise ReadFailed("not watched yet")
        return self._live

    async def sessions(self, key: str) -> SessionList:
        """The live calls of one worker.

        Raises:
            ReadFailed: it did not tell.
        """
        try:
            return decode_sessions(await self._get(key, "/v1/sessions"))
        except SnapshotError as error:
            raise ReadFailed(f"the list of calls makes no sense: {error}") from None

    async def journal(self) -> tuple[Sequence[Mapping[str, Any]], int]:
        """The newest :data:`MOST_JOURNALED` of what was done to this fleet from this machine, and how much there is.

        Raises:
            ReadFailed: the journal cannot be read.
        """
        from openrtc_tui.operations.journal import journal_path, state_folder
        from openrtc_worker.contract.chain import ChainError, ChainFollower, ChainMissing

        if self._journal is None:  # by name, so that a read-only dashboard shows it too
            self._journal = ChainFollower(journal_path(self.file.name, state_folder()))
        follower = self._journal

        def read() -> tuple[Sequence[Mapping[str, Any]], int]:
            records = follower.records()
            return [printable_tree(record) for record in records[-MOST_JOURNALED:]], len(records)

        try:
            return await asyncio.to_thread(read)  # the file may be long
        except ChainMissing:
            return [], 0
        except (ChainError, OSError) as error:
            raise ReadFailed(f"cannot be read: {error}") from None

    async def audit(self, key: str) -> Sequence[dict[str, Any]]:
        """The audit events that one worker still has, oldest first.

        Raises:
            ReadFailed: it did not tell.
        """
        try:
            page = msgspec.json.decode(await self._get(key, "/v1/audit"), type=_AuditPage)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ReadFailed("the audit events make no sense") from None
        return [printable_tree(event) for event in page.events]

    async def _get(self, key: str, path: str) -> bytes:
        from openrtc_tui.http import HttpFailure

        try:
            response = await self._watched().get(key, path)
        except HttpFailure as failure:
            raise ReadFailed(f"cannot be read: {failure.detail}") from None
        except KeyError:
            raise ReadFailed("no longer in the fleet") from None
        if response.status == HTTPStatus.NOT_FOUND:
            raise ReadFailed("this worker does not tell")
        if response.status != HTTPStatus.OK:
            raise ReadFailed(f"cannot be read: HTTP {response.status}")
        return response.body


class DemoSession(FleetSession):
    """A session on the embedded fleet: what its process tells goes to the event lines."""

    def __init__(self, file: FleetFile, *, read_only: bool, news: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        super().__init__(file, read_only=read_only)
        self._news = news
        self.say("an embedded fleet: real workers, simulated calls, no media", "d drains the worker under the cursor")

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(super().run())
                group.create_task(self._tell())
        except ExceptionGroup as failures:
            raise next((each for each in failures.exceptions if isinstance(each, CannotWatch)), failures) from None

    async def _tell(self) -> None:
        while True:
            for event in self._news():
                self._say_event(event)
            await self.sleep(LOOK_FOR_NEWS)

    def _say_event(self, event: Mapping[str, Any]) -> None:
        match event:
            case {"event": "worker", "state": "starting", "name": name, "version": version}:
                self.say(f"{name} is being started", f"{version} · takes some seconds")
            case {"event": "worker", "state": "exited", "name": name, "exit_code": code} if code != 0:
                self.say(f"the process of {name} ended", f"exit code {code}", "warning")
            case {"event": "worker", "state": "not_started", "name": name, "message": message}:
                self.say(f"{name} could not be started again", str(message), "warning")
            case {"event": "ready"}:
                self.say("every worker of the embedded fleet has been started")
            case {"event": "failed", "message": message}:
                self.say(str(message), severity="bad")
            case {"event": "gone"}:
                self.say("the embedded fleet is gone", "leave with q and start the demo again", "bad")
