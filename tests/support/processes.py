"""Child processes of tests: in a process group of their own, output in files, gone when the test is over."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]

# what a developer's shell may have set and a worker under test must not inherit
_FOREIGN = ("LIVEKIT_", "OPENRTC_", "KUBERNETES_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")

Event = dict[str, Any]


def clean_env(**extra: str) -> dict[str, str]:
    """This process's environment without LiveKit's, ours, Kubernetes' and proxies, and with *extra*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


def livekit_env(*, url: str, api_key: str, api_secret: str, **extra: str) -> dict[str, str]:
    """The environment of a real worker for this server."""
    return clean_env(
        LIVEKIT_URL=url,
        LIVEKIT_API_KEY=api_key,
        LIVEKIT_API_SECRET=api_secret,
        LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE="0",
        **extra,
    )


async def until(condition: Callable[[], object], *, within: float = 30.0, what: str | Callable[[], str]) -> None:
    """Wait for *condition*, looking every 20 ms; fails, naming *what* was awaited, after *within* seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            named = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {within:.0f} s in vain for: {named}")
        await asyncio.sleep(0.02)


class Program:
    """A running child process. Its stdout and stderr are ``NAME.out`` and ``NAME.err`` in *directory*."""

    def __init__(self, arguments: Sequence[str], *, name: str, directory: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.out = directory / f"{name}.out"
        self.err = directory / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                arguments,
                cwd=REPOSITORY,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @classmethod
    def python(cls, module: str, *arguments: str, name: str, directory: Path, env: Mapping[str, str]) -> Program:
        """``python -m module arguments…``"""
        return cls([sys.executable, "-m", module, *arguments], name=name, directory=directory, env=env)

    def events(self, **having: object) -> list[Event]:
        """The JSON lines written so far that have these values, in order."""
        lines = self.out.read_text().split("\n")[:-1]  # the last piece is a line still being written, or empty
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in events if all(event.get(key) == value for key, value in having.items())]

    async def has(self, count: int = 1, *, within: float = 30.0, **having: object) -> list[Event]:
        """Wait until *count* events with these values were written, and return them."""
        await until(
            lambda: len(self.events(**having)) >= count or not self.running,
            within=within,
            what=lambda: f"{count} × {having} of {self.name}, which said:\n{self.tail()}",
        )
        found = self.events(**having)
        assert len(found) >= count, f"{self.name} ended with {self.process.returncode}:\n{self.tail()}"
        return found

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def tell(self, line: str) -> None:
        """Write one line to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_code(self, *, within: float = 30.0) -> int:
        await until(lambda: not self.running, within=within, what=lambda: f"the end of {self.name}:\n{self.tail()}")
        return self.process.wait()

    def tail(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in (self.out, self.err))

    def kill(self) -> None:
        """End the whole process group at once, whatever state it is in, and reap its leader."""
        if members_of_group(self.process.pid):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


def members_of_group(group: int) -> list[int]:
    """The processes of a group that still run (zombies are not counted), from /proc."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        state, pgrp = fields[0], int(fields[2])
        if pgrp == group and state != "Z":
            members.append(int(stat.parent.name))
    return members
