"""JSON patches as the API server applies them, for tests of what ours do."""

from __future__ import annotations

import copy
from typing import Any


class NotAsTestedError(Exception):
    """A ``test`` of a patch failed."""


def applied(operations: list[dict[str, Any]], document: dict[str, Any]) -> dict[str, Any]:
    """RFC 6902, as the API server applies it: a test for null passes where nothing is."""
    document = copy.deepcopy(document)
    for operation in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        inner = document
        for part in way:
            inner = inner[part]
        match operation["op"]:
            case "test":
                if inner.get(last) != operation["value"]:
                    raise NotAsTestedError(operation["path"])
            case "replace":
                assert last in inner
                inner[last] = operation["value"]
            case "add":
                inner[last] = operation["value"]
            case "remove":
                del inner[last]
    return document
