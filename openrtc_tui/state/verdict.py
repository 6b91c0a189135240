"""Dropped calls as a range that holds: from what is confirmed to what is possible. Pure functions on frozen facts.

A verdict is only as good as the last report it rests on. What is missing is never taken for zero, so nothing is
*proven* of a worker that does not keep the whole ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrtc_tui.state.view import Verdict, VerdictWord, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Iterable

NOTHING_SEEN = Verdict(VerdictWord.OPEN)
"""The verdict on nothing at all: zero so far, and still open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a boot's verdict is reckoned from; by default a boot that serves with a flawless ledger.

    ``dropped`` is the most that its ledger ever showed as cut + crashed + lost; ``open_calls`` is what the next
    boot found open in this one's call file. ``doubtful`` are calls whose callers most likely got nobody, or that
    the ledger does not account for: launch_failed + offers_lost + missing.
    """

    dropped: int = 0
    open_calls: int = 0
    doubtful: int = 0
    live: int = 0
    complete: bool = True
    """Every term of the ledger was there, and it balanced and never contradicted itself."""
    closing: bool = False
    """The last report was draining, drained or cordoned: no call began after it."""
    at_rest: bool = False
    """The last report was ``drained``, or came when ``cordoned`` had been shown for long enough."""
    final: bool = False
    """The last report was the last word of the boot (``bye``)."""
    gone: bool = False
    """It is lost, or another boot took its address."""

    @property
    def settled(self) -> bool:
        """Whether the verdict is about a past, not about calls that may still go either way."""
        return self.gone or self.final or (self.at_rest and self.live == 0)


def judge(boot: Standing) -> Verdict:
    """The verdict on one boot.

    PROVEN needs a last report that says the end with nobody on the line, a ledger that balances, and no call
    dropped or doubtful. VIOLATED counts what is confirmed. UNPROVEN adds the calls that were live when the boot
    was heard last. Until one of these holds it is OPEN, with what is known so far.
    """
    settled = boot.settled
    ended = boot.final or boot.gone
    confirmed = boot.dropped
    live = boot.live if settled else 0
    if ended and boot.open_calls:
        confirmed += boot.open_calls
        live = max(0, live - boot.open_calls)
    possible = confirmed + boot.doubtful + live
    # calls may have begun after the last report of a boot that went away while it took calls
    exact = boot.complete and (boot.final or boot.closing or not settled)
    if confirmed:
        return Verdict(VerdictWord.VIOLATED, confirmed, possible, exact)
    if not settled:
        return Verdict(VerdictWord.OPEN, 0, possible, exact)
    if (boot.final or boot.at_rest) and boot.complete and not possible:
        return Verdict(VerdictWord.PROVEN)
    # zero here would read like a proof: something is not known, or this line would not be reached
    return Verdict(VerdictWord.UNPROVEN, 0, possible, exact and possible > 0)


def combine(leaving: Iterable[tuple[Verdict, bool]], others: Iterable[Verdict] = ()) -> Verdict:
    """The verdict of a rollout.

    Args:
        leaving: of each boot of the version being left its verdict, and whether that is settled. Only these
            hold the rollout open.
        others: verdicts on boots of the new version: what they dropped, or may have dropped, adds to the range.
    """
    confirmed = possible = seen = 0
    exact = True
    is_open = doubt = False
    for verdict, settled in leaving:
        seen += 1
        confirmed += verdict.confirmed
        possible += verdict.possible
        exact = exact and verdict.exact
        is_open = is_open or not settled
        doubt = doubt or verdict.word is VerdictWord.UNPROVEN
    for verdict in others:
        confirmed += verdict.confirmed
        possible += verdict.possible
        # a running boot of the new version whose ledger cannot be read makes the number no less certain for
        # the rollout than a boot that is gone: either way the upper end is open
        exact = exact and verdict.exact
        doubt = doubt or verdict.word is VerdictWord.UNPROVEN
    if confirmed:
        word = VerdictWord.VIOLATED
    elif doubt:
        word = VerdictWord.UNPROVEN
    elif is_open or not seen:
        word = VerdictWord.OPEN
    elif possible or not exact:
        word = VerdictWord.UNPROVEN
    else:
        word = VerdictWord.PROVEN
    return Verdict(word, confirmed, possible, exact)


def total(verdicts: Iterable[Verdict]) -> Verdict:
    """What boots add up to when there is no rollout to judge: a number so far, always open."""
    confirmed = possible = 0
    exact = True
    for verdict in verdicts:
        confirmed += verdict.confirmed
        possible += verdict.possible
        exact = exact and verdict.exact
    return Verdict(VerdictWord.OPEN, confirmed, possible, exact)


def range_text(verdict: Verdict) -> str:
    """``0``, ``0–6``, ``0–6+`` or ``0+``: from confirmed to possible, ``+`` where the upper end is open."""
    low, high = verdict.confirmed, verdict.possible
    return (f"{low}–{high}" if high > low else f"{low}") + ("" if verdict.exact else "+")


def is_open(row: WorkerRow) -> bool:
    """Whether the row's boot holds a rollout open: its calls may still go either way.

    ``wait --drained`` waits until this is false for every row of the version.
    """
    word = row.verdict.word
    return word is VerdictWord.OPEN or (word is VerdictWord.VIOLATED and not row.settled)
