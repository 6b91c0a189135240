"""Chained files: append-only JSON lines, each bound to the one before by its hash. Both sides write them."""

from __future__ import annotations

from openrtc_worker.contract.chain.check import Verification, Word
from openrtc_worker.contract.chain.line import GENESIS, ChainError, ChainMissing, Head, RecordRefused
from openrtc_worker.contract.chain.reader import ChainFollower, Entry, read_chain, read_entries, verify_chain
from openrtc_worker.contract.chain.writer import ChainWriter

__all__ = [
    "GENESIS",
    "ChainError",
    "ChainFollower",
    "ChainMissing",
    "ChainWriter",
    "Entry",
    "Head",
    "RecordRefused",
    "Verification",
    "Word",
    "read_chain",
    "read_entries",
    "verify_chain",
]
