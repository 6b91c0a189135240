"""TLS: whom we trust, how we show who we are, and what is said when either fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl

import pytest

from openrtc_tui.http import Access, Http, HttpFailure
from tests.support.fake_worker import FakeWorker, reply
from tests.support.processes import until
from tests.support.tls import Authority


@pytest.fixture
async def http():
    http = Http()
    yield http
    await http.aclose()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


async def get(http, worker, access=None, path="/x"):
    return await http.request("GET", f"{worker.url}{path}", access=access, deadline=20)


async def failure(http, worker, access=None) -> HttpFailure:
    with pytest.raises(HttpFailure) as caught:
        await get(http, worker, access)
    assert caught.value.detail.isprintable()
    return caught.value


async def test_a_worker_of_the_given_authority_is_trusted_and_its_connection_kept(http, authority):
    async with FakeWorker({"/x": reply(200, b"ok")}, tls=authority.server()) as worker:
        for _ in range(3):
            assert (await get(http, worker, Access(ca=authority.ca))).body == b"ok"
        assert worker.connections == 1


async def test_large_bodies_pass_through_tls(http, authority):
    async def echo(exchange):
        await exchange.reply(200, exchange.asked.body)

    body = bytes(range(256)) * 4_000
    async with FakeWorker({"/x": echo}, tls=authority.server()) as worker:
        access = Access(ca=authority.ca)
        url = f"{worker.url}/x"
        answer = await http.request("POST", url, body=body, access=access, deadline=30, max_bytes=len(body))
        assert answer.body == body


async def test_a_worker_of_another_authority_is_not_trusted_and_gets_nothing(http, authority, tmp_path):
    other = Authority(tmp_path, "another authority")
    async with FakeWorker({"/x": reply(200)}, tls=authority.server()) as worker:
        for access in (None, Access(ca=other.ca)):
            failed = await failure(http, worker, access)
            assert (failed.kind, failed.sent) == ("tls", False)
            assert failed.detail.startswith("certificate not accepted: ")
        assert worker.asked == []


async def test_a_certificate_for_another_address_is_not_accepted(http, authority):
    async with FakeWorker({"/x": reply(200)}, tls=authority.server(host="127.0.0.9")) as worker:
        failed = await failure(http, worker, Access(ca=authority.ca))
        assert (failed.kind, failed.sent) == ("tls", False)
        assert "127.0.0.1" in failed.detail


async def test_a_client_certificate_opens_a_worker_that_asks_for_one(http, authority):
    me = authority.issue("alice")
    async with FakeWorker({"/x": reply(200)}, tls=authority.server(ask_client=True)) as worker:
        assert (await get(http, worker, Access(ca=authority.ca, cert=me.cert, key=me.key))).status == 200


async def test_without_a_client_certificate_such_a_worker_hangs_up_and_the_failure_says_why(http, authority):
    """In TLS 1.3 the refusal comes only after our own handshake is done, and asyncio's servers send no reason."""
    async with FakeWorker({"/x": reply(200)}, tls=authority.server(ask_client=True)) as worker:
        failed = await failure(http, worker, Access(ca=authority.ca))
        assert (failed.kind, failed.sent) == ("broken", True)
        assert "client certificate" in failed.detail
        assert worker.asked == []


