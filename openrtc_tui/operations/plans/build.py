"""From what an operator wants to a plan: what would be done, and what speaks against it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

import msgspec

from openrtc_tui.operations.capacity import accepts, is_ours, lacks, may_accept, needs_of, rooms
from openrtc_tui.operations.intent import intend
from openrtc_tui.operations.plans import interlocks, sight
from openrtc_tui.operations.plans.plan import (
    DrainStep,
    Objection,
    Plan,
    PublishStep,
    QuietStep,
    ReadyStep,
    Room,
    StartStep,
    Step,
    Subject,
    WatchStep,
    new_plan_id,
)
from openrtc_tui.operations.plans.versions import PlanError, checked, rollback_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from openrtc_tui.operations.capacity import Lack
    from openrtc_tui.operations.intent import Intent
    from openrtc_tui.operations.plans.plan import Need
    from openrtc_tui.operations.platforms.platform import Description
    from openrtc_tui.state.view import FleetView, WorkerRow

__all__ = ["PlanError", "PlatformFacts", "plan_drain", "plan_promote", "plan_rollback", "rollback_versions"]

WAVE: Final = 5
"""Workers that are drained at once, where nobody says."""
QUIET_WITHIN: Final = 60.0
"""Seconds in which every worker of a version has to show the manifest that does not name it."""
READY_WITHIN: Final = 600.0
"""Seconds in which the good version has to be ready, where nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformFacts:
    """What a platform said of bringing the good version up: asked before the plan is made."""

    name: str
    ends_other: bool
    description: Description
    objections: tuple[Objection, ...] = ()


def plan_drain(
    view: FleetView,
    *,
    keys: Iterable[str] = (),
    version: str | None = None,
    wave: int = WAVE,
    timeout: float | None = None,
    reason: str | None = None,
    operator: str | None = None,
) -> Plan:
    """Drain workers in waves.

    Args:
        view: the fleet now.
        keys: the rows to drain; not used with *version*.
        version: drain every worker of it, also those that appear until the plan's drain is through.
        wave: how many at once.
        timeout: seconds, sent with each drain; a worker takes it only when it is shorter than its own.
        reason: for the audit.
        operator: who asks.

    Raises:
        PlanError: there is nobody to drain.
    """
    if version is not None:
        keys = [row.key for row in sight.living(view, checked(version))]
    intent = intend(view, keys, "drain", timeout=timeout, whole_version=version)
    subjects, rows = _subjects(view, intent)
    if not subjects:
        why = "; ".join(f"{refusal.key} {refusal.why}" for refusal in intent.refusals[:3])
        raise PlanError(f"nobody to drain: {why}" if why else f"no worker of {version or 'these'} is there to drain")
    objections = (
        *interlocks.outage(view),
        *interlocks.last_workers(intent.last_of),
        *_not_asked(view, intent, version),
        *interlocks.of_drains(rows, timeout),
    )
    steps: list[Step] = [DrainStep(subjects=subjects, wave=max(1, wave), version=version, timeout=timeout)]
    if version is not None:
        steps.append(WatchStep(version=version))
    drained = {subject.key for subject in subjects}
    return Plan(
        plan_id=new_plan_id(),
        kind="drain",
        fleet=view.fleet,
        made_at=view.at,
        steps=tuple(steps),
        from_version=version,
        objections=objections,
        calls=intent.calls,
        calls_known=intent.calls_known,
        oldest_seconds=intent.oldest_seconds,
        before=rooms(view.rows),
        after=rooms(row for row in view.rows if row.key not in drained),
        challenge=interlocks.challenge(objections, intent.challenge.text if intent.challenge else ""),
        reason=interlocks.audited_reason(reason, objections),
        operator=operator,
    )


def plan_promote(
    view: FleetView,
    version: str,
    *,
    publishes: bool,
    beside: Iterable[str] = (),
    reread: bool = False,
    reason: str | None = None,
    operator: str | None = None,
) -> Plan:
    """Let *version* take new calls, alone or with those *beside* it. Nothing is drained: publishing takes it back.

    Args:
        view: the fleet now.
        version: who takes the calls from then on.
        publishes: whether the fleet file says how manifests are published.
        beside: versions that may go on to take calls: what to publish before a platform starts a new version and
            ends the old one in the same breath.
        reread: whether workers read them by themselves, each at its own moment: then both versions are named until
            enough of the new one take calls, or for some seconds nobody would.
        reason: for the audit.
        operator: who asks.

    Raises:
        PlanError: this fleet has no manifest to publish.
    """
    checked(version)
    if not publishes:
        raise PlanError(
            "promoting means publishing a manifest: name manifest: in the fleet file, or drain the other version"
        )
    active = tuple(dict.fromkeys((version, *map(checked, beside))))
    left = [row for row in _left_by_manifest(view, version) if row.version not in active]
    others = sorted({row.version for row in left if row.version is not None})
    needs = needs_of(left)
    # where nobody is closed nobody has to be ready: the version may not even be there yet
    short = lacks([row for row in view.rows if row.version in active], needs) if left or len(active) == 1 else ()
    objections = (
        *interlocks.outage(view),
        *interlocks.lacking(short, version),
        *interlocks.leaving(view, version, short=bool(short)),
        *_untagged(left),
    )
    switch = (
        _switch(view, version, others, needs, overlaps=reread and not short)
        if len(active) == 1
        else [PublishStep(active=active, needs=needs, widens=True)]
    )
    quiet = (QuietStep(version=other, within=QUIET_WITHIN) for other in others)
    return Plan(
        plan_id=new_plan_id(),
        kind="promote",
        fleet=view.fleet,
        made_at=view.at,
        steps=(*switch, *quiet),
        to_version=version,
        from_version=_left_version(view, version, others) if len(active) == 1 else None,
        objections=objections,
        **_touched(left),
        before=rooms(view.rows),
        after=_after_switch(view, active),
        challenge=interlocks.challenge(objections, ""),
        reason=interlocks.audited_reason(reason, objections),
        operator=operator,
    )


