"""``promote``, ``rollback``, ``drain --wave`` and ``resume``: plans, as the keys make and carry them out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from openrtc_tui.commands.common import check_operator, hear_all, note, open_fleet, tell, verdict_text
from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_tui.commands.prompt import ask, can_ask
from openrtc_tui.operations.intent import LAST
from openrtc_tui.operations.plans import words
from openrtc_tui.operations.plans.interlocks import LEFT_BEFORE
from openrtc_tui.operations.plans.plan import PublishStep
from openrtc_tui.operations.plans.sight import lost_meanwhile, names
from openrtc_tui.state.verdict import combine
from openrtc_tui.state.view import Verdict, VerdictWord
from openrtc_tui.steering import Steering
from openrtc_tui.watched import CannotSteer
from openrtc_tui.widgets.words import clock_time, count, time_left

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable

    from openrtc_tui.live import LiveFleet
    from openrtc_tui.operations.plans.plan import Plan, Run
    from openrtc_tui.state.boot import Boot

LOOK: Final = 0.5
"""Seconds between two looks at what the plan does."""


def run(args: argparse.Namespace) -> int:
    """Make the plan, show it, carry it out to its end; the exit code tells what it came to."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    if args.read_only:
        raise CommandError(f"--read-only: {args.command} asks nothing", Exit.REFUSED)
    live = open_fleet(args, acting=True)
    check_operator(live, args.command)
    async with live.running():
        await hear_all(live)
        try:
            steering = Steering(live)
            return await (_resume if args.command == "resume" else _steer)(args, live, steering)
        except CannotSteer as problem:
            raise CommandError(str(problem), Exit.REFUSED) from None


async def _steer(args: argparse.Namespace, live: LiveFleet, steering: Steering) -> int:
    plan = await _plan(args, live, steering)
    for left in steering.interrupted():
        note(f"interrupted, and neither resumed nor given up: {words.title(left.plan)} ({left.plan.plan_id})")
    if args.plan:
        for line in words.plan_lines(plan):
            tell(line)
        return Exit.REFUSED if plan.blocked else Exit.DONE
    await _confirmed(args, plan)
    return await _see_through(args, live, steering, steering.carry_out(plan))


async def _plan(args: argparse.Namespace, live: LiveFleet, steering: Steering) -> Plan:
    reason = args.reason
    match args.command:
        case "promote":
            return await steering.plan("promote", version=args.version_asked, beside=args.beside, reason=reason)
        case "rollback":
            return await steering.plan(
                "rollback",
                version=args.version_asked,
                bad=args.bad,
                wait=not args.now,
                within=args.ready_within,
                wave=args.wave,
                timeout=args.drain_timeout,
                reason=reason,
            )
    keys = tuple(args.names)
    unknown = [key for key in keys if live.view().row(key) is None]
    if unknown:
        raise CommandError(f"no worker is named {', '.join(unknown)}", Exit.USAGE)
    version = None if keys else args.version_asked
    return await steering.plan(
        "drain", version=version, keys=keys, wave=args.wave, timeout=args.drain_timeout, reason=reason
    )


# --------------------------------------------------------------------------------------------------- confirming


async def _confirmed(args: argparse.Namespace, plan: Plan) -> None:
    """Return when the operator says yes, by option or on the terminal; raises CommandError when they do not."""
    barred = [each for each in plan.objections if each.blocks]
    if plan.blocked:
        raise CommandError(
            "\n".join(f"refused: {each.text}" for each in barred if each.override is None), Exit.REFUSED
        )
    given = {*args.overrides, *((LAST,) if getattr(args, "last_worker", False) else ())}
    missing = [each for each in barred if each.override not in given]
    if missing and not can_ask():
        told = "\n".join(f"refused: {each.text}; --override {each.override} does it all the same" for each in missing)
        raise CommandError(told, Exit.REFUSED)
    if args.yes and not missing:
        if args.command == "rollback" and args.version_asked is None:
            _refuse_the_bad_one(plan)
        return
    if not can_ask():
        raise CommandError("no terminal to confirm on: give --yes, or look first with --plan", Exit.REFUSED)
    for line in words.plan_lines(plan):
        note(line)
    typed = plan.challenge if missing or not barred else ""
    if typed:
        said_yes = await ask(f"Type {typed} to {args.command}: ") == typed
    else:
        said_yes = (await ask(f"{args.command.capitalize()}? [y/N] ")).lower() in {"y", "yes"}
    if not said_yes:
        raise CommandError("not confirmed: nothing was done", Exit.REFUSED)


