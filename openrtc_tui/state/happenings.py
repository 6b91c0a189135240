"""What happened, in words: from changes of workers and from their audit events to lines of the event log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.state.events import EventLog, Phrase, Slot
from openrtc_tui.state.verdict import range_text
from openrtc_tui.state.view import Severity, Verdict, VerdictWord, WorkerState
from openrtc_worker.contract import audit
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from openrtc_tui.state.boot import Boot
    from openrtc_tui.state.worker import Worker

NAMES, CALLS = Slot.NAMES, Slot.CALLS

_NOBODY: Final = ("", "system")
"""Actors that are no operator."""

_SEVERITIES: Final[dict[VerdictWord, Severity]] = {
    VerdictWord.OPEN: "info",
    VerdictWord.PROVEN: "good",
    VerdictWord.UNPROVEN: "warning",
    VerdictWord.VIOLATED: "bad",
}

_DRAIN_SOURCES: Final = {"signal": "by a signal", "api": "by its own code", "livekit": "lost LiveKit for good"}

_COUNTED: Final = (
    Phrase("cut", (CALLS, " cut on ", NAMES), "bad", counts_calls=False),
    Phrase("crashed", (CALLS, " crashed on ", NAMES), "bad", counts_calls=False),
    Phrase("lost", (CALLS, " lost by LiveKit on ", NAMES), "bad", counts_calls=False),
    Phrase("offers_lost", (NAMES, " loses offers"), "warning", "most likely unanswered"),
    Phrase("launch_failed", (CALLS, " failed to start on ", NAMES), "warning", counts_calls=False),
)
"""What is said when a counter of the ledger rises; the kind is the counter's name."""

_LATE: Final = Phrase("still_taking_calls", (NAMES, " still takes calls"), "bad", "though it drains")
_UNREACHABLE: Final = {
    True: Phrase("unreachable", (NAMES, " unreachable"), "bad"),
    False: Phrase("unreachable", (NAMES, " unreachable"), "warning"),
}
_CAME_BACK: Final = Phrase("came_back", (NAMES, " came back"), "good")
_REACHABLE: Final = Phrase("came_back", (NAMES, " answers now"), counts_calls=False)
_CORDONED: Final = Phrase("cordoned", (NAMES, " cordoned"))
_UNCORDONED: Final = Phrase("uncordoned", (NAMES, " uncordoned"))
_ORPHANED: Final = Phrase("orphaned", (NAMES, " left the fleet file"), "warning")
_SWAPPED: Final = Phrase("swapped", (NAMES, ": two processes answer at this address"), "bad", counts_calls=False)


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A boot as it was before a report."""

    counts: tuple[int, ...]
    late_starts: int
    state: WorkerState

    @classmethod
    def of(cls, boot: Boot) -> Glimpse:
        counts = tuple(boot.accounts[phrase.kind] for phrase in _COUNTED)
        return cls(counts, boot.late_starts, boot.state)


def reported(log: EventLog, worker: Worker, boot: Boot, before: Glimpse, now: float) -> None:
    """A further report of a boot: what it shows that the one before did not."""
    key = worker.key
    after = Glimpse.of(boot)
    if after.counts != before.counts:
        for phrase, was, now_is in zip(_COUNTED, before.counts, after.counts, strict=True):
            if now_is > was:
                log.say(phrase, key, now, now_is - was)
    if after.late_starts and not before.late_starts:
        log.say(_LATE, key, now)
    if boot.draining and "drain" not in worker.told:
        worker.told.add("drain")
        log.say(_drain_phrase(boot), key, now, boot.live)
    elif after.state is not before.state:
        _told_by_state(log, key, before.state, after.state, now)


def _told_by_state(log: EventLog, key: str, before: WorkerState, after: WorkerState, now: float) -> None:
    """Cordons: who did it is in the audit event only, which may come before or after the report."""
    if after is WorkerState.CORDONED:
        phrase = _CORDONED
    elif before is WorkerState.CORDONED and after is WorkerState.SERVING:
        phrase = _UNCORDONED
    else:
        return
    if not log.said(phrase.kind, key, now):
        log.say(phrase, key, now)


def _drain_phrase(boot: Boot) -> Phrase:
    drain = boot.snapshot.drain
    if drain is not None and drain.actor not in _NOBODY:
        return Phrase("drain", (f"{drain.actor} drained ", NAMES))
    source = _DRAIN_SOURCES.get(drain.source, "") if drain is not None else ""
    return Phrase("drain", (NAMES, " began to drain"), detail=source)


def changed(log: EventLog, worker: Worker, before: WorkerState, now: float) -> None:
    """The effective state of a worker's present boot changed."""
    key, after, boot = worker.key, worker.state, worker.boot
    if boot is None:
        if after is WorkerState.LOST:
            detail = worker.contact.failure or "nothing heard"
            log.say(Phrase("unreachable", (NAMES, " does not answer"), "warning", detail), key, now)
        return
    told = worker.told
    if after is WorkerState.LOST:
        log.say(_UNREACHABLE[boot.live > 0], key, now, boot.live)
    elif after is WorkerState.EXITED and "exited" not in told:
        log.say(_exit_phrase(boot) if "drained" in told else _ending(boot, "exited"), key, now)
        told.add("exited")
    elif after is WorkerState.DRAINED and "drained" not in told:
        log.say(_ending(boot, "drained"), key, now)
        told.add("drained")
    elif before in (WorkerState.LOST, WorkerState.EXITED):
        log.say(_CAME_BACK, key, now, worker.calls)
    elif before is WorkerState.STARTING and after is WorkerState.SERVING:
        log.say(Phrase("serving", (NAMES, " takes calls"), detail=boot.version or ""), key, now)


