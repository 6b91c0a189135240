"""What an operator may ask, and that asking twice does it once."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from openrtc_worker.control.actions import OperationMemory
from tests.control.conftest import Operator


async def test_a_drain_starts_and_names_who_began_it(endpoint, alice):
    body = alice.body(endpoint.target, reason="deploy v2", plan_id="plan-1", timeout=60)
    response = await endpoint.ask(alice, "drain", body=body)
    assert response.status_code == 202
    answer = response.json()
    assert (answer["op_id"], answer["effect"]) == (json.loads(body)["op_id"], "started")
    assert answer["snapshot"]["draining"] is True
    assert answer["snapshot"]["drain"]["actor"] == "alice"
    ((action, by, timeout),) = endpoint.target.calls
    assert (action, timeout) == ("drain", 60)
    assert (by.source, by.actor, by.reason, by.kid, by.plan_id) == ("http", "alice", "deploy v2", "alice", "plan-1")
    assert by.op_id == answer["op_id"]
    assert await endpoint.counted("drain", "started") == 1


async def test_a_drain_of_a_draining_worker_is_already_and_may_shorten_it(endpoint, alice):
    first = await endpoint.ask(alice, "drain")
    response = await endpoint.ask(alice, "drain", body=alice.body(endpoint.target, timeout=5))
    assert (response.status_code, response.json()["effect"]) == (202, "already")
    assert response.json()["snapshot"]["drain"]["op_id"] == first.json()["op_id"]
    assert [call[2] for call in endpoint.target.calls] == [None, 5]
    assert await endpoint.counted("drain", "already") == 1


async def test_cordon_and_uncordon_and_their_repetition(endpoint, alice):
    answers = [await endpoint.ask(alice, action) for action in ("cordon", "cordon", "uncordon", "uncordon")]
    effects = [answer.json()["effect"] for answer in answers]
    assert effects == ["started", "already", "started", "already"]


async def test_what_is_null_is_as_if_it_were_absent(endpoint, alice):
    body = alice.body(endpoint.target, reason=None, plan_id=None, timeout=None)
    assert (await endpoint.ask(alice, "cordon", body=body)).status_code == 202


async def test_an_expected_state_that_is_so(endpoint, alice):
    body = alice.body(endpoint.target, expect={"boot_id": "b00t1", "state": "serving"})
    assert (await endpoint.ask(alice, "drain", body=body)).status_code == 202


async def test_the_same_request_again_is_answered_again_and_not_done_again(endpoint, alice):
    body = alice.body(endpoint.target, expect={"boot_id": "b00t1", "state": "serving"})
    first = await endpoint.ask(alice, "cordon", body=body)
    endpoint.target.change(active_sessions=1)
    # signed anew, as a retry after a lost answer is; the expected state no longer holds, and that is its own doing
    second = await endpoint.ask(alice, "cordon", body=body, now=time.time() - 20)
    assert (second.status_code, second.json()["effect"]) == (202, "started")
    assert first.json()["snapshot"]["active_sessions"] == 3
    assert second.json()["snapshot"]["active_sessions"] == 1
    assert len(endpoint.target.calls) == 1


async def test_a_replayed_token_has_no_second_effect(endpoint, alice):
    """Whoever overhears a cordon cannot cordon the worker once more after the operator took it back."""
    body = alice.body(endpoint.target)
    headers = alice.headers(endpoint.target, "cordon", body)
    assert (await endpoint.client.post("/v1/cordon", content=body, headers=headers)).status_code == 202
    await endpoint.ask(alice, "uncordon")
    replay = await endpoint.client.post("/v1/cordon", content=body, headers=headers)
    assert replay.json()["effect"] == "started"
    assert endpoint.target.snapshot.state == "serving"
    assert [call[0] for call in endpoint.target.calls] == ["cordon", "uncordon"]


async def test_many_of_the_same_at_once_are_one(endpoint, alice):
    body = alice.body(endpoint.target)
    answers = await asyncio.gather(*(endpoint.ask(alice, "drain", body=body) for _ in range(20)))
    assert {(answer.status_code, answer.json()["effect"]) for answer in answers} == {(202, "started")}
    assert len(endpoint.target.calls) == 1


async def test_an_op_id_belongs_to_one_request(serve, alice, key_folder):
    bob = Operator(key_folder, "bob")
    endpoint = await serve(operator_keys=key_folder)
    body = alice.body(endpoint.target)
    assert (await endpoint.ask(alice, "cordon", body=body)).status_code == 202
    longer = json.dumps({**json.loads(body), "reason": "x"}).encode()
    others = [
        await endpoint.ask(alice, "uncordon", body=body),
        await endpoint.ask(alice, "cordon", body=longer),
        await endpoint.ask(bob, "cordon", body=body),
    ]
    assert {(answer.status_code, answer.json()["reason"]) for answer in others} == {(422, "op_id")}
    assert len(endpoint.target.calls) == 1
    assert await endpoint.counted("cordon", "op_id") == 2


async def test_a_refused_request_is_judged_anew(endpoint, alice):
    body = alice.body(endpoint.target, expect={"boot_id": "b00t1", "state": "cordoned"})
    assert (await endpoint.ask(alice, "drain", body=body)).status_code == 409
    endpoint.target.change(state="cordoned")
    assert (await endpoint.ask(alice, "drain", body=body)).status_code == 202


async def test_when_no_more_can_be_remembered_nothing_more_is_done(endpoint, alice):
    endpoint.server._memory = OperationMemory(capacity=1)
    first = alice.body(endpoint.target)
    assert (await endpoint.ask(alice, "cordon", body=first)).status_code == 202
    full = await endpoint.ask(alice, "drain")
    assert (full.status_code, full.json()["reason"]) == (503, "full")
    assert await endpoint.counted("drain", "full") == 1
    assert (await endpoint.ask(alice, "cordon", body=first)).status_code == 202
    assert [call[0] for call in endpoint.target.calls] == ["cordon"]


async def test_a_worker_that_fails_is_a_problem_without_a_word_of_its_code(endpoint, alice, caplog):
    def broken(*, by, timeout=None):
        raise RuntimeError("secret detail")

    endpoint.target.begin_drain = broken
    response = await endpoint.ask(alice, "drain")
    assert (response.status_code, response.json()["reason"]) == (500, "internal")
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret detail" not in response.text
    assert "secret detail" in caplog.text


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(endpoint, alice):
    body = alice.body(endpoint.target)
    lines = {**alice.headers(endpoint.target, "drain", body), "Host": "127.0.0.1", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, "Expect": "100-continue"}.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.server.port)
    writer.write(f"POST /v1/drain HTTP/1.1\r\n{head}\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.readline()).startswith(b"HTTP/1.1 202 ")
    writer.close()


@pytest.mark.parametrize("action", ["drain", "cordon", "uncordon", "manifest"])
async def test_an_answer_can_be_read_as_it_was_asked(endpoint, alice, action):
    response = await endpoint.ask(alice, action)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert set(response.json()) == {"op_id", "effect", "snapshot"}


async def test_a_reason_reaches_the_worker_without_what_a_terminal_obeys(endpoint, alice):
    await endpoint.ask(alice, "drain", body=alice.body(endpoint.target, reason="deploy\x1b[2J\nv2 " + "x" * 900))
    assert endpoint.target.calls[0][1].reason == "deploy[2J v2 " + "x" * 900
