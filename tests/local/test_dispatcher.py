"""The embedded dispatcher at the level of frames, records and times; ``tests/conformance`` has the real workers."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import aiohttp
import jwt
import pytest
import pytest_asyncio
from livekit import api
from livekit.protocol import agent

from openrtc_worker.local.dispatcher import Dispatcher, Timing
from openrtc_worker.local.records import Answer, JobState, Loss
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY, SECRET = "devkey", "a-secret-of-more-than-32-characters"


class RawWorker:
    """A worker that speaks the protocol by hand, so that it can also say what livekit-agents never says."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.worker_id = ""

    async def say(self, **message) -> None:
        await self.socket.send_bytes(agent.WorkerMessage(**message).SerializeToString())

    async def hear(self, kind: str):
        """The next message, which must be of this kind."""
        frame = await self.socket.receive(timeout=10)
        assert frame.type is aiohttp.WSMsgType.BINARY, frame
        message = agent.ServerMessage.FromString(frame.data)
        assert message.WhichOneof("message") == kind
        return getattr(message, kind)

    async def register(self, agent_name: str = "", **request) -> RawWorker:
        await self.say(register=agent.RegisterWorkerRequest(agent_name=agent_name, version="1.8.9", **request))
        self.worker_id = (await self.hear("register")).worker_id
        return self

    async def answer(self, *, available: bool = True, terminate: bool = False, **answer) -> agent.Job:
        """Wait for an offer and answer it; returns the job offered."""
        offer = await self.hear("availability")
        response = agent.AvailabilityResponse(job_id=offer.job.id, available=available, terminate=terminate, **answer)
        await self.say(availability=response)
        return offer.job

    async def is_closed(self) -> bool:
        frame = await self.socket.receive(timeout=10)
        return frame.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


@pytest_asyncio.fixture
async def dispatcher() -> AsyncIterator[Dispatcher]:
    """One with the real order of steps in a tenth of the real time."""
    dispatcher = Dispatcher(KEY, SECRET, timing=Timing(bidding=0.05, chain=0.6), rng=random.Random(1))
    await dispatcher.start()
    yield dispatcher
    await dispatcher.stop()


class Connector:
    def __init__(self, http: aiohttp.ClientSession, dispatcher: Dispatcher) -> None:
        self._http = http
        self._dispatcher = dispatcher
        self._connected: list[RawWorker] = []  # a socket that nobody holds is closed by the garbage collector

    async def __call__(self, agent_name: str | None = "", **request) -> RawWorker:
        """Connect, and register unless the name is None."""
        token = api.AccessToken(KEY, SECRET).with_grants(api.VideoGrants(agent=True)).to_jwt()
        headers = {"Authorization": f"Bearer {token}"}
        worker = RawWorker(await self._http.ws_connect(f"{self._dispatcher.url}/agent", headers=headers))
        self._connected.append(worker)
        return worker if agent_name is None else await worker.register(agent_name, **request)


@pytest_asyncio.fixture
async def connect(dispatcher: Dispatcher) -> AsyncIterator[Connector]:
    async with aiohttp.ClientSession() as http:
        yield Connector(http, dispatcher)


def token_of(**grants) -> str:
    return "Bearer " + api.AccessToken(KEY, SECRET).with_grants(api.VideoGrants(**grants)).to_jwt()


# -- who may connect --------------------------------------------------------------------------------------------


async def test_only_a_token_for_agents_opens_the_socket(dispatcher):
    other_key = api.AccessToken("other", SECRET).with_grants(api.VideoGrants(agent=True)).to_jwt()
    for authorization in ("Bearer x", "Basic abc", f"Bearer {other_key}", token_of(room_admin=True)):
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{dispatcher.url}/agent", headers={"Authorization": authorization})
        assert refused.value.status == 401, authorization


async def test_a_probe_without_upgrade_learns_whether_the_secret_is_right(dispatcher):
    """What a worker asks before it starts: 401 is a wrong secret, 404 a server that would take it."""
    url = dispatcher.url.replace("ws:", "http:") + "/agent"
    async with aiohttp.ClientSession() as http:
        async with http.get(url, headers={"Authorization": "Bearer wrong"}) as answer:
            assert answer.status == 401
        async with http.get(url, headers={"Authorization": token_of(agent=True)}) as answer:
            assert answer.status == 404


