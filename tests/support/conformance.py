"""What a LiveKit server does with workers and calls, as tests that run against any server behind a ``Backend``.

``tests/conformance`` runs them against the embedded dispatcher, ``tests/livekit`` against a real LiveKit server: a
class derived from :class:`WorkerProtocolConformance` gives a class-scoped ``backend`` fixture. The workers are real
livekit-agents processes (``bare_worker``), and what happened is read from what they say, so that nothing here knows
which server it talks to.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING, Protocol

import aiohttp
import pytest
import pytest_asyncio
from livekit import api

from tests.support.processes import Program, livekit_env, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path


class Backend(Protocol):
    """A server that hands calls to workers. ``url`` is what workers have as LIVEKIT_URL."""

    url: str
    api_key: str
    api_secret: str

    async def place_call(self, room: str, *, agent_name: str, deployment: str = "", metadata: str = "") -> None:
        """A caller arrives in *room* and is to be answered by *agent_name*; returns without waiting for that."""
        ...

    async def settled(self, room: str) -> None:
        """Return once nobody can answer the call in *room* any more who has not done so."""
        ...

    async def restart(self) -> None:
        """Stop the server, so that every worker loses its connection, and start it at the same address."""
        ...


class Workers:
    """The bare workers of one test class."""

    def __init__(self, backend: Backend, directory: Path) -> None:
        self._backend = backend
        self._directory = directory
        self._by_tag: dict[str, Program] = {}

    def start(self, tag: str, *, agent_name: str, load: float = 0.0, deployment: str = "") -> Program:
        backend = self._backend
        env = livekit_env(url=backend.url, api_key=backend.api_key, api_secret=backend.api_secret)
        if deployment:
            env["LIVEKIT_AGENT_DEPLOYMENT"] = deployment
        arguments = (tag, "--agent-name", agent_name, "--load", str(load))
        self._by_tag[tag] = Program.python(
            "tests.support.bare_worker", *arguments, name=tag, directory=self._directory, env=env
        )
        return self._by_tag[tag]

    async def up(self) -> None:
        """Wait until the server has heard each worker's first status."""
        for worker in self._by_tag.values():
            await worker.has(event="sent", message="update_worker")

    def __getitem__(self, tag: str) -> Program:
        return self._by_tag[tag]

    def offered(self, room: str) -> list[str]:
        """The tags of the workers that were offered the call in *room*."""
        return self._that_say("offered", room)

    def answered(self, room: str) -> list[str]:
        """The tags of the workers that have the call in *room*: they were assigned it and launched it."""
        return self._that_say("started", room)

    def _that_say(self, event: str, room: str) -> list[str]:
        return [tag for tag, worker in self._by_tag.items() if worker.events(event=event, room=room)]

    def kill(self) -> None:
        for worker in self._by_tag.values():
            worker.kill()


def wish(**wishes: object) -> str:
    """Job metadata that tells a bare worker what to do with the offer."""
    return json.dumps(wishes)


async def place(backend: Backend, rooms: Iterable[str], *, agent_name: str, metadata: str = "") -> None:
    """Place calls at once and wait until all of them are settled."""
    rooms = list(rooms)
    await asyncio.gather(*(backend.place_call(room, agent_name=agent_name, metadata=metadata) for room in rooms))
    await asyncio.gather(*(backend.settled(room) for room in rooms))


