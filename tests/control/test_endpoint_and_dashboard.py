"""Both sides of the contract in one room: the dashboard's own clients on a real control endpoint."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from openrtc_tui.http import Access, Http
from openrtc_tui.operations.control import ControlClient
from openrtc_tui.operations.operator import Operator as TuiOperator
from openrtc_tui.operations.request import Ask
from openrtc_tui.sources.events import StreamEnd, follow_events
from openrtc_tui.state.observation import AuditSeen, HeartbeatSeen, SnapshotSeen, Target
from openrtc_worker.control.limits import ControlLimits
from tests.control.conftest import until


@pytest.fixture
async def http():
    client = Http()
    yield client
    await client.aclose()


def open_access(_):
    """Every worker is reached without a token or a certificate."""


def ask(endpoint, action, **fields):
    target = endpoint.target
    seen = {"key": "row", "url": endpoint.server.url, "worker_id": target.worker_id, "boot_id": target.boot_id}
    return Ask(action=action, **{**seen, **fields})


async def test_the_dashboard_sees_a_worker_s_life_to_its_last_word(serve, http):
    endpoint = await serve(limits=ControlLimits(heartbeat=0.1))
    seen, first = [], endpoint.target.snapshot
    where = Target("row", endpoint.server.url)
    loop = asyncio.get_running_loop()
    following = asyncio.create_task(follow_events(http, where, None, seen.append, loop.time))

    def snapshots():
        return [observation.snapshot for observation in seen if isinstance(observation, SnapshotSeen)]

    await until(lambda: snapshots() and any(isinstance(observation, HeartbeatSeen) for observation in seen))
    endpoint.target.audit_log.emit("deployment.drain_started", actor="alice")
    endpoint.target.change(draining=True, state="draining")
    await until(lambda: snapshots()[-1].draining and any(isinstance(o, AuditSeen) for o in seen))
    await endpoint.server.say_bye(msgspec.structs.replace(endpoint.target.snapshot, active_sessions=0, exit_code=0))
    assert await asyncio.wait_for(following, 10) is StreamEnd.BYE
    assert seen[-1].bye
    assert seen[-1].snapshot.exit_code == 0
    assert snapshots()[0] == first


async def test_what_the_dashboard_signs_the_worker_does(endpoint, http, alice):
    operator = TuiOperator.load("alice", alice.private_path)
    client = ControlClient(http, operator, open_access)
    drain = ask(endpoint, "drain", reason="deploy v2", timeout=120.0, state="serving")
    answer = await client.send(drain)
    assert (answer.outcome, answer.status) == ("started", 202)
    assert answer.snapshot.draining
    assert endpoint.target.calls[0][1].actor == "alice"
    assert (await client.send(drain)).outcome == "started"
    assert len(endpoint.target.calls) == 1
    assert (await client.send(ask(endpoint, "drain"))).outcome == "already"


async def test_a_refusal_reaches_the_operator_with_its_reason(endpoint, http, alice):
    client = ControlClient(http, TuiOperator.load("alice", alice.private_path), open_access)
    endpoint.target.change(state="draining", draining=True)
    answer = await client.send(ask(endpoint, "uncordon"))
    assert (answer.outcome, answer.status, answer.reason) == ("refused", 409, "expect")
    assert "cannot be undone" in answer.detail
    stranger = TuiOperator("alice", "mallory", alice.private_key)
    answer = await ControlClient(http, stranger, open_access).send(ask(endpoint, "cordon"))
    assert (answer.outcome, answer.status, answer.reason) == ("refused", 401, "key")


async def test_the_dashboard_brings_the_read_token_along(serve, http):
    endpoint = await serve(read_token="s3cret")
    response = await http.request("GET", f"{endpoint.server.url}/v1/snapshot", access=Access(read_token="s3cret"))
    assert response.status == 200
    assert (await http.request("GET", f"{endpoint.server.url}/v1/snapshot")).status == 401