# -- what a worker may say --------------------------------------------------------------------------------------


async def test_a_ping_is_answered_before_and_after_registering(connect):
    worker = await connect(None)
    await worker.say(ping=agent.WorkerPing(timestamp=41))
    assert (await worker.hear("pong")).last_timestamp == 41
    await worker.register()
    await worker.say(ping=agent.WorkerPing(timestamp=42))
    answer = await worker.hear("pong")
    assert answer.last_timestamp == 42
    assert answer.timestamp > 1_600_000_000_000, "Unix milliseconds"


async def test_the_registration_says_that_there_is_no_media(connect):
    worker = await connect(None)
    await worker.say(register=agent.RegisterWorkerRequest())
    assert "no media" in (await worker.hear("register")).server_info.region


@pytest.mark.parametrize(
    "request_", [{"deployment": "a_b"}, {"deployment": "a b"}, {"deployment": "x" * 65}, {"type": 9}]
)
async def test_a_registration_that_a_real_server_refuses_is_refused(connect, dispatcher, request_):
    worker = await connect(None)
    await worker.say(register=agent.RegisterWorkerRequest(**request_))
    assert await worker.is_closed()
    assert dispatcher.workers() == ()


async def test_a_connection_that_does_not_register_is_closed():
    dispatcher = Dispatcher(KEY, SECRET, timing=Timing(register=0.1))
    await dispatcher.start()
    try:
        async with aiohttp.ClientSession() as http:
            silent = await Connector(http, dispatcher)(None)
            assert await silent.is_closed()
    finally:
        await dispatcher.stop()


async def test_what_is_no_worker_message_ends_the_connection(connect):
    for frame in (b"\xff\xff\xff", b""):
        worker = await connect()
        await worker.socket.send_bytes(frame)
        assert await worker.is_closed()
    worker = await connect()
    await worker.socket.send_str("{}")
    assert await worker.is_closed()
    worker = await connect(None)
    await worker.say(update_job=agent.UpdateJobStatus(job_id="AJ_1"))
    assert await worker.is_closed(), "nothing but pings comes before the registration"
    worker = await connect()
    await worker.say(register=agent.RegisterWorkerRequest())
    assert await worker.is_closed(), "and it comes once"
    worker = await connect()
    await worker.say(update_job=agent.UpdateJobStatus(job_id="AJ_1", status=77))
    assert await worker.is_closed()


# -- the chain of a call ----------------------------------------------------------------------------------------


async def test_an_assignment_carries_the_job_and_a_token_for_its_room(dispatcher, connect):
    worker = await connect("booking")
    call = asyncio.create_task(
        dispatcher.dispatch("room-1", agent_name="booking", metadata="m", room_metadata="r", attributes={"k": "v"})
    )
    offered = await worker.answer(participant_identity="agent-x", participant_attributes={"openrtc.version": "v1"})
    assert (offered.room.name, offered.room.metadata, offered.metadata) == ("room-1", "r", "m")
    assert offered.attributes["k"] == "v"
    assert offered.state.worker_id == worker.worker_id
    assignment = await worker.hear("assignment")
    assert assignment.job.id == offered.id
    claims = jwt.decode(assignment.token, SECRET, algorithms=["HS256"], issuer=KEY)
    assert (claims["sub"], claims["kind"]) == ("agent-x", "agent")
    assert claims["video"]["room"] == "room-1"
    assert claims["attributes"] == {"openrtc.version": "v1", "lk.agent_name": "booking"}
    record = await call
    assert record.assigned
    assert record.open
    assert record.worker_id == worker.worker_id
    assert record.attributes["openrtc.version"] == "v1"
    assert record.placed_at <= record.offers[0].made_at <= record.offers[0].answered_at <= record.assigned_at


async def test_the_log_tells_who_was_asked_and_what_each_said(dispatcher, connect):
    workers = {worker.worker_id: worker for worker in (await connect(), await connect(), await connect())}
    call = asyncio.create_task(dispatcher.dispatch("room"))
    refusing = [asyncio.create_task(worker.answer(available=False)) for worker in workers.values()]
    record = await call
    await asyncio.gather(*refusing)
    assert record.loss is Loss.EXHAUSTED
    assert record.lost_at is not None
    assert sorted(offer.worker_id for offer in record.offers) == sorted(workers)
    assert [offer.answer for offer in record.offers] == [Answer.REFUSED] * 3
    assert record.attributes == {}


