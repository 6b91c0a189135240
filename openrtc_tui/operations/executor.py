"""Carries out one plan: asks the machine what is next, journals it, does it, journals what came of it.

It decides nothing itself. Everything that it has done stands in the journal before the next thing is asked, so that
whoever resumes the plan goes on where it ended, whatever killed it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from openrtc_tui.operations.capacity import accepts
from openrtc_tui.operations.history import Publication, highest_seq, publications, puts_of
from openrtc_tui.operations.journal import JournalError
from openrtc_tui.operations.journaled import PENDING
from openrtc_tui.operations.plans.draining import answered_for
from openrtc_tui.operations.plans.machine import advance
from openrtc_tui.operations.plans.plan import (
    Drain,
    Finish,
    Publish,
    PublishStep,
    Start,
    StepDone,
    Stop,
    Wait,
)
from openrtc_tui.operations.plans.progress import (
    ABORTED,
    BEGUN,
    ENDED,
    INTENT,
    MANIFEST_SEQ,
    OUTCOME,
    STEP_BEGAN,
    STEP_DONE,
    apply,
    replay,
)
from openrtc_tui.operations.plans.sight import fate
from openrtc_tui.operations.plans.switching import unfit
from openrtc_tui.operations.plans.words import run_of
from openrtc_tui.operations.platforms.platform import PlatformError
from openrtc_tui.operations.publisher import Hands, PublishRefused
from openrtc_tui.operations.request import Ask, new_op_id
from openrtc_tui.state.verdict import combine
from openrtc_worker.contract.audit import DEPLOYMENT_COMPLETED, DEPLOYMENT_ROLLED_BACK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from openrtc_tui.operations.history import Record
    from openrtc_tui.operations.journal import Journal
    from openrtc_tui.operations.plans.plan import Asked, Decision, Plan, Run, RunWord, Subject
    from openrtc_tui.operations.platforms.platform import Platform
    from openrtc_tui.operations.publisher import Publisher
    from openrtc_tui.state.view import FleetView

RESUMED: Final = "plan.resumed"
BEAT: Final = 0.5
"""Seconds after which the fleet is looked at again while nothing is observed: deadlines pass without an event."""
PAUSE: Final = 0.1
"""Seconds between two looks at a fleet that changes all the time."""

_OF_STEPS: Final = frozenset({BEGUN, STEP_BEGAN, STEP_DONE})


class Fleet(Hands, Protocol):
    """What an executor needs of a watched fleet (:class:`openrtc_tui.live.LiveFleet`)."""

    async def changed(self, within: float) -> None: ...


class Halted(Exception):  # noqa: N818 - an outcome: the plan stands still, and can be resumed
    """The plan cannot go on now, and nothing is wrong with it; one line for people."""


class Executor:
    """Carries out one plan, from its beginning or from where its journal ends.

    Args:
        plan: what to do.
        records: the journal's lines of this plan so far; none for one that is new.
        journal: where everything is written before it is done.
        fleet: the watched fleet.
        publisher: None where the fleet file names no manifest.
        platform: None where the fleet file names none.
        clock: Unix seconds.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        records: Sequence[Record] = (),
        journal: Journal,
        fleet: Fleet,
        publisher: Publisher | None,
        platform: Platform | None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._sleep = sleep
        self._plan = plan
        self._records = list(records)
        self._journal = journal
        self._fleet = fleet
        self._publisher = publisher
        self._platform = platform
        self._clock = clock
        self._progress = replay(self._plan, self._records)
        self._word: RunWord = "interrupted" if records else "running"
        self._why = ""
        self._aborting = False

    @property
    def plan(self) -> Plan:
        return self._plan

    @property
    def begun(self) -> bool:
        """Whether its beginning is in the journal."""
        return bool(self._records)

    @property
    def interrupted(self) -> bool:
        """Whether it stands still here before its end."""
        return self._word == "interrupted"

    @property
    def publishing(self) -> bool:
        """Whether a manifest is being brought to the workers just now."""
        progress = self._progress
        step = self._plan.steps[progress.step] if progress.step < len(self._plan.steps) else None
        return isinstance(step, PublishStep) and progress.op_id is not None and progress.effect is None

    @property
    def run(self) -> Run:
        """How far it has come, as screens and commands show it."""
        return run_of(self._plan, self._progress, self._fleet.view(), self._clock(), self._word, why=self._why)

    def abort(self) -> None:
        """Begin nothing further. What is under way is brought to its end, and what was done stays done."""
        self._aborting = True

    async def carry_out(self, *, expected_seq: int | None = None) -> Run:
        """Do it to its end, or until it cannot go on; what became of it is in the answer.

        Args:
            expected_seq: for a new plan, the highest manifest that the operator saw when deciding.
        """
        self._word = "running"
        try:
            await self._begin(expected_seq)
            while not await self._step():
                pass
        except (Halted, JournalError) as error:
            self._word, self._why = "interrupted", str(error)
        except asyncio.CancelledError:
            self._word, self._why = "interrupted", "the dashboard was closed"
            raise
        return self.run

    # ------------------------------------------------------------------------------------------------- one by one

    async def _begin(self, expected_seq: int | None) -> None:
        if not self._records:
            plan = msgspec.to_builtins(self._plan)
            overrides = sorted(self._plan.overrides)
            await self._write(BEGUN, kind=self._plan.kind, plan=plan, expected_seq=expected_seq, overrides=overrides)
            await self._write(STEP_BEGAN, step=0)
            return
        await self._write(RESUMED)
        steps = [record["event"] for record in self._records if record.get("event") in _OF_STEPS]
        if steps[-1] != STEP_BEGAN and self._progress.step < len(self._plan.steps):
            await self._write(STEP_BEGAN, step=self._progress.step)
        if self.publishing and self._progress.op_id is not None:
            await self._publish_again(self._progress.op_id)
        for asked in self._progress.asked:
            if asked.outcome is None:
                await self._observe(asked)

    async def _step(self) -> bool:
        """One decision and its effect; True when the plan is over."""
        if self._aborting and not self._progress.aborted:
            await self._write(ABORTED)
        decision = advance(self._plan, self._progress, self._fleet.view(), self._clock())
        match decision:
            case Wait():
                await self._sleep(PAUSE)
                await self._fleet.changed(BEAT)
            case StepDone(detail=detail):
                await self._write(STEP_DONE, step=self._progress.step, detail=detail)
                if self._progress.step < len(self._plan.steps):
                    await self._write(STEP_BEGAN, step=self._progress.step)
            case Finish() | Stop():
                await self._end(decision)
                return True
            case _:
                try:
                    await self._act(decision)
                except PermissionError as error:  # the fleet file was edited to read_only meanwhile
                    raise Halted(str(error)) from None
        return False

    async def _act(self, decision: Decision) -> None:
        match decision:
            case Publish(active=active):
                await self._publish(active)
            case Start(version=version, token=token):
                await self._start(version, token)
            case Drain():
                await self._drain(decision)

    async def _end(self, decision: Finish | Stop) -> None:
        word: RunWord = "done"
        if isinstance(decision, Finish):
            await self._tell_deployment(decision.detail)
        else:
            word, self._why = decision.word, decision.why
        await self._write(ENDED, result="ok" if word == "done" else word, word=word, why=self._why)
        self._word = word

    async def _tell_deployment(self, detail: str) -> None:
        """What the deployment came to: the end of a rollback, or the verdict of a rollout whose old version left."""
        plan, view = self._plan, self._fleet.view()
        event = DEPLOYMENT_ROLLED_BACK if plan.kind == "rollback" else DEPLOYMENT_COMPLETED
        if plan.kind == "promote" or plan.from_version is None or any(r["event"] == event for r in self._records):
            return
        rows = [found.row for found in answered_for(plan, self._progress, view)]
        verdict = combine([(row.verdict, row.settled) for row in rows if row is not None])
        gone = rows.count(None)
        await self._write(
            event,
            result=str(verdict.word) if not gone else "unproven",
            version=plan.to_version or _taking(view, plan.from_version),
            from_version=plan.from_version,
            reason=plan.reason,
            confirmed=verdict.confirmed,
            possible=verdict.possible,
            detail=detail,
        )

    # ---------------------------------------------------------------------------------------------------- publish

    async def _publish(self, active: tuple[str, ...]) -> None:
        publisher = self._publisher
        op_id = self._progress.op_id or new_op_id()
        if publisher is None:
            raise Halted("the fleet file names no manifest any more: nothing can be published")
        records = await self._journal.records()
        try:
            draft = await publisher.draft(
                active, op_id=op_id, known=highest_seq(records), expected=self._expected(records)
            )
        except PublishRefused as refusal:
            await self._intend("publish", op_id, target=self._plan.fleet, active=list(active))
            await self._outcome("publish", op_id, "refused", str(refusal), target=self._plan.fleet)
            return
        await self._intend(
            "publish",
            op_id,
            target=self._plan.fleet,
            active=list(active),
            manifest=draft.token,
            **{MANIFEST_SEQ: draft.seq},
        )
        await self._bring(publisher, draft)

    async def _publish_again(self, op_id: str) -> None:
        """What an earlier life was about to publish: under its very number, unless it was overtaken."""
        draft = next((found for found in publications(self._records) if found.op_id == op_id), None)
        if self._publisher is None or draft is None:
            raise Halted("the fleet file names no manifest any more: nothing can be published")
        if not draft.token:  # it was refused before anything was signed
            await self._outcome("publish", op_id, "refused", "it was not published", target=self._plan.fleet)
            return
        try:
            await self._bring(self._publisher, draft, again=True)
        except PermissionError as error:
            raise Halted(str(error)) from None

    async def _bring(self, publisher: Publisher, draft: Publication, *, again: bool = False) -> None:
        puts = puts_of(self._records, draft.op_id, plan_id=self._plan.plan_id) if again else None
        published = await publisher.publish(
            draft,
            plan_id=self._plan.plan_id,
            reason=self._plan.reason,
            puts=puts,
            anyhow=self._plan.last_of,
            unfit=lambda: unfit(self._plan, self._progress, self._fleet.view()),
        )
        await self._outcome(
            "publish",
            draft.op_id,
            published.outcome,
            published.detail,
            target=self._plan.fleet,
            taken=published.taken,
            asked=published.asked,
            **{MANIFEST_SEQ: draft.seq},
        )

    def _expected(self, records: Sequence[Record]) -> int | None:
        """The highest manifest that this operator decided on the strength of: seen, or published by this plan."""
        expected = self._records[0].get("expected_seq")
        own = highest_seq(record for record in records if record.get("plan_id") == self._plan.plan_id)
        return None if expected is None else max(int(expected), own)

    # ----------------------------------------------------------------------------------------------- start, drain

    async def _start(self, version: str, token: str) -> None:
        platform = self._platform
        if platform is None:
            raise Halted("the fleet file names no platform any more: nobody can be asked for workers")
        op_id = self._progress.op_id
        if op_id is None:
            op_id = new_op_id()
            await self._intend("start", op_id, target=platform.name, version=version)
        try:
            asked = await platform.roll_back(version, token=token, op_id=op_id, reason=self._plan.reason)
            outcome, detail = ("started" if asked.changed else "already"), asked.detail
        except PlatformError as error:
            outcome, detail = ("refused" if error.happened is False else "unknown"), str(error)
        await self._outcome("start", op_id, outcome, detail, target=platform.name, version=version)

    async def _drain(self, decision: Drain) -> None:
        asks = [self._ask(asked.subject, decision, again=asked) for asked in decision.again]
        asks += [self._ask(subject, decision) for subject in decision.subjects]
        result = await self._fleet.send(asks, width=max(1, len(asks)), all_of_them=False)
        self._take(await self._journal.records())
        for answer in result.answers:
            if not self._is_journaled(answer.ask.op_id):
                raise Halted(answer.unrecorded or answer.detail)  # by the journal, after or before anything left

    def _ask(self, subject: Subject, decision: Drain, again: Asked | None = None) -> Ask:
        wave = again.wave if again is not None else decision.wave
        return Ask(
            action="drain",
            key=subject.key,
            url=subject.url,
            worker_id=subject.worker_id,
            boot_id=subject.boot_id,
            op_id=again.op_id if again is not None else new_op_id(),
            reason=self._plan.reason,
            timeout=decision.timeout,
            plan_id=self._plan.plan_id,
            version=subject.version,
            calls=subject.calls,
            note={"wave": wave, "subject": msgspec.to_builtins(subject)},
            again=again is not None,
        )

    async def _observe(self, asked: Asked) -> None:
        """Write down what an earlier life's drain came to, where it shows; the machine asks the others again."""
        subject = asked.subject
        snapshot = await self._fleet.look(subject.key)
        found = fate(self._fleet.view(), subject)
        if found.word in {"taking", "unheard", "stale"}:
            return
        drain = snapshot.drain if snapshot is not None and snapshot.boot_id == subject.boot_id else None
        if drain is not None and drain.op_id == asked.op_id:
            outcome, detail = "started", "is draining: its snapshot names this request"
        elif drain is not None:
            outcome, detail = "already", "was draining already"
        else:
            outcome, detail = "unknown", "is gone since: it may have taken the drain"
        await self._outcome("drain", asked.op_id, outcome, detail, target=subject.worker_id, version=subject.version)

    def _is_journaled(self, op_id: str) -> bool:
        return any(asked.op_id == op_id and asked.outcome is not None for asked in self._progress.asked)

    # ---------------------------------------------------------------------------------------------------- journal

    async def _intend(self, action: str, op_id: str, **fields: Any) -> None:
        await self._write(
            INTENT,
            result=PENDING,
            op_id=op_id,
            action=action,
            step=self._progress.step,
            reason=self._plan.reason,
            **fields,
        )

    async def _outcome(self, action: str, op_id: str, outcome: str, detail: str, **fields: Any) -> None:
        await self._write(
            OUTCOME, result=outcome, op_id=op_id, action=action, outcome=outcome, detail=detail, **fields
        )

    async def _write(self, event: str, **fields: Any) -> None:
        record = await self._journal.write(
            event, plan_id=self._plan.plan_id, **{"target": self._plan.fleet, **fields}
        )
        self._records.append(record)
        self._progress = apply(self._plan, self._progress, record)

    def _take(self, records: Sequence[Record]) -> None:
        """Take over the lines that requests of this plan have written themselves."""
        self._records = [record for record in records if record.get("plan_id") == self._plan.plan_id]
        self._progress = replay(self._plan, self._records)


def _taking(view: FleetView, left: str) -> str | None:
    """The one version that takes calls now that *left* does not; None when there is none, or more than one."""
    taking = {row.version for row in view.rows if accepts(row) and row.version != left}
    return taking.pop() if len(taking) == 1 else None
