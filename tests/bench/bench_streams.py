"""What watching costs: CPU of the dashboard over 1,000 event streams of which 5 % change each second.

A simulated fleet (streamed_fleet.py) streams to every client at once, each client a process: ``raw`` sockets,
``stock`` httpx, ``bare`` fetching and decoding over the dashboard's own way out, ``gathered`` the same with many
streams read in one go, as the dashboard reads them, ``watch`` with sources, fold and views added (all of
stream_clients.py), and ``full``: ``openrtc-tui FLEET`` itself in a pseudo-terminal of 120×40. They run side by side
and are measured over the same seconds, so that what else the machine does weighs on all alike.

Run it as ``python -m tests.bench streams``, or by itself with ``--workers``, ``--seconds``, ``--clients`` (half a
minute).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONNECT_LIMIT = 60.0
SETTLE = 3.0
"""Seconds from the last connection to the measurement: every program is past its start then."""

GAUGED_DASHBOARD = f"""
import sys
sys.path.insert(0, {str(HERE.parents[1])!r})
from tests.bench.stream_clients import answer_marks
answer_marks(int(sys.argv[2]))
from openrtc_tui.cli import main
sys.exit(main([sys.argv[1]]))
"""
"""The program as users start it, and a signal that asks it what it used so far."""


class Client:
    """A reader of the fleet, as a process."""

    def __init__(self, name: str, ports: list[int]) -> None:
        self.name = name
        self._marks, mark = os.pipe()
        self.process = self._start(ports, mark)
        os.close(mark)

    def _start(self, ports: list[int], mark: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "stream_clients.py"), self.name, str(mark)],
            stdin=subprocess.PIPE,
            pass_fds=[mark],
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(ports).encode() + b"\n")
        process.stdin.flush()
        return process

    def ask(self) -> None:
        self.process.send_signal(signal.SIGUSR1)

    def used(self) -> dict[str, float]:
        """What it answered to :meth:`ask`."""
        if not select.select([self._marks], [], [], 10)[0]:
            raise SystemExit(f"{self.name} does not answer; exit code {self.process.poll()}")
        said: dict[str, float] = json.loads(os.read(self._marks, 4096))
        return said

    def read(self) -> None:
        """Take what it writes, if it writes anything."""

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._marks)


class Dashboard(Client):
    """The whole dashboard in a terminal that is read as fast as it writes."""

    def __init__(self, ports: list[int], folder: Path, workers: int) -> None:
        lines = [f"  - {{name: voice-{n:04d}, url: 'http://127.0.0.1:{port}'}}" for n, port in enumerate(ports)]
        self._file = folder / "fleet.yaml"
        self._file.write_text(
            "\n".join(["fleet: bench", "rollout: {from: v1.0.0, to: v2.0.0}", "workers:", *lines[:workers], ""]),
            encoding="utf-8",
        )
        self.screen = bytearray()
        super().__init__("full", ports)

    def _start(self, ports: list[int], mark: int) -> subprocess.Popen[bytes]:  # noqa: ARG002 - they are in its file
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-c", GAUGED_DASHBOARD, str(self._file), str(mark)],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            pass_fds=[mark],
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
        )
        os.close(inner)
        return process

    def read(self) -> None:
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                self.screen += os.read(self._terminal, 1 << 16)
            except OSError:
                raise SystemExit(f"the dashboard ended: {self.screen[-2000:].decode(errors='replace')}") from None

    def close(self) -> None:
        super().close()
        os.close(self._terminal)


class Fleet:
    """The simulated fleet's process."""

    def __init__(self, workers: int, share: float, readers: int) -> None:
        numbers = ["--workers", str(workers), "--share", str(share), "--readers", str(readers)]
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "streamed_fleet.py"), *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout
        self.ports: list[int] = json.loads(self._out.readline())

    def all_connected(self) -> bool:
        return bool(select.select([self._out], [], [], 0)[0] and self._out.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._out.close()


def pause(clients: list[Client], seconds: float) -> None:
    """Let time pass, and read what is written meanwhile."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for client in clients:
            client.read()
            if client.process.poll() is not None:
                raise SystemExit(f"{client.name} ended with exit code {client.process.returncode}")
        time.sleep(min(0.05, left))


def measure(clients: list[Client], seconds: float) -> dict[str, dict[str, float]]:
    """Per client: CPU in ms a second, snapshots and heartbeats a second, and its size."""
    for client in clients:
        client.ask()
    start, before = time.monotonic(), [client.used() for client in clients]
    pause(clients, seconds)
    for client in clients:
        client.ask()
    span, after = time.monotonic() - start, [client.used() for client in clients]
    return {
        client.name: {
            "cpu": (end["cpu"] - begin["cpu"]) / span * 1000,
            "snapshots": (end["snapshots"] - begin["snapshots"]) / span,
            "beats": (end["beats"] - begin["beats"]) / span,
            "rss_mb": end["rss_mb"],
        }
        for client, begin, end in zip(clients, before, after, strict=True)
    }


def run(names: list[str], workers: int, share: float, seconds: float) -> dict[str, dict[str, float]]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fleet = Fleet(workers, share, len(names))
        stack.callback(fleet.close)
        clients: list[Client] = []
        for name in names:
            client = Dashboard(fleet.ports, folder, workers) if name == "full" else Client(name, fleet.ports)
            stack.callback(client.close)
            clients.append(client)
        began = time.monotonic()
        while not fleet.all_connected():
            if time.monotonic() - began > CONNECT_LIMIT:
                raise SystemExit(f"not all streams were open within {CONNECT_LIMIT:g} s")
            pause(clients, 0.1)
        pause(clients, SETTLE)
        return measure(clients, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.05, help="of the workers that change each second")
    parser.add_argument("--seconds", type=float, default=15.0, help="measured")
    parser.add_argument("--clients", default="raw,stock,bare,gathered,watch,full")
    args = parser.parse_args()
    figures = run(args.clients.split(","), args.workers, args.share, args.seconds)
    print(f"{args.workers} workers streamed, {args.share:.0%} changing a second, {args.seconds:g} s")
    print(f"{'client':10}{'CPU ms/s':>10}{'over raw':>10}{'over bare':>11}{'snapshots/s':>13}{'beats/s':>9}{'MB':>6}")
    for name, figure in figures.items():
        over = [f"{figure['cpu'] / figures[base]['cpu']:.2f}" if base in figures else "" for base in ("raw", "bare")]
        rates = [f"{figure[rate]:.0f}" if figure[rate] else "" for rate in ("snapshots", "beats")]
        print(
            f"{name:10}{figure['cpu']:10.1f}{over[0]:>10}{over[1]:>11}{rates[0]:>13}{rates[1]:>9}"
            f"{figure['rss_mb']:6.0f}"
        )


if __name__ == "__main__":
    main()
