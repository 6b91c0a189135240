"""Steers a watched fleet: plans are made, carried out one at a time, and taken up again after whatever ended them."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec

from openrtc_tui.attendance import AFTER_TROUBLE, Attendance
from openrtc_tui.operations.choices import return_to
from openrtc_tui.operations.executor import Executor
from openrtc_tui.operations.history import active_before, last_rollback, newest_move, plans_of
from openrtc_tui.operations.journal import JournalError
from openrtc_tui.operations.plan_lock import PlanLock, PlanRunsElsewhere
from openrtc_tui.operations.plans.build import (
    READY_WITHIN,
    PlanError,
    PlatformFacts,
    plan_drain,
    plan_promote,
    plan_rollback,
    rollback_versions,
)
from openrtc_tui.operations.plans.plan import PublishStep
from openrtc_tui.operations.plans.progress import ABORTED, ENDED
from openrtc_tui.operations.plans.sight import newest_manifest
from openrtc_tui.operations.plans.words import run_of, title
from openrtc_tui.operations.platforms.platform import PlatformError
from openrtc_tui.operations.publisher import Publisher
from openrtc_tui.state.rollout import Turn
from openrtc_tui.watched import CannotSteer
from openrtc_worker.contract.keys import KeyFileError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from openrtc_tui.live import LiveFleet
    from openrtc_tui.operations.history import JournaledPlan, Record
    from openrtc_tui.operations.journal import Journal
    from openrtc_tui.operations.plans.plan import Plan, PlanKind, Run
    from openrtc_tui.operations.platforms.platform import Platform
    from openrtc_tui.state.view import FleetView

HEARING: Final = 6.0
"""Seconds in which every worker that can be reached is heard, before a plan goes on."""


class Steering:
    """Makes plans for the fleet *live* and carries them out, in the name of its operator.

    Args:
        live: the fleet, watched by whoever made it; it must be one that may act.
        platform: brings versions up; None takes the one that the fleet file names.
        clock: Unix seconds.
        sleep: waits for seconds.

    Raises:
        CannotSteer: nothing may be asked of this fleet.
    """

    def __init__(
        self,
        live: LiveFleet,
        *,
        platform: Platform | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if live.journal is None or live.operator is None:
            raise CannotSteer("watching only: nothing is asked of any worker")
        self._live = live
        self._journal: Journal = live.journal
        self._operator: str = live.operator
        self._clock = clock
        self._sleep = sleep
        self._lock = PlanLock(live.file.name, live.journal.path.parent)
        self._publisher: Publisher | None = None
        self._plans: dict[str, JournaledPlan] = {}
        self._open: tuple[JournaledPlan, ...] = ()
        """Those that did not end: they are asked for many times a second."""
        self._executor: Executor | None = None
        self._busy = False
        self._holds = False
        self._expected: dict[str, int] = {}
        self._since = clock()
        self._turned_by: str | None = None
        """The plan by which the fleet was turned last."""
        self._followed: str | None = None
        """The plan that was carried out elsewhere at the last look."""
        self._beside = Attendance(
            live,
            live.journal,
            platform=platform,
            publisher=self._known_publisher,
            publishing=lambda: self._executor is not None and self._busy and self._executor.publishing,
            recall=self.recall,
            clock=clock,
            sleep=sleep,
        )

    # ------------------------------------------------------------------------------------------------- what there is

    @property
    def run(self) -> Run | None:
        """The plan that is carried out here, or was last; None before the first."""
        return self._executor.run if self._executor is not None else None

    def interrupted(self) -> tuple[Run, ...]:
        """Plans that were begun, did not end, and that nobody carries out now, the oldest first.

        As of the last :meth:`recall`, which :meth:`tend` does every second.
        """
        if not self._open:
            return ()
        held = self._lock.holder()
        holder = held.plan_id if held is not None else None
        here = self._executor.plan.plan_id if self._executor is not None and self._busy else None
        view, now = self._live.view(), self._clock()
        return tuple(
            run_of(found.plan, found.progress, view, now, "interrupted")
            for found in self._open
            if found.plan.plan_id not in {holder, here}
        )

    def elsewhere(self) -> Run | None:
        """The plan that another process carries out now, as far as the journal was read; its word is *elsewhere*."""
        found, who = self._carried_out_elsewhere()
        if found is None:
            return None
        run = run_of(found.plan, found.progress, self._live.view(), self._clock())
        return msgspec.structs.replace(run, word="elsewhere", by=who)

    def _carried_out_elsewhere(self) -> tuple[JournaledPlan | None, str]:
        holder = self._lock.holder() if self._open and not self._holds else None
        if holder is None:
            return None, ""
        return next((found for found in self._open if found.plan.plan_id == holder.plan_id), None), holder.who

    @property
    def left(self) -> str | None:
        """The version that the newest rollback left; None where there was none, or it was promoted since."""
        last = last_rollback(self._plans.values())
        return last.plan.from_version if last is not None else None

    async def recall(self) -> tuple[Record, ...]:
        """Read the journal anew and return its lines; raises CannotSteer when it cannot be read."""
        try:
            records = await self._journal.records()
        except JournalError as error:
            raise CannotSteer(str(error)) from None
        self._plans = {key: found for key, found in plans_of(records).items() if found.plan.fleet}
        self._open = tuple(found for found in self._plans.values() if not found.ended)
        self._beside.know(records)
        self._forget_what_ended_elsewhere()
        self._follow()
        return records

    def _follow(self) -> None:
        """Let the fleet go the way of the plan that is carried out now, whoever does, else of the newest that did."""
        if self._busy:
            return  # it was turned when that began
        before = self._plans.get(self._followed or "")
        if before is not None and before.ended:
            self._live.say(
                f"{title(before.plan)}: {before.word}",
                f"carried out elsewhere by {before.begun.get('actor')}",
                "info" if before.word == "done" else "warning",
            )
        found, _ = self._carried_out_elsewhere()
        self._followed = found.plan.plan_id if found is not None else None
        moved = found if found is not None and found.moves else newest_move(self._plans.values())
        if moved is None:
            self._turn(None)
        else:
            self._turn(moved.plan, past=moved.ended and moved.begun["timestamp"] < self._since)

    def _turn(self, plan: Plan | None, *, past: bool = False) -> None:
        """Once for each plan: the fleet file may say otherwise since."""
        plan_id = plan.plan_id if plan is not None else None
        if plan_id == self._turned_by:
            return
        self._turned_by = plan_id
        turn = None
        if plan is not None and plan.from_version is not None and plan.to_version is not None:
            turn = Turn((plan.from_version, plan.to_version), plan.made_at, past)
        self._live.turn(turn)

    def _forget_what_ended_elsewhere(self) -> None:
        """A plan that was interrupted here is no plan of ours once it was given up, or gone on with by another."""
        if self._executor is None or self._busy or not self._executor.interrupted:
            return
        found = self._plans.get(self._executor.plan.plan_id)
        if found is None or found.ended:
            self._executor = None

    # ------------------------------------------------------------------------------------------------- making plans

    async def plan(
        self,
        kind: PlanKind,
        *,
        version: str | None = None,
        keys: Sequence[str] = (),
        beside: Sequence[str] = (),
        reason: str | None = None,
        wave: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - what a drain is given, sent to workers
        bad: str | None = None,
        wait: bool = True,
        within: float = READY_WITHIN,
    ) -> Plan:
        """What would be done; the platform is asked where it matters, and nothing is changed.

        Args:
            kind: ``drain``, ``promote`` or ``rollback``.
            version: what to drain, to promote, or to go back to (None: to the one that was active before).
            keys: the rows to drain, where it is no whole version.
            beside: versions that may take calls beside the promoted one.
            reason: for the audit.
            wave: how many workers drain at once; None: the fleet file's number.
            timeout: seconds that a drain is given; None: the fleet file's, or each worker's own.
            bad: the version that a rollback leaves; None: the one that takes calls.
            wait: False: a rollback switches at once, ready or not.
            within: seconds in which the good version has to be ready.

        Raises:
            CannotSteer: no plan can be made; says why.
        """
        file = self._live.file
        records = await self.recall()
        view = self._live.view()
        held = newest_manifest(view)
        wave = wave if wave is not None else file.drain_wave
        timeout = timeout if timeout is not None else file.drain_timeout
        publishes = file.manifest is not None
        reread = file.manifest is not None and file.manifest.publish != "put"
        try:
            if kind == "drain":
                made = plan_drain(
                    view,
                    keys=keys,
                    version=version,
                    wave=wave,
                    timeout=timeout,
                    reason=reason,
                    operator=self._operator,
                )
            elif kind == "promote":
                if version is None:
                    raise CannotSteer("promoting needs the version that is to take the calls")
                made = plan_promote(
                    view,
                    version,
                    publishes=publishes,
                    beside=beside,
                    reread=reread,
                    reason=reason,
                    operator=self._operator,
                )
            else:
                history = active_before(records)
                good, left = self._rollback_versions(view, version, bad, history)
                made = plan_rollback(
                    view,
                    good,
                    bad=left,
                    publishes=publishes,
                    reread=reread,
                    history=history,
                    left_before=self.left,
                    platform=await self._facts(good),
                    wait=wait,
                    within=within,
                    wave=wave,
                    timeout=timeout,
                    reason=reason,
                    operator=self._operator,
                )
        except (PlanError, PlatformError) as error:
            raise CannotSteer(str(error)) from None
        self._expected[made.plan_id] = held.seq if held is not None else 0
        return made

    def _rollback_versions(
        self, view: FleetView, version: str | None, bad: str | None, history: Sequence[Sequence[str]]
    ) -> tuple[str, str]:
        """(good, bad) of a rollback: by itself not to the version that the last one left."""
        good, left = rollback_versions(view, version, bad=bad, history=history)
        if version is None and bad is None:
            chosen = return_to(view, good, left, last_rollback(self._plans.values()))
            if chosen != good:
                return rollback_versions(view, chosen, history=history)
        return good, left

    async def _facts(self, good: str) -> PlatformFacts | None:
        platform = self._beside.platform
        if platform is None:
            return None
        description = await platform.describe(good)
        return PlatformFacts(
            name=platform.name,
            ends_other=platform.ends_other,
            description=description,
            objections=await platform.preflight(good, description),
        )

    # --------------------------------------------------------------------------------------------- carrying them out

    async def carry_out(self, plan: Plan) -> Run:
        """Do it, to its end or until it cannot go on; :attr:`run` follows meanwhile.

        Whoever calls has shown the plan and was told yes, what its overrides ask for included.

        Raises:
            CannotSteer: nothing was begun; says why.
        """
        if plan.blocked:
            raise CannotSteer("; ".join(each.text for each in plan.objections if each.blocks and not each.override))
        held = newest_manifest(self._live.view())
        expected = self._expected.pop(plan.plan_id, held.seq if held is not None else 0)
        with self._holding(plan.plan_id):
            return await self._execute(plan, (), expected)

    async def resume(self, plan_id: str) -> Run:
        """Go on with an interrupted plan. The fleet is looked at first, and nothing that was done is done again.

        Raises:
            CannotSteer: there is no such plan, it has ended, or it is carried out elsewhere.
        """
        await self._unended(plan_id)
        await self._hear_all()
        with self._holding(plan_id):
            found = await self._unended(plan_id)  # another dashboard may have gone on with it meanwhile
            return await self._execute(found.plan, found.records, None)

    async def abandon(self, plan_id: str) -> None:
        """Give an interrupted plan up: what was done stays done, and it is not shown any more.

        Raises:
            CannotSteer: there is no such plan, it has ended or is carried out now, or the journal cannot be written.
        """
        with self._holding(plan_id):
            found = await self._unended(plan_id)
            target = found.plan.fleet
            await self._journal.write(ABORTED, target=target, plan_id=plan_id)
            await self._beside.let_pods_go(plan_id)
            await self._journal.write(
                ENDED, target=target, result="aborted", plan_id=plan_id, word="aborted", why="given up"
            )
        await self.recall()

    def abort(self) -> None:
        """Let the plan under way begin nothing further; what was done stays done."""
        if self._executor is not None and self._busy:
            self._executor.abort()

    async def _unended(self, plan_id: str) -> JournaledPlan:
        """The plan as the journal has it at this moment; raises CannotSteer when there is nothing to go on with."""
        await self.recall()
        found = self._plans.get(plan_id)
        if found is None or found.ended:
            raise CannotSteer(f"plan {plan_id} has ended" if found else f"the journal knows no plan {plan_id}")
        return found

    @contextmanager
    def _holding(self, plan_id: str) -> Iterator[None]:
        """Nobody else on this machine acts by a plan of this fleet within it; raises CannotSteer."""
        if self._live.read_only:
            raise CannotSteer("watching only: nothing is asked of any worker")
        try:
            with self._lock.held(plan_id, self._operator):
                self._holds = True
                try:
                    yield
                finally:
                    self._holds = False
        except (PlanRunsElsewhere, JournalError) as error:
            raise CannotSteer(str(error)) from None

    async def _execute(self, plan: Plan, records: Sequence[Record], expected: int | None) -> Run:
        publishes = any(isinstance(step, PublishStep) for step in plan.steps)
        executor = Executor(
            plan,
            records=records,
            journal=self._journal,
            fleet=self._live,
            publisher=self._known_publisher() if publishes else None,
            platform=self._beside.platform,
            clock=self._clock,
            sleep=self._sleep,
        )
        if plan.kind != "drain":
            self._turn(plan)
        before, self._executor, self._busy = self._executor, executor, True
        try:
            async with self._beside.attended(), self._beside.pods_kept(plan.plan_id):
                run = await executor.carry_out(expected_seq=expected)
        finally:
            self._busy = False
        if not executor.begun:
            self._executor = before
            self._follow()
            raise CannotSteer(run.why)
        with suppress(CannotSteer):  # what came of the plan is known whether or not the journal can be read now
            await self.recall()
        return run

    async def _hear_all(self) -> None:
        """Return once every worker was heard or failed to be reached, or when that takes too long."""
        until = self._clock() + HEARING
        while self._clock() < until:
            rows = self._live.view().rows
            if all(row.snapshot is not None or row.last_failure is not None for row in rows):
                return
            await self._live.changed(0.2)

    # ------------------------------------------------------------------------------------------------- on the side

    async def tend(self) -> None:
        """Until cancelled: settle what was interrupted, keep the fleet on its manifest, watch the platform."""
        async with self._beside.attended():
            await self._hear_all()
            while True:
                with suppress(CannotSteer, JournalError):
                    await self._beside.settle(await self.recall())
                await self._sleep(AFTER_TROUBLE)

    # ------------------------------------------------------------------------------------------------------- parts

    def _known_publisher(self) -> Publisher | None:
        """Who publishes as the fleet file says now; raises CannotSteer when the release key cannot be used."""
        file = self._live.file
        if file.manifest is None:
            return None
        if self._publisher is None:
            try:
                self._publisher = Publisher(
                    file.manifest,
                    hands=self._live,
                    fleet=file.name,
                    operator=self._operator,
                    folder=file.path.parent,
                    clock=self._clock,
                    sleep=self._sleep,
                )
            except KeyFileError as error:
                raise CannotSteer(f"the release key cannot be used: {error}") from None
        return self._publisher
