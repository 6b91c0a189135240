"""Why the verdict is what it is, in one line: facts, the heaviest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_tui.state import sane
from openrtc_tui.state.events import calls_text
from openrtc_tui.state.view import VerdictWord, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from openrtc_tui.state.boot import Boot

MOST_PARTS: Final = 2
"""Facts named one by one; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A boot that the verdict is not clean because of, as it stands. ``name`` is its target's key."""

    name: str
    boot: Boot
    state: WorkerState
    silent_since: float | None = None


def is_cause(boot: Boot, state: WorkerState) -> bool:
    """Whether there is anything to say of a boot."""
    verdict = boot.verdict
    if verdict.word is VerdictWord.OPEN:
        return bool(verdict.possible) or not verdict.exact or (state is WorkerState.STALE and boot.live > 0)
    return verdict.word is not VerdictWord.PROVEN


def reason(
    causes: Sequence[Cause],
    forgotten: int,
    unheard: Sequence[str],
    clock: Callable[[float], str],
    *,
    unseen: Sequence[tuple[str, int]] = (),
) -> str:
    """The reason, empty when there is nothing to say.

    Args:
        causes: the boots that there is something to say of.
        forgotten: calls possibly dropped by boots that are remembered as a number only.
        unheard: targets never heard, of which the verdict therefore says nothing.
        clock: a time of day from Unix seconds.
        unseen: targets whose earlier boot was never heard here and died with so many calls.
    """
    ordered = sorted(causes, key=_weight)
    parts = [f"{calls_text(number)} died with an earlier boot of {key}" for key, number in unseen[:1]]
    if len(unseen) > 1:
        parts.append(f"{calls_text(sum(number for _, number in unseen[1:]))} with those of {len(unseen) - 1} more")
    left = len(ordered)
    for cause in ordered[:MOST_PARTS]:
        parts.append(_say(cause, clock))
        left -= 1
    if left:
        parts.append(f"{left} more")
    if forgotten:
        parts.append(f"{calls_text(forgotten)} of earlier boots")
    if unheard:
        parts.append(
            f"{min(unheard, key=sane.name_order)} was never heard"
            if len(unheard) == 1
            else f"{len(unheard)} workers were never heard"
        )
    return " · ".join(parts)


def _weight(cause: Cause) -> tuple[object, ...]:
    verdict = cause.boot.verdict
    return (
        -verdict.confirmed,
        -verdict.possible,
        verdict.word is VerdictWord.OPEN,
        sane.name_order(cause.name),
        cause.boot.serial,
    )


def _say(cause: Cause, clock: Callable[[float], str]) -> str:
    boot, name = cause.boot, cause.name
    verdict = boot.verdict
    if verdict.confirmed:
        return _confirmed(boot, name, ended=verdict.confirmed > boot.accounts.dropped)
    if verdict.word is VerdictWord.UNPROVEN and (boot.live or verdict.possible == 0):
        said = _went(cause, clock)
        if said:
            return said
    if boot.accounts["offers_lost"] or boot.accounts["launch_failed"]:
        return _doubtful(boot, name)
    if boot.faults:
        return f"{name}: {boot.faults[0]}"
    if not boot.is_trusted:
        return f"{name} keeps no full ledger"
    return f"{name} silent with {calls_text(boot.live)}{_since(cause.silent_since, clock)}"


def _confirmed(boot: Boot, name: str, *, ended: bool) -> str:
    counts = [
        *((boot.accounts[name], name) for name in ("cut", "crashed", "lost")),
        (max(boot.open_calls, boot.died_with) if ended else 0, "died with it"),
    ]
    said = [(number, verb) for number, verb in counts if number]
    first, *others = said
    text = ", ".join([f"{calls_text(first[0])} {first[1]}", *(f"{number} {verb}" for number, verb in others)])
    return f"{text} on {name}"


def _went(cause: Cause, clock: Callable[[float], str]) -> str:
    """How a boot went away without a proof; empty when it did not go away."""
    boot, name = cause.boot, cause.name
    calls = f" with {calls_text(boot.live)}" if boot.live else ""
    if boot.final:
        return f"{name} exited{calls} live" if calls else ""
    if boot.ended == "replaced":
        return f"{name} restarted{calls or ' before it was drained'} at {clock(boot.ended_at)}"
    if boot.ended == "unwatched":
        return f"{name} is no longer watched"
    if cause.state in (WorkerState.LOST, WorkerState.EXITED) and (boot.is_trusted or boot.live):
        return f"{name} unreachable{calls}{_since(cause.silent_since, clock)}"
    return ""


def _doubtful(boot: Boot, name: str) -> str:
    lost, failed = boot.accounts["offers_lost"], boot.accounts["launch_failed"]
    texts = []
    if lost:
        texts.append("1 offer lost" if lost == 1 else f"{lost} offers lost")
    if failed:
        texts.append(f"{failed if texts else calls_text(failed)} failed to start")
    return f"{', '.join(texts)} on {name}"


def _since(moment: float | None, clock: Callable[[float], str]) -> str:
    return f" since {clock(moment)}" if moment is not None else ""
