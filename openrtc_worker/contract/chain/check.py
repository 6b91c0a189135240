"""The verdict on a chain: its lines go in one after the other, what is wrong with them comes out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from openrtc_worker.contract.chain.line import GENESIS, BadLine, Head, decode_line

if TYPE_CHECKING:
    from openrtc_worker.contract.chain.checkpoint import Checkpoint


class Word(StrEnum):
    """What can be said of a chain."""

    OK = "ok"
    """Every line is as it was written, and none is missing as far as a chain or its checkpoint can tell."""
    INCOMPLETE = "incomplete"
    """What is here is as it was written, but lines are missing or the last one is unfinished."""
    TAMPERED = "tampered"
    """A line is not as it was written, or stands where it was not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The verdict on a chain, its rotated files included.

    Attributes:
        word: ``ok``, ``tampered`` or ``incomplete``.
        where: one line for people: the file, the line in it and what is wrong there; None when it is ok.
        lines: how many lines are as they were written, up to the first that was tampered with.
        head: the newest of these; compare it with one that was noted elsewhere.
        checkpoint: the number of the last line that a checkpoint with a good signature vouches for; None when
            no checkpoint was there or its signature was not checked.
    """

    word: Word
    where: str | None
    lines: int
    head: Head
    checkpoint: int | None = None

    @property
    def is_ok(self) -> bool:
        return self.word is Word.OK


class ChainCheck:
    """Takes the lines of a chain in order, and finds the first that does not fit.

    Lines that are missing make a chain incomplete where files that were moved away can explain it: in front of all,
    or between two files. Inside a file they were taken out by somebody.
    """

    def __init__(self) -> None:
        self._head: Head | None = None
        self._lines = 0
        self._tampered: str | None = None
        self._incomplete: str | None = None
        self._checkpoint: Checkpoint | None = None
        self._hash_at_checkpoint: str | None = None

    def expect(self, checkpoint: Checkpoint) -> None:
        """Hold the lines that follow against *checkpoint*."""
        self._checkpoint = checkpoint

    def take(self, data: bytes, place: str, *, opens_file: bool) -> bool:
        """The next line; False when it was tampered with: what follows it proves nothing, and nothing is to follow.

        Args:
            data: the line's bytes.
            place: what to call it when something is wrong with it: ``audit.jsonl line 12``.
            opens_file: it is the first line of a file.
        """
        try:
            line = decode_line(data)
        except BadLine as error:
            self.tampered(f"{place}: {error}")
            return False
        expected = GENESIS if self._head is None else self._head
        number = line.head.chain
        if number <= expected.chain:
            self.tampered(f"{place}: line {number} of the chain stands here after line {expected.chain}")
            return False
        if number > expected.chain + 1:
            missing = f"{place}: {_missing(expected.chain + 1, number - 1)} before it"
            if not opens_file:
                self.tampered(missing)
                return False
            self.incomplete(missing)
        elif line.prev != expected.hash:
            self.tampered(f"{place}: it does not follow the line before it")
            return False
        self._head = line.head
        self._lines += 1
        if self._checkpoint is not None and number == self._checkpoint.head.chain:
            self._hash_at_checkpoint = line.head.hash
        return True

    def tampered(self, where: str) -> None:
        self._tampered = self._tampered or where

    def incomplete(self, where: str) -> None:
        self._incomplete = self._incomplete or where

    def verdict(self) -> Verification:
        """What the lines taken so far amount to."""
        self._judge_checkpoint()
        head = self._head or GENESIS
        word = Word.TAMPERED if self._tampered else Word.INCOMPLETE if self._incomplete else Word.OK
        vouched = self._checkpoint.head.chain if self._checkpoint is not None and self._checkpoint.signed else None
        return Verification(
            word=word,
            where=self._tampered or self._incomplete,
            lines=self._lines,
            head=head,
            checkpoint=vouched,
        )

    def _judge_checkpoint(self) -> None:
        checkpoint, head = self._checkpoint, self._head or GENESIS
        if checkpoint is None or self._tampered:
            return
        if checkpoint.head.chain > head.chain:
            self.incomplete(f"{_missing(head.chain + 1, checkpoint.head.chain)} at the end")
        elif self._hash_at_checkpoint not in {None, checkpoint.head.hash}:
            self.tampered(f"line {checkpoint.head.chain} of the chain is not the one that the checkpoint names")


def _missing(first: int, last: int) -> str:
    return (
        f"line {first} of the chain is missing"
        if first == last
        else f"lines {first} to {last} of the chain are missing"
    )
