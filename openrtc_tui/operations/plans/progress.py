"""How far a plan has come, folded from the lines of its journal and from nothing else.

A line is a flat JSON object with ``event`` (its kind), ``timestamp`` (Unix seconds) and ``plan_id``; what else it has
is said at :func:`apply`. The same lines give the same progress, so whoever resumes a plan stands where its journal
stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrtc_tui.operations.plans.plan import Asked, DrainStep, Plan, Progress, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BEGUN: Final = "plan.begun"
STEP_BEGAN: Final = "step.began"
STEP_DONE: Final = "step.done"
INTENT: Final = "op.intent"
OUTCOME: Final = "op.outcome"
ABORTED: Final = "plan.aborted"
ENDED: Final = "plan.ended"

MANIFEST_SEQ: Final = "manifest_seq"
"""The field with a manifest's number; ``seq`` is the number of the journal's own line."""


def apply(plan: Plan, progress: Progress, record: Mapping[str, Any]) -> Progress:
    """*progress* after one more journal line of *plan*; lines of other kinds or other plans change nothing.

    - ``plan.begun``: the first step begins at its time.
    - ``step.began`` {step?}, ``step.done`` {step?, detail?}: one of another step than the present one is ignored.
    - ``op.intent`` {op_id, action: ``publish``, ``start`` or ``drain``; manifest_seq? of a publish; subject and wave?
      of a drain}: a request is about to leave; ``subject`` is a :class:`Subject` as plain values. The same ``op_id``
      again, or a boot that has one already, changes nothing; other actions, as a manifest put to one worker, are
      parts of these.
    - ``op.outcome`` {op_id, outcome, detail?, manifest_seq?}: what came of it.
    - ``plan.aborted``: the operator stops it. ``plan.ended``: it is over, whatever the word.
    """
    kind = record.get("event")
    if (
        record.get("plan_id", plan.plan_id) != plan.plan_id
        or (kind != INTENT and kind not in _KINDS)
        or progress.ended
    ):
        return progress
    at = float(record.get("timestamp", progress.at))
    after = _intent(plan, progress, record, at) if kind == INTENT else _KINDS[kind](progress, record, at)
    return after if after is progress else msgspec.structs.replace(after, at=at)


def replay(plan: Plan, records: Iterable[Mapping[str, Any]]) -> Progress:
    """The progress that *records*, in their order, add up to."""
    progress = Progress()
    for record in records:
        progress = apply(plan, progress, record)
    return progress


def _begun(progress: Progress, _: Mapping[str, Any], at: float) -> Progress:
    return msgspec.structs.replace(progress, since=at) if progress.step == 0 and not progress.since else progress


def _step_began(progress: Progress, record: Mapping[str, Any], at: float) -> Progress:
    if record.get("step", progress.step) != progress.step or progress.op_id is not None:
        return progress
    return msgspec.structs.replace(progress, since=at)


def _step_done(progress: Progress, record: Mapping[str, Any], at: float) -> Progress:
    if record.get("step", progress.step) != progress.step:
        return progress
    return msgspec.structs.replace(
        progress,
        step=progress.step + 1,
        since=at,
        op_id=None,
        effect=None,
        detail="",
        done=(*progress.done, str(record.get("detail") or "")),
    )


def _intent(plan: Plan, progress: Progress, record: Mapping[str, Any], at: float) -> Progress:
    op_id, action = str(record["op_id"]), record.get("action")
    if action in {"publish", "start"} and progress.op_id is None:
        seq = record.get(MANIFEST_SEQ) if action == "publish" else progress.seq
        return msgspec.structs.replace(progress, op_id=op_id, seq=seq, effect=None, detail="")
    if action != "drain":
        return progress
    subject = msgspec.convert(record["subject"], Subject)
    if any(op_id == asked.op_id or subject.boot_id == asked.subject.boot_id for asked in progress.asked):
        return progress
    subject = msgspec.structs.replace(subject, dropped=max(subject.dropped, _dropped_before(plan, subject)))
    asked = Asked(subject=subject, op_id=op_id, wave=int(record.get("wave", 0)), at=at)
    return msgspec.structs.replace(progress, asked=(*progress.asked, asked))


def _dropped_before(plan: Plan, subject: Subject) -> int:
    """What the boot was known to have dropped when the plan was made; 0 when it was not part of it yet."""
    planned = (of for step in plan.steps if isinstance(step, DrainStep) for of in step.subjects)
    return next((of.dropped for of in planned if of.boot_id == subject.boot_id), 0)


def _outcome(progress: Progress, record: Mapping[str, Any], _: float) -> Progress:
    op_id, outcome = str(record["op_id"]), str(record["outcome"])
    detail = str(record.get("detail") or "")
    if op_id == progress.op_id:
        seq = record.get(MANIFEST_SEQ, progress.seq)
        return msgspec.structs.replace(progress, effect=outcome, detail=detail, seq=seq)
    if not any(asked.op_id == op_id for asked in progress.asked):
        return progress
    return msgspec.structs.replace(
        progress,
        asked=tuple(
            msgspec.structs.replace(asked, outcome=outcome, detail=detail) if asked.op_id == op_id else asked
            for asked in progress.asked
        ),
    )


def _aborted(progress: Progress, _: Mapping[str, Any], __: float) -> Progress:
    return msgspec.structs.replace(progress, aborted=True)


def _ended(progress: Progress, _: Mapping[str, Any], __: float) -> Progress:
    return msgspec.structs.replace(progress, ended=True)


_KINDS: Final = {
    BEGUN: _begun,
    STEP_BEGAN: _step_began,
    STEP_DONE: _step_done,
    OUTCOME: _outcome,
    ABORTED: _aborted,
    ENDED: _ended,
}