def plan_rollback(
    view: FleetView,
    to: str | None = None,
    *,
    publishes: bool,
    reread: bool = False,
    bad: str | None = None,
    history: Sequence[Sequence[str]] = (),
    left_before: str | None = None,
    platform: PlatformFacts | None = None,
    wait: bool = True,
    within: float = READY_WITHIN,
    wave: int = WAVE,
    timeout: float | None = None,
    reason: str | None = None,
    operator: str | None = None,
) -> Plan:
    """Back to the version *to*: it takes the new calls, the bad one drains.

    Args:
        view: the fleet now.
        to: the version to go back to; None: the one that was active before.
        publishes: whether the fleet file says how manifests are published. Without one there is no instant switch:
            the good version's workers are waited for, then the bad ones drain all at once.
        reread: whether workers read manifests by themselves, each at its own moment (:func:`plan_promote`).
        bad: the version to leave; None: the one that takes calls now.
        history: ``active`` of the manifests that were published, the oldest first.
        left_before: the version that the last rollback left.
        platform: what the fleet's platform said of starting the good version; None: the fleet file names none.
        wait: False: switch at once, ready or not, which needs a typed override where it is not.
        within: seconds in which the good version has to be ready once it was asked for.
        wave: how many workers drain at once.
        timeout: seconds, sent with each drain.
        reason: for the audit.
        operator: who asks.

    Raises:
        PlanError: it cannot be told which version to go back to, or which to leave.
    """
    good, bad = rollback_versions(view, to, bad=bad, history=history)
    leaving = [row for row in view.rows if row.version == bad and not row.closed and is_ours(row) and row.boot_id]
    left = {row.key: row for row in (*leaving, *(_left_by_manifest(view, good) if publishes else ()))}
    needs = needs_of(left.values())
    short = _lacks(view, good, needs)
    start = _start(good, bad, platform, short=bool(short), publishes=publishes) if wait else ()
    steps: list[Step] = []
    widened = bool(publishes and start and platform is not None and platform.ends_other)
    if widened:
        steps.append(PublishStep(active=(good, bad), widens=True))
    steps += start
    if (short and wait) or start:
        steps.append(ReadyStep(version=good, needs=needs, within=within))
    if publishes:
        overlaps = reread and (wait or not short)
        steps += _switch(view, good, (bad,), needs, overlaps=overlaps, widened=widened)
        steps.append(QuietStep(version=bad, within=QUIET_WITHIN))
    intent = intend(view, [row.key for row in leaving if sight.is_living(row)], "drain", timeout=timeout)
    subjects, rows = _subjects(view, intent)
    # without a manifest those that wait for their turn would go on taking calls
    at_once = max(1, wave) if publishes else max(1, wave, len(leaving))
    steps += [DrainStep(subjects=subjects, wave=at_once, version=bad, timeout=timeout), WatchStep(version=bad)]
    objections = (
        *interlocks.outage(view),
        *(() if wait else interlocks.lacking(short, good)),
        *(() if publishes else (*interlocks.unpublished(view, good), _NO_SWITCH)),
        *interlocks.leaving(view, good, short=bool(short)),
        *(interlocks.out_of_reach(view, good, short) if platform is None and wait else ()),
        *_of_platform(good, bad, platform, started=bool(start)),
        *_untagged(left.values() if publishes else ()),
        *_not_asked(view, intent, bad),
        *interlocks.of_drains(rows, timeout),
        *interlocks.left_before(good, left_before),
    )
    return Plan(
        plan_id=new_plan_id(),
        kind="rollback",
        fleet=view.fleet,
        made_at=view.at,
        steps=tuple(steps),
        to_version=good,
        from_version=bad,
        objections=objections,
        **_touched(leaving),
        before=rooms(view.rows),
        after=tuple(room for room in _after_switch(view, (good,), only=publishes) if room.version != bad),
        peak=platform.description.peak if platform is not None and start else None,
        challenge=interlocks.challenge(objections, good),
        reason=interlocks.audited_reason(reason, objections),
        operator=operator,
    )


