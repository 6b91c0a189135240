"""The last, irreversible part of a plan: draining in waves, and watching to the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.capacity import accepts, agent_of, agent_words, is_ours, is_ready, may_accept
from openrtc_tui.operations.plans import sight
from openrtc_tui.operations.plans.interlocks import left_without
from openrtc_tui.operations.plans.plan import (
    Asked,
    Decision,
    Drain,
    DrainStep,
    StepDone,
    Stop,
    Subject,
    Wait,
    WatchStep,
)
from openrtc_tui.operations.plans.sight import Fate
from openrtc_tui.operations.plans.sight import fates as fates_of
from openrtc_tui.state.verdict import is_open
from openrtc_tui.state.view import WorkerState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openrtc_tui.operations.plans.plan import Plan, Progress
    from openrtc_tui.operations.plans.sight import Moment
    from openrtc_tui.state.view import FleetView, WorkerRow

SEEN_WITHIN: Final = 15.0
"""Seconds in which the fleet has to show what came of a request after its answer, or after the answer was lost."""
LONGEST: Final = 3600.0
"""Seconds that a drain is given whose worker tells no deadline."""
GATED_WITHIN: Final = 30.0
"""Seconds of a boot's life in which the manifest has to be put to it."""
TAIL: Final = 60.0
"""Seconds past a worker's own deadline, its cut and its linger, until it counts as not ending."""
_YES: Final = ("started", "already")
_NAMED: Final = 3


def drain(step: DrainStep, moment: Moment) -> Decision:  # noqa: PLR0911 - a return a rule, in their order
    """The next wave, or why there is none yet.

    The first confirmed drop of a boot that this plan asked stops it. A boot is asked once; one that drains already
    is not asked at all. A boot that took the place of a drained one is not drained again: its platform would only
    start another.
    """
    progress, view, now = moment.progress, moment.view, moment.now
    found_now = fates_of(view, [asked.subject for asked in progress.asked])
    fates = list(zip(progress.asked, found_now, strict=True))
    held_up = (
        _violated([found for _, found in fates])
        or _named_again(step, progress, view)
        or _back(_anew(step, progress, view), step.version or "", progress, now)
    )
    if held_up is not None:
        return held_up
    unanswered = tuple(asked for asked, found in fates if asked.outcome is None and found.word == "taking")
    wave = max((asked.wave for asked in progress.asked), default=0)
    if unanswered:  # journaled in an earlier life: what was so then need not be so now
        again = Drain(again=unanswered, wave=wave, timeout=step.timeout)
        return _held_back([asked.subject for asked in unanswered], moment) or again
    for asked, found in fates:
        if found.word == "taking":
            return _unheeded(asked, now)
    busy = [(asked, found) for asked, found in fates if found.word not in {"over", "empty"}]
    if busy:
        return _await(busy, f"wave {wave} to be empty", step.timeout, now)
    turn, unheard = _turn(step, progress, view)
    if turn:
        subjects = tuple(turn[: step.wave])
        return _held_back(subjects, moment) or Drain(subjects=subjects, wave=wave + 1, timeout=step.timeout)
    if unheard:
        return _await_contact(unheard, progress, now)
    ending = [(asked, found) for asked, found in fates if found.word != "over"]
    if ending:
        return _await(ending, "the last wave to end", step.timeout, now)
    count = len(progress.asked)
    if not count:
        return StepDone(detail="nobody was left to drain")
    return StepDone(detail=f"{count} drained: {sight.verdict_words(found for _, found in fates)}")


def watch(step: WatchStep, moment: Moment) -> Decision:
    """Until the verdict on every boot of the version is known, also of those that somebody else drained.

    What starts anew meanwhile and takes no call is no part of it.
    """
    progress, view, now = moment.progress, moment.view, moment.now
    asked = {entry.subject.boot_id for entry in progress.asked}
    fates = answered_for(moment.plan, progress, view)
    rows = sight.living(view, step.version)
    back = _back([row for row in rows if row.boot_id not in asked], step.version, progress, now)
    if back is not None:
        return back
    open_rows = [row for row in rows if is_open(row) and not (row.boot_id not in asked and _is_idle(row))]
    unheard = [found for found in fates if found.word == "unheard"]
    if not open_rows and not unheard:
        silent = [row for row in sight.lost_meanwhile(moment.plan, view) if is_open(row)]
        if silent:
            until = max(sight.heard_by(row, progress.since) for row in silent)
            return Wait(what=f"{sight.names(silent)} to be heard again", until=until)
        stop = _violated(fates)
        return stop or StepDone(detail=sight.verdict_words(fates) if fates else "nobody was drained")
    until = max((_ends_by(row, progress.since, None) for row in open_rows), default=progress.since + 2 * TAIL)
    names = sight.names(open_rows) if open_rows else ", ".join(found.subject.key for found in unheard[:_NAMED])
    if now > until:
        return Stop(why=f"{names} of {step.version} did not end in time: what became of its calls is not known")
    calls = sum(row.calls or 0 for row in open_rows)
    return Wait(what=f"{names} of {step.version} to end ({_calls(calls)} live)", until=until)