async def test_terminate_ends_the_call_even_when_the_answer_says_available_too(dispatcher, connect):
    worker, other = await connect(), await connect()
    call = asyncio.create_task(dispatcher.dispatch("room"))
    asked = [asyncio.create_task(each.answer(terminate=True)) for each in (worker, other)]
    record = await call
    assert record.loss is Loss.TERMINATED
    assert [offer.answer for offer in record.offers] == [Answer.TERMINATED]
    for each in asked:
        each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)


async def test_a_late_answer_is_noted_and_changes_nothing(dispatcher, connect):
    worker = await connect()
    record = await dispatcher.dispatch("room")
    assert record.loss is Loss.TIMEOUT
    assert record.offers[0].answer is None
    await worker.answer()
    await until(lambda: dispatcher.log.call(record.job_id).offers[0].answer is not None, what="the late answer")
    [offer] = dispatcher.log.call(record.job_id).offers
    assert offer.answer is Answer.ACCEPTED
    assert offer.in_time is False
    assert offer.answered_at > record.lost_at
    assert not dispatcher.log.call(record.job_id).assigned


async def test_a_worker_that_leaves_while_it_is_asked_passes_the_call_on(dispatcher, connect):
    leaving, staying = await connect(), await connect()
    # nearly full, so that the other one is drawn first
    await staying.say(update_worker=agent.UpdateWorkerStatus(load=0.999))
    await until(lambda: any(worker.load > 0 for worker in dispatcher.workers()), what="the load")
    call = asyncio.create_task(dispatcher.dispatch("room"))
    await leaving.hear("availability")
    await leaving.socket.close()
    await staying.answer()
    record = await call
    assert record.assigned
    assert [offer.worker_id for offer in record.offers] == [leaving.worker_id, staying.worker_id]
    assert [worker.worker_id for worker in dispatcher.workers()] == [staying.worker_id]
    assert [worker.connected for worker in dispatcher.log.workers] == [False, True]


async def test_nobody_registered_is_lost_at_once_and_nobody_with_room_after_the_bidding(dispatcher, connect):
    record = await dispatcher.dispatch("room")
    assert (record.loss, record.offers) == (Loss.NO_WORKER, ())
    worker = await connect()
    await worker.say(update_worker=agent.UpdateWorkerStatus(load=0.7))
    await until(lambda: dispatcher.workers()[0].load > 0, what="the load")
    assert (await dispatcher.dispatch("room")).loss is Loss.NO_BID


async def test_a_worker_that_becomes_full_while_bids_are_collected_takes_the_call_down_with_it(dispatcher, connect):
    worker = await connect()
    call = asyncio.create_task(dispatcher.dispatch("room"))
    await asyncio.sleep(0)  # the call has placed its bid
    await worker.say(update_worker=agent.UpdateWorkerStatus(status=agent.WorkerStatus.WS_FULL))
    record = await call
    assert (record.loss, record.offers) == (Loss.EXHAUSTED, ())


async def test_a_worker_that_registers_while_bids_are_collected_comes_too_late(dispatcher, connect):
    full = await connect("name")
    await full.say(update_worker=agent.UpdateWorkerStatus(status=agent.WorkerStatus.WS_FULL))
    await until(lambda: not dispatcher.workers()[0].available, what="the status")
    waiting = await connect(None)
    call = asyncio.create_task(dispatcher.dispatch("room", agent_name="name"))
    await asyncio.sleep(0)
    await waiting.register("name")
    assert (await call).loss is Loss.NO_BID


async def test_namespaces_and_other_job_types_get_no_room_calls(dispatcher, connect):
    await connect(namespace="n")
    await connect(type=agent.JobType.JT_PUBLISHER)
    assert (await dispatcher.dispatch("room")).loss is Loss.NO_WORKER
    assert len(dispatcher.workers()) == 2


# -- after the assignment ---------------------------------------------------------------------------------------


async def assigned(dispatcher: Dispatcher, worker: RawWorker) -> str:
    call = asyncio.create_task(dispatcher.dispatch("room"))
    await worker.answer()
    await worker.hear("assignment")
    return (await call).job_id


