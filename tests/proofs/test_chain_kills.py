"""1,000 kill -9 of the writing process, at random moments and in the middle of random system calls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import clean_env

ROOT = Path(__file__).resolve().parents[2]
LIVES = 100


@pytest.mark.parametrize("seed", range(10))
def test_killed_100_times_every_acknowledged_intent_is_there_and_no_operation_has_two_effects(tmp_path, seed):
    """Ten chains of a hundred lives each; after every life the file is read and verified as it was left."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.proofs.kill_rounds", str(tmp_path), str(seed), str(LIVES)],
        cwd=ROOT,
        env=clean_env(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(f"seed {seed}: {done.stdout}")
    counted = json.loads(done.stdout)
    assert counted["kills"] == LIVES
    assert counted["tampered"] == 0
    assert counted["acknowledged"] > LIVES
    assert counted["torn"] > 0
    assert counted["files"] > 5
