"""Remote text is hostile: strip what a terminal would obey and clip what would flood it."""

from __future__ import annotations

import re
from typing import Any

MAX_TEXT = 256
"""Characters kept of one string that came over the network."""

# C0 and C1 controls, DEL, line and paragraph separators, bidirectional overrides and isolates, surrogates, tags:
# what a terminal obeys. ESC is among the C0 controls: nothing that starts a terminal sequence survives. And what
# shows as nothing (zero-width marks, fillers, joiners, variation selectors), or two names could look the same.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """*text* as one line without control characters, at most *limit* characters (the last is … when clipped)."""
    clean = _UNPRINTABLE.sub(lambda match: " " if match[0] in "\t\n\r\u2028\u2029" else "", text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def printable_tree(value: Any, limit: int = MAX_TEXT) -> Any:
    """The same JSON value with every string in it, keys too, made :func:`printable`."""
    if isinstance(value, str):
        return printable(value, limit)
    if isinstance(value, dict):
        return {printable_tree(key, limit): printable_tree(item, limit) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_tree(item, limit) for item in value]
    return value


def is_plain(data: bytes, limit: int = MAX_TEXT) -> bool:
    """Whether JSON bytes hold nothing that :func:`printable_tree` would change; one cheap pass, never wrong on "yes".

    JSON strings cannot hold raw C0 controls, so ASCII without escapes and without DEL is clean.
    """
    return data.isascii() and b"\\" not in data and b"\x7f" not in data and max(map(len, data.split(b'"'))) <= limit
