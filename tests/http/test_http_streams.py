"""A stream hands on bytes as they come, notices silence and breaks, and leaves nothing open."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from openrtc_tui.http import Http, HttpFailure
from tests.support.fake_worker import FakeWorker, hold, reply
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


def stream(http, worker, **options):
    return http.stream(f"{worker.url}/x", **options)


async def read_all(http, worker, **options) -> bytes:
    async with stream(http, worker, **options) as opened:
        return b"".join([chunk async for chunk in opened.chunks()])


async def test_what_is_sent_is_there_before_the_stream_ends(http, worker):
    async def talk(exchange):
        await exchange.open_stream()
        await exchange.chunk(b"one")
        await exchange.hold()

    worker.scripts["/x"] = talk
    async with stream(http, worker) as opened:
        assert (opened.status, opened.headers["content-type"]) == (200, "text/event-stream")
        async for chunk in opened.chunks():
            assert chunk == b"one"
            break
    await until(lambda: not worker.open, what="the connection to end")


async def test_any_status_opens(http, worker):
    worker.scripts["/x"] = reply(404, b"no")
    async with stream(http, worker) as opened:
        assert opened.status == 404


async def test_the_end_of_the_body_ends_the_chunks(http, worker):
    async def talk(exchange):
        await exchange.open_stream()
        await exchange.chunk(b"one")
        await exchange.chunk(b"two")
        await exchange.end_stream()

    worker.scripts["/x"] = talk
    assert await read_all(http, worker) == b"onetwo"


async def test_a_compressed_stream_is_read_as_it_comes(http, worker):
    packed = gzip.compress(b"a" * 300_000)

    async def talk(exchange):
        await exchange.open_stream(Content_Encoding="gzip")
        for place in range(0, len(packed), 7):
            await exchange.chunk(packed[place : place + 7])
        await exchange.end_stream()

    worker.scripts["/x"] = talk
    assert await read_all(http, worker) == b"a" * 300_000


async def test_no_head_in_time_is_a_timeout(http, worker):
    worker.scripts["/x"] = hold
    with pytest.raises(HttpFailure) as caught:
        await read_all(http, worker, deadline=0.2)
    assert (caught.value.kind, caught.value.detail) == ("timeout", "no answer within 0.2 s")


async def test_silence_is_a_timeout_and_each_byte_postpones_it(http, worker):
    sent = 0

    async def talk(exchange):
        nonlocal sent
        await exchange.open_stream()
        for _ in range(8):
            await asyncio.sleep(0.1)
            await exchange.chunk(b"x")
            sent += 1
        await exchange.hold()

    worker.scripts["/x"] = talk
    with pytest.raises(HttpFailure) as caught:
        await read_all(http, worker, idle=0.6)
    assert sent == 8
    assert (caught.value.kind, caught.value.detail) == ("timeout", "silent for 0.6 s")
    await until(lambda: not worker.open, what="the connection to end")


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_broken_when_the_connection_ends_without_the_body(http, worker, ending):
    async def talk(exchange):
        await exchange.open_stream()
        await exchange.chunk(b"one")
        getattr(exchange, ending)()

    worker.scripts["/x"] = talk
    with pytest.raises(HttpFailure) as caught:
        await read_all(http, worker)
    assert (caught.value.kind, caught.value.sent) == ("broken", True)


async def test_garbage_between_the_chunks(http, worker):
    async def talk(exchange):
        await exchange.open_stream()
        await exchange.write(b"zzz not a chunk\r\n")
        await exchange.hold()

    worker.scripts["/x"] = talk
    with pytest.raises(HttpFailure) as caught:
        await read_all(http, worker)
    assert caught.value.kind == "garbage"


async def test_a_cancelled_reader_closes_its_connection(http, worker):
    worker.scripts["/x"] = worker.serve_events
    reading = asyncio.create_task(read_all(http, worker))
    await until(lambda: worker.streams, what="the stream")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await until(lambda: not worker.open, what="the connection to end")


async def test_requests_and_streams_do_not_share_connections(http, worker):
    worker.scripts = {"/x": worker.serve_events, "/y": reply(200, b"ok")}
    await http.request("GET", f"{worker.url}/y")
    async with stream(http, worker):
        await http.request("GET", f"{worker.url}/y")
        assert worker.connections == 2


async def test_a_reader_that_is_busy_elsewhere_holds_up_the_sender_and_loses_nothing(http, worker):
    sent = 0

    async def flood(exchange):
        nonlocal sent
        await exchange.open_stream()
        for _ in range(400):
            await exchange.chunk(b"x" * 50_000)
            sent += 50_000
        await exchange.end_stream()

    worker.scripts["/x"] = flood
    async with stream(http, worker) as opened:
        chunks = opened.chunks()
        first = await anext(chunks)
        before = -1
        while before != sent:  # until the sender stands still
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 20_000_000
        assert len(first) + sum([len(chunk) async for chunk in chunks]) == 20_000_000
