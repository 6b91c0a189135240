"""A worker whose agent is a plain ``livekit.agents.Agent`` without any provider: it joins, says nothing, and stays.

The one argument is JSON: the pool's own keyword arguments.
"""

from __future__ import annotations

import json
import sys

from livekit.agents import Agent

from openrtc_worker import AgentPool


class Silent(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="say nothing")


class Broken(Agent):
    def __init__(self) -> None:
        raise RuntimeError("the agent's own constructor failed")


def main() -> int:
    pool = AgentPool(agents={"silent": Silent, "broken": Broken}, **json.loads(sys.argv[1]))
    return pool.run()


if __name__ == "__main__":
    sys.exit(main())