def _refuse_the_bad_one(plan: Plan) -> None:
    """A rollback that is repeated without a look must not bring back what the first one left."""
    for each in plan.objections:
        if each.code == LEFT_BEFORE:
            to = plan.to_version
            raise CommandError(f"refused: {each.text}; --to {to} goes there all the same", Exit.REFUSED)


# ------------------------------------------------------------------------------------------------- carrying out


async def _see_through(args: argparse.Namespace, live: LiveFleet, steering: Steering, deed: Awaitable[Run]) -> int:
    """Carry a plan out and tell what it does; stops waiting after ``--timeout``, and leaves it to be resumed."""
    task = asyncio.ensure_future(deed)
    teller = asyncio.ensure_future(_tell(live, steering))
    try:
        done, _ = await asyncio.wait({task}, timeout=args.timeout)
        if not done:
            _say_where(steering, "timed out")
            return Exit.TIMED_OUT
        return _told(live, task.result())
    except asyncio.CancelledError:  # Ctrl-C
        _say_where(steering, "interrupted")
        raise
    finally:
        for each in (teller, task):
            each.cancel()
        await asyncio.gather(teller, task, return_exceptions=True)


def _say_where(steering: Steering, word: str) -> None:
    """Where a plan stands that nobody waits for any more, and how it goes on."""
    run = steering.run
    if run is None:
        note(f"{word}: nothing was done")
        return
    steps = len(run.plan.steps)
    note(f"{word} at step {min(run.progress.step + 1, steps)} of {steps}: {run.doing}")
    note("nothing further is asked; workers that drain go on draining. `openrtc-tui resume` goes on with the plan")


async def _tell(live: LiveFleet, steering: Steering) -> None:
    """One line on stderr for each thing that the plan begins to do or wait for."""
    told: tuple[int, str] | None = None
    while True:
        run = steering.run
        if run is not None and run.word == "running" and (run.progress.step, run.doing) != told:
            told = (run.progress.step, run.doing)
            steps = len(run.plan.steps)
            now = live.view().at
            until = f", gives up in {time_left(run.until - now)}" if run.until is not None else ""
            step = min(run.progress.step + 1, steps)
            note(f"{clock_time(now, None)}  step {step} of {steps}  {run.doing}{until}")
        await asyncio.sleep(LOOK)


def _told(live: LiveFleet, run: Run) -> Exit:
    """Say what the plan came to."""
    for line in run.done:
        note(f"done      {line}")
    for line in run.not_done:
        note(f"not done  {line}")
    title = words.title(run.plan)
    if run.word in {"running", "interrupted"}:
        note(f"{title}: interrupted: {run.why}" if run.why else f"{title}: interrupted")
        note("`openrtc-tui resume` goes on with it")
        return Exit.ERROR
    if run.word != "done":
        note(f"{title}: {run.word}: {run.why}")
        return Exit.DROPPED if run.word == "violated" else Exit.ERROR
    if run.plan.kind == "promote":
        named = next(step.active for step in reversed(run.plan.steps) if isinstance(step, PublishStep))
        who = f"{named[0]} takes the calls" if len(named) == 1 else f"{' and '.join(named)} may take calls"
        tell(f"{who} (manifest {run.progress.seq})")
        return Exit.DONE
    return _verdict(live, run)


