"""One line of a chained file: how it is made, linked to the line before, and known again. Pure.

A line is one JSON object in ASCII that ends in a newline::

    {"chain":17,"prev":"<hash of line 16>","seq":…,"timestamp":…,"event":…,…,"hash":"<64 hex digits>"}

``chain`` counts the lines of the whole chain from 1, rotated files included. ``hash`` is the SHA-256 of the line's
bytes in front of ``,"hash":``; ``prev`` is the ``hash`` of the line before, 64 zeros in the first one.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LINE_BYTES: Final = 1 << 20
"""The longest line, its newline included. A longer record is refused, a longer line in a file is damage."""

LINKS: Final = frozenset({"chain", "prev", "hash"})
"""The keys that the chain itself writes; no record may have them."""

OPENING: Final = b'{"chain":'
"""How every line begins: what begins otherwise was never ours to touch."""

_HASH: Final = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_HASH_BYTES: Final = len(b',"hash":""}') + 64
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class ChainError(Exception):
    """A chained file cannot be used; one line that says why and, where one thing helps, what to do."""


class ChainMissing(ChainError):  # noqa: N818 - nothing is wrong where nothing was written yet
    """There is no chain: neither the file nor one that was rotated away."""


class RecordRefused(ChainError):  # noqa: N818 - the record is at fault, not the file
    """No line can hold a record: it is no JSON, too long, or has a key of the chain's own."""


class BadLine(ValueError):  # noqa: N818 - a verdict on bytes, told to people as it stands
    """Bytes that are no line of a chain; the text says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest line of a chain: its number and its ``hash``."""

    chain: int
    hash: str


GENESIS: Final = Head(0, "0" * 64)
"""The head of a chain without a line."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line whose bytes are as they were written. ``record`` is the whole object, the links among its keys."""

    head: Head
    prev: str
    record: dict[str, Any]


def encode_line(record: Mapping[str, Any], after: Head) -> tuple[bytes, Head]:
    """The bytes of *record* as the line after *after*, its newline included, and the head that it makes.

    What JSON does not know becomes its ``str()``.

    Raises:
        ValueError: the record has a key of :data:`LINKS`, cannot be written as JSON, or is too long.
    """
    taken = LINKS & record.keys()
    if taken:
        raise ValueError(f"a record's key may not be {', '.join(sorted(taken))}")
    number = after.chain + 1
    try:
        text = json.dumps({"chain": number, "prev": after.hash, **record}, default=str, allow_nan=False, **_COMPACT)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"a record that is no JSON: {error}") from None
    body = text[:-1].encode("ascii")
    digest = hashlib.sha256(body).hexdigest()
    line = b'%b,"hash":"%b"}\n' % (body, digest.encode("ascii"))
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"a record of {len(line)} bytes: a line holds at most {MAX_LINE_BYTES}")
    return line, Head(number, digest)


def decode_line(data: bytes) -> Line:
    """The line that *data* is, without its newline.

    Raises:
        BadLine: its bytes are not as they were written, or it never was a line of a chain.
    """
    if len(data) >= MAX_LINE_BYTES:
        raise BadLine("longer than any line of a chain")
    match = _HASH.fullmatch(data, max(0, len(data) - _HASH_BYTES))
    if not data.startswith(OPENING) or match is None:
        raise BadLine("not a line of a chain")
    body = data[: match.start()]
    digest = hashlib.sha256(body).hexdigest()
    if digest.encode("ascii") != match[1]:
        raise BadLine("its bytes are not those that were written")
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        raise BadLine("not JSON") from None
    number, prev = record["chain"], record.get("prev")
    if type(number) is not int or number < 1 or not isinstance(prev, str) or not _DIGEST.fullmatch(prev):
        raise BadLine("without its place in the chain")
    return Line(Head(number, digest), prev, record)


def was_line(data: bytes) -> bool:
    """Whether *data* begins or ends as a line of a chain does, whatever has become of it since."""
    return data.startswith(OPENING) or _HASH.fullmatch(data, max(0, len(data) - _HASH_BYTES)) is not None


_COMPACT: Final[dict[str, Any]] = {"ensure_ascii": True, "separators": (",", ":")}
