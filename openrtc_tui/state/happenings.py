"""What happened, in words: from changes of workers and from their audit events to lines of the event log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.state.events import EventLog, Phrase, Slot, Verb
from openrtc_tui.state.membership import FOREIGN
from openrtc_tui.state.verdict import range_text
from openrtc_tui.state.view import EventLine, Severity, Verdict, VerdictWord, WorkerState
from openrtc_worker.contract import audit
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openrtc_tui.state.boot import Boot
    from openrtc_tui.state.membership import Misfit
    from openrtc_tui.state.worker import Worker

NAMES, CALLS = Slot.NAMES, Slot.CALLS

_ANSWER: Final = Verb(" answers now", " answer now")
_DO_NOT_ANSWER: Final = Verb(" does not answer", " do not answer")
_LOSE_OFFERS: Final = Verb(" loses offers", " lose offers")
_TAKE_CALLS: Final = Verb(" takes calls", " take calls")
_STILL_TAKE_CALLS: Final = Verb(" still takes calls", " still take calls")
_REFUSE_CALLS: Final = Verb(" refuses calls", " refuse calls")
_PASS_CALLS_ON: Final = Verb(" passes calls on: gated by its manifest", " pass calls on: gated by their manifest")
_ARE_GATED: Final = Verb(" is up, gated by its manifest", " are up, gated by their manifest")

_NOBODY: Final = ("", "system")
"""Actors that are no operator."""

_SEVERITIES: Final[dict[VerdictWord, Severity]] = {
    VerdictWord.OPEN: "info",
    VerdictWord.PROVEN: "good",
    VerdictWord.UNPROVEN: "warning",
    VerdictWord.VIOLATED: "bad",
}

_OPEN: Final = (WorkerState.SERVING, WorkerState.GATED)
"""States of a worker that nobody keeps from taking calls but its manifest."""

_DRAIN_SOURCES: Final = {"signal": "by a signal", "api": "by its own code", "livekit": "lost LiveKit for good"}

_COUNTED: Final = (
    Phrase("cut", (CALLS, " cut on ", NAMES), "bad", counts_calls=False),
    Phrase("crashed", (CALLS, " crashed on ", NAMES), "bad", counts_calls=False),
    Phrase("lost", (CALLS, " lost by LiveKit on ", NAMES), "bad", counts_calls=False),
    Phrase("offers_lost", (NAMES, _LOSE_OFFERS), "warning", "most likely unanswered"),
    Phrase("launch_failed", (CALLS, " failed to start on ", NAMES), "warning", counts_calls=False),
)
"""What is said when a counter of the ledger rises; the kind is the counter's name."""

_LATE: Final = Phrase("still_taking_calls", (NAMES, _STILL_TAKE_CALLS), "bad", "while draining")
_UNREACHABLE: Final = {
    True: Phrase("unreachable", (NAMES, " unreachable"), "bad"),
    False: Phrase("unreachable", (NAMES, " unreachable"), "warning"),
}
_CAME_BACK: Final = Phrase("came_back", (NAMES, " came back"), "good")
_REACHABLE: Final = Phrase("came_back", (NAMES, _ANSWER), counts_calls=False)
_CORDONED: Final = Phrase("cordoned", (NAMES, " cordoned"))
_UNCORDONED: Final = Phrase("uncordoned", (NAMES, " uncordoned"))
_ORPHANED: Final = Phrase("orphaned", (NAMES, " left the fleet file"), "warning")
_TERMINATING: Final = Phrase("terminating", ("the platform ends ", NAMES))
_KILLED: Final = Phrase("killed", (NAMES, " killed with ", CALLS, " live"), "bad", counts_calls=False)
_MOST_VERSIONS: Final = 3
_MAX_SEQ: Final = 2**53
_SWAPPED: Final = Phrase("swapped", (NAMES, ": two processes answer at this address"), "bad", counts_calls=False)


@dataclass(frozen=True, slots=True)
class Glimpse:
    """A boot as it was before a report."""

    counts: tuple[int, ...]
    late_starts: int
    state: WorkerState
    manifest: int | None

    @classmethod
    def of(cls, boot: Boot) -> Glimpse:
        counts = tuple(boot.accounts[phrase.kind] for phrase in _COUNTED)
        held = boot.snapshot.manifest
        return cls(counts, boot.late_starts, boot.state, held.seq if held is not None else None)


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
    if after.manifest is not None and after.manifest != before.manifest:
        _took_manifest(log, key, boot, after.manifest, now)
    if boot.draining and "drain" not in worker.told:
        worker.told.add("drain")
        log.say(_drain_phrase(boot), key, now, boot.live)
    elif after.state is not before.state:
        _told_by_state(log, key, before.state, after.state, now)


