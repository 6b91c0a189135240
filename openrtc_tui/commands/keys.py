"""``openrtc-tui keys new NAME``: a key pair for an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_tui.commands.common import note
from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_worker.contract.keys import KeyFileError, generate_operator_key, operator_of

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    """Make the two files, or none; both paths go to stdout."""
    try:
        private, public = generate_operator_key(args.name, args.dir)
    except KeyFileError as error:
        raise CommandError(str(error)) from None
    print(private)
    print(public)
    note(f"keep {private.name}: operator: {{name: {operator_of(args.name)}, key_file: {private}}}")
    note(f"give {public.name} to the workers: in the folder that OPENRTC_OPERATOR_KEYS names")
    return Exit.DONE