def answered_for(plan: Plan, progress: Progress, view: FleetView) -> list[Fate]:
    """What became of every boot whose calls the verdict on *plan* is about.

    Those that it asked, those that it was made for, and with a whole version all of it that are in sight: somebody
    else may have drained them, or they were lost. What starts anew meanwhile and takes no call is no part of it. And
    of other versions what was lost since: nobody may read a proof where callers were dropped.
    """
    asked = {entry.subject.boot_id for entry in progress.asked}
    planned = (of for step in plan.steps if isinstance(step, DrainStep) for of in step.subjects)
    subjects = [entry.subject for entry in progress.asked] + [of for of in planned if of.boot_id not in asked]
    known = {subject.boot_id for subject in subjects}
    others = [
        Fate(sight.subject_of(row), sight.word_of(row), row)
        for row in view.rows
        if plan.from_version is not None and row.version == plan.from_version and row.boot_id not in known
        if is_ours(row) and not (is_open(row) and _is_idle(row))
    ]
    beside = [Fate(sight.subject_of(row), sight.word_of(row), row) for row in sight.lost_meanwhile(plan, view)]
    return fates_of(view, subjects) + others + beside


# --------------------------------------------------------------------------------------------------------- parts


def _violated(fates: Sequence[Fate]) -> Stop | None:
    dropped = [found for found in fates if found.violated]
    if not dropped:
        return None
    names = ", ".join(f"{found.subject.key} dropped {_calls(found.violated)}" for found in dropped[:_NAMED])
    return Stop(why=f"{names}: nobody else is drained", word="violated")


def _named_again(step: DrainStep, progress: Progress, view: FleetView) -> Stop | None:
    """Somebody lets the version take calls again since this plan took them from it: a drain cannot be taken back."""
    held = sight.later_manifest(view, progress.seq, step.version) if step.version is not None else None
    if held is None:
        return None
    why = f"somebody else published manifest {held.seq}, which names {step.version} again: nobody more is drained"
    return Stop(why=why)


def _back(rows: Sequence[WorkerRow], version: str, progress: Progress, now: float) -> Stop | Wait | None:
    """What to say of *rows*, which started anew as the version that is drained: those that take calls stop the plan.

    One that has just started is given the time to be shown the manifest.
    """
    back = [row for row in rows if accepts(row) and not sight.drains(row)]
    if not back:
        return None
    ages = [row.snapshot.uptime_seconds for row in back if row.snapshot is not None]
    youngest = min((age for age in ages if age is not None), default=GATED_WITHIN)
    if progress.seq is not None and youngest < GATED_WITHIN:
        what = f"{sight.names(back)}, started anew as {version}, to show manifest {progress.seq}"
        return Wait(what=what, until=now + GATED_WITHIN - youngest)
    why = f"{sight.names(back)} came back as {version} and takes calls: let its platform run another version first"
    return Stop(why=why)


def _anew(step: DrainStep, progress: Progress, view: FleetView) -> list[WorkerRow]:
    """New boots of the version at addresses where this plan drained one."""
    if step.version is None:
        return []
    boots = {asked.subject.boot_id for asked in progress.asked}
    keys = {asked.subject.key for asked in progress.asked}
    return [row for row in sight.living(view, step.version) if row.key in keys and row.boot_id not in boots]


def _unheeded(asked: Asked, now: float) -> Wait | Stop:
    """A boot that was asked, whose answer is known, and that does not show any drain."""
    until = asked.at + SEEN_WITHIN
    key, said = asked.subject.key, asked.detail or asked.outcome or "no answer"
    if now <= until:
        return Wait(what=f"{key} to show what came of its request ({said})", until=until)
    if asked.outcome in _YES:
        return Stop(why=f"{key} said that it drains and does not")
    return Stop(why=f"{key} does not drain: {said}")


