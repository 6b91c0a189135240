"""What goes wrong in a rollout, drawn from a seed: each fault happens once, some time after the drain began."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from tests.proofs.fleet import Member, SmallFleet
    from tests.proofs.oncall import OnCall

KINDS = (
    *("kill", "stop", "stop_and_kill", "restart", "terminate", "terminate_and_kill"),
    *("lose_answer", "drain_twice", "burst", "reopen"),
)
LATEST = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    """*kind* happens to the *index*-th worker of *version*, *after* seconds into the drain."""

    kind: str
    version: str
    index: int
    after: float
    lasts: float

    def __str__(self) -> str:
        return f"{self.kind} {self.version}[{self.index}] +{self.after:.2f}s for {self.lasts:.2f}s"


def draw(rng: random.Random, *, old: str, new: str, workers: int) -> list[Fault]:
    """None to three faults; the old version's workers are hit more often than the new one's."""
    count = rng.choice((0, 1, 1, 2, 2, 3))
    return [
        Fault(
            kind=kind,
            version=rng.choice((old, old, old, new)) if kind in ("kill", "stop") else old,
            index=rng.randrange(workers),
            after=rng.uniform(0.0, LATEST),
            lasts=rng.uniform(0.5, 3.0),
        )
        for kind in rng.sample(KINDS, count)
    ]


async def happen(fault: Fault, fleet: SmallFleet, oncall: OnCall) -> None:
    """Let *fault* happen, at its time."""
    member = fleet.of(fault.version)[fault.index]
    if fault.kind == "lose_answer":  # from the first request on
        member.proxy.lose_next = True
        return
    await asyncio.sleep(fault.after)
    await _ACTS[fault.kind](fault, member, fleet, oncall)


async def _kill(_: Fault, member: Member, fleet: SmallFleet, _oncall: OnCall) -> None:
    await _end(member, fleet)


async def _stop(fault: Fault, member: Member, _fleet: SmallFleet, _oncall: OnCall) -> None:
    member.signal(signal.SIGSTOP)
    await asyncio.sleep(fault.lasts)
    member.signal(signal.SIGCONT)


async def _stop_and_kill(fault: Fault, member: Member, fleet: SmallFleet, _oncall: OnCall) -> None:
    member.signal(signal.SIGSTOP)
    await asyncio.sleep(fault.lasts)
    await _end(member, fleet)


async def _restart(_: Fault, member: Member, fleet: SmallFleet, _oncall: OnCall) -> None:
    await _end(member, fleet)
    await fleet.start(member)


async def _terminate(_: Fault, member: Member, _fleet: SmallFleet, _oncall: OnCall) -> None:
    member.signal(signal.SIGTERM)  # the platform ends it, which is a drain too


async def _terminate_and_kill(fault: Fault, member: Member, fleet: SmallFleet, _oncall: OnCall) -> None:
    member.signal(signal.SIGTERM)  # with a grace that is too short
    await asyncio.sleep(fault.lasts)
    await _end(member, fleet)


async def _drain_twice(_: Fault, _member: Member, fleet: SmallFleet, _oncall: OnCall) -> None:
    async with fleet.live_fleet().running() as another:
        from tests.proofs.oncall import ask_to_drain

        await ask_to_drain(another, fleet.of("v1.0.0")[0].version)


async def _burst(_: Fault, _member: Member, fleet: SmallFleet, _oncall: OnCall) -> None:
    for _n in range(20):
        fleet.call()


async def _reopen(_: Fault, _member: Member, _fleet: SmallFleet, oncall: OnCall) -> None:
    await oncall.reopen()


async def _end(member: Member, fleet: SmallFleet) -> None:
    pid = member.pids[-1]
    member.signal(signal.SIGKILL)
    while fleet.runs(pid):  # noqa: ASYNC110 - the process is another one's child
        await asyncio.sleep(0.02)


_ACTS = {
    "kill": _kill,
    "stop": _stop,
    "stop_and_kill": _stop_and_kill,
    "restart": _restart,
    "terminate": _terminate,
    "terminate_and_kill": _terminate_and_kill,
    "drain_twice": _drain_twice,
    "burst": _burst,
    "reopen": _reopen,
}
