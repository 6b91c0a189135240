"""Clients that drip, flood, lie or leave: none holds a connection for ever, and none is heard by a live call."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import socket

import httpx
import pytest

from openrtc_worker.control.limits import ControlLimits
from tests.control.conftest import until

SHORT = ControlLimits(idle=0.4, body=0.4, write=0.4, linger=0.2, goodbye=0.5)
POST = b"POST /v1/drain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HEAD = b"GET /v1/snapshot HTTP/1.1\r\nHost: localhost\r\n"


class RawClient(asyncio.Protocol):
    """A TCP connection that keeps what it got even when it ends with a reset."""

    def __init__(self):
        self.received = b""
        self.lost = asyncio.Event()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data

    def connection_lost(self, _):
        self.lost.set()

    def write(self, data):
        self.transport.write(data)

    async def drip(self, data, *, every=0.02):
        """Send a byte at a time for as long as the other side takes it."""
        while True:
            for byte in data:
                if self.lost.is_set():
                    return
                self.write(bytes([byte]))
                await asyncio.sleep(every)

    async def ended(self, *, within=20.0):
        """Everything until the server closes; fails if it does not."""
        async with asyncio.timeout(within):
            await self.lost.wait()
        return self.received

    async def dripping(self, data):
        """Everything until the server closes, while *data* drips."""
        _, received = await asyncio.gather(self.drip(data), self.ended())
        return received


@contextlib.asynccontextmanager
async def connection(endpoint):
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(RawClient, "127.0.0.1", endpoint.server.port)
    try:
        yield client
    finally:
        transport.abort()
        await client.lost.wait()


def open_connections(endpoint):
    return len(endpoint.server._listener._open)


async def alive(endpoint):
    assert (await endpoint.client.get("/healthz")).status_code == 200


def test_the_bounds_are_those_of_the_contract():
    limits = ControlLimits()
    assert limits.idle <= 15
    assert limits.body <= 15
    assert limits.body_bytes == 64 * 1024


async def test_a_client_that_says_nothing_is_shown_out(serve):
    endpoint = await serve(limits=SHORT)
    async with connection(endpoint) as client:
        assert await client.ended() == b""


@pytest.mark.parametrize("before", [b"", HEAD + b"\r\n"], ids=["at once", "after a request"])
async def test_headers_that_drip_do_not_hold_a_connection(serve, before):
    endpoint = await serve(limits=SHORT)
    async with connection(endpoint) as client:
        client.write(before)
        answered = await client.dripping(HEAD + b"X-Endless: " + b"a" * 3_000)
        assert answered.startswith(b"HTTP/1.1 200 " if before else b"")
        assert answered.count(b"HTTP/1.1") == bool(before)


async def test_a_body_that_drips_is_answered_and_shown_out(serve, alice, key_folder):
    endpoint = await serve(limits=SHORT, operator_keys=key_folder)
    async with connection(endpoint) as client:
        client.write(POST + b"Content-Length: 5000\r\n\r\n")
        answered = await client.dripping(b'{"op_id":')
    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answered
    assert endpoint.target.calls == []


async def test_a_body_that_was_refused_is_not_read_for_long(serve):
    endpoint = await serve(limits=SHORT)
    async with connection(endpoint) as client:
        client.write(b"POST /v1/drain HTTP/1.1\r\nHost: evil\r\nContent-Length: 50000\r\n\r\n")
        assert (await client.dripping(b"x")).startswith(b"HTTP/1.1 421 ")


async def test_a_client_that_takes_no_answers_is_dropped(serve):
    endpoint = await serve(limits=SHORT)
    endpoint.target.change(sessions_by_tenant={f"tenant-{number}": 1 for number in range(20_000)})
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        lazy.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(lazy, ("127.0.0.1", endpoint.server.port))
        await until(lambda: open_connections(endpoint) == 1)
        with contextlib.suppress(ConnectionError):
            for _ in range(500):
                await loop.sock_sendall(lazy, HEAD + b"\r\n")
                if not open_connections(endpoint):
                    break
                await asyncio.sleep(0.001)
        await until(lambda: open_connections(endpoint) == 0)
    await alive(endpoint)


GARBAGE = {
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "zeros": bytes(10_000),
    "no HTTP": b"HELLO\r\n\r\n",
    "an endless line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "an endless header": HEAD + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
    "too many headers": HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(500)) + b"\r\n",
    "two hosts": HEAD + b"Host: evil\r\n\r\n",
    "no host": b"GET /v1/snapshot HTTP/1.1\r\n\r\n",
    "no host in HTTP/1.0": b"GET /v1/snapshot HTTP/1.0\r\n\r\n",
    "two lengths": b"POST /v1/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "length and chunks": b"POST /v1/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a huge length": POST + b"Content-Length: " + b"9" * 18 + b"\r\n\r\n",
    "a bad chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "a fold": HEAD + b"X: a\r\n b\r\n\r\n",
    "CONNECT": b"CONNECT evil:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an unknown method": b"FANCY / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an upgrade": HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n" + b"\x81\x05hello" * 50,
    "a bad escape": b"GET /%ff%zz%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a scheme": b"GET gopher://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a bad authority": b"GET http://[::1/v1/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_is_no_request_is_a_problem_and_never_a_trace(serve, key_folder, alice, caplog, data):
    endpoint = await serve(limits=SHORT, operator_keys=key_folder)
    async with connection(endpoint) as client:
        client.write(data)
        with contextlib.suppress(OSError):
            client.transport.write_eof()
        answered = await client.ended()
    assert b"Traceback" not in answered
    assert not answered or answered.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 200 "))
    if answered and b" 200 " not in answered.split(b"\r\n", 1)[0]:
        assert b"application/problem+json" in answered
    assert "Traceback" not in caplog.text
    assert endpoint.target.calls == []
    await alive(endpoint)


async def test_a_body_that_stops_being_http_in_the_middle(serve, key_folder, alice, caplog):
    endpoint = await serve(limits=SHORT, operator_keys=key_folder)
    async with connection(endpoint) as client:
        client.write(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
        await asyncio.sleep(0.1)  # the request is being read now
        client.write(b"ZZ\r\n")
        assert (await client.ended()).startswith(b"HTTP/1.1 4")
    assert "Traceback" not in caplog.text


async def test_a_thousand_random_beginnings_leave_the_worker_as_it_was(serve, caplog):
    endpoint = await serve(limits=SHORT)
    rng = random.Random(20_260_101)
    pieces = [
        HEAD,
        b"\r\n",
        b"POST /v1/drain HTTP/1.1\r\n",
        b"Content-Length: 9\r\n",
        b"Host: localhost\r\n",
        b"\x00\xff",
    ]

    async def one():
        async with connection(endpoint) as client:
            data = b"".join(
                rng.choice([*pieces, rng.randbytes(rng.randrange(40))]) for _ in range(rng.randrange(1, 8))
            )
            client.write(data)
            if rng.random() < 0.5:
                with contextlib.suppress(OSError):
                    client.transport.write_eof()
                await client.ended()

    for _ in range(50):
        await asyncio.gather(*(one() for _ in range(20)))
    await until(lambda: open_connections(endpoint) == 0)
    assert "Traceback" not in caplog.text
    await alive(endpoint)


async def test_a_client_that_leaves_in_the_middle_of_its_body(serve, alice, key_folder, caplog):
    endpoint = await serve(operator_keys=key_folder)
    body = alice.body(endpoint.target)
    async with connection(endpoint) as client:
        client.write(POST + b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body)
        await until(lambda: open_connections(endpoint) == 1)
    await until(lambda: open_connections(endpoint) == 0)
    assert endpoint.target.calls == []
    assert "Traceback" not in caplog.text


async def test_connections_are_limited_and_the_next_is_told_so_at_once(serve):
    endpoint = await serve(limits=ControlLimits(connections=5))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(connection(endpoint))
        await until(lambda: open_connections(endpoint) == 5)
        answered = await (await stack.enter_async_context(connection(endpoint))).ended()
        assert answered.startswith(b"HTTP/1.1 503 ")
        assert b"too_many_connections" in answered
        assert len(answered.split(b"\r\n\r\n", 1)[1]) == int(answered.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    await until(lambda: open_connections(endpoint) == 0)
    await alive(endpoint)


async def test_a_flood_of_connections_stays_within_the_limit_and_ends(serve):
    endpoint = await serve(limits=ControlLimits(connections=20, idle=0.5))
    seen = []

    async def one():
        async with connection(endpoint) as client:
            seen.append(open_connections(endpoint))
            await client.ended()

    await asyncio.gather(*(one() for _ in range(200)))
    assert max(seen) <= 20
    await until(lambda: open_connections(endpoint) == 0)
    await alive(endpoint)


async def test_a_process_without_a_free_file_descriptor_accepts_again_later(serve, caplog):
    endpoint = await serve()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(
        ("127.0.0.1", endpoint.server.port)
    ) as waiting:  # taken by the kernel, not by us yet
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            await until(lambda: "Too many open files" in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        waiting.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(waiting, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await loop.sock_recv(waiting, 1000)).startswith(b"HTTP/1.1 200 ")
    await alive(endpoint)


async def test_closing_leaves_nothing_behind(serve):
    endpoint = await serve(limits=SHORT)
    before = asyncio.all_tasks()
    async with connection(endpoint) as client:
        await alive(endpoint)
        await endpoint.server.aclose()
        await endpoint.server.aclose()
        assert await client.ended() == b""
        assert open_connections(endpoint) == 0
    with pytest.raises(httpx.ConnectError):
        await endpoint.client.get("/healthz")
    await until(lambda: {task for task in asyncio.all_tasks() if not task.done()} <= before)
