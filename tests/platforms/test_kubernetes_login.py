"""Whoever the kubeconfig says is who asks: certificates, tokens that are renewed, programs that print one."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web

from openrtc_tui.fleet_specs import KubernetesSpec
from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform
from openrtc_tui.operations.platforms.platform import PlatformError
from tests.platforms.kubernetes_objects import deployment_json, template
from tests.support.tls import Authority

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

Allows = "Callable[[web.Request], bool]"


@contextlib.asynccontextmanager
async def served(allows: Allows, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The address of an API with one Deployment, for those whom *allows* lets in."""

    async def answer(request: web.Request) -> web.Response:
        if not allows(request):
            return web.json_response({"kind": "Status", "code": 401, "message": "Unauthorized"}, status=401)
        if request.path.endswith("/deployments/voice"):
            return web.json_response(deployment_json(template("v2")))
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})

    app = web.Application()
    app.router.add_get("/{anything:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def current(folder: Path, cluster: dict[str, Any], user: dict[str, Any]) -> str | None:
    """The version that the Deployment wants, as asked with a kubeconfig of these two."""
    path = folder / "kubeconfig"
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    platform = KubernetesPlatform(KubernetesSpec("prod", "voice", kubeconfig=path))
    try:
        return (await platform.describe("v1")).current
    finally:
        await platform.close()


def bearer(token: str) -> Allows:
    return lambda request: request.headers.get("Authorization") == f"Bearer {token}"


def inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("given", ["as files", "inline"])
async def test_a_client_certificate_proves_who_asks(tmp_path, given):
    authority = Authority(tmp_path)
    alice = authority.issue("alice")
    async with served(lambda _: True, authority.server(ask_client=True)) as url:
        if given == "inline":
            cluster = {"certificate-authority-data": inline(authority.ca)}
            user = {"client-certificate-data": inline(alice.cert), "client-key-data": inline(alice.key)}
        else:
            cluster = {"certificate-authority": authority.ca.name}
            user = {"client-certificate": alice.cert.name, "client-key": alice.key.name}
        assert await current(tmp_path, {"server": url, **cluster}, user) == "v2"
        with pytest.raises(PlatformError):
            await current(tmp_path, {"server": url, **cluster}, {})


async def test_a_server_whom_nobody_vouches_for_is_not_asked(tmp_path):
    asked: list[web.Request] = []
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other authority")

    def allows(request: web.Request) -> bool:
        asked.append(request)
        return True

    async with served(allows, Authority(tmp_path).server()) as url:
        for cluster in ({}, {"certificate-authority": str(other.ca)}):
            with pytest.raises(PlatformError, match="certificate"):
                await current(tmp_path, {"server": url, **cluster}, {"token": "t"})
        assert asked == []
        assert await current(tmp_path, {"server": url, "insecure-skip-tls-verify": True}, {"token": "t"}) == "v2"


async def test_a_token_file_is_read_again_when_the_token_was_renewed(tmp_path):
    token = tmp_path / "token"
    token.write_text("old\n")
    valid = ["Bearer old"]

    async with served(lambda request: request.headers.get("Authorization") in valid) as url:
        path = tmp_path / "kubeconfig"
        assert await current(tmp_path, {"server": url}, {"tokenFile": "token"}) == "v2"
        platform = KubernetesPlatform(KubernetesSpec("prod", "voice", kubeconfig=path))
        await platform.describe("v1")
        valid[:] = ["Bearer new"]
        with pytest.raises(PlatformError, match="Unauthorized"):
            await platform.describe("v1")
        token.write_text("new\n")
        assert (await platform.describe("v1")).current == "v2"
        await platform.close()


async def test_a_program_of_the_older_kind_prints_the_token(tmp_path):
    printed = json.dumps({"status": {"token": "printed"}})
    program = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": sys.executable,
        "args": ["-c", "import os; print(os.environ['SAYS'])"],
        "env": [{"name": "SAYS", "value": printed}],
    }
    async with served(bearer("printed")) as url:
        assert await current(tmp_path, {"server": url}, {"exec": program}) == "v2"
        for nonsense in ("no json", "{}", '{"status": null}', "[]"):
            program["env"] = [{"name": "SAYS", "value": nonsense}]
            with pytest.raises(PlatformError):
                await current(tmp_path, {"server": url}, {"exec": program})
