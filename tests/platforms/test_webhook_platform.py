"""A signed POST as a platform: one identity for every try, and honest about what nobody knows."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from cryptography.exceptions import InvalidSignature

from openrtc_tui.http import Http
from openrtc_tui.operations.platforms.platform import PlatformError
from openrtc_tui.operations.platforms.webhook import WebhookPlatform
from openrtc_worker.contract.keys import generate_operator_key, public_key_from_pem
from openrtc_worker.local.ports import ReservedPorts


class Receiver:
    """A real receiver; *answers* is what it says, in turn: a status, or None to hang up without a word."""

    def __init__(self, answers: list[int | None]) -> None:
        self._answers = answers
        self.heard: list[tuple[dict[str, str], bytes]] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.heard.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        answer = self._answers.pop(0)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.json_response({"detail": f"said {answer}"}, status=answer)


@asynccontextmanager
async def platform_on(answers: list[int | None], folder):
    receiver, slept = Receiver(answers), []
    runner = web.ServerRunner(web.Server(receiver))
    await runner.setup()
    ports = ReservedPorts(1)
    [port] = ports
    await web.TCPSite(runner, "127.0.0.1", port).start()
    private, public = generate_operator_key("release", folder)
    http = Http()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    platform = WebhookPlatform(
        f"http://127.0.0.1:{port}/hook", key_file=private, fleet="voice", http=http, clock=lambda: 1e9, sleep=sleep
    )
    receiver.public_key = public_key_from_pem(public.read_bytes())
    receiver.slept = slept
    try:
        yield platform, receiver
    finally:
        await http.aclose()
        await runner.cleanup()
        ports.close()


async def ask(platform):
    return await platform.roll_back("v1.0.0", token="", op_id="op-7", reason="v2 loses callers")


async def test_the_receiver_can_tell_who_asks_for_what_and_that_it_was_asked_before(tmp_path):
    async with platform_on([202], tmp_path) as (platform, receiver):
        assert (await ask(platform)).detail == "said 202"
        [(headers, body)] = receiver.heard
    assert json.loads(body) == {
        "type": "openrtc.rollback",
        "fleet": "voice",
        "to": "v1.0.0",
        "op_id": "op-7",
        "reason": "v2 loses callers",
        "timestamp": 1e9,
    }
    assert headers["idempotency-key"] == headers["webhook-id"] == "op-7"
    scheme, signature = headers["webhook-signature"].split(",")
    assert scheme == "v1a"
    signed = b".".join((b"op-7", headers["webhook-timestamp"].encode(), body))
    receiver.public_key.verify(base64.b64decode(signature), signed)
    with pytest.raises(InvalidSignature):
        receiver.public_key.verify(base64.b64decode(signature), signed + b" ")


async def test_a_lost_answer_is_asked_for_again_under_the_same_identity(tmp_path):
    async with platform_on([None, 503, 429, 200], tmp_path) as (platform, receiver):
        assert (await ask(platform)).detail == "said 200"
        assert {headers["idempotency-key"] for headers, _ in receiver.heard} == {"op-7"}
        assert len({body for _, body in receiver.heard}) == 1
        assert receiver.slept == [1.0, 2.0, 4.0]


async def test_a_no_is_a_no_and_is_not_repeated(tmp_path):
    async with platform_on([403], tmp_path) as (platform, receiver):
        with pytest.raises(PlatformError, match="HTTP 403: said 403") as caught:
            await ask(platform)
        assert caught.value.happened is False
        assert len(receiver.heard) == 1


async def test_a_no_after_a_lost_answer_leaves_open_what_the_first_try_did(tmp_path):
    async with platform_on([None, 409], tmp_path) as (platform, _):
        with pytest.raises(PlatformError, match="409") as caught:
            await ask(platform)
        assert caught.value.happened is None


async def test_when_nothing_but_faults_come_back_nobody_knows(tmp_path):
    async with platform_on([500, 500, 500, 500], tmp_path) as (platform, receiver):
        with pytest.raises(PlatformError, match="HTTP 500") as caught:
            await ask(platform)
        assert caught.value.happened is None
        assert len(receiver.heard) == 4


async def test_a_redirect_is_not_followed(tmp_path):
    async with platform_on([307], tmp_path) as (platform, _):
        with pytest.raises(PlatformError, match="HTTP 307"):
            await ask(platform)


async def test_nobody_there_means_nothing_was_done(tmp_path):
    private, _ = generate_operator_key("release", tmp_path)
    http = Http()

    async def sleep(_seconds: float) -> None: ...

    with ReservedPorts(1) as [port]:
        url = f"http://127.0.0.1:{port}/"
        platform = WebhookPlatform(url, key_file=private, fleet="voice", http=http, sleep=sleep)
        with pytest.raises(PlatformError) as caught:
            await ask(platform)
    assert caught.value.happened is False
    await http.aclose()


async def test_a_key_that_cannot_be_used_is_found_before_anything_is_posted(tmp_path):
    async with platform_on([], tmp_path) as (platform, receiver):
        assert [each.blocks for each in await platform.preflight("v1.0.0", await platform.describe("v1.0.0"))] == [
            False
        ]
        (tmp_path / "release.pem").chmod(0o644)
        [objection] = await platform.preflight("v1.0.0", await platform.describe("v1.0.0"))
        assert objection.blocks
        with pytest.raises(PlatformError, match="chmod 600") as caught:
            await ask(platform)
        assert caught.value.happened is False
        assert receiver.heard == []
        assert [pods async for pods in platform.watch()] == []
