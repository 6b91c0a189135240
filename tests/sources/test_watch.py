"""The watch over a fleet: contact, loss, restart and goodbye of each worker, however the targets change.

Every worker here is a real server on loopback. The watch's own clock runs ten times as fast as ours, so that
back-offs take tenths of seconds; what the network does takes its own time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter

import pytest

from openrtc_tui.http import Access, Http
from openrtc_tui.sources import Watch, events
from openrtc_tui.sources.follower import AFTER_BYE
from openrtc_tui.state.observation import (
    AuditSeen,
    ContactFailed,
    HeartbeatSeen,
    SnapshotSeen,
    Target,
    TargetsSeen,
)
from openrtc_worker.contract.snapshot import encode_json
from tests.support.fake_worker import HEARTBEAT, FakeWorker, event, hold, reply, snapshot
from tests.support.processes import until

FAST = 10.0


class Watching:
    """A watch that runs, and all that it put. ``frozen``: its clock stands still, so that no pause ever ends."""

    def __init__(self, *, beat: float = 1.0, fast: float = FAST, frozen: bool = False) -> None:
        self.seen: list = []
        self.http = Http()
        self.watch = Watch(
            self.http,
            put=self.put,
            beat=beat,
            clock=(lambda: 1000.0) if frozen else (lambda: time.monotonic() * fast),
            sleep=(lambda _: asyncio.Event().wait()) if frozen else (lambda seconds: asyncio.sleep(seconds / fast)),
            rng=random.Random(1),
        )
        self.task: asyncio.Task[None] | None = None

    def put(self, seen) -> None:
        self.seen.append(seen)

    async def __aenter__(self) -> Watching:
        self.task = asyncio.create_task(self.watch.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        assert not self.task.done(), self.task.exception()
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task
        await self.http.aclose()

    def set(self, *targets: Target, access: Access | None = None) -> None:
        self.watch.set_targets(targets, lambda _: access)

    def of(self, key: str, kind: type) -> list:
        return [seen for seen in self.seen if isinstance(seen, kind) and seen.key == key]

    def boots(self, key: str = "w") -> list[str]:
        return [seen.snapshot.boot_id for seen in self.of(key, SnapshotSeen)]

    def failures(self, key: str = "w") -> list[str]:
        return [seen.kind for seen in self.of(key, ContactFailed)]

    async def heard(self, key: str = "w", times: int = 1) -> None:
        await until(lambda: len(self.of(key, SnapshotSeen)) >= times, what=f"snapshot {times} of {key}")

    async def failed(self, kind: str, key: str = "w") -> None:
        await until(lambda: kind in self.failures(key), what=lambda: f"{kind}, saw {self.failures(key)}")


def streaming(boot: str = "boot-1") -> FakeWorker:
    """A worker with an event stream."""
    worker = FakeWorker()
    worker.shown = snapshot(boot=boot)
    worker.scripts["/v1/events"] = worker.serve_events
    return worker


def polled(boot: str = "boot-1", **paths) -> FakeWorker:
    """A worker without one."""
    return FakeWorker({"/v1/snapshot": reply(200, encode_json(snapshot(boot=boot))), **paths})


def asked(worker: FakeWorker) -> Counter[str]:
    return Counter(request.path for request in worker.asked)


# event streams


async def test_a_worker_is_heard_at_once_and_then_on_every_change():
    async with streaming() as worker, Watching() as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        await worker.show(snapshot(seq=2, active=5))
        await worker.say(HEARTBEAT)
        await worker.say(event("audit", {"event": "deployment.drain_started"}))
        await until(lambda: watching.of("w", AuditSeen), what="the audit event")
        assert [seen.snapshot.active_sessions for seen in watching.of("w", SnapshotSeen)] == [0, 5]
        assert watching.of("w", HeartbeatSeen)
        assert watching.failures() == []
        assert isinstance(watching.seen[0], TargetsSeen)


async def test_a_connection_that_breaks_is_sought_again_at_once():
    """Without any pause: time stands still here."""
    async with streaming() as worker, Watching(frozen=True) as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        await worker.drop()
        await watching.heard(times=2)
        assert watching.failures() == ["broken"]


async def test_a_worker_that_was_killed_breaks_and_is_refused_right_after():
    """Those two together mean that it is lost, without any waiting: time stands still here."""
    async with streaming() as worker, Watching(frozen=True) as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        await worker.stop()
        await watching.failed("refused")
        assert watching.failures() == ["broken", "refused"]


async def test_a_worker_that_comes_back_as_another_boot_is_found():
    async with streaming() as worker, Watching() as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        await worker.stop()
        await watching.failed("refused")
        worker.shown = snapshot(boot="boot-2")
        await worker.start()
        await watching.heard(times=2)
        assert watching.boots() == ["boot-1", "boot-2"]


async def test_after_a_goodbye_no_failure_is_told_and_the_next_boot_is_found_within_two_seconds():
    async with streaming() as worker, Watching(fast=1.0) as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        await worker.say_bye(snapshot(seq=2, state="exited", exit_code=0))
        await watching.heard(times=2)
        assert watching.of("w", SnapshotSeen)[-1].bye
        await asyncio.sleep(1.0)  # some attempts are refused meanwhile
        worker.shown = snapshot(boot="boot-2")
        await worker.start()
        await watching.heard(times=3)
        assert max(AFTER_BYE) < 2.0
        assert watching.boots()[-1] == "boot-2"
        assert watching.failures() == []


async def test_a_boot_after_a_goodbye_is_watched_like_any_other():
    async with streaming() as worker, Watching() as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        await worker.say_bye(snapshot(seq=2))
        worker.shown = snapshot(boot="boot-2")
        await worker.start()
        await until(lambda: "boot-2" in watching.boots(), what="the next boot")
        await worker.stop()
        await watching.failed("refused")
        assert watching.failures()[:2] == ["broken", "refused"]


async def test_a_worker_that_lingers_after_its_goodbye_fails_no_contact():
    async with streaming() as worker, Watching() as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        await worker.say(event("bye", snapshot(seq=2)))
        await watching.heard(times=3)  # goodbye, and the same boot once more
        await worker.stop()
        attempts = len(watching.seen)
        await asyncio.sleep(0.5)
        assert watching.failures() == []
        assert len(watching.seen) == attempts


async def test_an_address_that_answers_and_hangs_up_is_not_hammered():
    """At once each five seconds at most, else with back-off."""

    async def hang_up(exchange):
        await exchange.open_stream()
        await exchange.chunk(event("snapshot", snapshot()))
        exchange.close()

    async with FakeWorker({"/v1/events": hang_up}) as worker, Watching() as watching:
        began = time.monotonic()
        watching.set(Target("w", worker.url))
        await until(lambda: len(worker.asked) >= 8, what="some attempts")
        await asyncio.sleep(0.5)
        assert len(worker.asked) < 12 + 2 * FAST * (time.monotonic() - began)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (reply(401), "status"),
        (reply(500), "status"),
        (reply(200, b"<html>", Content_Type="text/html"), "garbage"),
    ],
)
async def test_wrong_answers_are_told_again_and_again_with_back_off(script, kind):
    async with FakeWorker({"/v1/events": script}) as worker, Watching() as watching:
        watching.set(Target("w", worker.url))
        await until(lambda: len(watching.failures()) >= 4, what="four failures")
        assert set(watching.failures()) == {kind}
        assert len(worker.asked) <= 10  # what comes between two looks of ours


async def test_garbage_in_a_good_stream_is_told_and_contact_sought_again():
    async with streaming() as worker, Watching() as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        await worker.say(event("snapshot", b"nonsense"))
        await watching.failed("garbage")
        await watching.heard(times=2)


# polling


async def test_a_worker_without_events_is_polled_once_a_beat():
    async with polled() as worker, Watching(beat=1.0) as watching:
        watching.set(Target("w", worker.url))
        await watching.heard(times=8)
        assert asked(worker)["/v1/events"] == 1
        assert asked(worker)["/v1/snapshot"] <= len(watching.boots()) + 1
        assert {seen.via for seen in watching.of("w", SnapshotSeen)} == {"poll"}
        assert worker.connections <= 2  # the attempt at events, and one that is kept


async def test_no_two_polls_of_one_worker_are_ever_under_way():
    running, most = 0, 0

    async def slow(exchange):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.2)  # two beats of the watch's time
        await exchange.reply(200, encode_json(snapshot()))
        running -= 1

    async with FakeWorker({"/v1/snapshot": slow}) as worker, Watching(beat=1.0) as watching:
        watching.set(Target("w", worker.url))
        for _ in range(20):
            watching.watch.check_now("w")
            await asyncio.sleep(0.02)
        await watching.heard(times=4)
        assert most == 1


async def test_a_polled_worker_that_is_killed_is_refused_twice_right_after():
    """The first refusal may be a restart; the second, sought at once, means that it is lost."""
    async with polled() as worker, Watching(frozen=True) as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        await worker.stop()
        watching.watch.check_now("w")
        await until(lambda: len(watching.failures()) >= 2, what="the second refusal")
        assert watching.failures() == ["refused", "refused"]


async def test_a_polled_worker_whose_next_boot_has_events_is_streamed():
    async with polled() as worker, Watching(beat=0.5) as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        worker.shown = snapshot(boot="boot-2")
        worker.scripts["/v1/snapshot"] = reply(200, encode_json(worker.shown))
        worker.scripts["/v1/events"] = worker.serve_events
        await until(lambda: worker.streams, what="the stream")
        await worker.show(snapshot(boot="boot-2", active=7))
        await until(
            lambda: any(seen.snapshot.active_sessions == 7 for seen in watching.of("w", SnapshotSeen)),
            what="the change",
        )
        assert watching.failures() == []


async def test_two_boots_that_answer_in_turn_at_one_address_do_not_end_the_pacing():
    """A wrong load balancer: each poll shows another boot."""
    answers = 0

    async def alternate(exchange):
        nonlocal answers
        answers += 1
        await exchange.reply(200, encode_json(snapshot(boot=f"boot-{answers % 2}")))

    async with FakeWorker({"/v1/snapshot": alternate}) as worker, Watching(beat=1.0) as watching:
        began = time.monotonic()
        watching.set(Target("w", worker.url))
        await watching.heard(times=8)
        assert {"boot-0", "boot-1"} <= set(watching.boots())
        assert len(worker.asked) < 8 + 3 * FAST * (time.monotonic() - began)


async def test_a_worker_that_serves_no_more_streams_is_polled_and_asked_again_later():
    async with polled() as worker, Watching(beat=1.0, fast=40.0) as watching:
        worker.scripts["/v1/events"] = reply(503)
        watching.set(Target("w", worker.url))
        await watching.heard()
        assert watching.failures() == []
        worker.shown = snapshot()
        worker.scripts["/v1/events"] = worker.serve_events
        await until(lambda: worker.streams, what="the stream")


async def test_a_poll_that_fails_is_told():
    async with FakeWorker({"/v1/snapshot": reply(200, b"nonsense")}) as worker, Watching() as watching:
        watching.set(Target("w", worker.url))
        await watching.failed("garbage")
        worker.scripts["/v1/snapshot"] = reply(500)
        await watching.failed("status")


async def test_nothing_at_an_address_is_told_as_a_status():
    async with FakeWorker() as worker, Watching() as watching:
        watching.set(Target("w", worker.url))
        await watching.failed("status")
        assert "no control endpoint at this address" in watching.of("w", ContactFailed)[0].detail


# asking at once


async def test_check_now_ends_a_back_off():
    async with streaming() as worker, Watching(frozen=True) as watching:
        await worker.stop()
        watching.set(Target("w", worker.url))
        await watching.failed("refused")
        await worker.start()
        watching.watch.check_now("w")
        await watching.heard()


async def test_check_now_polls_at_once():
    async with polled() as worker, Watching(frozen=True) as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        watching.watch.check_now("w")
        await watching.heard(times=2)


async def test_check_now_during_a_poll_asks_once_more():
    """The answer under way may be older than what made somebody ask."""
    going = asyncio.Event()

    async def slow(exchange):
        await going.wait()
        await exchange.reply(200, encode_json(snapshot()))

    async with FakeWorker({"/v1/snapshot": slow}) as worker, Watching(frozen=True) as watching:
        watching.set(Target("w", worker.url))
        await until(lambda: asked(worker)["/v1/snapshot"] == 1, what="the first poll")
        watching.watch.check_now("w")
        going.set()
        await watching.heard(times=2)


async def test_check_now_of_an_unknown_worker_does_nothing():
    async with Watching() as watching:
        watching.watch.check_now("nobody")


# targets


async def test_targets_set_before_the_watch_runs_are_watched():
    async with streaming() as worker:
        watching = Watching()
        watching.set(Target("w", worker.url))
        async with watching:
            await watching.heard()


async def test_a_target_that_is_removed_is_left_at_once_and_the_others_stay():
    async with streaming() as one, streaming() as two, Watching() as watching:
        watching.set(Target("one", one.url), Target("two", two.url))
        await watching.heard("one")
        await watching.heard("two")
        watching.set(Target("two", two.url))
        await until(lambda: not one.open, what="the connection to end")
        assert watching.seen[-1] == TargetsSeen((Target("two", two.url),))
        await two.show(snapshot(seq=2))
        await watching.heard("two", times=2)
        assert (two.connections, watching.failures("one")) == (1, [])


async def test_a_target_that_is_removed_while_it_is_polled_or_backed_off_is_asked_no_more():
    async with polled() as worker, FakeWorker({"/v1/events": reply(500)}) as broken, Watching() as watching:
        watching.set(Target("w", worker.url), Target("b", broken.url))
        await watching.heard()
        await watching.failed("status", "b")
        watching.set()
        await until(
            lambda: not [task for task in asyncio.all_tasks() if task.get_name().startswith("watch ")],
            what="the tasks to end",
        )
        await asyncio.sleep(0.1)  # what was on its way to the servers
        before = len(worker.asked), len(broken.asked)
        await asyncio.sleep(0.5)
        assert (len(worker.asked), len(broken.asked)) == before


async def test_a_target_keeps_its_connection_when_only_its_region_changes():
    async with streaming() as worker, Watching() as watching:
        watching.set(Target("w", worker.url))
        await watching.heard()
        watching.set(Target("w", worker.url, region="eu-west"))
        await worker.show(snapshot(seq=2))
        await watching.heard(times=2)
        assert worker.connections == 1


async def test_another_address_or_access_of_a_target_is_taken_over():
    async with streaming("boot-1") as one, streaming("boot-2") as two, Watching() as watching:
        watching.set(Target("w", one.url))
        await watching.heard()
        watching.set(Target("w", two.url))
        await watching.heard(times=2)
        assert watching.boots() == ["boot-1", "boot-2"]
        await until(lambda: not one.open, what="the old connection to end")
        watching.set(Target("w", two.url), access=Access(read_token="s3cret"))
        await watching.heard(times=3)
        assert two.asked[-1].headers["authorization"] == "Bearer s3cret"


# many, and none may hurt another


async def test_hundreds_of_workers_are_all_heard_and_a_change_of_one_is_its_own():
    workers = [FakeWorker() for _ in range(300)]
    async with Watching() as watching:
        for number, worker in enumerate(workers):
            await worker.start()
            worker.shown = snapshot(boot=f"boot-{number}")
            worker.scripts["/v1/events"] = worker.serve_events
        watching.set(*(Target(str(number), worker.url) for number, worker in enumerate(workers)))
        heard = lambda: {seen.key for seen in watching.seen if isinstance(seen, SnapshotSeen)}  # noqa: E731
        await until(lambda: len(heard()) == 300, what="all of them", within=60)
        before = len(watching.seen)
        await workers[123].show(snapshot(boot="boot-123", seq=2))
        await watching.heard("123", times=2)
        assert [seen.key for seen in watching.seen[before:]] == ["123"]
        assert all(worker.connections == 1 for worker in workers)
    await asyncio.gather(*(worker.stop() for worker in workers))


async def test_workers_that_never_answer_do_not_keep_others_waiting(monkeypatch):
    monkeypatch.setattr(events, "HEAD_DEADLINE", 60.0)
    silent = [FakeWorker({"/v1/events": hold}) for _ in range(100)]
    async with streaming() as worker, Watching() as watching:
        for dead in silent:
            await dead.start()
        dead_targets = [Target(f"dead-{number}", dead.url) for number, dead in enumerate(silent)]
        watching.set(*dead_targets, Target("w", worker.url))
        await watching.heard()
        assert sum(dead.open for dead in silent) == 100
    await asyncio.gather(*(dead.stop() for dead in silent))


async def test_a_fault_of_the_dashboard_is_told_logged_and_hurts_one_worker_only(caplog):
    watching = Watching()

    def put(seen) -> None:
        watching.seen.append(seen)
        if isinstance(seen, SnapshotSeen) and seen.key == "one":
            raise ZeroDivisionError("our own fault")

    watching.put = put
    watching.watch._put = put
    async with streaming() as one, streaming() as two, watching:
        watching.set(Target("one", one.url), Target("two", two.url))
        await watching.failed("garbage", "one")
        await watching.heard("two")
        await watching.heard("one", times=2)  # and it is tried again
        assert watching.of("one", ContactFailed)[0].detail == (
            "fault in the dashboard: ZeroDivisionError: our own fault"
        )
        assert watching.failures("two") == []
    assert any(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


async def test_the_watch_leaves_nothing_behind():
    async with streaming() as one, polled() as two, FakeWorker({"/v1/events": hold}) as three:
        async with Watching() as watching:
            watching.set(Target("one", one.url), Target("two", two.url), Target("three", three.url))
            await watching.heard("one")
            await watching.heard("two", times=2)
            await until(lambda: three.asked, what="the third")
        await until(lambda: not (one.open or two.open or three.open), what="all connections to end")
