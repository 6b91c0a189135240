"""The program in the tests' pods: a real worker whose calls do what their metadata says (``pool_program.call``).

``DEPLOYMENT_VERSION`` is its version, as in the Kubernetes example; ``WORKER`` may hold further arguments of the pool
as JSON. The rest comes from the environment as on any worker.
"""

from __future__ import annotations

import json
import os
import sys

from openrtc_worker import AgentPool
from tests.support.pool_program import call


def main() -> int:
    arguments = json.loads(os.environ.get("WORKER", "{}"))
    arguments = {"isolation": "thread", "drain_linger": 0.2, "state_dir": os.environ.get("STATE_DIR"), **arguments}
    pool = AgentPool(deployment_version=os.environ["DEPLOYMENT_VERSION"], **arguments)
    pool.add("booking", entrypoint=call)
    return pool.run()


if __name__ == "__main__":
    sys.exit(main())
