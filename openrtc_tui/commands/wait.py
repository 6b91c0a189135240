"""``openrtc-tui wait``: until a version takes calls, or until none of its calls can be lost any more."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from openrtc_tui.commands.common import PACE, exit_of, hear_all, note, open_fleet, tell, verdict_text
from openrtc_tui.commands.exits import Exit
from openrtc_tui.commands.progress import Progress
from openrtc_tui.operations.capacity import accepts
from openrtc_tui.state.verdict import combine, is_open
from openrtc_tui.state.view import WorkerState
from openrtc_tui.widgets.words import count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from openrtc_tui.live import LiveFleet
    from openrtc_tui.state.view import FleetView, Verdict


def run(args: argparse.Namespace) -> int:
    """Wait; the exit code tells how it ended."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    live = open_fleet(args)
    version: str = args.version_asked
    async with live.running():
        await hear_all(live)
        if args.drained:
            return await _until_drained(live, version, args.timeout)
        return await _until_accepting(live, version, args.timeout)


async def wait_for(
    live: LiveFleet, done: Callable[[FleetView], bool], patience: float | None
) -> tuple[FleetView, bool]:
    """The first view that is *done*; or, after *patience* seconds, the last one, and False."""
    until = time.monotonic() + patience if patience is not None else float("inf")
    while True:
        view = live.view()
        if done(view):
            return view, True
        left = until - time.monotonic()
        if left <= 0:
            return view, False
        await live.changed(min(1.0, left))
        await asyncio.sleep(min(PACE, max(0.0, left)))


async def _until_accepting(live: LiveFleet, version: str, patience: float | None) -> int:
    def takers(view: FleetView) -> list[str]:
        return [row.key for row in view.rows if row.version == version and accepts(row)]

    view, done = await wait_for(live, lambda view: bool(takers(view)), patience)
    if done:
        tell(f"{version} takes calls on {', '.join(takers(view))}")
        return Exit.DONE
    note(f"no worker of {version} takes calls yet ({_states(view, version)})")
    return Exit.TIMED_OUT


async def _until_drained(live: LiveFleet, version: str, patience: float | None) -> int:
    progress = Progress(lambda row: row.version == version)

    def done(view: FleetView) -> bool:
        progress.tell_changes(view)
        # a worker that nobody heard yet may be of this version; it is given up as lost within seconds
        unheard = any(row.snapshot is None and row.state is WorkerState.STARTING for row in view.rows)
        return not unheard and not any(is_open(row) for row in view.rows if row.version == version)

    view, ended = await wait_for(live, done, patience)
    if not ended:
        note(f"timed out: {_states(view, version)}, {count(progress.calls(view), 'call')} live")
        return Exit.TIMED_OUT
    verdict = _verdict_of(live, view, version)
    if verdict is None:
        note(f"no worker of {version} was heard: nothing is proven")
        return Exit.UNPROVEN
    rollout = view.rollout
    reason = view.verdict_reason if rollout is not None and rollout.from_version == version else ""
    tell(f"{verdict_text(verdict)}{f'   {reason}' if reason else ''}")
    return exit_of(verdict)


def _verdict_of(live: LiveFleet, view: FleetView, version: str) -> Verdict | None:
    """The rollout's verdict, where *version* is the one being left; else what its own boots add up to."""
    rows = [row for row in view.rows if row.version == version]
    boots = [boot for boot in live.fleet.boots.values() if boot.version == version]
    if not rows and not boots:
        return None
    rollout = view.rollout
    if rollout is not None and rollout.from_version == version:
        return rollout.verdict
    named = {boot.boot_id for boot in boots}
    verdicts = [(boot.verdict, boot.settled) for boot in boots]
    verdicts += [(row.verdict, row.settled) for row in rows if row.boot_id not in named]
    return combine(verdicts)


def _states(view: FleetView, version: str) -> str:
    states = [f"{row.key} {row.state}" for row in view.rows if row.version == version]
    if not states:
        return f"no worker of {version} was heard"
    return ", ".join(states[:8]) + (f" and {len(states) - 8} more" if len(states) > 8 else "")
