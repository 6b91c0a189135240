"""From "these workers, this action" to what exactly would be asked, what speaks against it, and how it is confirmed.

Pure: it reads one view of the fleet. Whoever shows the confirmation keeps the :class:`Intent` and, at the moment of
confirming, gives it to :func:`confirm` with the newest view: what changed since then is refused and not asked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from openrtc_tui.operations.capacity import NEVER_ACTED_ON, accepts, agent_words, left_alone, room_of
from openrtc_tui.operations.request import Ask
from openrtc_tui.state.view import WorkerState
from openrtc_worker.contract.snapshot import VERSION_PATTERN, State
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from openrtc_tui.operations.request import Action
    from openrtc_tui.state.peers import Agent
    from openrtc_tui.state.view import FleetView, WorkerRow
    from openrtc_worker.contract.snapshot import RuntimeSnapshot

LAST: Final = "LAST"
"""What an operator types to take the last accepting worker of an agent away."""

OVERRIDE_PREFIX: Final = "override last-worker: "
MAX_REASON: Final = 200

RefusalCause = Literal["done", "not_actionable", "gone", "impossible", "changed"]
"""*done*: it already is what was asked for. *not_actionable*: shown, but never acted on. *gone*: nobody is there to
ask. *impossible*: its state does not allow it. *changed*: it is no longer what the confirmation showed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one worker is not asked; ``why`` is one line for people."""

    key: str
    cause: RefusalCause
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One worker as it was when the confirmation opened."""

    key: str
    url: str
    worker_id: str
    boot_id: str
    state: str | None
    version: str
    calls: int | None
    stays: bool = False
    """Whether it stays drained and idle after a drain, until its platform ends it."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What has to be typed: ``text``, exactly. ``kind`` tells why: a last worker, a version or a number."""

    kind: Literal["last", "version", "number"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An action on one or many workers, before it is confirmed.

    ``calls`` counts the live calls that are known; ``calls_known`` is False when a worker does not tell.
    ``deadline_seconds`` is the shortest time after which what is left of a drain is cut, None when nobody tells.
    ``room`` is the room for new calls that stays, by version; ``silent_elsewhere`` counts accepting workers that
    do not tell theirs. ``last_of`` names the agents that would be left without any accepting worker.
    """

    action: Action
    subjects: tuple[Subject, ...]
    refusals: tuple[Refusal, ...]
    timeout: float | None = None
    whole_version: str | None = None
    calls: int = 0
    calls_known: bool = True
    oldest_seconds: float | None = None
    tenants: tuple[tuple[str, int], ...] = ()
    deadline_seconds: float | None = None
    room: tuple[tuple[str | None, int], ...] = ()
    silent_elsewhere: int = 0
    last_of: tuple[Agent, ...] = ()
    challenge: Challenge | None = None

    @property
    def room_elsewhere(self) -> int:
        """Room for new calls on all other accepting workers together, as far as they tell."""
        return sum(room for _, room in self.room)


def intend(
    view: FleetView,
    keys: Iterable[str],
    action: Action,
    *,
    timeout: float | None = None,
    whole_version: str | None = None,
    shorten: bool = False,
) -> Intent:
    """What asking *action* of the rows *keys* would mean now.

    Args:
        view: what the operator sees.
        keys: the rows, by key; a key given twice counts once.
        action: what is to be asked of each.
        timeout: seconds, sent with a drain; the worker takes it only when it is shorter than its own.
        whole_version: the version whose workers *keys* are, when it was asked for as a whole.
        shorten: whether a worker that drains already is asked again, to bring its deadline forward.
    """
    subjects: list[Subject] = []
    rows: list[WorkerRow] = []
    refusals: list[Refusal] = []
    for key in dict.fromkeys(keys):
        judged = _judge(view, key, action, shorten=shorten)
        if isinstance(judged, Refusal):
            refusals.append(judged)
        else:
            row, subject = judged
            rows.append(row)
            subjects.append(subject)
    acted = {row.key for row in rows}
    others = [row for row in view.rows if row.key not in acted and accepts(row)]
    room, silent = room_of(others)
    last_of = left_alone(rows, others) if action != "uncordon" else ()
    calls = sum(row.calls or 0 for row in rows)
    return Intent(
        action=action,
        subjects=tuple(subjects),
        refusals=tuple(refusals),
        timeout=timeout if action == "drain" else None,
        whole_version=whole_version,
        calls=calls,
        calls_known=all(row.calls is not None for row in rows),
        oldest_seconds=max((row.oldest_seconds for row in rows if row.oldest_seconds is not None), default=None),
        tenants=_tenants(rows),
        deadline_seconds=_deadline(rows, timeout) if action == "drain" else None,
        room=room,
        silent_elsewhere=silent,
        last_of=last_of,
        challenge=_challenge(action, subjects, last_of, whole_version, short=sum(r for _, r in room) < calls),
    )


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What follows from a confirmation: requests to send, or what changed since and no request at all."""

    asks: tuple[Ask, ...] = ()
    refusals: tuple[Refusal, ...] = ()


def confirm(intent: Intent, view: FleetView, *, reason: str | None = None) -> Confirmed:
    """The requests to send now that *intent* was confirmed; or, when anything changed since, only why not.

    A worker must be the same boot in the same state, and what was confirmed must cover what it would do now: a
    worker that became the last one meanwhile was never confirmed as such. All or nothing: half of what an operator
    confirmed is not what they confirmed.
    """
    now = intend(
        view,
        [subject.key for subject in intent.subjects],
        intent.action,
        timeout=intent.timeout,
        whole_version=intent.whole_version,
        shorten=True,
    )
    changed = [_change(subject, view, now) for subject in intent.subjects]
    refusals = [refusal for refusal in changed if refusal is not None]
    for agent in now.last_of:
        if agent not in intent.last_of:
            why = f"is now the last accepting worker {agent_words(agent)}"
            refusals.extend(Refusal(subject.key, "changed", why) for subject in now.subjects)
            break
    if refusals:
        return Confirmed(refusals=tuple(refusals))
    text = reason_text(reason, override=bool(intent.last_of))
    asks = tuple(
        Ask(
            action=intent.action,
            key=subject.key,
            url=subject.url,
            worker_id=subject.worker_id,
            boot_id=subject.boot_id,
            state=subject.state,
            reason=text,
            timeout=intent.timeout,
            version=subject.version,
            calls=subject.calls,
        )
        for subject in intent.subjects
    )
    return Confirmed(asks=asks)


def reason_text(reason: str | None, *, override: bool) -> str | None:
    """The reason as it is sent: one line, and saying so when a last worker is taken away knowingly."""
    text = printable((reason or "").strip(), MAX_REASON)
    if override:
        return (OVERRIDE_PREFIX + text).strip()
    return text or None


def last_words(intent: Intent) -> str:
    """Who would be left without a worker, for people; empty when nobody would."""
    if not intent.last_of:
        return ""
    who = "; ".join(agent_words(agent) for agent in intent.last_of)
    return f"no worker would be left that takes calls {who}: every new caller would get nobody"


# --------------------------------------------------------------------------------------------- judging one row


def _judge(view: FleetView, key: str, action: Action, *, shorten: bool) -> Refusal | tuple[WorkerRow, Subject]:
    row = view.row(key)
    if row is None:
        return Refusal(key, "gone", "is no longer in the fleet")
    never = _never(row)
    if never:
        return Refusal(key, "not_actionable", never)
    if row.state is WorkerState.LOST:
        return Refusal(key, "gone", f"is lost{_in_brackets(row.last_failure)}")
    snapshot = row.snapshot
    if snapshot is None or row.worker_id is None or row.boot_id is None or row.version is None:
        why = f"was not heard yet{_in_brackets(row.last_failure)}" if snapshot is None else "does not tell its ids"
        return Refusal(key, "gone", why)
    state = snapshot.state or (State.DRAINING if snapshot.draining else None)
    refusal = _state_refusal(key, action, state, ended=row.state is WorkerState.EXITED, shorten=shorten)
    if refusal:
        return refusal
    return row, Subject(
        key=key,
        url=row.url,
        worker_id=row.worker_id,
        boot_id=row.boot_id,
        state=snapshot.state,
        version=row.version,
        calls=row.calls,
        stays=_stays(snapshot),
    )


def _stays(snapshot: RuntimeSnapshot) -> bool:
    """Whether a drain that no signal began leaves the process running, as far as the worker tells."""
    after = snapshot.limits.after_drain if snapshot.limits is not None else None
    kind = snapshot.platform.kind if snapshot.platform is not None else None
    return after == "wait" or (after == "auto" and kind == "kubernetes")


def _in_brackets(text: str | None) -> str:
    return f" ({text})" if text else ""


def _never(row: WorkerRow) -> str | None:
    """Why this row is never acted on, whatever is asked; None when it may be."""
    if row.closed:
        return "is an earlier boot that is over"
    found = next((finding for finding in row.findings if finding.code in NEVER_ACTED_ON), None)
    if found:
        return f"is not acted on: {found.text}"
    if row.snapshot is not None and row.version is None:
        return "has no version: start it with a deployment_version to act on it"
    if row.version is not None and not VERSION_PATTERN.fullmatch(row.version):
        return "is not acted on: its version is not one"
    return None if row.actionable or row.snapshot is None else "is not acted on"


def _state_refusal(key: str, action: Action, state: str | None, *, ended: bool, shorten: bool) -> Refusal | None:
    over = ended or state in {State.DRAINED, State.EXITED}
    draining = over or state == State.DRAINING
    word = "drained" if over else "draining"
    if action == "drain":
        done = draining and (over or not shorten)
    elif draining:
        return Refusal(key, "impossible", f"is {word}, which cannot be taken back")
    else:
        word = "cordoned" if action == "cordon" else "serving"
        done = state == (State.CORDONED if action == "cordon" else State.SERVING)
    return Refusal(key, "done", f"is {word} already") if done else None


def _change(subject: Subject, view: FleetView, now: Intent) -> Refusal | None:
    row = view.row(subject.key)
    if row is not None and (row.worker_id, row.boot_id) != (subject.worker_id, subject.boot_id):
        return Refusal(subject.key, "changed", "is another worker or another boot than the one confirmed")
    current = next((other for other in now.subjects if other.key == subject.key), None)
    if current is None:
        return next(refusal for refusal in now.refusals if refusal.key == subject.key)
    if current.state != subject.state:
        return Refusal(
            subject.key, "changed", f"was {subject.state} when it was confirmed and is {current.state} now"
        )
    return None


# ------------------------------------------------------------------------------------------- adding them up


def _tenants(rows: Sequence[WorkerRow]) -> tuple[tuple[str, int], ...]:
    calls: Counter[str] = Counter()
    for row in rows:
        calls.update({tenant: count for tenant, count in row.by_tenant.items() if count > 0})
    return tuple(sorted(calls.items(), key=lambda item: (-item[1], item[0])))


def _deadline(rows: Sequence[WorkerRow], timeout: float | None) -> float | None:
    """Seconds until the first of *rows* would cut what is left: the shorter of what is asked and its own limit."""
    own = [row.snapshot.limits.drain_timeout for row in rows if row.snapshot and row.snapshot.limits]
    known = [limit for limit in (*own, timeout) if limit is not None]
    return min(known, default=None)


def _challenge(
    action: Action, subjects: Sequence[Subject], last_of: Sequence[Agent], whole_version: str | None, *, short: bool
) -> Challenge | None:
    if not subjects:
        return None
    if last_of:
        return Challenge("last", LAST)
    if whole_version is not None:
        return Challenge("version", whole_version)
    if len(subjects) > 1:
        return Challenge("number", str(len(subjects)))
    if action == "drain" and short:
        return Challenge("version", subjects[0].version)
    return None
