"""What one view of the fleet shows of the things that a plan asks about: boots, manifests, LiveKit itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from openrtc_tui.operations.capacity import is_ours
from openrtc_tui.operations.plans.plan import Subject
from openrtc_tui.state.contact import LOST_AFTER
from openrtc_tui.state.verdict import combine, range_text
from openrtc_tui.state.view import VerdictWord, WorkerState
from openrtc_worker.contract.snapshot import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from openrtc_tui.operations.plans.plan import Plan, Progress
    from openrtc_tui.state.view import FleetView, WorkerRow

_OVER: Final = (WorkerState.LOST, WorkerState.EXITED)
_DRAINS: Final = (State.DRAINING, State.DRAINED, State.EXITED)

_NAMED: Final = 3

FateWord = Literal["taking", "draining", "empty", "over", "stale", "unheard"]
"""*taking*: it was not asked to end. *draining*: with calls live. *empty*: draining, nobody on the line. *over*:
drained, ended, lost or replaced. *stale*: not heard for a moment. *unheard*: not heard yet by this dashboard."""


@dataclass(frozen=True, slots=True)
class Moment:
    """All that a decision rests on."""

    plan: Plan
    progress: Progress
    view: FleetView
    now: float


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one boot. ``violated`` counts calls that it is confirmed to have dropped on top."""

    subject: Subject
    word: FateWord
    row: WorkerRow | None = None
    violated: int = 0


def fate(view: FleetView, subject: Subject) -> Fate:
    return fates(view, (subject,))[0]


def fates(view: FleetView, subjects: Iterable[Subject]) -> list[Fate]:
    """What became of each of *subjects*; however many they are, the view is gone through once."""
    boots: dict[str | None, list[WorkerRow]] = {}
    for row in view.rows:
        boots.setdefault(row.boot_id, []).append(row)
    return [_fate(view, subject, boots.get(subject.boot_id, ())) for subject in subjects]


def _fate(view: FleetView, subject: Subject, rows: Sequence[WorkerRow]) -> Fate:
    row = _row_of(rows, subject)
    if row is None:
        present = view.row(subject.key)
        waiting = present is not None and present.boot_id is None and present.state not in _OVER
        return Fate(subject, "unheard" if waiting else "over")
    return Fate(subject, word_of(row), row, max(0, row.verdict.confirmed - subject.dropped))


def _row_of(rows: Sequence[WorkerRow], subject: Subject) -> WorkerRow | None:
    """Of *rows* of this boot the one at its own address or, when the fleet file renamed it, at another."""
    same = [row for row in rows if row.worker_id == subject.worker_id]
    return next((row for row in same if row.target == subject.key), same[0] if same else None)


def word_of(row: WorkerRow) -> FateWord:
    """What became of the boot of *row*."""
    if row.closed or row.state in _OVER or row.state is WorkerState.DRAINED:
        return "over"
    if row.state is WorkerState.STALE:
        return "stale"
    if not drains(row):
        return "taking"
    return "empty" if row.calls == 0 else "draining"


def drains(row: WorkerRow) -> bool:
    """Whether it is on its way out, by its own words."""
    snapshot = row.snapshot
    return snapshot is not None and (snapshot.draining or snapshot.state in _DRAINS)


def is_living(row: WorkerRow) -> bool:
    """Whether somebody may be there to be asked."""
    return not row.closed and row.boot_id is not None and row.state not in _OVER


def living(view: FleetView, version: str) -> list[WorkerRow]:
    """The boots of *version* that are surely ours and neither over nor lost, in the view's order."""
    return [row for row in view.rows if row.version == version and is_living(row) and is_ours(row)]


def subject_of(row: WorkerRow) -> Subject:
    """The boot of *row* as it is now."""
    return Subject(
        key=row.key,
        url=row.url,
        worker_id=row.worker_id or "",
        boot_id=row.boot_id or "",
        version=row.version or "",
        calls=row.calls,
        dropped=row.verdict.confirmed,
    )


