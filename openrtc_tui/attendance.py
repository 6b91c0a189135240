"""What goes on beside plans: the manifest is kept, the platform watched, what was interrupted is settled."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.http import HttpFailure
from openrtc_tui.operations.history import open_requests
from openrtc_tui.operations.keeper import ManifestKeeper
from openrtc_tui.operations.platforms import platform_of
from openrtc_tui.operations.platforms.platform import PlatformError, TendsPods
from openrtc_tui.operations.settling import audit_events, boot_of, judge, settle
from openrtc_tui.state.observation import PodsSeen
from openrtc_tui.watched import CannotSteer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from openrtc_tui.live import LiveFleet
    from openrtc_tui.operations.history import Record as JournalRecord
    from openrtc_tui.operations.journal import Journal
    from openrtc_tui.operations.platforms.platform import Platform, Record
    from openrtc_tui.operations.publisher import Publisher

BEAT: Final = 1.0
"""Seconds between two looks at the journal, and at who lacks the manifest."""
AFTER_TROUBLE: Final = 30.0
"""Seconds until a journal or platform that failed is tried again in the background."""


class Attendance:
    """Looks after the fleet *live* while it is steered.

    Args:
        live: the fleet.
        journal: the operator's.
        platform: None takes the one that the fleet file names, if it names one.
        publisher: who publishes; None where nobody does; raises CannotSteer.
        publishing: whether a plan is bringing a manifest to the workers just now.
        recall: reads the journal anew; raises CannotSteer.
        clock: Unix seconds.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        live: LiveFleet,
        journal: Journal,
        *,
        platform: Platform | None,
        publisher: Callable[[], Publisher | None],
        publishing: Callable[[], bool],
        recall: Callable[[], Awaitable[Sequence[JournalRecord]]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._live = live
        self._journal = journal
        self._publisher = publisher
        self._publishing = publishing
        self._recall = recall
        self._clock = clock
        self._sleep = sleep
        self._keeper = ManifestKeeper()
        self._attending = 0
        self._attendants: list[asyncio.Task[None]] = []
        self._told: set[str] = set()
        self.platform = platform or self._named_platform()
        """Who brings versions up; None where the fleet file names nobody."""

    def know(self, records: Sequence[JournalRecord]) -> None:
        """Take over what the journal says."""
        self._keeper.know(records)

    @asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Within it the manifest is kept and the platform watched, once however often this is entered."""
        if not self._attending:
            works = {"the fleet's manifest is not kept": self._keep, "pods are not watched": self._watch_pods}
            self._attendants = [asyncio.create_task(self._without_end(*each)) for each in works.items()]
        self._attending += 1
        try:
            yield
        finally:
            self._attending -= 1
            if not self._attending:
                for task in self._attendants:
                    task.cancel()
                await asyncio.gather(*self._attendants, return_exceptions=True)
                platform: object = self.platform
                if isinstance(platform, TendsPods):
                    await platform.close()

    @asynccontextmanager
    async def pods_kept(self, plan_id: str) -> AsyncIterator[None]:
        """Within it the platform looks after the workers' pods, where it has any."""
        platform: object = self.platform
        if not isinstance(platform, TendsPods):
            yield
            return

        task = asyncio.create_task(platform.keep_pods(self._live.view, self._recorder(plan_id), self._live.say))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)  # a journal that is full ends the plan as well

    async def let_pods_go(self, plan_id: str) -> None:
        """Take away what the interrupted plan *plan_id* left on the workers' pods; raises JournalError."""
        platform: object = self.platform
        if not isinstance(platform, TendsPods):
            return
        try:
            await platform.let_pods_go(self._recorder(plan_id))
        except PlatformError as error:
            self._live.say(f"deletion costs of pods could not be taken away: {error}", severity="warning")
        finally:
            if not self._attending:
                await platform.close()

    def _recorder(self, plan_id: str) -> Record:
        async def record(event: str, fields: Mapping[str, Any]) -> None:
            await self._journal.write(event, target=str(fields.get("pod", "")), plan_id=plan_id, **fields)

        return record

    async def _without_end(self, loss: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # nobody awaits it: an error of ours would go unseen
                self._tell_once(loss, f"{loss} for a moment: {type(error).__name__}: {error}")
                await self._sleep(AFTER_TROUBLE)
            else:
                return

    async def _keep(self) -> None:
        seen: object = None
        while True:
            try:
                marks = self._journal.marks()
                if marks != seen:
                    await self._recall()
                    seen = marks
                await self._put_again()
                self._told.discard("keep")
            except (CannotSteer, PermissionError) as error:
                self._tell_once("keep", str(error))
            await self._sleep(BEAT)

    async def _put_again(self) -> None:
        publisher = self._publisher()
        if publisher is None or not publisher.puts or self._live.read_only:
            return
        if self._publishing():
            return
        for key in await self._keeper.keep(publisher, self._live.view(), self._clock()):
            self._live.say(f"{key} was given the manifest", "it showed an older one, or none")

    async def _watch_pods(self) -> None:
        while self.platform is not None:
            try:
                async for pods in self.platform.watch():
                    self._told.discard("platform")
                    self._live.observe(PodsSeen(pods))
            except PlatformError as error:
                self._tell_once("platform", f"{self.platform.name} cannot be watched: {error}")
            else:
                return  # there is nothing to watch
            await self._sleep(AFTER_TROUBLE)

    async def settle(self, records: Sequence[JournalRecord]) -> None:
        """Write down what became of single requests that were interrupted."""
        for request in open_requests(records, self._clock()):
            row = boot_of(request, self._live.view())
            events: Any = None
            if row is not None:
                with suppress(HttpFailure, KeyError):
                    events = audit_events((await self._live.get(row.target, "/v1/audit")).body)
            judged = judge(request, row, events)
            if judged is not None:
                await settle(self._journal, request, *judged)
                key = request["subject"]["key"]
                self._live.say(f"{key}: an earlier {request.get('action')} was interrupted", judged[1], "warning")

    def _named_platform(self) -> Platform | None:
        file = self._live.file
        if file.rollback is None:
            return None
        return platform_of(
            file.rollback,
            fleet=file.name,
            folder=file.path.parent,
            http=self._live.http,
            drain_timeout=file.drain_timeout,
            on_trouble=self._trouble,
            on_output=self._live.say,
        )

    def _trouble(self, why: str | None) -> None:
        if why is None:
            self._told.discard("platform")
        else:
            self._tell_once("platform", f"the platform cannot be watched: {why}")

    def _tell_once(self, what: str, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._live.say(text, severity="warning")
