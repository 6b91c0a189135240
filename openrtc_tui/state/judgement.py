"""The boots that the verdict is about, each counted once, and what they add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_tui.state.contact import LOST_AFTER
from openrtc_tui.state.reason import Cause, is_cause, reason
from openrtc_tui.state.verdict import NOTHING_SEEN, combine, total
from openrtc_tui.state.view import Verdict, VerdictWord, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openrtc_tui.state.boot import Boot
    from openrtc_tui.state.fleet import Fleet
    from openrtc_tui.state.rollout import Pair
    from openrtc_tui.state.worker import Worker


class Judgement:
    """The verdict on a fleet as it stands: of the rollout *pair*, or without one of all boots seen.

    The boots of the version being left count that were seen since the rollout began, and with them what boots of
    the new version dropped in that time. A boot that was killed to make room for the first one of the new version
    was last heard just before that began, or never here: it must not slip through. Nothing is proven before every
    target was heard or at least tried (``complete``), as the next answer may come from a boot with calls, nor of a
    boot that two targets show at once, nor while a boot is out of contact, which may have dropped its calls a moment
    ago. A target never heard, and watched only since the rollout began, may have been part of it and died.
    """

    def __init__(self, fleet: Fleet, pair: Pair | None, *, complete: bool) -> None:
        self.pair = pair
        self.complete = complete
        self._fleet = fleet
        self.began: float | None = None
        """When the rollout began; None without one, or before a boot of the new version was heard."""
        self._causes: list[Cause] = []
        self._unseen: list[tuple[str, int]] = []
        self._leaving: list[tuple[Verdict, bool]] = []
        self._others: list[Verdict] = []
        self._in_doubt = False
        forgotten = 0
        if pair is not None:
            turned = fleet.turned
            by_plan = turned is not None and turned.pair == pair and turned.holds(fleet.usual_rollout)
            self.began = turned.since if turned is not None and by_plan else self._beginning(pair[1])
        for boot, worker in self._boots():
            self._take(boot, worker)
        for version, remnant in fleet.remains.by_version.items():
            if self._counts(version, remnant.seen_at):
                self._add(version, remnant.verdict, settled=True)
                forgotten += remnant.verdict.possible
        self.verdict = self._verdict()
        """Of the rollout, or without one what all boots seen add up to."""
        unheard = [
            key
            for key, worker in fleet.workers.items()
            if worker.boot is None and (worker.contact.failing or worker.state is WorkerState.LOST)
        ]
        self.reason = reason(self._causes, forgotten, unheard, fleet.clock_text, unseen=self._unseen)
        """Why the verdict is what it is."""

    def _verdict(self) -> Verdict:
        if self.pair is None:
            return total(self._others) if self._others else NOTHING_SEEN
        verdict = combine(self._leaving, self._others)
        if verdict.word is not VerdictWord.PROVEN:
            return verdict
        unknown = [worker for worker in self._fleet.workers.values() if self._may_have_died_unseen(worker)]
        if not self.complete or self._in_doubt or any(worker.state is WorkerState.STARTING for worker in unknown):
            return NOTHING_SEEN
        return Verdict(VerdictWord.UNPROVEN, exact=False) if unknown else verdict

    def _may_have_died_unseen(self, worker: Worker) -> bool:
        return worker.boot is None and self.began is not None and worker.contact.watched_since > self.began

    def _beginning(self, version: str) -> float | None:
        begun = [boot.began for boot, _ in self._boots() if boot.version == version]
        remnant = self._fleet.remains.by_version.get(version)
        if remnant is not None:
            begun.append(remnant.began)
        return min(begun, default=None)

    def _boots(self) -> Iterator[tuple[Boot, Worker | None]]:
        """Each boot once, with its worker if it is the present one there."""
        known = self._fleet.boots
        for worker in self._fleet.workers.values():
            boot = worker.boot
            if boot is not None and (boot.boot_id is None or known.get(boot.boot_id) is boot):
                yield boot, worker
            for past in worker.past:
                if past.boot_id is None or known.get(past.boot_id) is past:
                    yield past, None
        for boot in self._fleet.departed:
            if boot.boot_id is None or known.get(boot.boot_id) is boot:
                yield boot, None

    def _counts(self, version: str | None, seen_at: float) -> bool:
        """Whether a boot last seen at *seen_at* is part of it; one not yet lost when the rollout began still is."""
        if self.pair is None:
            return True
        return version in self.pair and (self.began is None or seen_at >= self.began - LOST_AFTER)

    def _take(self, boot: Boot, worker: Worker | None) -> None:
        if boot.unseen_before and (self.began is None or boot.began >= self.began):
            lost = boot.unseen_before  # of a boot that nobody here ever heard, whatever its version
            self._others.append(Verdict(VerdictWord.VIOLATED, lost, lost))
            self._unseen.append((boot.owner if worker is None else worker.key, lost))
        seen_at = float("inf") if worker is not None and worker.is_heard else boot.seen_at
        if not self._counts(boot.version, seen_at):
            return
        if (
            worker is not None
            and boot.verdict.word is VerdictWord.PROVEN
            and self._fleet.peers.is_duplicate(worker.key)
        ):
            self._add(boot.version, NOTHING_SEEN, settled=False)
        else:
            self._add(boot.version, boot.verdict, settled=boot.settled)
        if worker is not None and not boot.settled:
            self._in_doubt |= worker.contact.failing or worker.state is WorkerState.STALE
        state = worker.state if worker is not None else WorkerState.EXITED
        if is_cause(boot, state):
            name = worker.key if worker is not None else boot.owner
            self._causes.append(Cause(name, boot, state, worker.contact.heard_at if worker is not None else None))

    def _add(self, version: str | None, verdict: Verdict, *, settled: bool) -> None:
        if self.pair is not None and version == self.pair[0]:
            self._leaving.append((verdict, settled))
        else:
            self._others.append(verdict)