def lost_meanwhile(plan: Plan, view: FleetView) -> list[WorkerRow]:
    """Workers of other versions that left without proof, or are out of contact, since *plan* was made.

    Nobody asked them for anything; but their callers were dropped during it all the same, or may have been.
    """
    if plan.from_version is None:
        return []
    return [
        row
        for row in view.rows
        if row.version != plan.from_version and row.boot_id is not None and is_ours(row)
        if (row.settled and row.verdict.word is not VerdictWord.PROVEN) or row.state is WorkerState.STALE
        if _heard_at(row, view.at) >= plan.made_at
    ]


def _heard_at(row: WorkerRow, now: float) -> float:
    return row.silent_since if row.silent_since is not None else now - (row.age_seconds or 0.0)


def names(rows: Sequence[WorkerRow]) -> str:
    """Their keys, the first few of many."""
    first = ", ".join(row.key for row in rows[:_NAMED])
    return first if len(rows) <= _NAMED else f"{first} and {len(rows) - _NAMED} more"


def verdict_words(fates: Iterable[Fate]) -> str:
    """``dropped 0 PROVEN``: what the boots add up to; those that are out of sight prove nothing."""
    seen = [found.row for found in fates if found.row is not None]
    unseen = sum(found.row is None for found in fates)
    verdict = combine([(row.verdict, row.settled) for row in seen])
    if unseen:
        return f"dropped {range_text(verdict)} as far as seen: {unseen} of {len(seen) + unseen} no longer in sight"
    if verdict.word is VerdictWord.OPEN:
        return f"dropped {range_text(verdict)} so far"
    return f"dropped {range_text(verdict)} {verdict.word.upper()}"


# -- manifests --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """The newest manifest that a worker of the fleet shows."""

    seq: int
    active: frozenset[str]


def newest_manifest(view: FleetView) -> Held | None:
    """The manifest with the highest ``seq`` that any living worker of ours holds."""
    newest: Held | None = None
    for row in view.rows:
        held = row.snapshot.manifest if row.snapshot is not None else None
        if held is None or held.seq is None or not is_living(row) or not is_ours(row):
            continue
        if newest is None or held.seq > newest.seq:
            newest = Held(held.seq, frozenset(held.active or ()))
    return newest


def later_manifest(view: FleetView, seq: int | None, version: str) -> Held | None:
    """The newest manifest, where it is later than a plan's own *seq* and names *version*."""
    held = newest_manifest(view)
    later = held is not None and seq is not None and held.seq > seq and version in held.active
    return held if later else None


def is_cordoned(row: WorkerRow) -> bool:
    return row.snapshot is not None and row.snapshot.state == State.CORDONED


def is_gated(row: WorkerRow, seq: int | None) -> bool:
    """Whether it shows a manifest, no older than *seq*, that does not let it take calls."""
    held = row.snapshot.manifest if row.snapshot is not None else None
    return (
        held is not None
        and held.allows is False
        and row.accepting is not True
        and (seq is None or (held.seq is not None and held.seq >= seq))
    )


# -- LiveKit ----------------------------------------------------------------------------------------------------

_REGISTERS: Final = (State.SERVING, State.CORDONED)


@dataclass(frozen=True, slots=True)
class Outage:
    """Most of the fleet is without LiveKit: ``without`` of ``workers`` that were registered once and stay so."""

    without: int
    workers: int

    @property
    def text(self) -> str:
        return f"LiveKit outage: {self.without} of {self.workers} workers are not connected to LiveKit"


def outage(view: FleetView) -> Outage | None:
    """Whether more than half of the workers, and at least two, are without LiveKit now.

    Only those count that are heard and say that they serve or are cordoned: one that starts has not registered yet,
    one that drains leaves at its end. How closely one loss followed another is not asked: whatever the cause, a
    fleet that is mostly not registered is none to steer.
    """
    links = [
        row.snapshot.livekit.connected
        for row in view.rows
        if row.snapshot is not None
        and row.snapshot.state in _REGISTERS
        and row.snapshot.livekit is not None
        and row.snapshot.livekit.connected is not None
        and row.state is not WorkerState.STALE
        and is_living(row)
        and is_ours(row)
    ]
    without = links.count(False)
    return Outage(without, len(links)) if without >= 2 and 2 * without > len(links) else None


def heard_by(row: WorkerRow | None, now: float) -> float:
    """When a worker that is not heard for a moment is either heard again or lost; with slack for a slow beat."""
    since = row.silent_since if row is not None and row.silent_since is not None else now
    return since + 6 * LOST_AFTER
