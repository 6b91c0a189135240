"""A boot's ledger as reported: what it confirms for good, what it leaves in doubt, and where it cannot be so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.state import sane

if TYPE_CHECKING:
    from openrtc_worker.contract.snapshot import LedgerCounts, RuntimeSnapshot

_ENDED: Final = frozenset({"completed", "failed", "removed", "cut", "crashed", "lost"})
_COUNTERS: Final = ("started", *sorted(_ENDED), "launch_failed", "offers_lost")


class Accounts:
    """The most that each counter ever showed, and the balance of the last report.

    Counters of a boot never go back: what was confirmed once stays confirmed, whatever is said later.
    """

    def __init__(self) -> None:
        self._most = dict.fromkeys(_COUNTERS, 0)
        self._missing = 0
        self._went_back = False
        self._negative = False
        self.started: int | None = None
        """Calls started so far; None where the worker does not tell."""
        self.live = 0
        """Calls live at the last report; the most of what it says in two places."""
        self.complete = False
        """Whether the last report has every term of the ledger, and nothing speaks against it."""
        self.faults: tuple[str, ...] = ()
        """How the reports contradict each other or themselves, one short text each."""

    def take(self, snapshot: RuntimeSnapshot) -> None:
        """A further report."""
        ledger = snapshot.ledger
        active = snapshot.active_sessions
        faults: list[str] = []
        if ledger is None:
            self.live = sane.natural(active)
            self._missing = 0
            told, every = snapshot.total_sessions_started, False
        else:
            counted = ledger.active if ledger.active is not None else active
            self.live = max(sane.natural(active), sane.natural(counted))
            told = ledger.started
            every, faults = self._count(ledger)
            if counted != active:
                faults.append(f"{_shown(active)} calls live, {_shown(counted)} in the ledger")
            active = min(active, counted)
        if told is not None:
            self.started = max(self.started or 0, sane.natural(told))
        self._negative = self._negative or active < 0
        if self._negative:
            faults.insert(0, "negative counts")
        if self._went_back:
            faults.insert(0, "counters went back")
        self.faults = tuple(faults)
        self.complete = every and not self.faults

    def _count(self, ledger: LedgerCounts) -> tuple[bool, list[str]]:
        """Whether every term is there, and whether it balances."""
        every, accounted = ledger.active is not None, sane.natural(ledger.active)
        most = self._most
        for name in _COUNTERS:
            number: int | None = getattr(ledger, name)
            if number is None:
                every = False
                continue
            if name in _ENDED:
                accounted += sane.natural(number)
            before = most[name]
            if number > before:
                most[name] = sane.natural(number)
            elif number < 0:
                self._negative = True
            elif number < before:
                self._went_back = True
        started = sane.natural(ledger.started)
        self._missing = max(0, started - accounted) if every else 0
        if every and started != accounted:
            return every, [f"ledger does not balance: {started} started, {accounted} told"]
        return every, []

    def __getitem__(self, name: str) -> int:
        """The most that the counter of this name ever showed."""
        return self._most[name]

    @property
    def dropped(self) -> int:
        """Calls that the boot says it dropped: cut + crashed + lost."""
        most = self._most
        return most["cut"] + most["crashed"] + most["lost"]

    @property
    def doubtful(self) -> int:
        """Calls whose callers most likely got nobody, and calls that the ledger does not account for."""
        return self._most["launch_failed"] + self._most["offers_lost"] + self._missing


def _shown(number: int) -> int:
    """A count as it may be shown: what is absurd is clipped, a negative one is not hidden."""
    return max(-sane.MOST, min(sane.MOST, number))
