"""Reads a chain, its rotated files included: the records in order, and the verdict on them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openrtc_worker.contract.chain.check import ChainCheck, Verification
from openrtc_worker.contract.chain.checkpoint import read_checkpoint
from openrtc_worker.contract.chain.files import beside, checkpoint_text, lines_of, open_in_order
from openrtc_worker.contract.chain.line import BadLine, ChainError, decode_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Entry:
    """One line as it stands in a file. ``record`` is None when its bytes are not those that were written."""

    place: str
    record: dict[str, Any] | None
    problem: str | None = None


def read_entries(path: Path | str) -> Iterator[Entry]:
    """Every line of the chain at *path*, oldest first, damaged ones among them, one at a time.

    An unfinished last line is left out: nobody was told that it is written.

    Raises:
        ChainMissing: there is none.
        ChainError: a file cannot be read.
    """
    with ExitStack() as open_files:
        for file in [open_files.enter_context(each) for each in open_in_order(Path(path))]:
            name = Path(file.name).name
            for line in lines_of(file):
                if not line.is_whole:
                    continue
                place = f"{name} line {line.number}"
                try:
                    yield Entry(place, decode_line(line.data).record)
                except BadLine as error:
                    yield Entry(place, None, str(error))


def read_chain(path: Path | str) -> Iterator[dict[str, Any]]:
    """The records of the chain at *path*, oldest first, rotated files included; damaged lines are left out.

    Each has the keys ``chain``, ``prev`` and ``hash`` beside its own. Whether they belong together is for
    :func:`verify_chain` to say.

    Raises:
        ChainMissing: there is none.
        ChainError: a file cannot be read.
    """
    return (entry.record for entry in read_entries(path) if entry.record is not None)


def verify_chain(
    path: Path | str,
    keys: Mapping[str, Ed25519PublicKey] | None = None,
    *,
    checkpoint: Path | str | None = None,
) -> Verification:
    """The verdict on the chain at *path*, rotated files included.

    Without a checkpoint a cut tail cannot be seen: what is left is a whole chain.

    Args:
        path: the file that is written; its rotated files are found beside it.
        keys: public keys by ``kid``. With them a checkpoint must be there, and one of them must have signed it.
        checkpoint: a checkpoint that was kept elsewhere; None takes the one beside the file, where there is one.

    Raises:
        ChainMissing: there is none.
        ChainError: a file cannot be read.
    """
    check = ChainCheck()
    # before the lines: a writer at work must not seem to be behind its own checkpoint
    _expect_checkpoint(check, Path(path), keys, None if checkpoint is None else Path(checkpoint))
    with ExitStack() as open_files:
        for file in [open_files.enter_context(each) for each in open_in_order(Path(path))]:
            name = Path(file.name).name
            for line in lines_of(file):
                place = f"{name} line {line.number}"
                if not line.is_whole:
                    check.incomplete(f"{place}: unfinished; its writer was stopped there, or is at work")
                elif not check.take(line.data, place, opens_file=line.number == 1):
                    return check.verdict()
    return check.verdict()


def _expect_checkpoint(
    check: ChainCheck, path: Path, keys: Mapping[str, Ed25519PublicKey] | None, named: Path | None
) -> None:
    kept = named or beside(path, ".checkpoint")
    token = checkpoint_text(kept)
    if token is None:
        if named is not None:
            raise ChainError(f"{kept}: no such file")
        if keys is not None:
            check.incomplete(f"{kept.name}: not here, so a cut tail could not be seen")
        return
    try:
        check.expect(read_checkpoint(token, keys))
    except ValueError as error:
        check.tampered(f"{kept.name}: {error}")
