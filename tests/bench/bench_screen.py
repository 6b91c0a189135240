"""How the screen feels: from a key to its repaint, and from the start of the process to its first frame.

The dashboard runs as users start it, in a pseudo-terminal of 120×40. For the keys, each of its workers changes five
times a second and streams that; ``j`` and ``k`` are typed at random moments, and the time runs until the cursor has
been painted on the other worker. For the start, the fleet file names three workers that do not answer: the first
frame waits for nobody.

Run it as ``python -m tests.bench screen``, or by itself with ``--keys`` and ``--starts`` (half a minute), alone.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.support.processes import REPOSITORY, clean_env  # noqa: E402 - found by the line above
from tests.support.pty_program import PtyProgram  # noqa: E402

WORKERS = 24
CHANGES_A_SECOND = 5
UNDER_CURSOR = re.compile("▌".encode() + rb".{1,160}?w-(\d{3})", re.DOTALL)
HOME = "\x1b[H"
KEY_GOAL_MS = 40
START_GOAL_MS = 400


def dashboard(directory: Path, ports: list[int]) -> PtyProgram:
    lines = [f"  - {{name: w-{index:03d}, url: http://127.0.0.1:{port}}}" for index, port in enumerate(ports)]
    path = directory / "fleet.yaml"
    path.write_text("\n".join(["fleet: bench", "refresh: 200ms", "workers:", *lines]))
    env = clean_env(TERM="xterm-256color", LC_ALL="C.UTF-8")
    return PtyProgram([sys.executable, "-m", "openrtc_tui", str(path)], env=env, cwd=str(REPOSITORY))


def under_cursor(output: bytes) -> bytes:
    """The worker before whose name the cursor's bar was painted last; empty when it was not painted."""
    found = UNDER_CURSOR.findall(output)
    return found[-1] if found else b""


def read_for(program: PtyProgram, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        program.read(0.005)


def keys(count: int) -> list[float]:
    """Milliseconds from a key to its repaint, *count* times."""
    arguments = ["--workers", str(WORKERS), "--share", str(CHANGES_A_SECOND), "--readers", "1"]
    fleet = subprocess.Popen(
        [sys.executable, str(HERE / "streamed_fleet.py"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert fleet.stdin is not None
    assert fleet.stdout is not None
    rng, times = random.Random(1), []
    try:
        ports = json.loads(fleet.stdout.readline())
        with tempfile.TemporaryDirectory() as directory, dashboard(Path(directory), ports) as program:
            assert fleet.stdout.readline() == "all\n"
            read_for(program, 3)
            program.type(HOME)  # the rows have found their order now
            read_for(program, 1)
            at, worker = 0, under_cursor(program.output)
            for _ in range(count):
                step = -1 if at == WORKERS - 1 or (at and rng.random() < 0.4) else 1
                read_for(program, rng.uniform(0.05, 0.12))
                at, seen = at + step, len(program.output)
                began = time.perf_counter()
                program.type("j" if step > 0 else "k")
                while under_cursor(program.output[seen:]) in (b"", worker):
                    program.read(0.002)
                    if time.perf_counter() - began > 5:
                        raise SystemExit("the cursor did not move")
                times.append((time.perf_counter() - began) * 1000)
                worker = under_cursor(program.output[seen:])
            program.type("q")
            program.wait()
    finally:
        fleet.stdin.close()
        fleet.wait()
    return times


def starts(count: int) -> list[float]:
    """Milliseconds from the start of the process to its first frame, *count* times."""
    times = []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as directory, dashboard(Path(directory), [1, 2, 3]) as program:
            times.append(program.wait_for(b"w-002") * 1000)
            program.type("q")
            program.wait()
    return times


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--starts", type=int, default=9)
    args = parser.parse_args()
    first = starts(args.starts)
    print(f"start to first frame: median {quantile(first, 0.5):.0f} ms, best {min(first):.0f} ms", end="")
    print(f" (goal {START_GOAL_MS} ms)")
    times = keys(args.keys)
    print(f"key to repaint, {WORKERS} workers changing {CHANGES_A_SECOND} times a second each: ", end="")
    print(f"p50 {quantile(times, 0.5):.1f} ms, p99 {quantile(times, 0.99):.1f} ms (goal {KEY_GOAL_MS} ms)")


if __name__ == "__main__":
    main()
