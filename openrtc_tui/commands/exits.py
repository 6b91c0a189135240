"""What a command's exit code means, and the errors that end one."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of ``openrtc-tui``; a script may rely on them."""

    DONE = 0
    """Done; with ``--wait``: and proven that no call was dropped."""
    ERROR = 1
    USAGE = 2
    TIMED_OUT = 3
    """The time given was over, and calls were live or nobody accepted."""
    DROPPED = 4
    TAMPERED = 4
    """``audit verify``: a line is not as it was written."""
    UNPROVEN = 5
    """Ended, or an answer was lost, and nobody knows whether a call was dropped."""
    INCOMPLETE = 5
    """``audit verify``: lines are missing, or the last one is unfinished."""
    REFUSED = 6
    ROLLED_BACK = 7
    """A rollback is through, and it is proven that it dropped no call."""
    INTERRUPTED = 130


class CommandError(Exception):
    """Ends a command with one message on stderr and its code."""

    def __init__(self, message: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.code = code
