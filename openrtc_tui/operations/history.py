"""What a journal says was done: plans with their progress, manifests published, requests left open. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrtc_tui.operations.plans.plan import Plan
from openrtc_tui.operations.plans.progress import BEGUN, ENDED, INTENT, MANIFEST_SEQ, OUTCOME, replay

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from openrtc_tui.operations.plans.plan import Progress

Record = dict[str, Any]

TAKEN: Final = frozenset({"started", "already"})
"""Outcomes that mean yes."""

MAYBE: Final = TAKEN | {"unknown"}
"""Outcomes that do not mean no."""

SETTLED_AFTER: Final = 60.0
"""Seconds after which a single request without an outcome is *interrupted*: nobody sends one for half as long."""


@dataclass(frozen=True, kw_only=True)
class JournaledPlan:
    """One plan as its journal has it. ``records`` are its lines, the first is its beginning."""

    plan: Plan
    records: tuple[Record, ...]

    @cached_property
    def progress(self) -> Progress:
        """Folded once: a plan that is interrupted is drawn many times a second, and may have thousands of lines."""
        return replay(self.plan, self.records)

    @property
    def ended(self) -> bool:
        return any(record.get("event") == ENDED for record in reversed(self.records))  # as a rule the last one

    @property
    def begun(self) -> Record:
        return self.records[0]

    @property
    def word(self) -> str:
        """What it ended as, ``done`` or another; empty while it did not end."""
        return next(
            (str(record.get("word")) for record in reversed(self.records) if record.get("event") == ENDED), ""
        )

    @property
    def moves(self) -> bool:
        """Whether it takes the calls to a version, or did; one that failed before anything was done did not.

        A plan that did not end may yet, and what nobody knows the outcome of may have.
        """
        if self.plan.kind == "drain" or self.plan.to_version is None:
            return False
        return self.word in {"", "done"} or any(
            record.get("event") == OUTCOME and record.get("outcome") in MAYBE for record in self.records
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A manifest that was about to be published. ``outcome`` is None when nobody wrote down what came of it."""

    op_id: str
    seq: int
    active: tuple[str, ...]
    token: str
    outcome: str | None = None

    @property
    def taken(self) -> bool:
        return self.outcome in TAKEN


@dataclass(frozen=True, slots=True)
class Put:
    """One boot that was given a manifest, and what came of it; None: nobody wrote it down."""

    op_id: str
    outcome: str | None = None


def plans_of(records: Iterable[Record]) -> dict[str, JournaledPlan]:
    """Every plan that was begun, by its ``plan_id``, the oldest first; a plan that cannot be read is left out.

    It has the very lines and no copies of them: a journal may be long, and is read anew every second.
    """
    lines: dict[str, list[Record]] = {}
    plans: dict[str, Plan] = {}
    for record in records:
        plan_id = record.get("plan_id")
        if not isinstance(plan_id, str):
            continue
        if record.get("event") == BEGUN and plan_id not in plans:
            try:
                plans[plan_id] = msgspec.convert(record.get("plan"), Plan)
            except msgspec.ValidationError:  # written by another release: what it meant cannot be told
                continue
        if plan_id in plans:
            lines.setdefault(plan_id, []).append(record)
    return {plan_id: JournaledPlan(plan=plan, records=tuple(lines[plan_id])) for plan_id, plan in plans.items()}


def newest_move(plans: Iterable[JournaledPlan]) -> JournaledPlan | None:
    """The plan, of *plans* in the order of their beginnings, that took the calls where they go now."""
    return next((found for found in reversed(tuple(plans)) if found.moves), None)


def last_rollback(plans: Iterable[JournaledPlan]) -> JournaledPlan | None:
    """The newest rollback, of *plans* in the order of their beginnings; None where there is none that still counts.

    Whoever promotes the version that it left has said that this one is good after all.
    """
    promoted: set[str | None] = set()
    for found in reversed(tuple(plans)):
        if not found.moves:
            continue
        if found.plan.kind == "rollback":
            return found if found.plan.from_version not in promoted else None
        promoted.add(found.plan.to_version)
    return None


def publications(records: Iterable[Mapping[str, Any]]) -> tuple[Publication, ...]:
    """Every manifest that was about to be published, the oldest first."""
    found: dict[str, Publication] = {}
    for record in records:
        op_id = str(record.get("op_id"))
        if record.get("event") == INTENT and record.get("action") == "publish":
            active = tuple(str(version) for version in record.get("active", ()))
            token = str(record.get("manifest", ""))
            found[op_id] = Publication(op_id=op_id, seq=int(record.get(MANIFEST_SEQ, 0)), active=active, token=token)
        elif record.get("event") == OUTCOME and op_id in found:
            found[op_id] = _with_outcome(found[op_id], str(record.get("outcome")))
    return tuple(found.values())


def active_before(records: Sequence[Record]) -> tuple[tuple[str, ...], ...]:
    """The versions that were active, one entry for each manifest that was published, the oldest first.

    Before the first manifest every version takes calls: then it is the one that its plan was leaving.
    """
    published = [found for found in publications(records) if found.taken]
    left = _left_by(records, published[0].op_id) if published else None
    first = ((left,),) if left is not None else ()
    return (*first, *(found.active for found in published))


def _left_by(records: Iterable[Record], op_id: str) -> str | None:
    """The version that the plan of the publication *op_id* leaves."""
    plan_id = next((record.get("plan_id") for record in records if record.get("op_id") == op_id), None)
    found = plans_of(record for record in records if record.get("plan_id") == plan_id)
    return next((journaled.plan.from_version for journaled in found.values()), None)


def highest_seq(records: Iterable[Mapping[str, Any]]) -> int:
    """The highest ``seq`` that was ever about to be published, whatever came of it; 0 when none was."""
    return max((publication.seq for publication in publications(records)), default=0)


def puts_of(records: Iterable[Mapping[str, Any]], publish: str, *, plan_id: str | None) -> dict[str, Put]:
    """Under which ``op_id`` each boot was given the manifest of the publication *publish*, by ``boot_id``.

    Those of the plan *plan_id*; None: those that were given it once more, later and by no plan.
    """
    puts: dict[str, Put] = {}
    boots: dict[str, str] = {}
    for record in records:
        op_id = str(record.get("op_id"))
        if record.get("event") == INTENT and record.get("publish") == publish and record.get("plan_id") == plan_id:
            boots[op_id] = str(record["subject"]["boot_id"])
            puts[boots[op_id]] = Put(op_id)
        elif record.get("event") == OUTCOME and op_id in boots:
            puts[boots[op_id]] = Put(op_id, str(record.get("outcome")))
    return puts


def open_requests(records: Sequence[Mapping[str, Any]], now: float) -> tuple[Record, ...]:
    """The intents of single requests, of no plan, that are *interrupted*: no outcome, and nobody sends them now."""
    done = {record.get("op_id") for record in records if record.get("event") == OUTCOME}
    return tuple(
        dict(record)
        for record in records
        if record.get("event") == INTENT
        and isinstance(record.get("subject"), dict)
        and record.get("plan_id") is None
        and record.get("op_id") not in done
        and now - float(record.get("timestamp", now)) > SETTLED_AFTER
    )


def _with_outcome(publication: Publication, outcome: str) -> Publication:
    return Publication(
        op_id=publication.op_id,
        seq=publication.seq,
        active=publication.active,
        token=publication.token,
        outcome=outcome,
    )
