"""One plan at a time for each fleet on a machine: a lock that a process loses with its life."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.journal import JournalError, file_name_of
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_TRIES: Final = 10
_PAUSE: Final = 0.01
"""Whoever only looks holds the lock for a moment: that is waited for, and nothing longer."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who carries out the plan ``plan_id`` now; ``who`` for people: ``alice, process 4711``."""

    plan_id: str
    who: str


class PlanRunsElsewhere(Exception):  # noqa: N818 - an outcome, told in its words
    """Another process carries out a plan of this fleet now; one line for people, with who and which."""


class PlanLock:
    """The lock of *fleet*'s plans in *folder*. Held while a plan is carried out; a killed process gives it back."""

    def __init__(self, fleet: str, folder: Path, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path = folder / f"plan-{file_name_of(fleet)}.lock"
        self._sleep = sleep

    @contextmanager
    def held(self, plan_id: str, operator: str) -> Iterator[None]:
        """Hold it for the plan *plan_id* of *operator*.

        Raises:
            PlanRunsElsewhere: another process, or another part of this one, holds it.
            JournalError: the lock cannot be made or written.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise JournalError(f"{self._path}: {(error.strerror or str(error)).lower()}") from None
        try:
            self._take(descriptor)
            try:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{plan_id} of {operator}, process {os.getpid()}".encode(), 0)
            except OSError as error:
                raise JournalError(f"{self._path}: {(error.strerror or str(error)).lower()}") from None
            yield
        finally:
            os.close(descriptor)

    def holder(self) -> Holder | None:
        """Who carries out a plan now, be it this process or another; None when nobody does."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            plan_id, _, who = _words(descriptor).partition(" of ")
            return Holder(plan_id, who)
        finally:
            os.close(descriptor)
        return None

    def _take(self, descriptor: int) -> None:
        for _ in range(_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._sleep(_PAUSE)
            else:
                return
        raise PlanRunsElsewhere(f"another plan of this fleet is carried out now: plan {_words(descriptor)}")


def _words(descriptor: int) -> str:
    return printable(os.pread(descriptor, 300, 0).decode("utf-8", "replace"))
