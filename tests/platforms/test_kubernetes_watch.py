"""The watch of pods through gaps, silence and refusals, against an API that does as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Self

import pytest
from aiohttp import web

from openrtc_tui.fleet_specs import KubernetesSpec
from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform, client
from openrtc_tui.operations.platforms.kubernetes.config import Cluster
from openrtc_tui.operations.platforms.platform import PlatformError
from tests.platforms.kubernetes_objects import deployment_json, template

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from openrtc_tui.state.observation import PodSeen

    Watching = Callable[[web.StreamResponse], Awaitable[None]]


def pod_json(uid: str, **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": uid, "uid": uid, "resourceVersion": "7", "labels": {"app": "voice"}, **metadata},
        "spec": {"containers": [{"name": "worker"}]},
        "status": {"phase": "Running"},
    }


class FakeApi:
    """An API server with one Deployment; lists and watches answer in turn what a test laid ready."""

    def __init__(self) -> None:
        self.lists: list[list[str] | int] = []
        self.watches: list[Watching] = []
        self.asked: list[str] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/apis/apps/v1/namespaces/prod/deployments/voice", self._deployment)
        app.router.add_get("/api/v1/namespaces/prod/pods", self._pods)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.cluster = Cluster(server=f"http://127.0.0.1:{self._runner.addresses[0][1]}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _deployment(self, _: web.Request) -> web.Response:
        return web.json_response(deployment_json(template()))

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.asked.append("list")
            answer = self.lists.pop(0)
            if isinstance(answer, int):
                return web.json_response({"kind": "Status", "code": answer, "message": "no"}, status=answer)
            items = [pod_json(uid) for uid in answer]
            return web.json_response({"metadata": {"resourceVersion": "5"}, "items": items})
        self.asked.append("watch")
        assert request.query["labelSelector"] == "app=voice"
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        if self.watches:
            with contextlib.suppress(ConnectionError):
                await self.watches.pop(0)(response)
        else:
            await asyncio.sleep(3600)
        return response


def sends(*events: dict[str, Any], stay: bool = False) -> Watching:
    async def watch(response: web.StreamResponse) -> None:
        for event in events:
            await response.write(json.dumps(event).encode() + b"\n")
        if stay:
            await asyncio.sleep(3600)

    return watch


GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}


@pytest.fixture
async def api():
    async with FakeApi() as fake:
        yield fake


class Eye:
    """A platform that watches *api*, without waiting between its tries."""

    def __init__(self, api: FakeApi) -> None:
        self.pauses: list[float] = []
        self.troubles: list[str | None] = []
        self._platform = KubernetesPlatform(
            KubernetesSpec("prod", "voice"),
            cluster=api.cluster,
            sleep=self._sleep,
            on_trouble=self.troubles.append,
        )
        self._watch = self._platform.watch()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._watch.aclose()
        await self._platform.close()

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def next(self) -> dict[str, bool]:
        """The next list: which pods, and whether each is gone."""
        async with asyncio.timeout(20):
            pods: tuple[PodSeen, ...] = await anext(self._watch)
        return {pod.uid: pod.gone for pod in pods}


async def test_a_watch_too_far_behind_lists_again_and_what_went_unseen_is_gone(api):
    api.lists = [["a", "b"], ["b", "c"]]
    api.watches = [sends(GONE)]
    async with Eye(api) as eye:
        assert await eye.next() == {"a": False, "b": False}
        assert await eye.next() == {"b": False, "c": False, "a": True}
        assert eye.pauses == []
        assert api.asked[:3] == ["list", "watch", "list"]


async def test_a_watch_that_the_server_closes_goes_on_where_it_was(api):
    api.lists = [["a"]]
    api.watches = [sends(), sends({"type": "ADDED", "object": pod_json("b")}, stay=True)]
    async with Eye(api) as eye:
        await eye.next()
        assert await eye.next() == {"a": False, "b": False}
        assert api.asked == ["list", "watch", "watch"]


async def test_a_silent_watch_is_taken_for_dead_and_begun_anew(api, monkeypatch):
    monkeypatch.setattr(client, "WATCH_SILENCE", 0.05)
    api.lists = [["a"], ["a", "b"]]
    async with Eye(api) as eye:
        await eye.next()
        assert await eye.next() == {"a": False, "b": False}
        assert "no answer" in str(eye.troubles[0])
        assert eye.troubles[-1] is None


async def test_nonsense_on_a_watch_is_told_and_tried_again_with_longer_pauses(api):
    async def nonsense(response: web.StreamResponse) -> None:
        await response.write(b"<html>log in</html>\n")

    api.lists = [["a"], 503, 503, 503, 503, 503, ["a", "b"]]
    api.watches = [nonsense]
    async with Eye(api) as eye:
        await eye.next()
        assert await eye.next() == {"a": False, "b": False}
        assert eye.pauses == sorted(eye.pauses)
        assert eye.pauses[-1] == 10.0
        assert eye.troubles[-1] is None


async def test_without_the_right_to_it_watching_ends_with_the_reason(api):
    api.lists = [403]
    async with Eye(api) as eye:
        with pytest.raises(PlatformError, match="refused to list pods"):
            await eye.next()


async def test_changes_of_one_moment_come_together_and_those_that_change_nothing_not_at_all(api):
    events = [{"type": "ADDED", "object": pod_json(uid)} for uid in "bcdefgh"]
    same = [{"type": "MODIFIED", "object": pod_json("a", annotations={"n": str(n)})} for n in range(50)]
    api.lists = [["a"], ["z"]]
    api.watches = [sends(*same, *events, GONE)]
    async with Eye(api) as eye:
        await eye.next()
        told = [await eye.next()]
        while "z" not in told[-1]:
            told.append(await eye.next())
        assert set(told[-2]) == set("abcdefgh")
        assert len(told) <= 4  # of 57 changes


async def test_a_pod_that_went_is_told_with_its_exit_code_even_when_the_link_breaks_next(api):
    gone = pod_json("a")
    gone["status"]["containerStatuses"] = [{"name": "worker", "state": {"terminated": {"exitCode": 137}}}]
    api.lists = [["a"], []]
    api.watches = [sends({"type": "DELETED", "object": gone}, GONE)]
    async with Eye(api) as eye:
        await eye.next()
        assert await eye.next() == {"a": True}
