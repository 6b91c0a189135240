"""``openrtc-tui [FLEET]``: the screen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

from openrtc_tui.commands.exits import CommandError, Exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from openrtc_tui.fleet_file import FleetFile
    from openrtc_tui.operations.plans.plan import Run
    from openrtc_tui.session import FleetSession
    from openrtc_tui.state.view import FleetView
    from openrtc_tui.widgets.paint import Look


def run(args: argparse.Namespace) -> int:
    """Show the fleet until somebody leaves; the exit code tells how it ended."""
    require_terminal()
    return show(args.fleet, read_only=args.read_only, ascii_only=args.ascii, farewell=drains_go_on)


def require_terminal() -> None:
    """Raise where there is nothing to draw on."""
    streams = (sys.__stdin__, sys.__stderr__)
    if not all(stream is not None and stream.isatty() for stream in streams):
        raise CommandError(
            "the dashboard needs a terminal; without one, `openrtc-tui status --watch` tells the same in lines",
            Exit.USAGE,
        )
    if os.environ.get("TERM") == "dumb":  # Textual 8.2.8 freezes on it, deaf to keys and signals
        raise CommandError(
            "TERM=dumb names a terminal that cannot place a character; set the TERM of yours (xterm-256color),"
            " or use `openrtc-tui status --watch`",
            Exit.USAGE,
        )


def show(
    path: str,
    *,
    read_only: bool,
    ascii_only: bool,
    farewell: Callable[[FleetView], str] | None = None,
    session_of: Callable[[FleetFile], FleetSession] | None = None,
    leaving: str | None = None,
) -> int:
    """Open the dashboard on the fleet file at *path*.

    *farewell* is said when its screen has closed; *leaving* is what the help says that leaving does, where drains
    do not go on.
    """
    from openrtc_tui.fleet_file import FleetFileError, load_fleet_file
    from openrtc_tui.session import FleetSession
    from openrtc_tui.terminal import look_of_terminal

    if os.environ.get("NO_COLOR") == "":
        del os.environ["NO_COLOR"]  # an empty one does not count, but Textual only looks whether it is there
    try:
        look = look_of_terminal(ascii_only=ascii_only)
        file = load_fleet_file(path, acting=not read_only)
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    except FleetFileError as error:
        raise CommandError(str(error)) from None
    session = session_of(file) if session_of is not None else FleetSession(file, read_only=read_only)
    code = asyncio.run(_run(session, look, leaving))
    if farewell is not None:
        with contextlib.suppress(OSError):  # the terminal may be gone
            for line in last_words(session, farewell):
                print(line, file=sys.stderr)
    return code


async def _run(session: FleetSession, look: Look, leaving: str | None) -> int:
    from openrtc_tui.app import DeployApp
    from openrtc_tui.terminal import HardyDriver, hung_up, on_signals

    app = DeployApp(session, look, driver_class=HardyDriver, terminal_gone=hung_up, leaving=leaving)
    give_back = on_signals(app.stop)
    try:
        code = await app.run_async()
    finally:
        give_back()
    return code if code is not None else int(Exit.ERROR)


def last_words(session: FleetSession, farewell: Callable[[FleetView], str]) -> Iterator[str]:
    """What is said once the screen has closed, line by line."""
    yield farewell(session.view())
    run = session.steering.run if session.steering is not None else None
    # leaving has interrupted the plan that was under way
    if run is not None and run.word in {"running", "interrupted"}:
        yield plan_stands_still(run)


def plan_stands_still(run: Run) -> str:
    """What is said of a plan that was under way: what was asked goes on, and nothing further is."""
    from openrtc_tui.widgets.rollout import name_of

    step, steps = run.progress.step + 1, len(run.plan.steps)
    return (
        f"The {name_of(run.plan)} stands still at step {min(step, steps)} of {steps}: `openrtc-tui resume`, or r in"
        " the dashboard, goes on with it."
    )


def drains_go_on(view: FleetView) -> str:
    """What is said when the screen has closed: nobody should think that leaving stopped anything."""
    draining = [row for row in view.rows if row.state == "draining"]
    if not draining:
        return "The dashboard is closed; the workers go on as they are."
    calls = sum(row.calls or 0 for row in draining)
    workers = "1 worker goes" if len(draining) == 1 else f"{len(draining)} workers go"
    return f"The dashboard is closed; {workers} on draining, with {calls} call{'' if calls == 1 else 's'} live."
