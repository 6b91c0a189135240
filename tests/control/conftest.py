"""A control endpoint on a real port of this machine, and an operator who signs requests to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid

import httpx
import pytest

from openrtc_worker.contract.control_token import sign_request
from openrtc_worker.contract.keys import generate_operator_key, load_private_key, operator_of
from openrtc_worker.control.server import ControlServer
from openrtc_worker.control.settings import ControlSettings
from tests.control.fake_target import FakeTarget


class Operator:
    """Somebody with a private key; every part of what is signed and sent can be made wrong."""

    def __init__(self, folder, kid="alice"):
        self.kid = kid
        self.name = operator_of(kid)
        self.private_path, self.public_path = generate_operator_key(kid, folder)
        self.private_key = load_private_key(self.private_path)

    def body(self, target, **fields):
        asked = {"op_id": f"op-{uuid.uuid4()}", "expect": {"boot_id": target.boot_id}, **fields}
        return json.dumps(asked).encode()

    def token(self, target, action, body, **changed):
        try:
            op_id = str(json.loads(body)["op_id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            op_id = "op-unknown"
        claims = {
            "private_key": self.private_key,
            "kid": self.kid,
            "sub": self.name,
            "aud_worker_id": target.worker_id,
            "aud_boot_id": target.boot_id,
            "action": action,
            "op_id": op_id,
            "body": body,
            "now": time.time(),
        }
        return sign_request(**{**claims, **changed})

    def headers(self, target, action, body, **changed):
        return {
            "Authorization": f"Bearer {self.token(target, action, body, **changed)}",
            "Content-Type": "application/json",
        }


class Endpoint:
    """A running server with its target and a client."""

    def __init__(self, server, target, client):
        self.server = server
        self.target = target
        self.client = client

    async def ask(self, operator, action, *, body=None, path=None, headers=None, **changed):
        """Send a signed request; what is named in *changed* is signed otherwise than it should be."""
        if body is None:
            body = operator.body(self.target, **({"manifest": "a.b.c"} if action == "manifest" else {}))
        signed = operator.headers(self.target, action, body, **changed)
        method = "PUT" if action == "manifest" else "POST"
        headers = {**signed, **(headers or {})}
        return await self.client.request(method, path or f"/v1/{action}", content=body, headers=headers)

    async def counted(self, action, result):
        """The count of ``openrtc_control_requests_total``, read as Prometheus reads it."""
        text = (await self.client.get("/metrics")).text
        line = f'openrtc_control_requests_total{{action="{action}",result="{result}"}} '
        return sum(float(found.removeprefix(line)) for found in text.splitlines() if found.startswith(line))


@pytest.fixture
def target():
    return FakeTarget()


@pytest.fixture
def key_folder(tmp_path):
    folder = tmp_path / "operators"
    folder.mkdir()
    return folder


@pytest.fixture
def alice(key_folder):
    return Operator(key_folder)


@pytest.fixture
async def serve(target):
    """Start endpoints; all are stopped, and their port is free again, at the end of the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, limits=None, to=None, **settings):
            server = ControlServer(to or target, settings=ControlSettings(**{"port": 0, **settings}), limits=limits)
            await server.start()
            stack.push_async_callback(server.aclose)
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=10)
            )
            return Endpoint(server, to or target, client)

        yield start


@pytest.fixture
async def endpoint(serve, key_folder, alice):
    """An endpoint on which alice may act."""
    return await serve(operator_keys=key_folder)


async def until(condition, *, within=10.0):
    """Wait for *condition* to hold."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - conditions of other programs have no event
            await asyncio.sleep(0.01)
