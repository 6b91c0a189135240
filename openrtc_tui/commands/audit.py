"""``openrtc-tui audit verify|show``: the record of who did what, and whether it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.commands.common import note
from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_worker.contract.audit import RESERVED_NAMES
from openrtc_worker.contract.chain import ChainError, Verification, Word, read_entries, verify_chain
from openrtc_worker.contract.cloudevents import cloud_event, rfc3339
from openrtc_worker.contract.keys import PUBLIC_SUFFIX, KeyFileError, public_key_from_pem, read_public_file
from openrtc_worker.contract.text import printable, printable_tree

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EXITS: Final = {Word.OK: Exit.DONE, Word.TAMPERED: Exit.TAMPERED, Word.INCOMPLETE: Exit.INCOMPLETE}
_WORST_FIRST: Final = (Word.TAMPERED, Word.INCOMPLETE, Word.OK)
MAX_SHOWN: Final = 400
"""Characters of one field in a line for people; --json has all of it."""


def run(args: argparse.Namespace) -> int:
    """Verify or show; what was asked for goes to stdout."""
    command: Callable[[argparse.Namespace], int] = {"verify": _verify, "show": _show}[args.audit_command]
    try:
        return command(args)
    except (ChainError, KeyFileError) as error:
        raise CommandError(printable(str(error), MAX_SHOWN)) from None


# ------------------------------------------------------------------------------------------------------- verify


def _verify(args: argparse.Namespace) -> int:
    if args.checkpoint is not None and len(args.files) > 1:
        raise CommandError("--checkpoint belongs to one FILE", Exit.USAGE)
    keys = dict(map(_key, args.keys)) if args.keys else None
    checkpoint = None if args.checkpoint is None else Path(args.checkpoint).expanduser()
    words = []
    for file in args.files:
        found = verify_chain(Path(file).expanduser(), keys, checkpoint=checkpoint)
        words.append(found.word)
        print(json.dumps(_document(file, found)) if args.json else _sentence(file, found))
    return EXITS[next(word for word in _WORST_FIRST if word in words)]


def _key(name: str) -> tuple[str, Ed25519PublicKey]:
    path = Path(name).expanduser()
    try:
        return path.name.removesuffix(PUBLIC_SUFFIX), public_key_from_pem(read_public_file(path))
    except ValueError as error:
        raise KeyFileError(path, str(error)) from None


def _document(file: str, found: Verification) -> dict[str, Any]:
    return {
        "file": file,
        "word": str(found.word),
        "where": found.where,
        "lines": found.lines,
        "head": {"chain": found.head.chain, "hash": found.head.hash},
        "checkpoint": found.checkpoint,
    }


def _sentence(file: str, found: Verification) -> str:
    name = printable(file, MAX_SHOWN)
    if found.where is not None:
        return f"{found.word}: {name}: {printable(found.where, MAX_SHOWN)}"
    count = "1 line" if found.lines == 1 else f"{found.lines} lines"
    vouched = (
        f"a signed checkpoint vouches for line {found.checkpoint}"
        if found.checkpoint is not None
        else "no checkpoint was checked, so a cut tail would not show (--key)"
    )
    return f"{found.word}: {name}: {count}, head {found.head.hash}; {vouched}"


# --------------------------------------------------------------------------------------------------------- show


def _show(args: argparse.Namespace) -> int:
    events: dict[str, tuple[float, str, dict[str, Any]]] = {}
    for file in args.files:
        name = Path(file).name
        for record in _records(file):
            if _is_asked_for(record, args):
                # a line is known by its hash: FILE and FILE.1 of one chain show it once
                events.setdefault(record["hash"], (_time_of(record), name, record))
    for _, name, record in sorted(events.values(), key=lambda event: event[0]):
        if args.json:
            print(json.dumps(record))
        elif args.cloudevents:
            print(json.dumps(cloud_event(record, name)))
        else:
            print(_line(record))
    return Exit.DONE


def _records(file: str) -> Iterable[dict[str, Any]]:
    damaged = 0
    for entry in read_entries(Path(file).expanduser()):
        if entry.record is None:
            damaged += 1
        else:
            yield entry.record
    if damaged:
        lines = "1 line is" if damaged == 1 else f"{damaged} lines are"
        note(f"{printable(file, MAX_SHOWN)}: {lines} damaged and left out; see openrtc-tui audit verify")


def _is_asked_for(record: dict[str, Any], args: argparse.Namespace) -> bool:
    return (
        (args.op is None or record.get("op_id") == args.op)
        and (args.plan is None or record.get("plan_id") == args.plan)
        and (args.event is None or str(record.get("event", "")).startswith(args.event))
    )


def _time_of(record: dict[str, Any]) -> float:
    """Unix seconds; a record without a time comes first."""
    time = record.get("timestamp")
    return float(time) if isinstance(time, (int, float)) and rfc3339(time) is not None else 0.0


def _line(record: dict[str, Any]) -> str:
    """``2026-11-21T11:40:13.403Z deployment.drain_started alice voice-a-1 started v1.0.0 op_id=…``."""
    shown = printable_tree(record, MAX_SHOWN)
    when = rfc3339(record.get("timestamp")) or "no time"
    who = " ".join(str(shown.get(name) or "-") for name in ("event", "actor", "target", "result", "version"))
    extra = "".join(f" {_value(name)}={_value(shown[name])}" for name in shown if name not in RESERVED_NAMES)
    return f"{when} {who}{extra}"


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not set(value) & set(" \"'="):
        return value
    return printable(json.dumps(value, ensure_ascii=False), MAX_SHOWN)
