"""Fifty rollouts with faults: what the dashboard says was dropped is what the dispatcher's log and the callers say.

The seeds are fixed, so that a failure can be repeated (``-k 'seed-17'``); ``OPENRTC_ROLLOUT_SEED`` moves all of them.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from openrtc_tui.state.view import Verdict, VerdictWord
from tests.proofs import faults
from tests.proofs.fleet import NEW, OLD, SmallFleet
from tests.proofs.oncall import OnCall
from tests.support.processes import until

if TYPE_CHECKING:
    from tests.proofs.faults import Fault
    from tests.proofs.fleet import Zygote

ROLLOUTS = 50
AT_ONCE = 5
FIRST_SEED = int(os.environ.get("OPENRTC_ROLLOUT_SEED", "1000"))
MAY_SPOIL_A_PROOF = {"kill", "stop", "stop_and_kill", "restart", "terminate_and_kill", "reopen"}
SETTLES_WITHIN = 30.0
"""Seconds until silence alone has made a worker lost, and a little."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One rollout as it ended, and as the dispatcher's log has it."""

    seed: int
    faults: list[Fault]
    verdict: Verdict
    reason: str
    dropped_old: int
    dropped_new: int
    untold: int
    unanswered: int
    false_proofs: list[str]

    def __str__(self) -> str:
        happened = "; ".join(map(str, self.faults)) or "no fault"
        return (
            f"seed {self.seed} ({happened}): {self.verdict} {self.reason!r}; in truth {self.dropped_old} dropped by"
            f" {OLD}, {self.dropped_new} by {NEW}, {self.untold} hung up untold, {self.unanswered} unanswered"
        )


async def roll_out(zygote: Zygote, seed: int) -> Ended:
    rng = random.Random(seed)
    drawn = faults.draw(rng, old=OLD, new=NEW, workers=2)
    fleet = SmallFleet(zygote, seed)
    await fleet.open()
    try:
        for member in fleet.of(OLD):
            await fleet.start(member)
        await fleet.serving(2)
        async with OnCall(fleet) as oncall:
            fleet.start_callers()
            for member in fleet.of(NEW):
                await fleet.start(member)
            await fleet.serving(4)
            heard = lambda: all(row.snapshot is not None for row in oncall.view().rows)  # noqa: E731
            await until(heard, what="every worker")
            await asyncio.sleep(rng.uniform(0.0, 1.0))
            watching = asyncio.create_task(oncall.watch())
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                for fault in drawn:
                    group.create_task(faults.happen(fault, fleet, oncall))
                group.create_task(oncall.drain(OLD))
            fleet.stop_callers()
            verdict = await oncall.verdict(SETTLES_WITHIN)
            watching.cancel()
            await asyncio.wait({watching})
            assert watching.cancelled(), watching.exception()
            return Ended(
                seed=seed,
                faults=drawn,
                verdict=verdict,
                reason=oncall.view().verdict_reason,
                dropped_old=len(fleet.dropped(OLD)),
                dropped_new=len(fleet.dropped(NEW)),
                untold=len(fleet.untold()),
                unanswered=len(fleet.unanswered()),
                false_proofs=oncall.false_proofs,
            )
    finally:
        await fleet.close()


async def some(zygote: Zygote, seeds: list[int]) -> list[Ended]:
    return await asyncio.gather(*(roll_out(zygote, seed) for seed in seeds))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + ROLLOUTS, AT_ONCE), ids="seeds-from-{}".format)
async def test_the_verdict_is_what_the_dispatchers_log_says(zygote, first):
    for ended in await some(zygote, list(range(first, first + AT_ONCE))):
        print(ended)
        assert ended.false_proofs == [], str(ended)
        dropped = ended.dropped_old + ended.dropped_new
        verdict = ended.verdict
        assert verdict.confirmed <= dropped + ended.untold, str(ended)
        if verdict.exact:
            assert dropped <= verdict.possible, str(ended)
        if dropped:
            assert verdict.word in (VerdictWord.UNPROVEN, VerdictWord.VIOLATED), str(ended)
        elif not ended.untold:
            assert verdict.word is not VerdictWord.VIOLATED, str(ended)
        if not {fault.kind for fault in ended.faults} & MAY_SPOIL_A_PROOF:
            assert verdict.word is VerdictWord.PROVEN, str(ended)
            assert ended.unanswered == 0, str(ended)
