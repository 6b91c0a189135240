"""``openrtc-tui manifest sign|show|verify``: manifests by hand, for pipelines and for looking."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_tui.fleet_file import FleetFileError, load_fleet_file
from openrtc_worker.contract import manifest as manifests
from openrtc_worker.contract.keys import (
    PUBLIC_SUFFIX,
    KeyFileError,
    OperatorKey,
    load_private_key,
    operator_of,
    public_key_from_pem,
    read_public_file,
)
from openrtc_worker.contract.manifest import Manifest, ManifestRefused
from openrtc_worker.contract.snapshot import VERSION_PATTERN, encode_json

if TYPE_CHECKING:
    import argparse

    from openrtc_tui.fleet_specs import FleetFile


def run(args: argparse.Namespace) -> int:
    """Sign, show or verify one manifest; the manifest goes to stdout, what is said of it to stderr."""
    command = {"sign": _sign, "show": _show, "verify": _verify}[args.manifest_command]
    try:
        return command(args)
    except (KeyFileError, ValueError) as error:
        raise CommandError(str(error)) from None


def _sign(args: argparse.Namespace) -> int:
    strange = [version for version in args.active if not VERSION_PATTERN.fullmatch(version)]
    if strange:
        raise CommandError(f"{', '.join(strange)}: no version; letters, digits and ._+- are", Exit.USAGE)
    twice = sorted({version for version in args.active if args.active.count(version) > 1})
    if twice:
        raise CommandError(f"{', '.join(twice)} named twice", Exit.USAGE)
    key_file = Path(args.key).expanduser() if args.key is not None else _key_file(_file(args, "--key"))
    fleet = args.for_fleet or _file(args, "--for").name
    manifest = Manifest(
        fleet=fleet,
        seq=args.seq,
        active=tuple(args.active),
        issued_at=round(time.time(), 3),
        issued_by=args.by or operator_of(key_file.stem),
    )
    token = manifests.sign_manifest(manifest, private_key=load_private_key(key_file), kid=key_file.stem)
    if args.output is None:
        print(token)
    else:
        _write(Path(args.output).expanduser(), token)
    if not args.active:
        print("this manifest names no version: no worker that obeys it takes a call", file=sys.stderr)
    return Exit.DONE


def _show(args: argparse.Namespace) -> int:
    try:
        manifest = manifests.read_unverified(_read(args.path))
    except ManifestRefused as refused:
        raise CommandError(f"{args.path}: {refused.detail}") from None
    _print(manifest)
    print("the signature was not looked at: manifest verify does", file=sys.stderr)
    return Exit.DONE


def _verify(args: argparse.Namespace) -> int:
    text = _read(args.path)
    if args.key is not None:
        keys = dict(_public(Path(path).expanduser()) for path in args.key)
    else:
        own = _key_file(_file(args, "--key"))
        public = load_private_key(own).public_key()
        keys = {own.stem: OperatorKey(kid=own.stem, operator=own.stem, public_key=public)}
    fleet = args.for_fleet or _file(args, "--for").name
    try:
        manifest = manifests.verify_manifest(text, keys=keys, fleet=fleet)
    except ManifestRefused as refused:
        raise CommandError(f"{args.path}: not accepted ({refused.reason}): {refused.detail}", Exit.REFUSED) from None
    _print(manifest)
    print("the signature is good", file=sys.stderr)
    return Exit.DONE


def _print(manifest: Manifest) -> None:
    print(encode_json(manifest).decode())


def _file(args: argparse.Namespace, instead: str) -> FleetFile:
    try:
        return load_fleet_file(args.fleet, acting=False)
    except FleetFileError as error:
        raise CommandError(f"{error}\nwithout a fleet file, {instead} is needed") from None


def _key_file(file: FleetFile) -> Path:
    if file.manifest is None:
        raise CommandError(
            f"{file.path} names no release key; give --key, or add manifest: {{key_file: release.pem}}"
        )
    return file.manifest.key_file


def _public(path: Path) -> tuple[str, OperatorKey]:
    kid = path.name.removesuffix(PUBLIC_SUFFIX)
    try:
        key = public_key_from_pem(read_public_file(path))
    except ValueError as error:
        raise CommandError(f"{path}: {error}") from None
    return kid, OperatorKey(kid=kid, operator=operator_of(kid), public_key=key)


def _read(path: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(manifests.MAX_BYTES + 1)
        else:
            with Path(path).expanduser().open("rb") as file:
                data = file.read(manifests.MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    return data.decode("ascii", "replace")


def _write(path: Path, token: str) -> None:
    """Complete or not at all: workers may be reading it at this very moment."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(f"{token}\n", encoding="ascii")
        fresh.replace(path)
    except OSError as error:
        raise CommandError(f"{path}: {(error.strerror or str(error)).lower()}") from None