def _turn(step: DrainStep, progress: Progress, view: FleetView) -> tuple[list[Subject], list[Fate]]:
    """Whose turn it is now: who has to be asked still; and who would be, but is not heard at the moment."""
    boots = {asked.subject.boot_id for asked in progress.asked}
    keys = {asked.subject.key for asked in progress.asked}
    wanted = {subject.key: subject for subject in step.subjects if subject.boot_id not in boots}
    if step.version is not None:
        for row in sight.living(view, step.version):
            if row.key not in keys and row.actionable:
                wanted[row.key] = sight.subject_of(row)
    turn: list[Subject] = []
    unheard: list[Fate] = []
    for found in fates_of(view, wanted.values()):
        if found.row is not None and not is_ours(found.row):
            continue
        if found.word == "taking" and found.row is not None:
            turn.append(sight.subject_of(found.row))
        elif found.word in {"stale", "unheard"}:
            unheard.append(found)
    return turn, unheard


def _held_back(subjects: Sequence[Subject], moment: Moment) -> Wait | Stop | None:
    """Why *subjects* are not asked now: they are the last workers of an agent of which nobody has typed so."""
    progress, view, now = moment.progress, moment.view, moment.now
    acted = {subject.boot_id for subject in subjects}
    asked = {entry.subject.boot_id for entry in progress.asked}
    rows = [row for row in view.rows if row.boot_id in acted and (is_ready(row) or may_accept(row))]
    others = [row for row in view.rows if row.boot_id not in acted | asked]
    alone = set(left_without(rows, [row for row in others if accepts(row)])) - moment.plan.last_of
    if not alone:
        return None
    silent = [row for row in others if row.state is WorkerState.STALE and agent_of(row) in alone]
    until = max((sight.heard_by(row, progress.at) for row in silent), default=now)
    if silent and now < until:
        return Wait(what=f"{sight.names(silent)} to be heard again", until=until)
    who = "; ".join(agent_words(agent) for agent in sorted(alone))
    return Stop(why=f"nobody else takes calls {who} now: nobody more is drained")


def _await(busy: Sequence[tuple[Asked, Fate]], what: str, timeout: float | None, now: float) -> Wait | Stop:
    until = max(_ends_by(found.row, asked.at, timeout) for asked, found in busy)
    names = ", ".join(_busy_words(found) for _, found in busy[:_NAMED])
    if len(busy) > _NAMED:
        names += f" and {len(busy) - _NAMED} more"
    if now > until:
        return Stop(why=f"{names}: not over in time, nobody else is drained")
    return Wait(what=f"{what}: {names}", until=until)


def _await_contact(unheard: Sequence[Fate], progress: Progress, now: float) -> Wait | Stop:
    until = max(max(sight.heard_by(found.row, progress.at), progress.at + TAIL) for found in unheard)
    names = ", ".join(found.subject.key for found in unheard[:_NAMED])
    if now > until:
        return Stop(why=f"{names} was neither heard nor lost in time: it was not asked to drain")
    return Wait(what=f"{names} to be heard", until=until)


def _busy_words(found: Fate) -> str:
    if found.word == "stale":
        return f"{found.subject.key} (not heard)"
    if found.word == "unheard":
        return f"{found.subject.key} (not heard yet)"
    if found.word == "empty":
        return f"{found.subject.key} (empty)"
    calls = found.row.calls if found.row is not None else None
    return f"{found.subject.key} ({'n/a' if calls is None else _calls(calls)})"


def _ends_by(row: WorkerRow | None, asked_at: float, timeout: float | None) -> float:
    """When a drain is over at the latest by the worker's own limits, with slack."""
    limits = row.snapshot.limits if row is not None and row.snapshot is not None else None
    own = limits.drain_timeout if limits is not None else None
    budget = min((limit for limit in (own, timeout) if limit is not None), default=LONGEST)
    extra = ((limits.cut_grace or 0.0) + (limits.drain_linger or 0.0)) if limits is not None else 0.0
    deadline = row.deadline if row is not None else None
    return max(asked_at + budget, deadline or 0.0) + extra + TAIL


def _is_idle(row: WorkerRow) -> bool:
    return row.calls == 0 and row.accepting is not True


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number} calls"
