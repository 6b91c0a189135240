"""``openrtc-tui drain``, ``cordon`` and ``uncordon``: what the keys do, with the same confirmations."""

from __future__ import annotations

import asyncio
import difflib
import shutil
from typing import TYPE_CHECKING, Final

from openrtc_tui.commands.common import check_operator, exit_of, hear_all, note, open_fleet, tell, verdict_text
from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_tui.commands.progress import Progress
from openrtc_tui.commands.prompt import ask, can_ask
from openrtc_tui.commands.wait import wait_for
from openrtc_tui.operations.intent import confirm, intend, last_words
from openrtc_tui.state.verdict import combine
from openrtc_tui.widgets.words import count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from openrtc_tui.live import LiveFleet
    from openrtc_tui.operations.batch import BatchResult
    from openrtc_tui.operations.intent import Intent, Refusal
    from openrtc_tui.operations.request import Answer, Outcome
    from openrtc_tui.state.view import FleetView, Verdict

_STOPPED: Final[dict[Outcome, Exit]] = {
    "refused": Exit.REFUSED,
    "unreached": Exit.ERROR,
    "unknown": Exit.UNPROVEN,
}


def run(args: argparse.Namespace) -> int:
    """Ask the workers; with ``--wait`` see the drain to its end."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    if args.read_only:
        raise CommandError(f"--read-only: {args.action} is not asked of any worker", Exit.REFUSED)
    live = open_fleet(args, acting=True)
    check_operator(live, args.action)
    async with live.running():
        return await _act(args, live, await hear_all(live))


async def _act(args: argparse.Namespace, live: LiveFleet, view: FleetView) -> int:
    keys = _keys(args, view)
    own_timeout: float | None = getattr(args, "drain_timeout", None)
    intent = intend(
        view,
        keys,
        args.action,
        timeout=own_timeout if own_timeout is not None else live.file.drain_timeout,
        whole_version=args.version_asked if not args.names else None,
        shorten=own_timeout is not None,
    )
    done = [refusal.key for refusal in intent.refusals if refusal.cause == "done"]
    barred = [refusal for refusal in intent.refusals if refusal.cause != "done"]
    for refusal in intent.refusals:
        (tell if refusal.cause == "done" else note)(f"{refusal.key}  {refusal.why}")
    if barred and (args.names or not intent.subjects):
        # whoever names workers means all of them; of a whole version the others are drained all the same
        raise CommandError(f"nothing was asked of any worker: {_names(barred)}", Exit.REFUSED)
    if intent.subjects:
        await _confirmed(args, intent)
        confirmed = confirm(intent, live.view(), reason=args.reason)
        if confirmed.refusals:
            for refusal in confirmed.refusals:
                note(f"{refusal.key}  {refusal.why}")
            raise CommandError("the fleet changed meanwhile: nothing was asked of any worker", Exit.REFUSED)
        try:
            result = await live.send(confirmed.asks, _tell_answer, lambda asked, text: note(f"{asked.key}  {text}"))
        except PermissionError as refusal:  # the fleet file was edited to read_only meanwhile
            raise CommandError(str(refusal), Exit.REFUSED) from None
        if result.stopped_by is not None or result.not_asked:
            return _stopped(result, args.action)
    code = Exit.REFUSED if barred else Exit.DONE
    if not getattr(args, "wait", False):
        return code
    boots = {row.boot_id for row in view.rows if row.key in done and row.boot_id is not None}
    boots |= {subject.boot_id for subject in intent.subjects}
    ended = await _see_it_end(live, boots, args.timeout)
    return ended if ended is not Exit.DONE else code


def _keys(args: argparse.Namespace, view: FleetView) -> list[str]:
    """The rows that the arguments mean."""
    rows = {row.key: row for row in view.rows if not row.closed}
    wanted: str | None = args.version_asked
    if not args.names:
        keys = [row.key for row in rows.values() if row.version == wanted]
        for row in rows.values():
            if row.snapshot is None:
                note(f"{row.key}  was not heard, so nobody knows its version: it is left out")
        if not keys:
            raise CommandError(f"no worker of {wanted} was heard")
        return keys
    for name in args.names:
        if name not in rows:
            near = difflib.get_close_matches(name, rows, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(list(rows)[:8]) or 'none'}"
            raise CommandError(f"no worker is named {name}; {hint}", Exit.USAGE)
    other = [rows[name] for name in args.names if wanted is not None and rows[name].version != wanted]
    if other:
        runs = ", ".join(f"{row.key} runs {row.version or 'no version that is known'}" for row in other)
        raise CommandError(f"nothing was asked of any worker: {runs}, not {wanted}", Exit.REFUSED)
    return list(args.names)


# --------------------------------------------------------------------------------------------------- confirming


async def _confirmed(args: argparse.Namespace, intent: Intent) -> None:
    """Return when the operator says yes, by option or on the terminal.

    Raises:
        CommandError: they do not, or nobody is there to ask.
    """
    challenge = intent.challenge
    last = challenge is not None and challenge.kind == "last"
    if last and not getattr(args, "last_worker", False):
        if not can_ask():
            raise CommandError(f"refused: {last_words(intent)}; --last-worker does it all the same", Exit.REFUSED)
    elif args.yes:
        return
    elif not can_ask():
        raise CommandError("no terminal to confirm on: give --yes", Exit.REFUSED)
    _explain(intent)
    if challenge is None or (last and getattr(args, "last_worker", False)):
        said_yes = (await ask(f"{args.action.capitalize()}? [y/N] ")).lower() in {"y", "yes"}
    else:
        said_yes = await ask(f"Type {challenge.text} to {args.action}: ") == challenge.text
    if not said_yes:
        raise CommandError("not confirmed: nothing was asked of any worker", Exit.REFUSED)


def _explain(intent: Intent) -> None:
    """The lines of the screen's confirmation."""
    from openrtc_tui.widgets.confirmation import fact_lines, title_line
    from openrtc_tui.widgets.paint import Look

    width = min(100, shutil.get_terminal_size().columns)
    for line in (title_line(intent, width), *fact_lines(intent, Look(), width)):
        note("".join(span.text for span in line).rstrip())


