"""What the embedded fleet tells whoever started it: JSON lines, one object each, with ``event`` and ``seconds``.

``seconds`` counts from the fleet's start. The events, with what else they carry:

- ``fleet``: the fleet file is written and can be opened, with the first worker in it; a further one is added just
  before it is started. ``fleet_file``, ``directory``, ``livekit_url``, ``media`` (always false), ``workers`` (all
  that will be: a list of ``{name, version, url}``).
- ``worker``: ``name``, ``version``, ``state`` (``starting``, ``serving``: registered and ready, ``exited``), with
  ``pid`` (also its process group) when it starts, and ``exit_code`` (negative: a signal) when it exited. One that was
  asked for again while it drained and could not be started then is ``not_started``, ``message`` says why.
- ``ready``: every worker has been started, and none is starting any more.
- ``stopping``: ``reason``.
- ``stopped``: nothing runs any more; the last line of a fleet that was told to stop. ``calls_ended`` is the number
  of simulated calls that the stop ended, ``message`` says so in words.
- ``failed``: the fleet could not start or go on, and is gone; ``message`` says why. The exit code is 1. When workers
  had been started, ``stopped`` comes just before it.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Progress:
    """Writes the lines to a file descriptor, each at once and whole; a reader that is gone is no error."""

    def __init__(self, descriptor: int, *, clock: Callable[[], float]) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._began = clock()

    def say(self, event: str, **facts: object) -> None:
        line = json.dumps({"event": event, "seconds": round(self._clock() - self._began, 2), **facts})
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, line.encode() + b"\n")


def calls_ended_message(calls: int) -> str:
    """The sentence for the person who leaves."""
    match calls:
        case 0:
            return "The fleet was stopped; no simulated call was on the line."
        case 1:
            return "The fleet was stopped; this ended 1 simulated call."
        case _:
            return f"The fleet was stopped; this ended {calls} simulated calls."
