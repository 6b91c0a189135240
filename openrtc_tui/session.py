"""A live fleet as the dashboard needs it: what is asked of one worker for its details included."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrtc_tui.app import ReadFailed
from openrtc_tui.http import HttpFailure
from openrtc_worker.contract.snapshot import SnapshotError, decode_sessions
from openrtc_worker.contract.text import printable_tree

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from openrtc_tui.live import LiveFleet
    from openrtc_tui.operations.batch import BatchResult
    from openrtc_tui.operations.request import Answer, Ask
    from openrtc_tui.state.view import FleetView, Severity
    from openrtc_worker.contract.snapshot import SessionList


LOOK_FOR_NEWS: Final = 0.2
"""Seconds between two looks at what the embedded fleet's process told."""


class _AuditPage(msgspec.Struct):
    events: list[dict[str, Any]] = []


class FleetSession:
    """The dashboard's :class:`~openrtc_tui.app.Session` over a :class:`~openrtc_tui.live.LiveFleet`."""

    def __init__(self, live: LiveFleet, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._live = live
        self._sleep = sleep

    @property
    def beat(self) -> float:
        """Seconds between two polls; the fleet file's ``refresh``."""
        return self._live.file.refresh

    @property
    def operator(self) -> str | None:
        return self._live.operator

    @property
    def read_only(self) -> bool:
        return self._live.read_only

    @property
    def trouble(self) -> str:
        return self._live.trouble

    @property
    def drain_timeout(self) -> float | None:
        return self._live.file.drain_timeout

    def view(self) -> FleetView:
        return self._live.view()

    def say(self, text: str, detail: str = "", severity: Severity = "info") -> None:
        self._live.say(text, detail, severity)

    async def run(self) -> None:
        await self._live.run()

    async def sleep(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def send(
        self,
        asks: Sequence[Ask],
        on_answer: Callable[[Answer], None],
        on_progress: Callable[[Ask, str], None],
    ) -> BatchResult:
        return await self._live.send(asks, on_answer, on_progress)

    async def sessions(self, key: str) -> SessionList:
        """The live calls of one worker; raises :class:`~openrtc_tui.app.ReadFailed`."""
        try:
            return decode_sessions(await self._get(key, "/v1/sessions"))
        except SnapshotError as error:
            raise ReadFailed(f"the list of calls makes no sense: {error}") from None

    async def audit(self, key: str) -> Sequence[dict[str, Any]]:
        """The audit events that one worker still has, oldest first; raises :class:`~openrtc_tui.app.ReadFailed`."""
        try:
            page = msgspec.json.decode(await self._get(key, "/v1/audit"), type=_AuditPage)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ReadFailed("the audit events make no sense") from None
        return [printable_tree(event) for event in page.events]

    async def _get(self, key: str, path: str) -> bytes:
        try:
            response = await self._live.get(key, path)
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

    def __init__(self, live: LiveFleet, news: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        super().__init__(live)
        self._news = news
        self.say("an embedded fleet: real workers, simulated calls, no media", "d drains the worker under the cursor")

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(super().run())
            group.create_task(self._tell())

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
            case {"event": "ready"}:
                self.say("every worker of the embedded fleet has been started")
            case {"event": "failed", "message": message}:
                self.say(str(message), severity="bad")
            case {"event": "gone"}:
                self.say("the embedded fleet is gone", "leave with q and start the demo again", "bad")
