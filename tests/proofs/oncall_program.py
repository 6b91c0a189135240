"""Somebody who steers a fleet and is killed: each life is a fork of this warm process, so that it costs little.

Arguments: the fleet file, JSON with the ``kind`` and what else :meth:`Steering.plan` is asked, and how many plans
have ended before. Each line on stdin is one life: JSON ``{"writes": n, "when": "before" or "after"}`` kills it with
SIGKILL right before, or right after, its n-th line reaches the journal; ``{}`` lets it live. A life goes on with the
plan that the journal has open, or begins it. What became of it is one JSON line on stdout.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from openrtc_tui.commands.common import hear_all
from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.live import LiveFleet
from openrtc_tui.operations.journal import Journal
from openrtc_tui.operations.plans.progress import ENDED
from openrtc_tui.steering import Steering


class DoomedJournal(Journal):
    """The real journal; its process dies at the write that was chosen."""

    fatal = 0
    when = "never"
    begun = 0
    done = 0

    async def write(self, event: str, **fields: Any) -> dict[str, Any]:
        DoomedJournal.begun += 1
        is_last = self.begun == self.fatal
        if is_last and self.when == "before":
            while self.done < self.fatal - 1:  # noqa: ASYNC110 - those begun before it, by requests beside ours
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGKILL)
        record = await super().write(event, **fields)
        DoomedJournal.done += 1
        if is_last and self.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return record


async def live_once(file: str, asked: dict[str, Any], earlier: int) -> None:
    fleet = LiveFleet(load_fleet_file(file))
    assert fleet.journal is not None
    fleet.journal.__class__ = DoomedJournal
    async with fleet.running():
        await hear_all(fleet)
        steering = Steering(fleet)
        ended = [record for record in await steering.recall() if record["event"] == ENDED]
        open_plans = steering.interrupted()
        if open_plans:
            word = (await steering.resume(open_plans[0].plan.plan_id)).word
        elif len(ended) > earlier:  # killed right after its last line
            word = ended[-1]["word"]
        else:
            word = (await steering.carry_out(await steering.plan(**asked))).word
    print(json.dumps({"event": "ended", "word": word}), flush=True)


def main(file: str, asked: dict[str, Any], earlier: int) -> None:
    print(json.dumps({"event": "ready"}), flush=True)
    for line in sys.stdin:
        doom = json.loads(line)
        child = os.fork()
        if child == 0:
            DoomedJournal.fatal, DoomedJournal.when = doom.get("writes", 0), doom.get("when", "never")
            try:
                asyncio.run(live_once(file, asked, earlier))
            except BaseException as error:
                print(json.dumps({"event": "failed", "error": repr(error)}), flush=True)
                raise
            finally:
                sys.stdout.flush()
                os._exit(0)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"event": "life over", "killed": os.WIFSIGNALED(status)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]))
