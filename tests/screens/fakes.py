"""A session whose fleet stands still, and a steering that only remembers, for tests of screens and keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from openrtc_tui.operations.batch import BatchResult
from openrtc_tui.operations.request import Answer, Ask
from openrtc_tui.state.view import EventLine, FleetView, Severity
from openrtc_tui.watched import CannotSteer, ReadFailed
from openrtc_worker.contract.snapshot import SessionInfo, SessionList

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from openrtc_tui.operations.plans.plan import Plan, PlanKind, Run


class FakeSteering:
    """Answers every wish for a plan with the one prepared for that version, and remembers what was carried out."""

    def __init__(self) -> None:
        self.plans: dict[tuple[str, str | None], Plan] = {}
        """By kind and version; version None: the one that a rollback goes to by itself."""
        self.wanted: list[tuple[str, str | None]] = []
        self.carried_out: list[Plan] = []
        self.resumed: list[str] = []
        self.aborted = 0
        self.abandoned: list[str] = []
        self.run: Run | None = None
        self.stopped: tuple[Run, ...] = ()
        self.others: Run | None = None
        """What another process carries out."""
        self.left: str | None = None
        self.refusal = ""
        """When set, nothing is carried out, and this is why."""
        self.hold: asyncio.Event | None = None
        """When set, no plan comes before it is."""

    def elsewhere(self) -> Run | None:
        return self.others

    def interrupted(self) -> tuple[Run, ...]:
        return self.stopped

    async def plan(self, kind: PlanKind, *, version: str | None = None, **_: object) -> Plan:
        self.wanted.append((kind, version))
        if self.hold is not None:
            await self.hold.wait()
        if (kind, version) not in self.plans:
            raise CannotSteer(f"no worker of {version} was heard")
        return self.plans[kind, version]

    async def carry_out(self, plan: Plan) -> Run:
        if self.refusal:
            raise CannotSteer(self.refusal)
        self.carried_out.append(plan)
        assert self.run is not None or self.stopped == ()
        return self.run  # type: ignore[return-value]

    async def resume(self, plan_id: str) -> Run:
        self.resumed.append(plan_id)
        return self.stopped[0]

    async def abandon(self, plan_id: str) -> None:
        self.abandoned.append(plan_id)
        self.stopped = tuple(run for run in self.stopped if run.plan.plan_id != plan_id)

    def abort(self) -> None:
        self.aborted += 1


class FakeSession:
    """Shows the view it was given and answers what is sent with what was prepared.

    ``sent`` has every request; ``answer`` makes the answer to one, and by default says yes.
    """

    def __init__(self, view: FleetView, *, read_only: bool = False, operator: str | None = "alice") -> None:
        self.shown = view
        self.beat = 1.0
        self.operator = operator
        self.read_only = read_only
        self.trouble = ""
        self.drain_timeout: float | None = None
        self.sent: list[Ask] = []
        self.said: list[str] = []
        self.hold: asyncio.Event | None = None
        """When set, no answer comes before it is."""
        self.answer: Callable[[Ask], Answer] = lambda ask: Answer(
            ask=ask, outcome="started", detail="is draining: it takes no new call"
        )
        self.live: SessionList | None = SessionList(
            boot_id="boot-voice-a-2",
            sessions=[
                SessionInfo(
                    job_id="AJ_1", room="booking-4411", agent="booking", tenant="acme", age_seconds=231.0, callers=1
                ),
                SessionInfo(
                    job_id="AJ_2", room="booking-4471", agent="booking", tenant="acme", age_seconds=174.0, callers=1
                ),
                SessionInfo(
                    job_id="AJ_3", room="booking-4502", agent="booking", tenant="globex", age_seconds=96.0, callers=1
                ),
                SessionInfo(
                    job_id="AJ_4",
                    room="booking-4519",
                    agent="booking",
                    tenant="acme",
                    age_seconds=61.0,
                    callers=0,
                    alone_since=view.at - 38,
                ),
            ],
        )
        self.steering: FakeSteering | None = None if read_only else FakeSteering()
        self.written: list[dict[str, object]] = []
        """What this machine's journal has, and how many older lines it does not hand out."""
        self.older = 0
        self.events: list[dict[str, object]] = [
            {
                "seq": 1,
                "timestamp": view.at - 5400,
                "event": "deployment.started",
                "actor": "system",
                "target": "voice-a-2-id",
                "result": "ok",
                "version": "v1.0.0",
            },
            {
                "seq": 2,
                "timestamp": view.at - 232,
                "event": "deployment.drain_started",
                "actor": "alice",
                "target": "voice-a-2-id",
                "result": "ok",
                "version": "v1.0.0",
                "source": "http",
                "op_id": "op-7f3a",
                "reason": "rollout 214",
            },
        ]

    def view(self) -> FleetView:
        return self.shown

    def say(self, text: str, detail: str = "", severity: Severity = "info") -> None:
        self.said.append(text)
        line = EventLine(at=self.shown.at, text=text, detail=detail, severity=severity)
        from dataclasses import replace

        self.shown = replace(self.shown, events=(*self.shown.events, line))

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def sleep(self, _seconds: float) -> None:
        await asyncio.Event().wait()

    async def send(
        self,
        asks: Sequence[Ask],
        on_answer: Callable[[Answer], None],
        on_progress: Callable[[Ask, str], None],
    ) -> BatchResult:
        if self.read_only:
            raise PermissionError("watching only: nothing is asked of any worker")
        self.sent.extend(asks)
        for ask in asks:
            on_progress(ask, "")
        if self.hold is not None:
            await self.hold.wait()
        answers = []
        for ask in asks:
            answer = self.answer(ask)
            answers.append(answer)
            on_answer(answer)
            if not answer.done:
                break
        return BatchResult(tuple(answers), tuple(asks[len(answers) :]))

    async def sessions(self, _key: str) -> SessionList:
        if self.live is None:
            raise ReadFailed("live calls cannot be read: connection refused")
        return self.live

    async def journal(self) -> tuple[Sequence[dict[str, object]], int]:
        return self.written, len(self.written) + self.older

    async def audit(self, _key: str) -> Sequence[dict[str, object]]:
        return self.events
