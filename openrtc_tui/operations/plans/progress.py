"""How far a plan has come, folded from the lines of its journal and from nothing else.

A line is a flat JSON object with ``event`` (its kind), ``timestamp`` (Unix seconds) and ``plan_id``; what else it has
is said at :func:`apply`. The same lines give the same progress, so whoever resumes a plan stands where its journal
stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrtc_tui.operations.plans.plan import Asked, Plan, Progress, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BEGUN: Final = "plan.begun"
STEP_BEGAN: Final = "step.began"
STEP_DONE: Final = "step.done"
INTENT: Final = "op.intent"
OUTCOME: Final = "op.outcome"
ABORTED: Final = "plan.aborted"
ENDED: Final = "plan.ended"


def apply(plan: Plan, progress: Progress, record: Mapping[str, Any]) -> Progress:
    """*progress* after one more journal line of *plan*; lines of other kinds or other plans change nothing.

    - ``plan.begun``: the first step begins at its time.
    - ``step.began`` {step?}, ``step.done`` {step?, detail?}: one of another step than the present one is ignored.
    - ``op.intent`` {op_id, action: ``publish``, ``start`` or ``drain``; publish: seq?; drain: subject, wave?}:
      a request is about to leave; ``subject`` is a :class:`Subject` as plain values. The same ``op_id`` again, or a
      boot that has one already, changes nothing.
    - ``op.outcome`` {op_id, outcome, detail?, seq?}: what came of it.
    - ``plan.aborted``: the operator stops it. ``plan.ended``: it is over, whatever the word.
    """
    kind = record.get("event")
    if record.get("plan_id", plan.plan_id) != plan.plan_id or kind not in _KINDS or progress.ended:
        return progress
    at = float(record.get("timestamp", progress.at))
    after = _KINDS[kind](progress, record, at)
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


def _intent(progress: Progress, record: Mapping[str, Any], at: float) -> Progress:
    op_id = str(record["op_id"])
    if record.get("action") != "drain":
        if progress.op_id is not None:
            return progress
        seq = record.get("seq") if record.get("action") == "publish" else progress.seq
        return msgspec.structs.replace(progress, op_id=op_id, seq=seq, effect=None, detail="")
    subject = msgspec.convert(record["subject"], Subject)
    if any(op_id == asked.op_id or subject.boot_id == asked.subject.boot_id for asked in progress.asked):
        return progress
    asked = Asked(subject=subject, op_id=op_id, wave=int(record.get("wave", 0)), at=at)
    return msgspec.structs.replace(progress, asked=(*progress.asked, asked))


def _outcome(progress: Progress, record: Mapping[str, Any], _: float) -> Progress:
    op_id, outcome = str(record["op_id"]), str(record["outcome"])
    detail = str(record.get("detail") or "")
    if op_id == progress.op_id:
        seq = record.get("seq", progress.seq)
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
    INTENT: _intent,
    OUTCOME: _outcome,
    ABORTED: _aborted,
    ENDED: _ended,
}
