"""``openrtc-tui keys``: key pairs for operators and releases, and the membership secrets of versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from openrtc_tui.commands.common import note
from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_tui.discovery.membership import read_master
from openrtc_tui.fleet_file import FleetFileError, load_fleet_file
from openrtc_tui.fleet_specs import SecretRef
from openrtc_worker.contract.keys import KeyFileError, generate_operator_key, operator_of
from openrtc_worker.contract.membership import derive_version_secret
from openrtc_worker.contract.snapshot import VERSION_PATTERN

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    """Make a key pair, or derive a version's secret."""
    return {"new": _new, "secret": _secret}[args.keys_command](args)


def _secret(args: argparse.Namespace) -> int:
    """The secret alone goes to stdout: it is what the workers of that version read."""
    if not args.version_asked:
        raise CommandError("VERSION is empty; give the version that the workers are deployed as", Exit.USAGE)
    if not VERSION_PATTERN.fullmatch(args.version_asked):
        raise CommandError(f"{args.version_asked}: no version; letters, digits and ._+- are", Exit.USAGE)
    try:
        if args.master is not None:
            master = read_master(SecretRef(file=Path(args.master).expanduser()))
        else:
            membership = load_fleet_file(args.fleet, acting=False).membership
            if membership is None:
                raise CommandError(f"{args.fleet} names no masters; give --master FILE")
            master = read_master(membership.masters[0])
    except FleetFileError as error:
        raise CommandError(str(error)) from None
    print(derive_version_secret(master, args.version_asked))
    return Exit.DONE


def _new(args: argparse.Namespace) -> int:
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