# ------------------------------------------------------------------------------------------------------ results


def _tell_answer(answer: Answer) -> None:
    refused = f" ({answer.reason})" if answer.reason else ""
    (tell if answer.done else note)(f"{answer.ask.key}  {answer.outcome}: {answer.detail}{refused}")


def _stopped(result: BatchResult, action: str) -> int:
    stopped_by = result.stopped_by
    asked = [answer.ask.key for answer in result.answers if answer.done]
    if asked:
        note(f"{action} was taken by {', '.join(asked)}")
    if result.not_asked:
        note(f"not asked any more: {', '.join(ask.key for ask in result.not_asked)}")
    return _STOPPED[stopped_by.outcome] if stopped_by is not None else Exit.ERROR


async def _see_it_end(live: LiveFleet, boots: set[str], patience: float | None) -> Exit:
    """Wait until these boots can lose no call any more, at most *patience* seconds, and tell what came of them."""
    progress = Progress(lambda row: row.boot_id in boots)
    standings: dict[str, tuple[Verdict, bool]] = {}

    def done(view: FleetView) -> bool:
        progress.tell_changes(view)
        for boot_id in boots & live.fleet.boots.keys():  # not from the rows: one that was proven may be gone
            boot = live.fleet.boots[boot_id]
            standings[boot_id] = (boot.verdict, boot.settled)
        return all(settled for _, settled in standings.values())

    view, ended = await wait_for(live, done, patience)
    if not ended:
        note(f"timed out with {count(progress.calls(view), 'call')} live; the drain goes on")
        return Exit.TIMED_OUT
    verdict = combine(standings.values())
    tell(verdict_text(verdict))
    return exit_of(verdict)


def _names(refusals: Sequence[Refusal]) -> str:
    return ", ".join(refusal.key for refusal in refusals)