def _verdict(live: LiveFleet, run: Run) -> Exit:
    """What the boots that were drained add up to, and with a whole version those of it that were lost before.

    What a boot had dropped already is told, and is not the plan's doing. What has started anew meanwhile and takes no
    call is no part of it, as in the plan's own last step.
    """
    boots, version = live.fleet.boots, run.plan.from_version
    subjects = {asked.subject.boot_id: asked.subject for asked in run.progress.asked}
    concerned = [
        boot
        for boot_id, boot in boots.items()
        if boot_id in subjects or (version is not None and boot.version == version and not _is_idle(boot))
    ]
    verdicts = [(boot.verdict, boot.settled) for boot in concerned]
    # a plain worker, without a boot id, is never asked: what is live there is not proven to end well
    rows = [row for row in live.view().rows if row.boot_id is None and row.version == version and row.calls != 0]
    verdicts += [(row.verdict, row.settled) for row in rows if version is not None]
    beside = lost_meanwhile(run.plan, live.view())
    verdict = combine(verdicts, [row.verdict for row in beside])
    before = sum(subject.dropped for subject in subjects.values())
    kind = run.plan.kind
    through = f"rolled back to {run.plan.to_version}" if kind == "rollback" else words.title(run.plan)
    if unseen := len(subjects.keys() - boots.keys()):
        tell(f"{through}: {verdict_text(verdict)}; {count(unseen, 'worker')} not in sight any more")
        return Exit.UNPROVEN
    tail = f", {before} of them before the plan began" if before else ""
    tail += f"; {names(beside)} went meanwhile" if beside else ""
    tell(f"{through}: {verdict_text(verdict) if verdicts or beside else 'nobody was left to drain'}{tail}")
    if (not verdicts and not beside) or verdict.word is VerdictWord.PROVEN or _only_before(verdict, before):
        return Exit.ROLLED_BACK if kind == "rollback" else Exit.DONE
    return Exit.DROPPED if verdict.word is VerdictWord.VIOLATED else Exit.UNPROVEN


def _is_idle(boot: Boot) -> bool:
    return not boot.settled and not boot.live and boot.snapshot.accepting is not True


def _only_before(verdict: Verdict, before: int) -> bool:
    """Whether whatever was dropped had been dropped when the plan was made."""
    return verdict.word is VerdictWord.VIOLATED and verdict.exact and verdict.possible <= before


# --------------------------------------------------------------------------------------------------- resuming


async def _resume(args: argparse.Namespace, live: LiveFleet, steering: Steering) -> int:
    await steering.recall()
    stopped = steering.interrupted()
    if args.plan_id is not None:
        stopped = tuple(run for run in stopped if run.plan.plan_id.startswith(args.plan_id))
    if not stopped:
        named = f" {args.plan_id}" if args.plan_id is not None else ""
        raise CommandError(f"no plan{named} is interrupted")
    if len(stopped) > 1:
        for run in stopped:
            note(f"{run.plan.plan_id}  {words.title(run.plan)}")
        raise CommandError("several plans are interrupted: name one", Exit.USAGE)
    (run,) = stopped
    plan = run.plan
    note(f"{plan.plan_id}  {words.title(plan)}, interrupted at step {run.progress.step + 1} of {len(plan.steps)}")
    for step in plan.steps[run.progress.step :]:
        note(f"not done  {words.step_words(step)}")
    if args.plan:
        return Exit.DONE
    verb = "Give it up" if args.give_up else "Go on"
    if not args.yes:
        if not can_ask():
            raise CommandError("no terminal to confirm on: give --yes", Exit.REFUSED)
        if (await ask(f"{verb}? [y/N] ")).lower() not in {"y", "yes"}:
            raise CommandError("not confirmed: nothing was done", Exit.REFUSED)
    if args.give_up:
        await steering.abandon(plan.plan_id)
        tell(f"{plan.plan_id}  given up: what was done stays done")
        return Exit.DONE
    return await _see_through(args, live, steering, steering.resume(plan.plan_id))
