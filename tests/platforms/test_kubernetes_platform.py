"""The platform from its description to the change, against an API in memory; the real one is in tests/kubernetes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from openrtc_tui.fleet_specs import KubernetesSpec
from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform
from openrtc_tui.operations.platforms.kubernetes.config import Cluster
from openrtc_tui.operations.platforms.platform import PlatformError, TendsPods
from tests.platforms.json_patch import NotAsTestedError, applied
from tests.platforms.kubernetes_objects import DEPLOYMENT_UID, deployment_json, hashed, template

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


def replica_set_json(version: str, revision: int) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"voice-{version}",
            "uid": f"uid-of-{version}",
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [{"kind": "Deployment", "uid": DEPLOYMENT_UID, "controller": True}],
        },
        "spec": {"replicas": 3, "template": hashed(template(version), version)},
    }


class FakeApi:
    """An API server with one Deployment that wants v2, after v1. ``lacks``: rights (``verb resource``) nobody has."""

    def __init__(self) -> None:
        self.deployment = deployment_json(template("v2"), revisionHistoryLimit=10)
        self.sets = [replica_set_json("v1", 1), replica_set_json("v2", 2)]
        self.lacks: set[str] = set()
        self.before_patch: Callable[[], None] = lambda: None
        self.changes = 0

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[Cluster]:
        app = web.Application()
        apps, core = "/apis/apps/v1/namespaces/prod", "/api/v1/namespaces/prod"
        app.router.add_get(f"{apps}/deployments/voice", self._get)
        app.router.add_patch(f"{apps}/deployments/voice", self._patch)
        app.router.add_get(f"{apps}/replicasets", self._list("replicasets", self.sets))
        app.router.add_get(f"{core}/pods", self._list("pods", []))
        app.router.add_get(f"{core}/resourcequotas", self._list("resourcequotas", []))
        app.router.add_post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", self._review)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield Cluster(server=f"http://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    def _no(self, code: int, message: str) -> web.Response:
        return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)

    async def _get(self, _: web.Request) -> web.Response:
        return web.json_response(self.deployment)

    def _list(self, kind: str, items: list[dict[str, Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            if f"list {kind}" in self.lacks:
                return self._no(403, f"cannot list resource {kind}")
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})

        return answer

    async def _review(self, request: web.Request) -> web.Response:
        asked = (await request.json())["spec"]["resourceAttributes"]
        allowed = f"{asked['verb']} {asked['resource']}" not in self.lacks
        return web.json_response({"status": {"allowed": allowed}}, status=201)

    async def _patch(self, request: web.Request) -> web.Response:
        if "patch deployments" in self.lacks:
            return self._no(403, "cannot patch resource")
        dry = request.query.get("dryRun") == "All"
        if not dry:
            self.before_patch()
        try:
            after = applied(await request.json(), self.deployment)
        except NotAsTestedError:
            return self._no(422, "the server rejected our request due to an error in our request")
        if not dry:
            self.deployment = after
            self.changes += 1
        return web.json_response(after)

    def wants(self) -> str:
        return str(self.deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"])


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def platform(api: FakeApi) -> AsyncIterator[KubernetesPlatform]:
    async def at_once(_: float) -> None:
        return

    async with api.served() as cluster:
        made = KubernetesPlatform(KubernetesSpec("prod", "voice"), cluster=cluster, sleep=at_once)
        assert isinstance(made, TendsPods)
        yield made
        await made.close()


async def test_what_is_described_is_what_is_changed(api, platform):
    description = await platform.describe("v1")
    assert (description.current, description.known, description.peak) == ("v2", ("v2", "v1"), 3)
    assert await platform.preflight("v1", description) == ()
    assert api.changes == 0
    asked = await platform.roll_back("v1", token=description.token, op_id="o", reason="v2 is deaf")
    assert asked.changed
    assert asked.detail == "the Deployment prod/voice wants v1 now (ReplicaSet voice-v1)"
    assert (api.wants(), api.changes) == ("v1", 1)
    assert (await platform.roll_back("v1", token=description.token, op_id="o", reason=None)).changed
    assert not (await platform.roll_back("v1", token=description.token, op_id="other", reason=None)).changed
    assert api.changes == 1


async def test_somebody_who_is_quicker_between_reading_and_writing_wins(api, platform):
    token = (await platform.describe("v1")).token

    def quicker() -> None:
        api.deployment["spec"]["template"] = template("v3")

    api.before_patch = quicker
    with pytest.raises(PlatformError, match="it now runs v3") as told:
        await platform.roll_back("v1", token=token, op_id="o", reason=None)
    assert told.value.happened is False
    assert api.changes == 0


async def test_a_harmless_change_between_reading_and_writing_is_tried_again(api, platform):
    """Here it is paused and resumed in that moment: the patch's test fails, and what is read then is as before."""
    token = (await platform.describe("v1")).token
    left = [True]

    def paused_once() -> None:
        if left:
            api.deployment["spec"]["paused"] = left.pop()

    async def resumed(_: float) -> None:
        api.deployment["spec"].pop("paused", None)

    api.before_patch, platform._sleep = paused_once, resumed
    assert (await platform.roll_back("v1", token=token, op_id="o", reason=None)).changed
    assert (api.wants(), api.changes) == ("v1", 1)


async def test_after_a_lost_answer_a_refused_look_leaves_open_what_happened(api, platform):
    token = (await platform.describe("v1")).token

    def lost() -> None:
        api.lacks = {"list replicasets"}
        raise ConnectionResetError  # the handler ends with 500: the server's own error

    api.before_patch = lost
    with pytest.raises(PlatformError) as told:
        await platform.roll_back("v1", token=token, op_id="o", reason=None)
    assert told.value.happened is None


async def test_a_replica_set_that_was_cleaned_away_meanwhile_is_told(api, platform):
    token = (await platform.describe("v1")).token
    del api.sets[0]
    with pytest.raises(PlatformError, match="that you confirmed is gone"):
        await platform.roll_back("v1", token=token, op_id="o", reason=None)


async def test_one_that_was_paused_when_it_was_looked_at_is_not_asked_either(api, platform):
    api.deployment["spec"]["paused"] = True
    token = (await platform.describe("v1")).token
    with pytest.raises(PlatformError, match="is paused"):
        await platform.roll_back("v1", token=token, op_id="o", reason=None)
    assert api.changes == 0


async def test_without_the_right_to_see_pods_or_quotas_a_rollback_is_possible_all_the_same(api, platform):
    api.lacks = {"list pods", "watch pods", "list resourcequotas"}
    description = await platform.describe("v1")
    assert description.peak is None
    found = await platform.preflight("v1", description)
    assert {(each.code, each.blocks) for each in found} == {("rights", False)}


async def test_without_the_right_to_change_the_deployment_it_is_forbidden_and_told_once(api, platform):
    api.lacks = {"patch deployments"}
    found = await platform.preflight("v1", await platform.describe("v1"))
    assert [(each.code, each.blocks) for each in found] == [("rights", True)]
    with pytest.raises(PlatformError, match="cannot patch resource"):
        await platform.roll_back("v1", token=(await platform.describe("v1")).token, op_id="o", reason=None)


async def test_where_pods_cannot_be_tended_it_is_said_and_no_more(api):
    said: list[str] = []
    platform = KubernetesPlatform(KubernetesSpec("prod", "voice"), cluster=Cluster(server="http://127.0.0.1:1"))

    async def record(_: str, __: Any) -> None:
        raise AssertionError("nothing is done")

    await platform.keep_pods(lambda: None, record, said.append)
    await platform.close()
    assert said[0].startswith("pods are not tended: cannot get the Deployment voice")
