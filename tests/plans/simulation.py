"""A fleet that obeys manifests, drains and dies at random, and an executor that is killed at random points.

Both are small stand-ins for what they are called after: the machine between them is the real one.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from openrtc_tui.operations.capacity import is_ready, may_accept
from openrtc_tui.operations.plans import progress as lines
from openrtc_tui.operations.plans.machine import advance
from openrtc_tui.operations.plans.plan import Drain, Finish, Publish, Start, StepDone, Stop, Wait
from openrtc_tui.operations.plans.progress import apply, replay
from openrtc_tui.state.view import Verdict, VerdictWord, WorkerState

from .fleets import NOW, PROVEN, fleet, violated, worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_tui.operations.plans.plan import Decision, Plan
    from openrtc_tui.state.view import FleetView, WorkerRow


@dataclass
class FakeWorker:
    key: str
    version: str
    agent: str
    boot: str
    state: str = "serving"
    calls: int = 0
    room: int = 10
    held: tuple[int, tuple[str, ...]] | None = None
    drained_by: str | None = None
    lost: bool = False
    silent_since: float | None = None
    dropped: int = 0
    register_at: float | None = None

    @property
    def accepts(self) -> bool:
        allowed = self.held is None or self.version in self.held[1]
        return self.state == "serving" and allowed and not self.lost and self.calls < self.room

    def row(self) -> WorkerRow:
        shown = WorkerState.LOST if self.lost else WorkerState.STALE if self.silent_since is not None else None
        verdict = Verdict(VerdictWord.OPEN)
        if self.dropped:
            verdict = violated(self.dropped)
        elif self.state in {"drained", "exited"}:
            verdict = PROVEN
        elif self.lost:
            verdict = Verdict(VerdictWord.UNPROVEN, 0, self.calls, exact=False)
        over = self.lost or self.state in {"drained", "exited"}
        return worker(
            self.key,
            self.version,
            state=self.state,
            agent=self.agent,
            calls=self.calls,
            room=self.room - self.calls,
            held=self.held,
            shown=shown,
            boot=self.boot,
            verdict=verdict,
            settled=over,
            silent_since=self.silent_since,
            drain_timeout=300.0,
        )


@dataclass
class FakeFleet:
    """Workers, and a platform that can start one version; it may end the other meanwhile."""

    workers: list[FakeWorker]
    ends_other: bool = False
    seq: int = 0
    now: float = NOW
    boots: Any = field(default_factory=lambda: itertools.count(1))
    published: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    drains: list[tuple[str, str]] = field(default_factory=list)
    starts: set[str] = field(default_factory=set)

    def view(self) -> FleetView:
        return fleet(*(w.row() for w in self.workers), rollout=("v1", "v2"), at=self.now)

    # -- effects, each once for one op_id ------------------------------------------------------------------------

    def publish(self, op_id: str, seq: int, active: tuple[str, ...]) -> str:
        known = self.published.setdefault(op_id, (seq, active))
        assert known == (seq, active), "one op_id, two manifests"
        self.seq = max(self.seq, seq)
        for w in self.workers:
            if not w.lost and w.state != "exited" and (w.held is None or w.held[0] < seq):
                w.held = (seq, active)
        return "started"

    def start(self, op_id: str, version: str) -> str:
        if op_id in self.starts:
            return "already"
        self.starts.add(op_id)
        agents = {w.agent for w in self.workers if w.version != version}
        held = max((w.held for w in self.workers if w.held is not None), default=None)
        for agent in sorted(agents):
            n = next(self.boots)
            self.workers.append(
                FakeWorker(
                    f"new-{n}", version, agent, f"boot-{n}", "starting", held=held, room=50, register_at=self.now + 8
                )
            )
        if self.ends_other:
            for w in self.workers:
                if w.version != version and not w.lost and w.state in {"starting", "serving", "cordoned"}:
                    w.state = "draining"
        return "started"

    def drain(self, op_id: str, boot: str) -> str:
        self.drains.append((op_id, boot))
        found = next((w for w in self.workers if w.boot == boot), None)
        if found is None:
            return "refused"
        if found.lost or found.silent_since is not None:
            return "unreached"
        if found.state in {"draining", "drained"}:
            return "already"
        if found.state == "exited":
            return "unreached"
        found.state, found.drained_by = "draining", op_id
        return "started"

    # -- what happens by itself ----------------------------------------------------------------------------------

    def tick(self, draw: Callable[[int], int]) -> None:
        """Two seconds pass, in which something happens to one worker."""
        self.now += 2.0
        for w in self.workers:
            if w.register_at is not None and self.now >= w.register_at and w.state == "starting":
                w.state = "serving"
            if w.silent_since is not None and self.now - w.silent_since > 10:
                w.lost, w.silent_since = True, None
            if w.state == "draining" and not w.lost and w.calls == 0:
                w.state = "drained"
        w = self.workers[draw(len(self.workers) - 1)]
        match draw(11):
            case 0 | 1 | 2 | 3 if w.calls:
                w.calls -= 1
            case 4 | 5 if w.accepts:
                w.calls += 1
            case 6 if w.state == "drained":
                w.state = "exited"
            case 7 if draw(5) == 0 and w.state != "exited" and w.silent_since is None:
                w.silent_since = self.now
            case 8 if w.silent_since is not None:
                w.silent_since = None
            case 9 if draw(7) == 0 and w.calls and not w.lost:
                w.calls -= 1
                w.dropped += 1
            case 10 if w.state in {"exited", "drained"} or w.lost:
                n = next(self.boots)
                w.boot, w.state, w.calls, w.lost, w.silent_since, w.dropped = (
                    f"boot-{n}",
                    "serving",
                    0,
                    False,
                    None,
                    0,
                )
            case 11 if draw(5) == 0 and w.state == "serving":
                w.state = "cordoned"
            case _:
                pass


class KilledError(Exception):
    """The executor dies here."""


@dataclass
class FakeExecutor:
    """Journals, acts, and is killed where *draw* says; a new life goes on from the journal's lines alone."""

    plan: Plan
    fleet: FakeFleet
    draw: Callable[[int], int]
    lines: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    publications: list[tuple[Publish, FleetView]] = field(default_factory=list)
    op_ids: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.progress = replay(self.plan, ())
        self.write(lines.BEGUN)

    def write(self, event: str, **fields: Any) -> None:
        record = {"event": event, "timestamp": self.fleet.now, "plan_id": self.plan.plan_id, **fields}
        self.lines.append(record)
        self.progress = apply(self.plan, self.progress, record)

    def run(self, ticks: int) -> Decision:
        """Until its end, or *ticks* decisions later the one that it stands at."""
        decision: Decision | None = None
        for _ in range(ticks):
            decision = advance(self.plan, self.progress, self.fleet.view(), self.fleet.now)
            self.decisions.append(decision)
            if isinstance(decision, Finish | Stop):
                return decision
            try:
                self._act(decision)
            except KilledError:
                for _ in range(self.draw(3)):
                    self.fleet.tick(self.draw)
                again = replay(self.plan, self.lines)
                assert again == self.progress, "a new life stands where the old one stood"
                self.progress = again
        assert decision is not None
        return decision

    def _act(self, decision: Decision) -> None:
        match decision:
            case StepDone():
                self.write(lines.STEP_DONE, step=self.progress.step, detail=decision.detail)
            case Wait():
                assert decision.what
                assert decision.until is not None
                for _ in range(1 + self.draw(3)):
                    self.fleet.tick(self.draw)
            case Publish():
                self._publish(decision)
            case Start():
                op_id = self._intend("start", f"op-{next(self.op_ids)}")
                self._after(op_id, lambda: self.fleet.start(op_id, decision.version))
            case Drain():
                for asked in decision.again:
                    self._after(asked.op_id, lambda asked=asked: self.fleet.drain(asked.op_id, asked.subject.boot_id))
                for subject in decision.subjects:
                    op_id = f"op-{next(self.op_ids)}"
                    plain = msgspec.to_builtins(subject)
                    self.write(lines.INTENT, op_id=op_id, action="drain", subject=plain, wave=decision.wave)
                    self._kill()
                    self._after(op_id, lambda subject=subject, op=op_id: self.fleet.drain(op, subject.boot_id))

    def _intend(self, action: str, op_id: str, **fields: Any) -> str:
        if self.progress.op_id is None:
            self.write(lines.INTENT, op_id=op_id, action=action, **fields)
            self._kill()
        assert self.progress.op_id is not None
        return self.progress.op_id

    def _publish(self, decision: Publish) -> None:
        self.publications.append((decision, self.fleet.view()))
        op_id = self._intend("publish", f"op-{next(self.op_ids)}", manifest_seq=self.fleet.seq + 1)
        seq = self.progress.seq
        assert seq is not None
        self._after(op_id, lambda: self.fleet.publish(op_id, seq, decision.active))

    def _after(self, op_id: str, effect: Callable[[], str]) -> None:
        """The effect, and then its outcome: which may be lost, or the executor killed in between."""
        outcome = effect()
        self._kill()
        lost = outcome == "started" and self.draw(9) == 0
        self.write(lines.OUTCOME, op_id=op_id, outcome="unknown" if lost else outcome)

    def _kill(self) -> None:
        if self.draw(7) == 0:
            raise KilledError


def takes_from_nobody(decision: Publish, view: FleetView) -> bool:
    """Whether no worker that may take calls now loses that by the manifest."""
    return not any(row.version not in decision.active and may_accept(row) and not row.closed for row in _up(view))


def has_ready(decision: Publish, view: FleetView) -> bool:
    return any(row.version in decision.active and is_ready(row) for row in view.rows)


def _up(view: FleetView) -> list[WorkerRow]:
    return [row for row in view.rows if row.state not in {WorkerState.LOST, WorkerState.EXITED}]
