"""``openrtc-tui check FLEET``: all that is wrong with a fleet file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_tui.discovery.membership import verifier_of
from openrtc_tui.discovery.static import access_of
from openrtc_tui.fleet_file import FleetFileError, fleet_file_schema, load_fleet_file

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    """Check the file as a start would; nothing is asked of any worker."""
    if args.schema:
        print(json.dumps(fleet_file_schema(), indent=2))
        return Exit.DONE
    try:
        fleet = load_fleet_file(args.path or args.fleet, acting=not args.read_only)
        access_of(fleet)
        verifier_of(fleet)
    except FleetFileError as error:
        raise CommandError(str(error)) from None
    workers = "1 worker" if len(fleet.workers) == 1 else f"{len(fleet.workers)} workers"
    print(f"{fleet.path}: ok, fleet {fleet.name} with {workers}")
    return Exit.DONE
