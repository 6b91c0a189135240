"""The boundary to lightkube: whatever comes back, one error of ours in one line that says what may have happened."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from openrtc_tui.fleet_specs import KubernetesSpec
from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform
from openrtc_tui.operations.platforms.kubernetes.client import KubernetesClient
from openrtc_tui.operations.platforms.kubernetes.config import Cluster, Credentials, ExecPlugin
from openrtc_tui.operations.platforms.kubernetes.failures import RefusedError, UnansweredError
from openrtc_tui.operations.platforms.platform import PlatformError

if TYPE_CHECKING:
    from collections.abc import Callable

CLUSTER = Cluster(server="http://api.invalid:6443", credentials=Credentials(token="t"))
JSON = {"content-type": "application/json"}


def client(answer: Callable[[httpx2.Request], httpx2.Response], **keywords: Any) -> KubernetesClient:
    return KubernetesClient(CLUSTER, "prod", transport=httpx2.MockTransport(answer), **keywords)


def status(code: int, **fields: Any) -> httpx2.Response:
    body = {"kind": "Status", "code": code, **fields}
    return httpx2.Response(code, headers=JSON, content=json.dumps(body))


async def failure_of(answer: Callable[[httpx2.Request], httpx2.Response], *, change: bool) -> PlatformError:
    api = client(answer, deadline=5.0)
    with pytest.raises(PlatformError) as told:
        await (api.patch_deployment("voice", []) if change else api.deployment("voice"))
    await api.close()
    assert "\n" not in str(told.value)
    return told.value


def raising(error: Exception) -> Callable[[httpx2.Request], httpx2.Response]:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise error

    return answer


NONSENSE = {
    "a login page": httpx2.Response(200, headers={"content-type": "text/html"}, content="<html>log in</html>"),
    "nothing": httpx2.Response(200, content=""),
    "a list": httpx2.Response(200, headers=JSON, content="[1, 2]"),
    "a text": httpx2.Response(200, headers=JSON, content='"hello"'),
    "another object": httpx2.Response(200, headers=JSON, content='{"metadata": {}, "spec": {}}'),
    "a template of another shape": httpx2.Response(
        200,
        headers=JSON,
        content='{"metadata": {}, "spec": {"selector": {}, "template": {"spec": {"containers": 7}}}}',
    ),
    "a selector of another release": httpx2.Response(
        200,
        headers=JSON,
        content='{"metadata": {}, "spec": {"template": {}, "selector":'
        ' {"matchExpressions": [{"key": "a", "operator": "Like"}]}}}',
    ),
    "an error without a type": httpx2.Response(502, content="bad gateway"),
    "an error page": httpx2.Response(503, headers={"content-type": "text/html"}, content="<html>"),
    "a status that is none": httpx2.Response(500, headers=JSON, content="<html>"),
}


@pytest.mark.parametrize("name", NONSENSE)
@pytest.mark.parametrize("change", [False, True])
async def test_an_answer_that_makes_no_sense_is_one_error_that_leaves_open_what_happened(name, change):
    error = await failure_of(lambda _: NONSENSE[name], change=change)
    assert isinstance(error, UnansweredError)
    assert error.happened is (None if change else False)


@pytest.mark.parametrize(
    ("raised", "happened"),
    [
        (httpx2.ConnectError("refused"), False),
        (httpx2.ConnectTimeout("slow"), False),
        (httpx2.ReadTimeout("slow"), None),
        (httpx2.RemoteProtocolError("broke"), None),
        (OSError("disk"), None),
    ],
)
async def test_a_change_whose_answer_was_lost_may_have_happened_unless_nothing_left(raised, happened):
    error = await failure_of(raising(raised), change=True)
    assert isinstance(error, UnansweredError)
    assert error.happened is happened


@pytest.mark.parametrize("code", [500, 503, 504])
async def test_an_error_of_the_server_s_own_may_come_after_the_change_was_made(code):
    """504: "the server was unable to return a response in the time allotted, but may still be processing"."""
    error = await failure_of(lambda _: status(code, message="may still be processing the request"), change=True)
    assert isinstance(error, UnansweredError)
    assert error.happened is None
    assert "may still be processing" in str(error)


async def test_an_error_of_a_proxy_without_a_type_is_a_refusal_when_it_says_no():
    error = await failure_of(lambda _: httpx2.Response(401, content="who are you"), change=True)
    assert isinstance(error, RefusedError)
    assert (error.code, error.happened, error.for_good) == (401, False, True)
    assert "login" in str(error)


async def test_a_refused_request_says_why_in_the_server_s_words_without_what_a_terminal_obeys():
    error = await failure_of(lambda _: status(403, message="alice cannot\x1b[31m patch\ndeployments"), change=True)
    assert isinstance(error, RefusedError)
    assert str(error) == "Kubernetes refused to change the Deployment voice: alice cannot[31m patch deployments"


async def test_a_failed_test_and_an_invalid_object_share_a_code_and_are_told_apart():
    moved = await failure_of(lambda _: status(422, reason="Invalid", message="is invalid", details={}), change=True)
    causes = [{"field": "spec.replicas", "message": "must be positive"}]
    invalid = await failure_of(lambda _: status(422, reason="Invalid", details={"causes": causes}), change=True)
    assert isinstance(moved, RefusedError)
    assert isinstance(invalid, RefusedError)
    assert (moved.test_failed, invalid.test_failed) == (True, False)
    assert "spec.replicas: must be positive" in str(invalid)


async def test_a_server_that_never_answers_is_given_up_after_the_deadline():
    class Silence(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, _: httpx2.Request) -> httpx2.Response:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

    api = KubernetesClient(CLUSTER, "prod", transport=Silence(), deadline=0.05)
    with pytest.raises(UnansweredError) as told:
        await api.patch_deployment("voice", [])
    assert told.value.happened is None
    await api.close()


async def test_a_failing_exec_plugin_is_told_before_anything_left():
    plugin = ExecPlugin(
        api_version="client.authentication.k8s.io/v1beta1", argv=(sys.executable, "-c", "raise SystemExit(3)")
    )
    cluster = Cluster(server="http://api.invalid", credentials=Credentials(plugin=plugin))
    api = KubernetesClient(cluster, "prod", transport=httpx2.MockTransport(lambda _: status(500)))
    with pytest.raises(UnansweredError) as told:
        await api.patch_deployment("voice", [])
    assert told.value.happened is False
    await api.close()


def test_a_certificate_that_is_not_there_is_told_when_the_door_is_opened(tmp_path):
    with pytest.raises(PlatformError, match="cannot use the pod's service account"):
        KubernetesClient(
            Cluster(server="https://x", ca=tmp_path / "none", found_in="the pod's service account"), "prod"
        )


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    api = client(lambda _: status(404, message="not there"))
    with pytest.raises(RefusedError):
        await api.deployment("voice")
    assert api._client._client._client.trust_env is False
    await api.close()


def test_the_dashboard_starts_without_lightkube_and_says_which_extra_to_install():
    program = """
