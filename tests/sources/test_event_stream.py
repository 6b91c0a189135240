"""One event stream: what it tells is put as observations, and its end is never mistaken."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from openrtc_tui.http import Access, Http, HttpFailure
from openrtc_tui.sources import events
from openrtc_tui.sources.contact import ContactError
from openrtc_tui.sources.events import StreamEnd, follow_events
from openrtc_tui.state.observation import AuditSeen, HeartbeatSeen, SnapshotSeen, Target
from openrtc_worker.contract.snapshot import encode_json
from tests.support.fake_worker import HEARTBEAT, FakeWorker, event, hold, reply, snapshot
from tests.support.processes import until


@pytest.fixture
async def http():
    http = Http()
    yield http
    await http.aclose()


@pytest.fixture
async def worker():
    async with FakeWorker() as worker:
        yield worker


@pytest.fixture
def seen():
    return []


@pytest.fixture
def follow(http, worker, seen):
    def follow(access=None):
        return follow_events(http, Target("w", worker.url), access, seen.append, time.monotonic)

    return follow


def talking(*chunks: bytes, then="hold", pause=0.0):
    """A script that streams *chunks* and then holds, ends, closes or resets."""

    async def script(exchange):
        await exchange.open_stream()
        for chunk in chunks:
            await exchange.chunk(chunk)
            if pause:
                await asyncio.sleep(pause)
        if then == "hold":
            await exchange.hold()
        elif then == "end":
            await exchange.end_stream()
        else:
            getattr(exchange, then)()

    return script


async def trouble(awaitable) -> tuple[str, str]:
    with pytest.raises((HttpFailure, ContactError)) as caught:
        await awaitable
    assert caught.value.detail.isprintable()
    return caught.value.kind, caught.value.detail


async def test_everything_a_worker_says_is_put_in_its_order(worker, seen, follow):
    first, last = snapshot(active=2), snapshot(seq=2, state="exited", exit_code=0)
    worker.scripts["/v1/events"] = talking(
        HEARTBEAT,  # tells nothing yet
        event("snapshot", first),
        HEARTBEAT,
        event("audit", {"seq": 1, "event": "deployment.drain_started"}) + HEARTBEAT,
        event("bye", last),
    )
    assert await follow() is StreamEnd.BYE
    assert seen == [
        SnapshotSeen("w", first, encode_json(first)),
        HeartbeatSeen("w"),
        AuditSeen("w", {"seq": 1, "event": "deployment.drain_started"}),
        HeartbeatSeen("w"),
        SnapshotSeen("w", last, encode_json(last), bye=True),
    ]
    assert worker.asked[0].headers["accept"] == "text/event-stream"


async def test_nothing_said_after_the_goodbye_counts(worker, seen, follow):
    worker.scripts["/v1/events"] = talking(event("bye", snapshot()) + event("snapshot", snapshot(seq=2)))
    assert await follow() is StreamEnd.BYE
    assert len(seen) == 1


async def test_a_snapshot_that_drips_in_byte_by_byte_is_one_snapshot(worker, seen, follow):
    data = event("snapshot", snapshot(active=3)) + event("bye", snapshot(seq=2))
    worker.scripts["/v1/events"] = talking(*(data[n : n + 1] for n in range(len(data))))
    await follow()
    assert [shown.snapshot.active_sessions for shown in seen] == [3, 0]


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_worker_without_events_is_known_by_its_status(worker, follow, status):
    worker.scripts["/v1/events"] = reply(status)
    assert await follow() is StreamEnd.NO_EVENTS


async def test_a_worker_that_serves_no_more_streams(worker, follow):
    worker.scripts["/v1/events"] = reply(503)
    assert await follow() is StreamEnd.FULL


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (401, "HTTP 401 Unauthorized: it wants a read token; set read_token_env or read_token_file"),
        (302, "HTTP 302 Found: it redirects, which is not followed"),
        (421, "HTTP 421 Misdirected Request: it does not answer to this host name"),
        (500, "HTTP 500 Internal Server Error"),
        (599, "HTTP 599"),
    ],
)
async def test_any_other_status_is_a_failure_that_says_what_to_do(worker, follow, status, detail):
    worker.scripts["/v1/events"] = reply(status)
    kind, said = await trouble(follow())
    assert kind == "status"
    assert said.startswith(detail)


async def test_a_read_token_is_shown(worker, follow):
    worker.scripts["/v1/events"] = talking(event("bye", snapshot()))
    await follow(Access(read_token="s3cret"))
    assert worker.asked[0].headers["authorization"] == "Bearer s3cret"


async def test_a_page_for_people_is_garbage(worker, follow):
    worker.scripts["/v1/events"] = reply(200, b"<html>", Content_Type="text/html")
    assert await trouble(follow()) == ("garbage", "expected an event stream, got text/html")


@pytest.mark.parametrize(
    "data",
    [
        b"no JSON",
        b"{}",
        b"[]",
        b'{"deployment_version": "v1", "draining": false, "active_sessions": "many"}',
        b'{"deployment_version": "\x1b[2J", "draining": 1, "active_sessions": 0}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
    ids=["text", "empty", "list", "type", "escape", "deep", "bytes"],
)
@pytest.mark.parametrize("name", ["snapshot", "bye"])
async def test_what_is_no_snapshot_is_garbage(worker, seen, follow, name, data):
    worker.scripts["/v1/events"] = talking(event(name, data))
    kind, detail = await trouble(follow())
    assert kind == "garbage"
    assert detail.startswith("not a snapshot: ")
    assert seen == []
    await until(lambda: not worker.open, what="the connection to end")


async def test_an_audit_event_that_cannot_be_read_does_not_end_the_watch(worker, seen, follow, caplog):
    worker.scripts["/v1/events"] = talking(
        event("audit", b"no JSON"), event("audit", b"[1]"), event("bye", snapshot())
    )
    assert await follow() is StreamEnd.BYE
    assert [type(one) for one in seen] == [SnapshotSeen]
    assert len(caplog.records) == 2


async def test_what_an_audit_event_holds_is_printable(worker, seen, follow):
    hostile = json.dumps({"event": "x\x1b[31m\u202e", "\x07key": ["\x9b"]}).encode()
    worker.scripts["/v1/events"] = talking(event("audit", hostile), event("bye", snapshot()))
    await follow()
    assert seen[0].event == {"event": "x[31m", "key": [""]}


async def test_events_of_a_later_kind_are_passed_over(worker, seen, follow):
    worker.scripts["/v1/events"] = talking(event("weather", b"sunny"), event("bye", snapshot()))
    assert await follow() is StreamEnd.BYE
    assert len(seen) == 1


async def test_a_line_without_end_is_garbage(worker, follow):
    worker.scripts["/v1/events"] = talking(b"data: ", *[b"x" * 60_000] * 20)
    assert (await trouble(follow()))[0] == "garbage"


@pytest.mark.parametrize("then", ["end", "close", "reset"])
@pytest.mark.parametrize(
    "said",
    [b"", event("snapshot", snapshot())[:40], event("snapshot", snapshot())],
    ids=["nothing", "half-an-event", "an-event"],
)
async def test_an_end_without_a_goodbye_is_a_break(worker, follow, then, said):
    worker.scripts["/v1/events"] = talking(said or HEARTBEAT, then=then)
    assert (await trouble(follow()))[0] == "broken"


async def test_refused_when_nobody_listens(worker, follow):
    await worker.stop()
    assert await trouble(follow()) == ("refused", "connection refused")


async def test_a_worker_that_accepts_and_says_nothing_is_a_timeout(worker, follow, monkeypatch):
    monkeypatch.setattr(events, "HEAD_DEADLINE", 0.3)
    worker.scripts["/v1/events"] = hold
    assert await trouble(follow()) == ("timeout", "no answer within 0.3 s")


async def test_a_stream_that_falls_silent_is_a_timeout(worker, seen, follow, monkeypatch):
    monkeypatch.setattr(events, "IDLE_LIMIT", 0.5)
    worker.scripts["/v1/events"] = talking(event("snapshot", snapshot()), *[HEARTBEAT] * 8, pause=0.1)
    assert await trouble(follow()) == ("timeout", "silent for 0.5 s")
    assert len(seen) == 9


async def test_bytes_that_never_make_an_event_are_no_sign_of_life(worker, follow, monkeypatch):
    monkeypatch.setattr(events, "IDLE_LIMIT", 0.5)
    worker.scripts["/v1/events"] = talking(event("snapshot", snapshot()) + b"data: ", *[b"x"] * 1000, pause=0.02)
    assert await trouble(follow()) == ("timeout", "no whole event for 0.5 s")


async def test_heartbeats_without_a_snapshot_are_garbage(worker, follow, monkeypatch):
    monkeypatch.setattr(events, "IDLE_LIMIT", 0.5)
    worker.scripts["/v1/events"] = talking(*[HEARTBEAT] * 1000, pause=0.05)
    assert await trouble(follow()) == ("garbage", "no snapshot on the event stream")