_NO_SWITCH: Final = Objection(
    code="no_manifest",
    text="there is no instant switch: the fleet file has no manifest:, so the bad version takes calls until it "
    "drains, and all of its workers are asked at once",
)


# ----------------------------------------------------------------------------------------------- who is concerned


def _left_by_manifest(view: FleetView, version: str) -> list[WorkerRow]:
    """Whom a manifest that names *version* alone takes new calls from."""
    return [
        row
        for row in view.rows
        if row.version != version and sight.is_living(row) and is_ours(row) and may_accept(row)
    ]


def _lacks(view: FleetView, version: str, needs: Sequence[Need]) -> tuple[Lack, ...]:
    return lacks([row for row in view.rows if row.version == version], needs)


def _switch(
    view: FleetView,
    good: str,
    others: Sequence[str],
    needs: tuple[Need, ...],
    *,
    overlaps: bool,
    widened: bool = False,
) -> list[Step]:
    """From the *others* to *good*; what *overlaps* names both until enough of the good version take calls.

    Where they take calls already there is nothing to wait for: closing the others leaves nobody alone.
    """
    steps: list[Step] = []
    taking = [row for row in view.rows if row.version == good and accepts(row)]
    if overlaps and (widened or lacks(taking, needs)):
        if not widened:
            steps.append(PublishStep(active=(good, *others), widens=True))
        steps.append(ReadyStep(version=good, needs=needs, within=QUIET_WITHIN, taking=True))
    return [*steps, PublishStep(active=(good,), needs=needs)]


def _left_version(view: FleetView, version: str, others: Sequence[str]) -> str | None:
    if view.rollout is not None and version == view.rollout.to_version:
        return view.rollout.from_version
    return others[0] if len(others) == 1 else None


def _subjects(view: FleetView, intent: Intent) -> tuple[tuple[Subject, ...], list[WorkerRow]]:
    rows = [row for row in (view.row(subject.key) for subject in intent.subjects) if row is not None]
    return tuple(sight.subject_of(row) for row in rows), rows


# ------------------------------------------------------------------------------------------------ adding them up


class _Touched(TypedDict):
    calls: int
    calls_known: bool
    oldest_seconds: float | None


def _touched(rows: Iterable[WorkerRow]) -> _Touched:
    """The live calls that an operation has to do with."""
    rows = list(rows)
    return {
        "calls": sum(row.calls or 0 for row in rows),
        "calls_known": all(row.calls is not None for row in rows),
        "oldest_seconds": max((row.oldest_seconds for row in rows if row.oldest_seconds is not None), default=None),
    }


def _after_switch(view: FleetView, active: Sequence[str], *, only: bool = True) -> tuple[Room, ...]:
    """Capacity once *active* take the calls: with *only*, the workers of all others are there and take none."""
    return tuple(
        msgspec.structs.replace(room, workers=0, places=0) if only and room.version not in active else room
        for room in rooms(view.rows)
    )


# ---------------------------------------------------------------------------------------------------- objections


def _start(
    good: str, bad: str, platform: PlatformFacts | None, *, short: bool, publishes: bool
) -> tuple[StartStep, ...]:
    """Asking the platform: when the good version is short of workers, or its platform would undo a bare drain."""
    if platform is None:
        return ()
    undone = not publishes and platform.description.current == bad
    if not short and not undone:
        return ()
    return (StartStep(version=good, token=platform.description.token, ends_other=platform.ends_other),)


def _of_platform(good: str, bad: str, platform: PlatformFacts | None, *, started: bool) -> tuple[Objection, ...]:
    if platform is None:
        return ()
    found: list[Objection] = []
    if started:
        found.extend(platform.objections)
        known = platform.description.known
        if known and good not in known:
            text = f"{platform.name} does not know {good}: it can start {', '.join(known)}"
            found.append(Objection(code="unknown_version", text=text, blocks=True))
    elif platform.description.current == bad:
        text = f"{platform.name} still wants {bad} and starts it again where a worker ends: deploy {good} there too"
        found.append(Objection(code="platform_wants_bad", text=text))
    return tuple(found)


def _untagged(rows: Iterable[WorkerRow]) -> tuple[Objection, ...]:
    untagged = sum(row.version is None for row in rows)
    text = f"{untagged} untagged: no manifest can name workers without a version, and none of them is drained"
    return (Objection(code="untagged", text=text),) if untagged else ()


def _not_asked(view: FleetView, intent: Intent, version: str | None) -> tuple[Objection, ...]:
    """Who is left out, and why: what an operator named, or would think to be part of the version."""
    left_out = [f"{refusal.key} {refusal.why}" for refusal in intent.refusals]
    strangers = [row for row in view.rows if version is not None and row.version == version and not is_ours(row)]
    left_out += [f"{row.key} is not acted on: it may be somebody else" for row in strangers]
    return tuple(Objection(code="not_asked", text=text) for text in left_out)
