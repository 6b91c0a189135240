"""A request is bounded in time and size, goes where it was sent, and says in one word why no answer came."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
import tracemalloc
import zlib

import pytest

from openrtc_tui.http import Access, Http, HttpFailure
from openrtc_tui.http import resolve as resolving
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


async def failure(awaitable) -> HttpFailure:
    with pytest.raises(HttpFailure) as caught:
        await awaitable
    assert caught.value.detail.isprintable()
    return caught.value


# answers


async def test_any_status_is_an_answer_with_lower_case_headers_and_the_body(http, worker):
    worker.scripts["/x"] = reply(503, b"busy", Retry_After="2")
    answer = await http.request("GET", f"{worker.url}/x")
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (503, b"busy", "2")


async def test_method_headers_and_body_arrive_as_given(http, worker):
    worker.scripts["/v1/drain"] = reply(202, b"{}")
    await http.request("POST", f"{worker.url}/v1/drain", body=b'{"a":1}', headers={"Authorization": "Bearer op"})
    [asked] = worker.asked
    assert (asked.method, asked.body, asked.headers["authorization"]) == ("POST", b'{"a":1}', "Bearer op")


async def test_a_redirect_is_an_answer_and_is_not_followed(http, worker):
    worker.scripts = {"/x": reply(302, b"", Location="/y"), "/y": reply(200)}
    assert (await http.request("GET", f"{worker.url}/x")).status == 302
    assert [asked.path for asked in worker.asked] == ["/x"]


async def test_proxies_of_the_environment_are_ignored(worker, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    http = Http()
    worker.scripts["/x"] = reply(200)
    assert (await http.request("GET", f"{worker.url}/x")).status == 200
    await http.aclose()


async def test_no_cookie_is_kept(http, worker):
    worker.scripts["/x"] = reply(200, b"", Set_Cookie="who=me; Path=/")
    for _ in range(2):
        await http.request("GET", f"{worker.url}/x")
    assert all("cookie" not in asked.headers for asked in worker.asked)


# connections


async def test_reading_again_and_again_takes_one_connection(http, worker):
    worker.scripts["/x"] = reply(200, b"ok")
    for _ in range(5):
        await http.request("GET", f"{worker.url}/x")
    assert worker.connections == 1


async def test_a_busy_connection_holds_up_nobody(http, worker):
    worker.scripts = {"/slow": hold, "/x": reply(200, b"ok")}
    slow = asyncio.create_task(http.request("GET", f"{worker.url}/slow", deadline=60))
    await until(lambda: worker.asked, what="the slow request")
    assert (await http.request("GET", f"{worker.url}/x")).body == b"ok"
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow


async def test_what_acts_has_a_connection_of_its_own(http, worker):
    worker.scripts["/x"] = reply(200)
    await http.request("GET", f"{worker.url}/x")
    await http.request("POST", f"{worker.url}/x", body=b"1")
    await http.request("POST", f"{worker.url}/x", body=b"2")
    assert worker.connections == 3


async def test_a_kept_connection_that_the_worker_closed_meanwhile_is_replaced(http, worker):
    worker.scripts["/x"] = reply(200, b"ok")
    await http.request("GET", f"{worker.url}/x")
    await worker.drop()
    await until(lambda: not worker.open, what="the connection to end")
    assert (await http.request("GET", f"{worker.url}/x")).body == b"ok"
    assert worker.connections == 2


async def test_a_kept_connection_that_dies_under_a_reading_request_is_tried_once_more(http, worker):
    async def only_first(exchange):
        if len(worker.asked) == 2:
            exchange.close()
        else:
            await exchange.reply(200, b"ok")

    worker.scripts["/x"] = only_first
    await http.request("GET", f"{worker.url}/x")
    assert (await http.request("GET", f"{worker.url}/x")).body == b"ok"
    assert (len(worker.asked), worker.connections) == (3, 2)


async def test_a_new_connection_that_dies_is_not_tried_again(http, worker):
    async def hang_up(exchange):
        exchange.close()

    worker.scripts["/x"] = hang_up
    failed = await failure(http.request("GET", f"{worker.url}/x"))
    assert (failed.kind, failed.sent, len(worker.asked)) == ("broken", True, 1)


async def test_what_acts_is_never_sent_twice(http, worker):
    async def hang_up(exchange):
        exchange.reset()

    worker.scripts = {"/x": reply(200), "/act": hang_up}
    await http.request("GET", f"{worker.url}/x")  # leaves a connection that could be reused
    failed = await failure(http.request("POST", f"{worker.url}/act", body=b"{}"))
    assert (failed.kind, failed.sent) == ("broken", True)
    assert [asked.path for asked in worker.asked] == ["/x", "/act"]


async def test_a_worker_that_closes_after_each_answer_is_read_all_the_same(http, worker):
    async def once(exchange):
        await exchange.reply(200, b"ok", Connection="close")
        exchange.close()

    worker.scripts["/x"] = once
    for _ in range(3):
        assert (await http.request("GET", f"{worker.url}/x")).body == b"ok"
    assert worker.connections == 3


async def test_a_cancelled_request_closes_its_connection(http, worker):
    worker.scripts["/x"] = hold
    asking = asyncio.create_task(http.request("GET", f"{worker.url}/x", deadline=60))
    await until(lambda: worker.asked, what="the request")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: not worker.open, what="the connection to end")


async def test_closing_ends_what_is_under_way_and_leaves_no_connection(http, worker):
    worker.scripts = {"/x": reply(200), "/slow": hold}
    await http.request("GET", f"{worker.url}/x")
    asking = asyncio.create_task(http.request("GET", f"{worker.url}/slow", deadline=60))
    await until(lambda: len(worker.asked) == 2, what="the request")
    await http.aclose()
    assert (await failure(asking)).kind == "broken"
    await until(lambda: not worker.open, what="the connections to end")
    assert (await failure(http.request("GET", f"{worker.url}/x"))).sent is False


# failures


async def test_refused_when_nobody_listens_and_nothing_was_sent(http, worker):
    await worker.stop()
    failed = await failure(http.request("POST", f"{worker.url}/x", body=b"{}"))
    assert (failed.kind, failed.sent, str(failed)) == ("refused", False, "connection refused")


async def test_timeout_when_it_accepts_and_says_nothing_and_the_request_may_have_arrived(http, worker):
    worker.scripts["/x"] = hold
    failed = await failure(http.request("POST", f"{worker.url}/x", body=b"{}", deadline=0.3))
    assert (failed.kind, failed.sent, failed.detail) == ("timeout", True, "no answer within 0.3 s")
    await until(lambda: not worker.open, what="the connection to end")


async def test_timeout_before_there_is_a_connection_is_certain_to_have_sent_nothing(http, worker):
    """A TLS greeting that nobody answers: connected, and nothing of the request on the wire."""
    failed = await failure(http.request("POST", f"https://127.0.0.1:{worker.port}/x", body=b"{}", deadline=0.3))
    assert (failed.kind, failed.sent, failed.detail) == ("timeout", False, "no connection within 0.3 s")
    assert worker.asked == []


async def test_a_drip_of_single_bytes_does_not_outlast_the_deadline(http, worker):
    async def drip(exchange):
        await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
        while True:
            await exchange.write(b"x")
            await asyncio.sleep(0.01)

    worker.scripts["/x"] = drip
    began = time.monotonic()
    failed = await failure(http.request("GET", f"{worker.url}/x", deadline=0.4))
    assert (failed.kind, failed.sent) == ("timeout", True)
    assert 0.3 < time.monotonic() - began < 10


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_broken_when_the_connection_ends_in_mid_answer(http, worker, ending):
    async def half(exchange):
        await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        getattr(exchange, ending)()

    worker.scripts["/x"] = half
    assert (await failure(http.request("GET", f"{worker.url}/x"))).kind == "broken"


@pytest.mark.parametrize(
    "nonsense", [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"\x1b[2J\x00\xff\r\n\r\n", b"HTTP/1.1 2\x1b00 OK\r\n\r\n"]
)
async def test_garbage_when_it_does_not_speak_http(http, worker, nonsense):
    async def talk(exchange):
        await exchange.write(nonsense)
        await exchange.hold()

    worker.scripts["/x"] = talk
    assert (await failure(http.request("GET", f"{worker.url}/x"))).kind == "garbage"


async def test_a_head_without_end_is_garbage(http, worker):
    async def talk(exchange):
        await exchange.write(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 400_000)
        await exchange.hold()

    worker.scripts["/x"] = talk
    assert (await failure(http.request("GET", f"{worker.url}/x"))).kind == "garbage"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://", "127.0.0.1:9464", "http://[::1/x", "http:///x"])
async def test_what_is_no_address_is_said_to_be_none(http, url):
    failed = await failure(http.request("GET", url))
    assert (failed.kind, failed.sent) == ("name", False)
    assert url in failed.detail


# names


async def test_a_name_that_does_not_exist(http, monkeypatch):
    def fake_look_up(host, port, flags):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(resolving, "_look_up", fake_look_up)
    failed = await failure(http.request("GET", "http://voice-a-1.internal:9464/x"))
    assert (failed.kind, failed.sent, failed.detail) == ("name", False, "name not found: Name or service not known")


async def test_an_ipv6_address(http):
    worker = FakeWorker({"/x": reply(204)}, host="::1")
    try:
        await worker.start()
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    assert (await http.request("GET", f"{worker.url}/x")).status == 204
    assert worker.asked[0].headers["host"] == f"[::1]:{worker.port}"
    await worker.stop()


async def test_a_label_too_long_for_a_name(http):
    assert (await failure(http.request("GET", f"http://{'a' * 64}.internal/x"))).kind == "name"


async def test_a_dead_first_address_of_a_name_does_not_hide_the_second(http, worker, monkeypatch):
    async with FakeWorker() as gone:
        dead = gone.port

    def fake_look_up(host, port, flags):
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        return [(socket.AF_INET, ("127.0.0.1", dead)), (socket.AF_INET, ("127.0.0.1", worker.port))]

    monkeypatch.setattr(resolving, "_look_up", fake_look_up)
    worker.scripts["/x"] = reply(200)
    assert (await http.request("GET", f"http://voice-a-1.internal:{worker.port}/x")).status == 200


async def test_a_resolver_that_hangs_is_left_behind_at_the_deadline(http, monkeypatch):
    import threading

    release = threading.Event()

    def fake_look_up(host, port, flags):
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        release.wait(30)
        return [(socket.AF_INET, ("127.0.0.1", port))]

    monkeypatch.setattr(resolving, "_look_up", fake_look_up)
    failed = await failure(http.request("GET", "http://voice-a-1.internal/x", deadline=0.2))
    assert (failed.kind, failed.sent) == ("timeout", False)
    lookers = [thread for thread in threading.enumerate() if thread.name.startswith("resolve ")]
    assert lookers
    assert all(thread.daemon for thread in lookers)  # so that the program's end does not wait for them
    release.set()
    for thread in lookers:
        thread.join(10)


# bounds


async def test_an_answer_over_the_limit_is_garbage_and_one_at_the_limit_is_not(http, worker):
    worker.scripts["/x"] = reply(200, b"x" * 5000)
    assert len((await http.request("GET", f"{worker.url}/x", max_bytes=5000)).body) == 5000
    failed = await failure(http.request("GET", f"{worker.url}/x", max_bytes=4999))
    assert (failed.kind, failed.detail) == ("garbage", "the answer is larger than 4,999 bytes")
    await until(lambda: worker.open <= 1, what="the connection of the refused answer to end")


async def test_an_answer_without_end_is_cut_at_the_limit(http, worker):
    async def flood(exchange):
        await exchange.open_stream()
        while True:
            await exchange.chunk(b"x" * 60_000)

    worker.scripts["/x"] = flood
    assert (await failure(http.request("GET", f"{worker.url}/x", deadline=60))).kind == "garbage"


async def test_a_gzip_bomb_is_cut_by_its_decoded_size_and_takes_no_memory(http, worker):
    worker.scripts["/x"] = reply(200, gzip.compress(bytes(200_000_000), 9), Content_Encoding="gzip")
    tracemalloc.start()
    failed = await failure(http.request("GET", f"{worker.url}/x", deadline=60))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert failed.kind == "garbage"
    assert peak < 20_000_000


@pytest.mark.parametrize(
    ("name", "encode"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
)
async def test_what_a_proxy_compressed_unasked_is_read(http, worker, name, encode):
    body = b"hello " * 50_000
    worker.scripts["/x"] = reply(200, encode(body), Content_Encoding=name)
    assert (await http.request("GET", f"{worker.url}/x")).body == body
    assert worker.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(("encoding", "body"), [("br", b"\x00"), ("gzip", b"no gzip at all"), ("gzip, gzip", b"")])
async def test_an_encoding_that_cannot_be_read_is_garbage(http, worker, encoding, body):
    worker.scripts["/x"] = reply(200, body, Content_Encoding=encoding)
    assert (await failure(http.request("GET", f"{worker.url}/x"))).kind == "garbage"


async def test_bodies_larger_than_any_buffer_pass_both_ways(http, worker):
    """Both directions run into flow control: neither end reads as fast as the other writes."""
    body = bytes(range(256)) * 20_000

    async def echo(exchange):
        await exchange.reply(200, exchange.asked.body)

    worker.scripts["/x"] = echo
    answer = await http.request("POST", f"{worker.url}/x", body=body, max_bytes=len(body), deadline=60)
    assert answer.body == body


# who we are


async def test_the_read_token_goes_with_what_reads_and_never_with_what_acts(http, worker):
    worker.scripts["/x"] = reply(200)
    access = Access(read_token="s3cret")
    await http.request("GET", f"{worker.url}/x", access=access)
    await http.request("POST", f"{worker.url}/x", access=access, body=b"")
    assert [asked.headers.get("authorization") for asked in worker.asked] == ["Bearer s3cret", None]


async def test_the_default_access_is_used_where_a_call_says_nothing(worker):
    http = Http(default=Access(read_token="s3cret"))
    worker.scripts["/x"] = reply(200)
    await http.request("GET", f"{worker.url}/x")
    assert worker.asked[0].headers["authorization"] == "Bearer s3cret"
    await http.aclose()


@pytest.mark.parametrize("token", ["s3cret\nx: y", "s3crét", "s3cret\x00"])
async def test_a_token_that_no_header_can_hold_fails_without_being_shown(http, worker, token):
    failed = await failure(http.request("GET", f"{worker.url}/x", access=Access(read_token=token)))
    assert (failed.kind, failed.sent) == ("garbage", False)
    assert "s3cr" not in failed.detail + repr(Access(read_token=token))
    assert worker.asked == []
