"""The verdict against the truth: simulated workers with real calls, and a dashboard that hears of them what it can.

Reports come late, are lost with their connection, or never come; processes are killed and started anew. Whatever the
dashboard heard, it must never call a rollout proven in which a call of the version being left was dropped, never
confirm a call that was not dropped, and where it gives an exact range, the truth must lie within.

Two things are taken for granted, as the design does. After a drain or a cordon began no call starts but from an offer
accepted before, and that within 7.5 s. And nobody uncordons a worker that the dashboard cannot hear at that moment.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openrtc_tui.state.fleet import Fleet, fold, view
from openrtc_tui.state.observation import (
    ContactFailed,
    HeartbeatSeen,
    Observation,
    SnapshotSeen,
    Target,
    TargetsSeen,
)
from openrtc_tui.state.view import VerdictWord
from openrtc_worker.contract.snapshot import DrainInfo, LedgerCounts, OpenCall, PreviousBoot, RuntimeSnapshot
from tests.state.scenes import START, utc

if TYPE_CHECKING:
    from openrtc_tui.state.boot import Boot

KEYS = ("a", "b", "c")
LAUNCH_LIMIT = 7.5
"""Seconds within which an accepted offer becomes a call, or never does."""


@dataclass
class SimulatedBoot:
    """One life of a worker process, with what really became of its calls."""

    boot_id: str
    version: str
    started_at: float
    keeps_file: bool
    previous: PreviousBoot | None = None
    state: str = "serving"
    live: int = 0
    pending: list[float] = field(default_factory=list)  # when each accepted offer was accepted
    ended: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("completed", "failed", "removed", "cut", "crashed", "lost"), 0)
    )
    launch_failed: int = 0
    offers_lost: int = 0
    died_with: int = 0
    """Calls that were live when the process was killed: dropped, and in no ledger."""
    since: float = 0.0
    """When the present state began."""
    seq: int = 0

    @property
    def runs(self) -> bool:
        return self.state not in ("exited", "dead")

    @property
    def dropped(self) -> int:
        """The truth: calls with a caller on the line that this boot dropped."""
        return self.ended["cut"] + self.ended["crashed"] + self.ended["lost"] + self.died_with

    @property
    def doubtful(self) -> int:
        """Callers who most likely got nobody."""
        return self.launch_failed + self.offers_lost

    def snapshot(self, now: float) -> RuntimeSnapshot:
        self.seq += 1
        draining = self.state in ("draining", "drained", "exited")
        return RuntimeSnapshot(
            deployment_version=self.version,
            draining=draining,
            active_sessions=self.live,
            timestamp=now,
            uptime_seconds=now - self.started_at,
            worker_id=f"w-{self.boot_id}",
            boot_id=self.boot_id,
            seq=self.seq,
            state=self.state,
            accepting=self.state == "serving",
            ledger=LedgerCounts(
                started=self.live + sum(self.ended.values()),
                active=self.live,
                launch_failed=self.launch_failed,
                offers_lost=self.offers_lost,
                **self.ended,
            ),
            drain=DrainInfo(source="http", actor="alice", started_at=self.since) if draining else None,
            previous_boot=self.previous,
        )


@dataclass
class Address:
    """Where a worker answers, and the wire between it and the dashboard."""

    key: str
    boot: SimulatedBoot | None = None
    linked: bool = True
    wire: deque[Observation] = field(default_factory=deque)
    """What was sent and is under way; it arrives in order, or not at all."""


class RealCalls(RuleBasedStateMachine):
    """Random lives of workers; each rule is something that happens to them or to the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.fleet = Fleet("voice", rollout=("v1", "v2"), clock_text=utc)
        self.addresses = {key: Address(key) for key in KEYS}
        self.truth: dict[str, SimulatedBoot] = {}
        self.confirmed: dict[str, int] = {}
        fold(self.fleet, TargetsSeen(tuple(Target(key, f"http://{key}") for key in KEYS)), self.now)

    # -- the wire ------------------------------------------------------------------------------------------------

    def tell(self, address: Address, *, bye: bool = False) -> None:
        """The worker reports its state, as it does on every change."""
        if address.linked and address.boot is not None:
            snapshot = address.boot.snapshot(self.now)
            address.wire.append(SnapshotSeen(address.key, snapshot, b"{}", bye=bye))

    def arrive(self, address: Address, limit: int = 1000) -> None:
        while address.wire and limit:
            limit -= 1
            fold(self.fleet, address.wire.popleft(), self.now)

    # -- the workers ---------------------------------------------------------------------------------------------

    @initialize(versions=st.lists(st.sampled_from(["v1", "v1", "v2"]), min_size=3, max_size=3), file=st.booleans())
    def begin(self, versions: list[str], file: bool) -> None:
        for key, version in zip(KEYS, versions, strict=True):
            self.start_boot(self.addresses[key], version, file)
            self.arrive(self.addresses[key])

    def start_boot(self, address: Address, version: str, file: bool) -> None:
        before = address.boot
        previous = None
        if file and before is not None and before.keeps_file:
            calls = [OpenCall(room=f"r{n}", job=f"j{n}") for n in range(before.died_with)]
            previous = PreviousBoot(boot_id=before.boot_id, open_calls=calls, clean_exit=before.state == "exited")
        boot = SimulatedBoot(f"boot-{len(self.truth)}", version, self.now, file, previous, since=self.now)
        self.truth[boot.boot_id] = boot
        address.boot = boot
        address.linked = True
        self.tell(address)

    def running(self, *states: str) -> list[Address]:
        return [
            address
            for address in self.addresses.values()
            if address.boot is not None and address.boot.runs and (not states or address.boot.state in states)
        ]

    def pick(self, data: st.DataObject, *states: str) -> tuple[Address, SimulatedBoot]:
        address = data.draw(st.sampled_from(self.running(*states)))
        assert address.boot is not None
        return address, address.boot

    @precondition(lambda self: self.running("serving"))
    @rule(data=st.data(), number=st.integers(1, 4))
    def calls_start(self, data: st.DataObject, number: int) -> None:
        address, boot = self.pick(data, "serving")
        boot.live += number
        self.tell(address)

    @precondition(lambda self: self.running("serving"))
    @rule(data=st.data())
    def offer_is_accepted(self, data: st.DataObject) -> None:
        _, boot = self.pick(data, "serving")
        boot.pending.append(self.now)

    @precondition(lambda self: self.running())
    @rule(data=st.data(), how=st.sampled_from(["live", "live", "launch_failed", "offers_lost"]))
    def accepted_offer_is_decided(self, data: st.DataObject, how: str) -> None:
        address, boot = self.pick(data)
        if boot.pending:
            boot.pending.pop()
            setattr(boot, how, getattr(boot, how) + 1)
            self.tell(address)

    @precondition(lambda self: self.running())
    @rule(data=st.data(), how=st.sampled_from(["completed", "completed", "failed", "removed", "crashed", "lost"]))
    def call_ends(self, data: st.DataObject, how: str) -> None:
        address, boot = self.pick(data)
        if boot.live:
            boot.live -= 1
            boot.ended[how] += 1
            self.tell(address)

    @precondition(lambda self: self.running("serving"))
    @rule(data=st.data())
    def cordon(self, data: st.DataObject) -> None:
        address, boot = self.pick(data, "serving")
        boot.state, boot.since = "cordoned", self.now
        self.tell(address)

    @precondition(lambda self: self.running("cordoned"))
    @rule(data=st.data())
    def uncordon_within_hearing(self, data: st.DataObject) -> None:
        address, boot = self.pick(data, "cordoned")
        if address.linked:
            boot.state, boot.since = "serving", self.now
            self.tell(address)
            self.arrive(address)

    @precondition(lambda self: self.running("serving", "cordoned"))
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        address, boot = self.pick(data, "serving", "cordoned")
        boot.state, boot.since = "draining", self.now
        self.tell(address)

    @precondition(lambda self: self.running("draining"))
    @rule(data=st.data())
    def everybody_hangs_up(self, data: st.DataObject) -> None:
        address, boot = self.pick(data, "draining")
        boot.ended["completed"] += boot.live
        boot.live = 0
        self.tell(address)
        if not boot.pending:
            boot.state = "drained"
            self.tell(address)

    @precondition(lambda self: self.running("drained"))
    @rule(data=st.data())
    def goodbye(self, data: st.DataObject) -> None:
        address, boot = self.pick(data, "drained")
        boot.state = "exited"
        self.tell(address, bye=True)

    @precondition(lambda self: self.running("draining"))
    @rule(data=st.data())
    def deadline_passes(self, data: st.DataObject) -> None:
        address, boot = self.pick(data, "draining")
        boot.pending.clear()
        boot.ended["cut"] += boot.live
        boot.live = 0
        boot.state = "exited"
        self.tell(address, bye=True)

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def killed(self, data: st.DataObject) -> None:
        address, boot = self.pick(data)
        boot.died_with = boot.live
        boot.state = "dead"
        if address.linked:
            address.wire.append(ContactFailed(address.key, "broken", ""))
            address.wire.append(ContactFailed(address.key, "refused", ""))

    @rule(key=st.sampled_from(KEYS), version=st.sampled_from(["v1", "v2", "v2"]), file=st.booleans())
    def started_anew(self, key: str, version: str, file: bool) -> None:
        address = self.addresses[key]
        if address.boot is None or not address.boot.runs:
            self.start_boot(address, version, file)

    # -- the world between ---------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(KEYS), kind=st.sampled_from(["broken", "timeout"]))
    def connection_is_lost(self, key: str, kind: Any) -> None:
        address = self.addresses[key]
        address.wire.clear()
        address.linked = False
        fold(self.fleet, ContactFailed(key, kind, ""), self.now)

    @rule(key=st.sampled_from(KEYS))
    def connection_is_back(self, key: str) -> None:
        address = self.addresses[key]
        if not address.linked:
            address.linked = True
            if address.boot is not None and address.boot.runs:
                self.tell(address)
            else:
                fold(self.fleet, ContactFailed(key, "refused", ""), self.now)

    @rule(key=st.sampled_from(KEYS), number=st.integers(1, 5))
    def some_reports_arrive(self, key: str, number: int) -> None:
        self.arrive(self.addresses[key], number)

    @rule()
    def all_reports_arrive(self) -> None:
        for address in self.addresses.values():
            self.arrive(address)

    @rule(key=st.sampled_from(KEYS))
    def an_old_answer_comes_late(self, key: str) -> None:
        """A reading that was overtaken by the stream."""
        boot = self.addresses[key].boot
        worker = self.fleet.workers[key].boot
        if boot is not None and worker is not None and worker.boot_id == boot.boot_id and worker.snapshot.seq:
            last = worker.snapshot
            assert last.timestamp is not None
            old = msgspec.structs.replace(last, seq=(last.seq or 0) - 1, timestamp=last.timestamp - 0.1)
            fold(self.fleet, SnapshotSeen(key, old, b"{}", via="poll"), self.now)

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 2.0, 3.0, 4.0]), times=st.integers(1, 6))
    def time_passes(self, seconds: float, times: int) -> None:
        for _ in range(times):
            self.now += seconds
            for address in self.addresses.values():
                boot = address.boot
                if boot is None or not boot.runs:
                    continue
                for accepted in [at for at in boot.pending if self.now - at > LAUNCH_LIMIT]:
                    boot.pending.remove(accepted)  # LiveKit gave up on it
                    boot.offers_lost += 1
                    self.tell(address)
                if address.linked and not address.wire:
                    fold(self.fleet, HeartbeatSeen(address.key), self.now)
            view(self.fleet, self.now)

    # -- what must hold ------------------------------------------------------------------------------------------

    def heard_boots(self) -> list[tuple[Boot, SimulatedBoot]]:
        return [(boot, self.truth[boot.boot_id or ""]) for boot in self.fleet.boots.values()]

    @invariant()
    def the_verdict_holds(self) -> None:
        shown = view(self.fleet, self.now)
        verdict, real = shown.verdict, self.heard_boots()
        assert 0 <= verdict.confirmed <= verdict.possible
        assert verdict.confirmed <= sum(boot.dropped for _, boot in real), "a call confirmed that was not dropped"
        if verdict.word is VerdictWord.PROVEN:
            leaving = [boot for _, boot in real if boot.version == "v1"]
            assert leaving
            assert not any(boot.dropped or boot.doubtful for boot in leaving), "proven, and calls were dropped"
            assert not any(boot.live for boot in leaving), "proven, and calls may still be dropped"

    @invariant()
    def each_boot_s_range_holds(self) -> None:
        view(self.fleet, self.now)
        for boot, real in self.heard_boots():
            verdict = boot.verdict
            assert verdict.confirmed <= real.dropped
            if boot.settled and verdict.exact and not real.runs:
                assert real.dropped + real.doubtful <= verdict.possible + _late_launches(boot, real)

    @invariant()
    def what_is_confirmed_stays_confirmed(self) -> None:
        for boot, real in self.heard_boots():
            before = self.confirmed.get(real.boot_id, 0)
            assert boot.verdict.confirmed >= before
            self.confirmed[real.boot_id] = boot.verdict.confirmed


def _late_launches(boot: Boot, real: SimulatedBoot) -> int:
    """Offers accepted before a drain or cordon that were decided after the last report heard of it.

    The design calls the range of such a boot exact although they may exceed it; nothing in a report tells of them.
    """
    heard = boot.snapshot.ledger
    assert heard is not None
    now = real.died_with + sum(real.ended.values()) + real.doubtful
    return now - ((heard.started or 0) + (heard.launch_failed or 0) + (heard.offers_lost or 0))


TestRealCalls = RealCalls.TestCase
TestRealCalls.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