def _took_manifest(log: EventLog, key: str, boot: Boot, seq: int, now: float) -> None:
    """Who published it is in the audit event only, which may come before or after the report."""
    held = boot.snapshot.manifest
    phrase = _manifest_phrase("", seq, held.active if held is not None else None)
    if not log.said(phrase.kind, key, now):
        log.say(phrase, key, now)


def _manifest_phrase(actor: str, seq: int, active: Sequence[str] | None) -> Phrase:
    """``alice's manifest 7 reached voice-a-1 … voice-b-6``: one line for all workers that take it."""
    named = list(active or ())
    some = ", ".join(named[:_MOST_VERSIONS]) + ("…" if len(named) > _MOST_VERSIONS else "")
    whose = f"{actor}'s manifest" if actor else "manifest"
    detail = f"calls go to {some}" if named else "nobody may take calls"
    return Phrase(f"manifest {seq}", (f"{whose} {seq} reached ", NAMES), detail=detail, counts_calls=False)


def _told_by_state(log: EventLog, key: str, before: WorkerState, after: WorkerState, now: float) -> None:
    """Cordons: who did it is in the audit event only, which may come before or after the report."""
    if after is WorkerState.CORDONED:
        phrase = _CORDONED
    elif before is WorkerState.CORDONED and after in _OPEN:
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
            log.say(Phrase("unreachable", (NAMES, _DO_NOT_ANSWER), "warning", detail), key, now)
        return
    told = worker.told
    if after is WorkerState.LOST:
        if not boot.died_with:  # else it is told that it was killed
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
        log.say(Phrase("serving", (NAMES, _TAKE_CALLS), detail=boot.version or ""), key, now)
    elif before is WorkerState.STARTING and after is WorkerState.GATED:
        log.say(Phrase("gated", (NAMES, _ARE_GATED), detail=boot.version or ""), key, now)


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


def misfit(log: EventLog, worker: Worker, why: Misfit, now: float) -> None:
    """A worker is not counted on; told once of each boot and reason."""
    if why.code in worker.told:
        return
    worker.told.add(why.code)
    words = "not of this fleet: " if why.code == FOREIGN else "wrong clock: "
    log.say(Phrase(why.code, (words, NAMES), "bad", why.text, counts_calls=False), worker.key, now)


def terminating(log: EventLog, key: str, calls: int, now: float) -> None:
    """The platform began to end a worker's pod."""
    log.say(_TERMINATING, key, now, calls)


def killed(log: EventLog, key: str, calls: int, now: float) -> None:
    """A worker's pod is gone, and calls with it."""
    log.say(_KILLED, key, now, calls)


def takers(log: EventLog, nobody: str, now: float) -> None:
    """The newest manifest leaves nobody to take calls, or does so no more (*nobody* empty)."""
    if nobody:
        log.note(EventLine(at=now, text="nobody will take calls", detail=nobody, severity="bad"))
    else:
        log.note(EventLine(at=now, text="there are workers to take calls again", severity="good"))


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
        case audit.MANIFEST_ACCEPTED:
            seq, active = event.get("manifest_seq"), event.get("active")
            if actor not in _NOBODY and type(seq) is int and 0 <= seq <= _MAX_SEQ and isinstance(active, list):
                names = [printable(name, 64) for name in active[: _MOST_VERSIONS + 1] if isinstance(name, str)]
                log.attribute(_manifest_phrase(actor, seq, names), key, now)
        case audit.MANIFEST_REFUSED:
            by = f" by {actor}" if actor not in _NOBODY else ""
            reason = _word(event, "reason").replace("_", " ")
            log.say(Phrase("manifest_refused", (NAMES, f" refused a manifest{by}"), "warning", reason), key, now)
        case audit.WORKER_REJECTED if _word(event, "reason") == "manifest":
            log.say(Phrase("rejected", (NAMES, _PASS_CALLS_ON)), key, now)
        case audit.WORKER_REJECTED:
            reason = _word(event, "reason").replace("_", " ")
            words = (NAMES, _REFUSE_CALLS, f": {reason}" if reason else "")
            log.say(Phrase("rejected", words, "warning"), key, now)


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
