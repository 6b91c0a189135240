"""One target: the boots that answered at its address, and what that makes of it now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from openrtc_tui.state import sane
from openrtc_tui.state.boot import Boot
from openrtc_tui.state.contact import Contact, Reach
from openrtc_tui.state.manifests import Held
from openrtc_tui.state.peers import FULL_LOAD, Claim
from openrtc_tui.state.view import VerdictWord, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openrtc_tui.state.membership import Misfit
    from openrtc_tui.state.observation import Target
    from openrtc_tui.state.view import WorkerRow

KEPT_BOOTS: Final = 8
"""Earlier boots of one target that are remembered one by one; of those before, only the numbers."""

_UNHEARD: Final = (WorkerState.LOST, WorkerState.EXITED)


class Worker:
    """A target and its boots. ``settle`` must be called after each change and whenever ``due`` has come."""

    def __init__(self, target: Target, now: float) -> None:
        self.target = target
        self.contact = Contact(now)
        self.boot: Boot | None = None
        self.past: list[Boot] = []
        """Earlier boots, the oldest first."""
        self.begun = 0
        """Boots first heard here."""
        self.swaps = 0
        """How often an earlier boot answered again after a later one: two processes share the address."""
        self.state = WorkerState.STARTING
        self.is_checked = False
        """Whether the membership of its boot is verified at all."""
        self.misfit: Misfit | None = None
        """Why it is not counted on; None where nothing speaks against it."""
        self.told: set[str] = set()
        """What was said of the present boot in the event lines: each of its ends is told once."""
        self.row: WorkerRow | None = None
        """The row made last; None when it has to be made anew."""
        self.row_due = now
        """When time alone has changed the row enough to make it anew."""
        self.due = now
        """When time alone may change the state."""

    @property
    def key(self) -> str:
        return self.target.key

    @property
    def is_listed(self) -> bool:
        """Whether the fleet file names it."""
        return self.target.listed

    @property
    def is_heard(self) -> bool:
        """Whether its boot's last report can be taken for the present."""
        return self.boot is not None and self.state not in _UNHEARD

    @property
    def calls(self) -> int:
        """Calls that are live there, or were when it was heard last; 0 once its boot is over."""
        return self.boot.live if self.boot is not None and self.state is not WorkerState.EXITED else 0

    @property
    def may_take(self) -> bool:
        """Whether it takes calls, or would but for the manifest: registered, not cordoned, draining, being ended."""
        boot = self.boot
        if boot is None or self.misfit is not None or (boot.pod is not None and boot.pod.killed_at is not None):
            return False
        if self.state is WorkerState.SERVING:
            return boot.snapshot.accepting is True
        livekit = boot.snapshot.livekit
        return self.state is WorkerState.GATED and livekit is not None and livekit.connected is True

    def boots(self) -> Iterator[Boot]:
        """All boots remembered, the present one last."""
        yield from self.past
        if self.boot is not None:
            yield self.boot

    def settle(self, now: float, beat: float) -> tuple[WorkerState, WorkerState]:
        """Reckon state and verdict at *now*; returns the states before and after."""
        before = self.state
        self.state = self._effective(self.contact.reach(now, beat))
        self.due = self.contact.changes_at(now, beat)
        self.row = None
        if self.boot is not None:
            self.boot.weigh(gone=self.state in _UNHEARD)
            if self.is_checked:
                self.misfit = self.boot.membership.misfit(self.boot.report_at)
        return before, self.state

    def is_settled(self, now: float, beat: float) -> bool:
        """Whether silence alone has changed nothing at *now*; most workers are heard again before it does."""
        self.due = self.contact.changes_at(now, beat)
        return self._effective(self.contact.reach(now, beat)) is self.state

    def _effective(self, reach: Reach) -> WorkerState:
        boot = self.boot
        if boot is None:
            return WorkerState.STARTING if reach is Reach.AWAITED else WorkerState.LOST
        if boot.final:
            return WorkerState.EXITED
        if reach is Reach.LOST or boot.killed:
            return WorkerState.EXITED if boot.ran_out else WorkerState.LOST
        if boot.state is WorkerState.DRAINED and boot.ran_out and self.contact.cut_off:
            return WorkerState.EXITED
        return WorkerState.STALE if reach is Reach.STALE else boot.state

    def claim(self) -> Claim | None:
        """What it shows to the rest of the fleet; None while it is not heard.

        Where membership counts, one that went silent without a goodbye still shows its identity: whoever shows it
        elsewhere may have read it there.
        """
        boot = self.boot
        if boot is None or not (self.is_heard or (self.is_checked and self.state is WorkerState.LOST)):
            return None
        snapshot = boot.snapshot
        if snapshot.accepting is not True or self.misfit is not None or self.state is WorkerState.LOST:
            return Claim(snapshot.worker_id, boot.boot_id, None)
        livekit = snapshot.livekit
        load = sane.fraction(livekit.reported_load) if livekit is not None else None
        full = (snapshot.max_sessions is not None and boot.live >= snapshot.max_sessions) or (
            load is not None and load >= FULL_LOAD
        )
        agent = (livekit.agent_name or "", livekit.deployment or "") if livekit is not None else ("", "")
        return Claim(snapshot.worker_id, boot.boot_id, agent, full)

    def held(self, *, ready: bool) -> Held | None:
        """What it says of manifests; None while it is not heard, or is not counted on."""
        boot = self.boot
        if boot is None or self.misfit is not None or not self.is_heard:
            return None
        return Held.of(boot.version, boot.snapshot.manifest, ready=ready)

    def begin(self, boot: Boot, now: float) -> list[Boot]:
        """*boot* answers at this address from now on; returns boots that are too many to be remembered."""
        if self.boot is not None:
            self.boot.end("replaced", now)
            self.past.append(self.boot)
        if boot in self.past:
            self.past.remove(boot)
            self.swaps += 1
        self.boot = boot
        # what had happened before it was heard is no news
        self.told = {"drain"} if boot.draining else set()
        if boot.state in (WorkerState.DRAINED, WorkerState.EXITED):
            self.told.add("drained" if boot.state is WorkerState.DRAINED else "exited")
        return self._shed()

    def _shed(self) -> list[Boot]:
        shed = []
        while len(self.past) > KEPT_BOOTS:
            boot = min(self.past, key=_weight)
            self.past.remove(boot)
            shed.append(boot)
        return shed


def _weight(past: Boot) -> tuple[bool, bool]:
    """What an earlier boot has to say: first to be forgotten are proofs, then those that may have dropped nothing."""
    return past.verdict.word is not VerdictWord.PROVEN, past.verdict.possible > 0


Source: TypeAlias = Worker | Boot
"""What a row is made from: a target with its present boot, or an earlier boot that is closed."""
