"""Chained files made for tests: real ones, by the real writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_worker.contract.chain import ChainWriter

if TYPE_CHECKING:
    from pathlib import Path


def record(index: int, **fields):
    """An event as both sides write it."""
    return {
        "seq": index,
        "timestamp": 1_700_000_000.0 + index,
        "event": "worker.cordoned",
        "actor": "alice",
        "target": f"voice-a-{index}",
        "result": "ok",
        "version": "v1",
        **fields,
    }


def write_chain(path: Path, count: int, **settings) -> list[int]:
    """A chain of so many lines; the numbers they got."""
    with ChainWriter(path, exclusive=True, **settings) as writer:
        return [writer.append(record(index)) for index in range(1, count + 1)]


def lines_in(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)
