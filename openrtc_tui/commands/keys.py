"""``openrtc-tui keys new NAME``: a key pair for an operator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from openrtc_tui.commands.common import note
from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_worker.contract.keys import KeyFileError, generate_operator_key, operator_of

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    """Make the two files, or none; both paths go to stdout."""
    try:
        operator = operator_of(args.name)
        folder = Path(args.dir).expanduser()  # a shell leaves the ~ of --dir=~/keys as it is
        _make_folder(folder)
        private, public = generate_operator_key(args.name, folder)
    except (KeyFileError, ValueError, RuntimeError) as error:  # RuntimeError: the home is not known
        raise CommandError(str(error)) from None
    print(private)
    print(public)
    note(f"keep {private.name}: operator: {{name: {operator}, key_file: {private}}}")
    note(f"give {public.name} to the workers: in the folder that OPENRTC_OPERATOR_KEYS names")
    return Exit.DONE


def _make_folder(folder: Path) -> None:
    """Make *folder* and what is missing above it, for the owner alone."""
    try:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise CommandError(f"{folder}: this folder is not there and cannot be made: {why}") from None