async def test_a_refusal_with_a_reason_is_a_tls_failure(http, authority):
    """OpenSSL's own way: the alert *certificate required* is the first thing that we read."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.settimeout(20)
        context = authority.server(ask_client=True)
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as refusing:
            with contextlib.suppress(ssl.SSLError):
                refusing.do_handshake()
            socket.socket.recv(refusing, 4096)  # the request: left unread, it would turn the end into a reset

    with listener:
        server = asyncio.create_task(asyncio.to_thread(refuse))
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/x"
        with pytest.raises(HttpFailure) as caught:
            await http.request("GET", url, access=Access(ca=authority.ca), deadline=20)
        await server
    assert caught.value.kind == "tls"
    assert "certificate required" in caught.value.detail


async def test_connections_of_two_accesses_are_never_mixed(http, authority):
    me = authority.issue("alice")
    async with FakeWorker({"/x": reply(200)}, tls=authority.server()) as worker:
        await get(http, worker, Access(ca=authority.ca))
        await get(http, worker, Access(ca=authority.ca, cert=me.cert, key=me.key))
        await get(http, worker, Access(ca=authority.ca, read_token="t"))
        assert worker.connections == 3


async def test_a_renewed_authority_file_is_taken_over(http, authority, tmp_path):
    async with FakeWorker({"/x": reply(200)}, tls=authority.server()) as worker:
        trusted = tmp_path / "trusted.pem"
        trusted.write_bytes(Authority(tmp_path, "old authority").ca.read_bytes())
        assert (await failure(http, worker, Access(ca=trusted))).kind == "tls"
        before = trusted.stat().st_mtime_ns
        trusted.write_bytes(authority.ca.read_bytes())
        os.utime(trusted, ns=(before + 1_000_000, before + 1_000_000))
        assert (await get(http, worker, Access(ca=trusted))).status == 200


async def test_plain_http_behind_an_https_address_is_a_tls_failure(http, authority):
    async with FakeWorker() as plain:
        plain.greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        with pytest.raises(HttpFailure) as caught:
            await http.request("GET", f"https://127.0.0.1:{plain.port}/x", access=Access(ca=authority.ca))
        assert (caught.value.kind, caught.value.sent) == ("tls", False)


async def test_a_handshake_that_is_cut_off_leaves_no_connection(http, authority):
    async with FakeWorker() as plain:
        plain.greeting = b""
        with pytest.raises(HttpFailure) as caught:
            await http.request("GET", f"https://127.0.0.1:{plain.port}/x", access=Access(ca=authority.ca))
        assert (caught.value.kind, caught.value.sent) == ("broken", False)
        await until(lambda: not plain.open, what="the connection to end")


async def test_closing_in_mid_handshake_does_not_hang(authority):
    http = Http()
    async with FakeWorker() as plain:  # reads our greeting and waits for a request
        url = f"https://127.0.0.1:{plain.port}/x"
        asking = asyncio.create_task(http.request("GET", url, access=Access(ca=authority.ca), deadline=60))
        await until(lambda: plain.open, what="the connection")
        async with asyncio.timeout(20):
            await http.aclose()
            with pytest.raises(HttpFailure):
                await asking
        await until(lambda: not plain.open, what="the connection to end")


@pytest.mark.parametrize("missing", ["ca", "cert", "key"])
async def test_a_file_that_is_not_there_is_named(http, authority, tmp_path, missing):
    me = authority.issue("alice")
    files = {"ca": authority.ca, "cert": me.cert, "key": me.key, missing: tmp_path / "gone.pem"}
    async with FakeWorker({"/x": reply(200)}, tls=authority.server()) as worker:
        failed = await failure(http, worker, Access(**files))
        assert (failed.kind, failed.sent) == ("tls", False)
        assert "gone.pem" in failed.detail
        assert worker.connections == 0


async def test_an_encrypted_key_fails_and_asks_no_terminal_for_a_password(http, authority):
    me = authority.issue("alice", password=b"secret")
    async with FakeWorker({"/x": reply(200)}, tls=authority.server()) as worker:
        failed = await failure(http, worker, Access(ca=authority.ca, cert=me.cert, key=me.key))
        assert failed.kind == "tls"
        assert str(me.key) in failed.detail


async def test_a_file_that_is_no_certificate_is_named(http, authority, tmp_path):
    (tmp_path / "notes.txt").write_text("no certificate")
    async with FakeWorker({"/x": reply(200)}, tls=authority.server()) as worker:
        failed = await failure(http, worker, Access(ca=tmp_path / "notes.txt"))
        assert failed.kind == "tls"
        assert "notes.txt" in failed.detail
