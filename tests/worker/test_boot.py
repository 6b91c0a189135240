"""One boot on a fake livekit side: it depends neither on what hangs on its log, nor on a kill that succeeds."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from openrtc_worker import call_file
from openrtc_worker.boot import Boot
from openrtc_worker.call_file import WRITE_AGAIN, read_previous
from openrtc_worker.control.target import Requester
from openrtc_worker.ledger import Call
from openrtc_worker.settings import WorkerSettings
from openrtc_worker.snapshots import Link
from tests.support.processes import until

BY = Requester(source="signal")


class FakeLiveKitSide:
    """A livekit that does nothing: one that holds *jobs*, and cannot kill any of them when *unkillable*."""

    def __init__(self, *jobs: str, unkillable: bool = False) -> None:
        self.jobs = jobs
        self.unkillable = unkillable

    def tell_full(self) -> None: ...

    def tell_load(self) -> None: ...

    def active_job_ids(self):
        return self.jobs

    def unassigned_job_ids(self):
        return ()

    def kill_jobs(self, _pids) -> None:
        if self.unkillable:
            raise OSError(24, "Too many open files")

    def link(self) -> Link:
        return Link(connected=True)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def settings(**changed) -> WorkerSettings:
    return WorkerSettings(**{"deployment_version": "v1", "control_port": 0, "after_drain": "exit", **changed})


@asynccontextmanager
async def opened(side: FakeLiveKitSide, clock: Clock, **changed):
    boot = Boot(settings(**changed), side, clock=clock)
    await boot.open()
    yield boot
    await boot.close()


class HandlerWithASnapshot(logging.Handler):
    """Shows the live calls in every line, as a log formatter of the user's may."""

    def __init__(self, boot: Boot, messages: list[str]) -> None:
        super().__init__()
        self.boot = boot
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{self.boot.runtime_snapshot().active_sessions} {record.getMessage()}")


def test_a_log_handler_that_asks_for_a_snapshot_never_locks_the_worker_up(monkeypatch):
    """Another thread logs (it holds the handler's lock, and asks for a snapshot) while the drain begins and logs."""
    boot = Boot(settings(), FakeLiveKitSide())
    messages: list[str] = []
    handler = HandlerWithASnapshot(boot, messages)
    handler.acquire()  # held as a logging thread holds it
    log = logging.getLogger("openrtc_worker")
    monkeypatch.setattr(log, "level", logging.INFO)
    log.addHandler(handler)
    drain = threading.Thread(target=boot.begin_drain, kwargs={"by": BY}, daemon=True)
    asks = threading.Thread(target=boot.runtime_snapshot, daemon=True)
    try:
        drain.start()
        drain.join(0.5)  # it is at its first line now and waits for the handler
        asks.start()
        asks.join(10)
        free = not asks.is_alive()
    finally:
        handler.release()
        drain.join(10)
        log.removeHandler(handler)
    assert free, "the drain holds the boot's lock while it logs"
    assert any("drain begun" in message for message in messages)


@pytest.mark.parametrize("unkillable", [False, True])
async def test_a_drain_ends_though_killing_its_calls_fails(unkillable):
    """A worker without a file descriptor left cannot even look for its children."""
    clock = Clock()
    side = FakeLiveKitSide("AJ_1", unkillable=unkillable)
    async with opened(side, clock, drain_timeout=5, cut_grace=5, drain_linger=0.1) as boot:
        boot.registered()
        call = Call(job_id="AJ_1", room="booking-1")
        boot.offer_answered(call)
        boot.call_started(call)
        boot.begin_drain(by=BY)
        over = asyncio.create_task(boot.until_exit())

        def later() -> bool:
            clock.now += 0.5
            return over.done()

        await until(later, what="the exit", within=10)
        assert await over == 5
        assert boot.calls.ledger.counts().cut == 1


async def test_a_call_that_ended_on_a_full_disk_is_not_told_as_open_once_there_is_room(tmp_path, monkeypatch):
    """The worker may be killed later, before another call comes or goes."""
    clock, side = Clock(), FakeLiveKitSide("AJ_1")
    async with opened(side, clock, state_dir=tmp_path) as boot:
        call = Call(job_id="AJ_1", room="booking-1")
        boot.offer_answered(call)
        boot.call_started(call)
        [file] = tmp_path.glob("*.jsonl")
        await until(lambda: [each.job for each in read_previous(file).open_calls] == ["AJ_1"], what="the call")
        with monkeypatch.context() as full:
            full.setattr(Path, "open", appends_nothing)
            full.setattr(call_file, "write_anew", no_space_left)
            side.jobs = ()
            await until(lambda: "call_file_failing" in boot.runtime_snapshot().findings, what="the finding")
        clock.now += WRITE_AGAIN
        await until(lambda: read_previous(file).open_calls == [], what="its end")
        await until(lambda: "call_file_failing" not in boot.runtime_snapshot().findings, what="the finding's end")


open_really = Path.open


def appends_nothing(path: Path, mode: str = "r", *arguments, **named):
    return no_space_left() if mode == "a" else open_really(path, mode, *arguments, **named)


def no_space_left(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
