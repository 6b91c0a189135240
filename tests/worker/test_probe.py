"""The probe before the first connection: refused, unreachable and welcome are told apart."""

from __future__ import annotations

import asyncio
import ssl

import jwt
import pytest
from aiohttp import web

from openrtc_worker import probe as probe_module
from openrtc_worker.probe import Answer, Credentials, probe
from tests.support.tls import Authority

SECRET = "s" * 40


class FakeServer:
    """Something that answers at ``/agent`` with one status."""

    def __init__(self) -> None:
        self.status = 404
        self.delay = 0.0
        self.seen: list[web.Request] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        await asyncio.sleep(self.delay)
        return web.Response(status=self.status)


@pytest.fixture
async def server():
    fake = FakeServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", fake.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


def credentials(url: str) -> Credentials:
    return Credentials(url, "key", SECRET)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (404, Answer.WELCOME),  # livekit-server: the token is good, and this is no WebSocket
        (400, Answer.WELCOME),
        (426, Answer.WELCOME),
        (200, Answer.WELCOME),
        (401, Answer.REFUSED),
        (403, Answer.REFUSED),
        (500, Answer.UNREACHABLE),
        (503, Answer.UNREACHABLE),
    ],
)
async def test_each_status_means_one_thing(server, status, answer):
    server.status = status
    found, detail = await probe(credentials(server.url))
    assert found is answer
    assert ("HTTP" in detail) == (answer is not Answer.WELCOME)


async def test_it_asks_as_an_agent_with_a_short_lived_token(server):
    await probe(credentials(f"{server.url}/sub/"))
    [request] = server.seen
    assert request.path == "/sub/agent"
    claims = jwt.decode(request.headers["Authorization"].removeprefix("Bearer "), SECRET, algorithms=["HS256"])
    assert (claims["iss"], claims["video"]) == ("key", {"agent": True})
    assert claims["exp"] - claims["nbf"] <= 70


async def test_it_trusts_what_it_is_given_and_nothing_else(tmp_path):
    authority = Authority(tmp_path)
    app = web.Application()
    app.router.add_get("/agent", FakeServer().answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server()).start()
    url = f"wss://127.0.0.1:{runner.addresses[0][1]}"
    try:
        trusting = ssl.create_default_context(cafile=authority.ca)
        assert await probe(credentials(url), tls=trusting) == (Answer.WELCOME, "")
        found, detail = await probe(credentials(url))
        assert found is Answer.UNREACHABLE
        assert "certificate" in detail
    finally:
        await runner.cleanup()


async def test_nobody_there_is_unreachable():
    found, detail = await probe(credentials("ws://127.0.0.1:1"))
    assert found is Answer.UNREACHABLE
    assert "127.0.0.1" in detail


async def test_somebody_who_never_answers_is_unreachable(server, monkeypatch):
    monkeypatch.setattr(probe_module, "PROBE_TIMEOUT", 0.1)
    server.delay = 5.0
    found, detail = await probe(credentials(server.url))
    assert (found, detail) == (Answer.UNREACHABLE, "no answer in 0.1 s")


@pytest.mark.parametrize(
    ("url", "key", "secret", "named"),
    [
        ("", "k", "s", "LIVEKIT_URL"),
        ("ws://x", "", "s", "LIVEKIT_API_KEY"),
        ("ws://x", "k", "", "LIVEKIT_API_SECRET"),
        ("", "", "", "LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET"),
    ],
)
def test_what_is_missing_is_named(url, key, secret, named):
    assert (Credentials(url, key, secret).missing() or "").startswith(f"set {named}:")


@pytest.mark.parametrize("url", ["x", "livekit.example.com", "ftp://x", "ws://", "ws://x:port", "http:/x"])
def test_an_address_that_is_none_is_named(url):
    assert "LIVEKIT_URL" in (Credentials(url, "k", "s").malformed() or "")


@pytest.mark.parametrize("url", ["ws://x", "wss://x:443/sub", "http://127.0.0.1:7880", "https://x"])
def test_an_address_is_an_address(url):
    assert Credentials(url, "k", "s").malformed() is None