async def test_job_reports_are_kept_and_the_first_end_counts(dispatcher, connect):
    worker = await connect()
    job_id = await assigned(dispatcher, worker)
    for status in (agent.JobStatus.JS_RUNNING, agent.JobStatus.JS_FAILED, agent.JobStatus.JS_SUCCESS):
        await worker.say(update_job=agent.UpdateJobStatus(job_id=job_id, status=status, error="e"))
    await until(lambda: len(dispatcher.log.call(job_id).reports) == 3, what="the reports")
    record = dispatcher.log.call(job_id)
    assert [report.state for report in record.reports] == [JobState.RUNNING, JobState.FAILED, JobState.SUCCESS]
    assert record.ended_at == record.reports[1].at
    assert not record.open


async def test_a_termination_reaches_the_worker_that_has_the_job_and_ends_it_in_the_log(dispatcher, connect):
    worker = await connect()
    job_id = await assigned(dispatcher, worker)
    assert dispatcher.terminate(job_id)
    assert (await worker.hear("termination")).job_id == job_id
    record = dispatcher.log.call(job_id)
    assert record.termination_sent_at is not None
    assert not record.open
    assert not dispatcher.terminate(job_id), "it runs nowhere any more"
    assert not dispatcher.terminate("AJ_unknown")


async def test_a_worker_that_reconnects_says_which_calls_it_kept(dispatcher, connect):
    worker = await connect()
    job_id = await assigned(dispatcher, worker)
    await worker.socket.close()
    await until(lambda: dispatcher.workers() == (), what="the worker to be gone")
    assert dispatcher.log.call(job_id).open, "its call is not ended by that"
    again = await connect()
    await again.say(migrate_job=agent.MigrateJobRequest(job_ids=[job_id, "AJ_unknown"]))
    await until(lambda: dispatcher.log.call(job_id).kept_by != (), what="the kept call")
    assert dispatcher.log.call(job_id).holder == again.worker_id
    await again.say(update_job=agent.UpdateJobStatus(job_id=job_id, status=agent.JobStatus.JS_SUCCESS))
    await until(lambda: not dispatcher.log.call(job_id).open, what="the end of the kept call")


async def test_stop_and_start_is_a_restart_at_the_same_address_and_the_log_stays(dispatcher, connect):
    url = dispatcher.url
    worker = await connect()
    job_id = await assigned(dispatcher, worker)
    await dispatcher.stop()
    await dispatcher.stop()
    assert await worker.is_closed()
    assert dispatcher.workers() == ()
    assert await dispatcher.start() == url
    assert dispatcher.log.call(job_id).open
    await connect()


async def test_a_taken_port_is_an_error_at_start(dispatcher):
    port = int(dispatcher.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        await Dispatcher(KEY, SECRET, port=port).start()


# -- the side door ----------------------------------------------------------------------------------------------


async def test_other_programs_can_place_calls_and_read_the_log(dispatcher, connect):
    worker = await connect("booking")
    base = dispatcher.url.replace("ws:", "http:")
    headers = {"Authorization": token_of(room_admin=True)}
    async with aiohttp.ClientSession(base, headers=headers) as http:
        answering = asyncio.create_task(worker.answer())
        async with http.post("/dispatch", json={"room": "from-outside", "agent_name": "booking"}) as response:
            placed = await response.json()
        await answering
        assert placed["worker_id"] == worker.worker_id
        async with http.get("/calls") as response:
            assert [call["room"] for call in await response.json()] == ["from-outside"]
        async with http.get("/workers") as response:
            assert [each["agent_name"] for each in await response.json()] == ["booking"]
        async with http.post("/dispatch", json={"room": 7}) as response:
            assert response.status == 400
        async with http.post("/dispatch", data=b" " * 70_000) as response:
            assert response.status == 413


async def test_the_side_door_is_closed_without_the_secret(dispatcher):
    base = dispatcher.url.replace("ws:", "http:")
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": token_of(agent=True)}):
        async with aiohttp.ClientSession(base, headers=headers) as http:
            for path in ("/calls", "/workers"):
                async with http.get(path) as response:
                    assert response.status == 401
            async with http.post("/dispatch", json={"room": "r"}) as response:
                assert response.status == 401
    assert dispatcher.log.calls == ()