@pytest.mark.asyncio(loop_scope="class")
class WorkerProtocolConformance:
    """Derive from it, and give ``backend`` as a fixture of scope and loop scope "class"."""

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    async def workers(self, backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Workers]:
        workers = Workers(backend, tmp_path_factory.mktemp("workers"))
        try:
            workers.start("a", agent_name="pair")
            workers.start("b", agent_name="pair")
            workers.start("hot", agent_name="hot", load=0.75)
            workers.start("hotter", agent_name="hot", load=0.9)
            workers.start("blue", agent_name="routed", deployment="blue")
            workers.start("frozen", agent_name="frozen")
            await workers.up()
            yield workers
        finally:
            workers.kill()

    @pytest.mark.parametrize("secret", ["a-wrong-secret-of-thirty-two-or-more", None])
    async def test_a_worker_without_the_secret_is_answered_401(self, backend: Backend, secret: str | None) -> None:
        headers = {}
        if secret is not None:
            token = api.AccessToken(backend.api_key, secret).with_grants(api.VideoGrants(agent=True)).to_jwt()
            headers["Authorization"] = f"Bearer {token}"
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{backend.url}/agent", headers=headers)
        assert refused.value.status == 401

    async def test_a_worker_registers_and_gets_an_id(self, workers: Workers) -> None:
        ids = {workers[tag].events(event="registered")[0]["worker_id"] for tag in ("a", "b")}
        assert len(ids) == 2
        assert all(worker_id.startswith("AW_") for worker_id in ids)

    async def test_a_call_is_offered_assigned_and_reported_to_its_end(
        self, backend: Backend, workers: Workers
    ) -> None:
        await place(backend, ["plain"], agent_name="pair", metadata=wish(length=0.5))
        await until(lambda: workers.answered("plain") != [], what="an answer to the call")
        [tag] = workers.answered("plain")
        assert workers.offered("plain") == [tag], "only one worker was asked"
        [job] = {event["job"] for event in workers[tag].events(event="started", room="plain")}
        await workers[tag].has(event="sent", message="update_job", job_id=job, status="JS_SUCCESS")

    async def test_a_refusal_goes_to_the_other_worker(self, backend: Backend, workers: Workers) -> None:
        rooms = [f"refused-{number}" for number in range(12)]
        await place(backend, rooms, agent_name="pair", metadata=wish(refuse=["a"], length=0))
        await until(lambda: all(workers.answered(room) for room in rooms), what="an answer to each call")
        assert all(workers.answered(room) == ["b"] for room in rooms)
        assert any("a" in workers.offered(room) for room in rooms), "a was never asked, so nothing was passed on"

    async def test_a_call_that_all_refuse_is_lost(self, backend: Backend, workers: Workers) -> None:
        await place(backend, ["unwanted"], agent_name="pair", metadata=wish(refuse=["a", "b"]))
        assert workers.answered("unwanted") == []
        assert sorted(workers.offered("unwanted")) == ["a", "b"], "each is asked once"
        asked = [len(workers[tag].events(event="offered", room="unwanted")) for tag in ("a", "b")]
        assert asked == [1, 1]

    async def test_a_refusal_with_terminate_ends_the_call(self, backend: Backend, workers: Workers) -> None:
        rooms = [f"terminated-{number}" for number in range(6)]
        await place(backend, rooms, agent_name="pair", metadata=wish(terminate=["a", "b"]))
        assert all(workers.answered(room) == [] for room in rooms)
        assert all(len(workers.offered(room)) == 1 for room in rooms), "the other worker is not asked"

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    async def slowly_answered(self, backend: Backend, workers: Workers) -> list[str]:
        """Calls whose workers take their time, all settled; returns the rooms of those that share their time."""
        shared = [f"shared-{number}" for number in range(12)]
        workers["frozen"].signal(signal.SIGSTOP)
        await asyncio.gather(
            place(backend, ["into-ice"], agent_name="frozen"),
            place(backend, ["slow"], agent_name="pair", metadata=wish(answer_after=2.0, length=0)),
            # 200 ms of bidding go before: 2.8 s are left, and a tenth more keeps a busy machine from deciding this
            place(backend, ["late"], agent_name="pair", metadata=wish(answer_after=2.9)),
            place(backend, shared, agent_name="pair", metadata=wish(refuse=["a"], answer_after=1.7, length=0)),
        )
        return shared

    @pytest.mark.usefixtures("slowly_answered")
    async def test_an_answer_after_two_seconds_is_taken(self, workers: Workers) -> None:
        await until(lambda: len(workers.answered("slow")) == 1, what="the slow answer to be taken")

    @pytest.mark.usefixtures("slowly_answered")
    async def test_an_answer_after_the_three_seconds_is_lost(self, workers: Workers) -> None:
        [tag] = workers.offered("late")
        await workers[tag].has(event="offer_lost", room="late")

    async def test_the_three_seconds_are_shared_by_all_who_are_asked(
        self, workers: Workers, slowly_answered: list[str]
    ) -> None:
        passed_on = [room for room in slowly_answered if "a" in workers.offered(room)]
        direct = [room for room in slowly_answered if "a" not in workers.offered(room)]
        assert passed_on, "a was never asked"
        await until(lambda: all(workers.answered(room) == ["b"] for room in direct), what="b's own answers")
        for room in passed_on:  # 1.7 s twice is more than a call has
            await workers["b"].has(event="offer_lost", room=room)

    @pytest.mark.usefixtures("slowly_answered")
    async def test_a_frozen_worker_stays_registered_and_loses_what_it_is_offered(
        self, backend: Backend, workers: Workers
    ) -> None:
        frozen = workers["frozen"]
        frozen.signal(signal.SIGCONT)
        # it was asked although it could not answer, and answers now that nobody waits
        await frozen.has(event="offer_lost", room="into-ice")
        await place(backend, ["thawed"], agent_name="frozen", metadata=wish(length=0))
        await until(lambda: workers.answered("thawed") == ["frozen"], what="an answer once it runs again")
        assert len(frozen.events(event="registered")) == 1

    async def test_load_of_seven_tenths_everywhere_means_nobody(self, backend: Backend, workers: Workers) -> None:
        await place(backend, ["too-hot"], agent_name="hot")
        assert workers.offered("too-hot") == []
        # one worker with room opens the door to those above the target too, by what each has left of 1
        workers["hotter"].tell("load 0.1")
        await workers["hotter"].has(event="sent", message="update_worker", load=0.1)
        rooms = [f"warm-{number}" for number in range(30)]
        await place(backend, rooms, agent_name="hot", metadata=wish(length=0))
        await until(lambda: all(workers.answered(room) for room in rooms), what="an answer to each call")
        takers = [tag for room in rooms for tag in workers.answered(room)]
        assert takers.count("hotter") > takers.count("hot") > 0

    async def test_a_full_worker_gets_nothing_and_keeps_its_call(self, backend: Backend, workers: Workers) -> None:
        draining = workers.start("draining", agent_name="draining")
        await workers.up()
        await place(backend, ["before-drain"], agent_name="draining")
        await draining.has(event="started", room="before-drain")
        draining.tell("drain")
        await draining.has(event="sent", message="update_worker", status="WS_FULL")
        await place(backend, ["while-draining"], agent_name="draining")
        assert workers.offered("while-draining") == []
        assert draining.events(event="drained") == [], "its call lives on"

    async def test_a_call_nobody_could_take_is_not_given_to_a_later_worker(
        self, backend: Backend, workers: Workers
    ) -> None:
        await place(backend, ["too-early"], agent_name="later")
        workers.start("later", agent_name="later")
        await workers.up()
        await place(backend, ["in-time"], agent_name="later", metadata=wish(length=0))
        await until(lambda: workers.answered("in-time") == ["later"], what="the later call to be answered")
        assert workers.offered("too-early") == []

    async def test_agent_names_and_deployments_are_exact(self, backend: Backend, workers: Workers) -> None:
        await asyncio.gather(
            backend.place_call("routed-blue", agent_name="routed", deployment="blue", metadata=wish(length=0)),
            backend.place_call("routed-green", agent_name="routed", deployment="green"),
            backend.place_call("routed-none", agent_name="routed"),
            backend.place_call("pair-blue", agent_name="pair", deployment="blue"),
        )
        await asyncio.gather(
            *(backend.settled(room) for room in ("routed-blue", "routed-green", "routed-none", "pair-blue"))
        )
        await until(lambda: workers.answered("routed-blue") == ["blue"], what="the deployment's own call")
        assert workers.offered("routed-green") == []
        assert workers.offered("routed-none") == [], "a worker of a deployment gets no call that names none"
        assert workers.offered("pair-blue") == [], "there is no fall-back to a worker without deployment"

    async def test_a_worker_that_reconnects_keeps_its_call_and_gets_new_ones(
        self, backend: Backend, workers: Workers
    ) -> None:
        await place(backend, ["across"], agent_name="pair")
        await until(lambda: len(workers.answered("across")) == 1, what="the call before the restart")
        [tag] = workers.answered("across")
        worker = workers[tag]
        [call] = worker.events(event="started", room="across")
        [first] = worker.events(event="registered")
        await backend.restart()
        _, second = await worker.has(2, event="registered", within=45)
        assert second["worker_id"] != first["worker_id"]
        reports = await worker.has(event="sent", message="migrate_job")
        assert call["job"] in reports[-1]["job_ids"]
        ended = [e for e in worker.events(event="sent", message="update_job", job_id=call["job"]) if _is_end(e)]
        assert ended == [], "the call was ended by the restart"
        await workers.up()
        others = [each for each in ("a", "b") if each != tag]
        await workers[others[0]].has(2, event="registered", within=45)
        await place(backend, ["after-restart"], agent_name="pair", metadata=wish(length=0, refuse=others))
        await until(lambda: workers.answered("after-restart") == [tag], what="a new call for the same worker")


def _is_end(event: dict) -> bool:
    return event.get("status") in ("JS_SUCCESS", "JS_FAILED")