import asyncio, sys
import openrtc_tui.app
from openrtc_tui.fleet_specs import KubernetesSpec
from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform
assert not {"lightkube", "httpx2"} & set(sys.modules), "imported before it is needed"
sys.modules["lightkube"] = None  # as if it were not installed
asyncio.run(KubernetesPlatform(KubernetesSpec("prod", "voice")).describe("v1"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert "PlatformError: the kubernetes platform needs its extra" in done.stderr, done.stderr
    assert "pip install 'openrtc-tui[kubernetes]'" in done.stderr


async def test_a_token_of_another_platform_is_refused_before_anything_is_asked():
    platform = KubernetesPlatform(KubernetesSpec("prod", "voice"), cluster=CLUSTER)
    with pytest.raises(PlatformError, match="make it anew"):
        await platform.roll_back("v1", token="", op_id="o", reason=None)


async def test_an_error_whose_type_names_a_charset_is_the_api_s_all_the_same():
    causes = [{"field": "spec.replicas", "message": "must be positive"}]
    body = json.dumps({"kind": "Status", "code": 422, "reason": "Invalid", "details": {"causes": causes}})
    headers = {"content-type": "application/json; charset=utf-8"}
    error = await failure_of(lambda _: httpx2.Response(422, headers=headers, content=body), change=True)
    assert isinstance(error, RefusedError)
    assert (error.code, error.causes) == (422, ("spec.replicas: must be positive",))
