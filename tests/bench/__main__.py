"""All figures, one benchmark after another: ``python -m tests.bench [NAME …]``; without names, all of them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(names: list[str]) -> int:
    """Run each benchmark in a process of its own; one that fails does not keep the others from running."""
    present = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    unknown = [name for name in names if name not in present]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(present)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or present:
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        done = subprocess.run([sys.executable, str(present[name])], cwd=HERE.parents[1], check=False)
        print(f"== {name}: {time.monotonic() - started:.0f} s, exit code {done.returncode}", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