def _exit_phrase(boot: Boot) -> Phrase:
    """A worker whose end was told when it was drained."""
    return Phrase("exited", (NAMES, " exited"), detail=_code(boot))


def _ending(boot: Boot, verb: str) -> Phrase:
    details = (_dropped(boot.verdict), _code(boot))
    detail = " · ".join(text for text in details if text)
    return Phrase(verb, (NAMES, f" {verb}"), _SEVERITIES[boot.verdict.word], detail)


def _dropped(verdict: Verdict) -> str:
    if verdict.word is VerdictWord.PROVEN:
        return "no call dropped"
    return f"dropped {range_text(verdict)} {verdict.word.upper()}" if verdict.word is not VerdictWord.OPEN else ""


def _code(boot: Boot) -> str:
    return f"exit code {boot.exit_code}" if boot.exit_code and abs(boot.exit_code) < 1000 else ""


def restarted(log: EventLog, worker: Worker, previous: Boot, now: float) -> None:
    """Another boot answers at the address."""
    boot = worker.boot
    version = boot.version if boot is not None else None
    detail = f"as {version}" if version and version != previous.version else ""
    if previous.verdict.word is VerdictWord.PROVEN or (previous.final and not previous.live):
        log.say(Phrase("restarted", (NAMES, " started again"), detail=detail), worker.key, now)
    elif previous.live:
        log.say(
            Phrase("restarted", (NAMES, " restarted with calls live"), "bad", detail), worker.key, now, previous.live
        )
    else:
        log.say(Phrase("restarted", (NAMES, " restarted"), "warning", detail), worker.key, now)


def heard_at_last(log: EventLog, key: str, now: float) -> None:
    """A target that never answered does."""
    log.say(_REACHABLE, key, now)


def swapped(log: EventLog, key: str, now: float) -> None:
    """An earlier boot answers again."""
    log.say(_SWAPPED, key, now)


def orphaned(log: EventLog, key: str, calls: int, now: float) -> None:
    """A worker that holds calls is no longer named by the fleet file."""
    log.say(_ORPHANED, key, now, calls)


def left_open(log: EventLog, key: str, calls: int, now: float) -> None:
    """The next boot found calls of the one before open in its file."""
    log.say(
        Phrase("left_open", (CALLS, " dropped when ", NAMES, " died"), "bad", counts_calls=False), key, now, calls
    )


# -- audit events -----------------------------------------------------------------------------------------------


def audited(log: EventLog, key: str, event: dict[str, Any], now: float) -> None:
    """An audit event of the worker. What snapshots show as well is told from those; this adds who, and refusals."""
    actor = _word(event, "actor")
    match _word(event, "event"):
        case audit.WORKER_CORDONED if actor not in _NOBODY:
            log.attribute(Phrase(_CORDONED.kind, (f"{actor} cordoned ", NAMES)), key, now)
        case audit.WORKER_UNCORDONED if actor not in _NOBODY:
            log.attribute(Phrase(_UNCORDONED.kind, (f"{actor} uncordoned ", NAMES)), key, now)
        case audit.DEPLOYMENT_DRAIN_SHORTENED:
            who = f"{actor} shortened the drain of " if actor not in _NOBODY else "shorter drain of "
            log.say(Phrase("shortened", (who, NAMES)), key, now)
        case audit.CONTROL_REFUSED:
            log.say(_refusal(event, actor), key, now)
        case audit.WORKER_REJECTED:
            reason = _word(event, "reason").replace("_", " ")
            text = f" refuses calls: {reason}" if reason else " refuses calls"
            log.say(Phrase("rejected", (NAMES, text), "warning"), key, now)


def _refusal(event: dict[str, Any], actor: str) -> Phrase:
    action = _word(event, "action")
    reason = _word(event, "reason").replace("_", " ")
    if not action:
        return Phrase("refused", (NAMES, " left out an operator key"), "warning", _word(event, "file") or reason)
    by = f" by {actor}" if actor not in _NOBODY else ""
    return Phrase("refused", (NAMES, f" refused a {action}{by}"), "warning", reason)


def _word(event: dict[str, Any], name: str) -> str:
    """A text of the event, short; what is no text is empty."""
    value = event.get(name)
    return printable(value, 64) if isinstance(value, str) else ""
