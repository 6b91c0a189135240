"""Whoever may not act, does not: each rule broken on its own, answered, counted, audited, and nothing done."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest

from openrtc_worker.control.actions import OperationMemory
from openrtc_worker.control.problems import COUNTED, Refusal
from openrtc_worker.control.refusals import Allowance, Asking, ControlRecord
from tests.control.conftest import Operator
from tests.control.fake_target import FakeTarget


async def refused(endpoint, response, reason, *, action="drain"):
    """The answer is this refusal, it is counted as such, and the worker was asked nothing."""
    status, title = COUNTED[reason]
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["reason"], problem["title"]) == (status, reason, title)
    assert problem["type"] == f"urn:openrtc:problem:{reason}"
    assert problem["detail"]
    assert "Traceback" not in response.text
    assert await endpoint.counted(action, reason) == 1
    assert endpoint.target.calls == []
    return problem


# -- before anybody looks at who asks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "127.0.0.1.evil.example.com",
        "localhost.evil",
        "evil:9464",
        "a@127.0.0.1",
        "",
        "[::1",
        "::1:80",
    ],
)
async def test_a_name_that_is_not_the_worker_s(endpoint, alice, host):
    await refused(endpoint, await endpoint.ask(alice, "drain", headers={"Host": host}), "host")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9464", "localhost", "LOCALHOST:1", "[::1]:9464", "10.1.2.3", "[fe80::1]"]
)
async def test_an_address_or_localhost_is_always_a_good_name(endpoint, alice, host):
    assert (await endpoint.ask(alice, "drain", headers={"Host": host})).status_code == 202


async def test_a_name_that_was_allowed_is_good(serve, key_folder, alice):
    endpoint = await serve(operator_keys=key_folder, allowed_hosts=("voice-1.example.com",))
    for name in ("voice-1.example.com:9464", "Voice-1.Example.com"):
        assert (await endpoint.client.get("/v1/snapshot", headers={"Host": name})).status_code == 200
    assert (await endpoint.client.get("/v1/snapshot", headers={"Host": "voice-2.example.com"})).status_code == 421


@pytest.mark.parametrize("path", ["/v1/snapshot", "/v1/events", "/metrics", "/healthz", "/readyz", "/nowhere"])
async def test_host_and_origin_are_checked_for_every_request(endpoint, path):
    assert (await endpoint.client.get(path, headers={"Host": "evil.example.com"})).status_code == 421
    assert (await endpoint.client.get(path, headers={"Origin": "null"})).status_code == 403


async def test_a_whole_url_as_target_is_judged_by_its_host(endpoint):
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.server.port)
    writer.write(b"GET http://evil.example.com/v1/snapshot HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 421 ")
    writer.close()


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9464", "null", ""])
async def test_a_web_page(endpoint, alice, origin):
    await refused(endpoint, await endpoint.ask(alice, "drain", headers={"Origin": origin}), "origin")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_another_method(endpoint, method):
    response = await endpoint.client.request(method, "/v1/drain")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert await endpoint.counted("drain", "method") == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_a_body_that_is_not_json(endpoint, alice, headers):
    await refused(endpoint, await endpoint.ask(alice, "drain", headers=headers), "content_type")


async def test_json_with_a_charset_is_json(endpoint, alice):
    response = await endpoint.ask(alice, "drain", headers={"Content-Type": "application/json; charset=utf-8"})
    assert response.status_code == 202


async def test_a_body_that_says_that_it_is_too_large(endpoint, alice):
    body = alice.body(endpoint.target, reason="x" * 65_536)
    await refused(endpoint, await endpoint.ask(alice, "drain", body=body), "size")


async def test_a_body_that_does_not_say_how_large_it_is(endpoint, alice):
    async def chunks():
        for _ in range(80):
            yield b"x" * 1024

    headers = alice.headers(endpoint.target, "drain", b"x")
    response = await endpoint.client.post("/v1/drain", content=chunks(), headers=headers)
    await refused(endpoint, response, "size")


async def test_acting_is_off_until_operator_keys_are_configured(serve, alice):
    endpoint = await serve()
    problem = await refused(endpoint, await endpoint.ask(alice, "drain"), "acting_off")
    assert "OPENRTC_OPERATOR_KEYS" in problem["detail"]


# -- who asks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Basic YTpi", "Bearer x.y.z", "Bearer \xff"])
async def test_no_token_or_none_that_is_one(endpoint, alice, authorization):
    body = alice.body(endpoint.target)
    headers = [(b"Content-Type", b"application/json")]
    if authorization is not None:
        headers.append((b"Authorization", authorization.encode("latin-1")))
    response = await endpoint.client.post("/v1/drain", content=body, headers=headers)
    await refused(endpoint, response, "token")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_key_that_nobody_configured(endpoint, tmp_path):
    await refused(endpoint, await endpoint.ask(Operator(tmp_path, "mallory"), "drain"), "key")


async def test_a_stranger_under_a_known_name(endpoint, alice, tmp_path):
    stranger = Operator(tmp_path, "alice")
    await refused(endpoint, await endpoint.ask(stranger, "drain"), "signature")


async def with_token(endpoint, alice, make):
    """POST a good body with a token that *make* makes of the right claims."""
    body = alice.body(endpoint.target)
    claims = jwt.decode(alice.token(endpoint.target, "drain", body), options={"verify_signature": False})
    headers = {"Authorization": f"Bearer {make(claims)}", "Content-Type": "application/json"}
    return await endpoint.client.post("/v1/drain", content=body, headers=headers)


async def test_a_token_without_a_signature(endpoint, alice):
    def unsigned(claims):
        return jwt.encode(claims, None, algorithm="none", headers={"kid": "alice"})

    await refused(endpoint, await with_token(endpoint, alice, unsigned), "algorithm")


async def test_a_token_signed_with_the_public_key_as_a_secret(endpoint, alice):
    def confused(claims):
        parts = [{"alg": "HS256", "kid": "alice", "typ": "JWT"}, claims]
        head = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
        mac = hmac.new(alice.public_path.read_bytes(), head.encode(), hashlib.sha256).digest()
        return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    await refused(endpoint, await with_token(endpoint, alice, confused), "algorithm")


async def test_a_token_for_thirty_years(endpoint, alice):
    response = await endpoint.ask(alice, "drain", lifetime=30 * 365 * 86_400)
    await refused(endpoint, response, "times")


@pytest.mark.parametrize("skew", [-3_600, -95, 45, 3_600])
async def test_a_token_of_another_time(endpoint, alice, skew):
    problem = await refused(endpoint, await endpoint.ask(alice, "drain", now=time.time() + skew), "times")
    assert "clocks" in problem["detail"]


async def test_a_token_that_lacks_a_claim(endpoint, alice):
    def without_hash(claims):
        del claims["bsh"]
        return jwt.encode(claims, alice.private_key, algorithm="EdDSA", headers={"kid": "alice"})

    await refused(endpoint, await with_token(endpoint, alice, without_hash), "claims")


@pytest.mark.parametrize(
    ("reason", "changed"),
    [
        ("claims", {"op_id": "op-of-another-request"}),
        ("audience", {"aud_boot_id": "an-earlier-boot"}),
        ("audience", {"aud_worker_id": "voice-a-2"}),
        ("action", {"action": "uncordon"}),
        ("body_hash", {"body": b"another body"}),
        ("operator", {"sub": "bob"}),
    ],
)
async def test_a_token_for_something_else(endpoint, alice, reason, changed):
    body = alice.body(endpoint.target)
    good = {"action": "drain", "body": body, "op_id": json.loads(body)["op_id"]}
    token = alice.token(endpoint.target, **{**good, **changed})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    response = await endpoint.client.post("/v1/drain", content=body, headers=headers)
    await refused(endpoint, response, reason)


async def test_a_token_is_not_a_read_token_and_a_read_token_does_not_act(serve, key_folder, alice):
    endpoint = await serve(operator_keys=key_folder, read_token="readers-only")
    headers = {"Authorization": "Bearer readers-only", "Content-Type": "application/json"}
    response = await endpoint.client.post("/v1/drain", content=alice.body(endpoint.target), headers=headers)
    assert (response.status_code, response.json()["reason"]) == (401, "token")
    token = alice.token(endpoint.target, "drain", b"{}")
    response = await endpoint.client.get("/v1/snapshot", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 401


# -- what is asked --------------------------------------------------------------------------------------------

BOOT = {"boot_id": "b00t1"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b"[" * 60_000,
        {},
        {"op_id": "op-1"},
        {"expect": BOOT},
        {"op_id": "op-1", "expect": BOOT, "force": True},
        {"op_id": "op-1", "expect": {**BOOT, "version": "v1"}},
        {"op_id": "", "expect": BOOT},
        {"op_id": "a b", "expect": BOOT},
        {"op_id": "a\n", "expect": BOOT},
        {"op_id": "x" * 129, "expect": BOOT},
        {"op_id": 7, "expect": BOOT},
        {"op_id": "op-1", "expect": {}},
        {"op_id": "op-1", "expect": {"boot_id": ""}},
        {"op_id": "op-1", "expect": "b00t1"},
        {"op_id": "op-1", "expect": {**BOOT, "state": "asleep"}},
        {"op_id": "op-1", "expect": BOOT, "reason": 7},
        {"op_id": "op-1", "expect": BOOT, "reason": "x" * 1_001},
        {"op_id": "op-1", "expect": BOOT, "plan_id": "a b"},
        {"op_id": "op-1", "expect": BOOT, "timeout": 0.5},
        {"op_id": "op-1", "expect": BOOT, "timeout": -1},
        {"op_id": "op-1", "expect": BOOT, "timeout": "60"},
        {"op_id": "op-1", "expect": BOOT, "timeout": True},
        b'{"op_id":"op-1","expect":{"boot_id":"b00t1"},"timeout":1e999}',
        b'{"op_id":"op-1","expect":{"boot_id":"b00t1"},"timeout":NaN}',
    ],
    ids=lambda body: repr(body)[:60],
)
async def test_an_unknown_or_malformed_key(endpoint, alice, body):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    await refused(endpoint, await endpoint.ask(alice, "drain", body=body), "body")


async def test_a_cordon_has_no_timeout(endpoint, alice):
    """Nobody shall believe that a cordon ends by itself."""
    body = alice.body(endpoint.target, timeout=60)
    await refused(endpoint, await endpoint.ask(alice, "cordon", body=body), "body", action="cordon")


@pytest.mark.parametrize("expect", [{"boot_id": "an-earlier-boot"}, {**BOOT, "state": "cordoned"}])
async def test_a_worker_that_is_not_what_the_operator_looked_at(endpoint, alice, expect):
    body = alice.body(endpoint.target, expect=expect)
    await refused(endpoint, await endpoint.ask(alice, "drain", body=body), "expect")


@pytest.mark.parametrize("action", ["cordon", "uncordon"])
async def test_a_drain_cannot_be_undone(endpoint, alice, action):
    endpoint.target.change(draining=True, state="draining")
    response = await endpoint.ask(alice, action)
    assert (response.status_code, response.json()["reason"]) == (409, "expect")
    assert "draining" in response.json()["detail"]
    assert await endpoint.counted(action, "expect") == 1


async def test_checks_are_made_in_the_order_of_the_contract(serve, key_folder, alice):
    """A request with everything wrong is refused by the first rule; mend that, and the next one refuses."""
    endpoint, off = await serve(operator_keys=key_folder), await serve(to=FakeTarget())
    good, client = alice.body(endpoint.target), endpoint.client
    signed = alice.headers(endpoint.target, "drain", good)
    everything = {"Host": "evil", "Origin": "null", "Content-Type": "text/plain"}
    big = b"x" * 70_000

    async def reason(where, method, headers, body):
        response = await where.request(method, "/v1/drain", headers=headers, content=body)
        return response.json()["reason"]

    assert await reason(client, "PUT", everything, big) == "host"
    del everything["Host"]
    assert await reason(client, "PUT", everything, big) == "origin"
    del everything["Origin"]
    assert await reason(client, "PUT", everything, big) == "method"
    assert await reason(client, "POST", everything, big) == "content_type"
    json_type = {"Content-Type": "application/json"}
    assert await reason(off.client, "POST", json_type, big) == "size"
    assert await reason(off.client, "POST", json_type, b"{") == "acting_off"
    assert await reason(client, "POST", json_type, b"{") == "token"
    assert await reason(client, "POST", signed, b"{") == "body_hash"
    other = alice.headers(endpoint.target, "drain", b"{")
    assert await reason(client, "POST", other, b"{") == "body"
    assert endpoint.target.calls == off.target.calls == []


# -- the record -----------------------------------------------------------------------------------------------


async def test_the_audit_has_who_and_why_and_never_the_token(endpoint, alice):
    body = alice.body(endpoint.target, plan_id="plan-7", expect={"boot_id": "gone"})
    token = alice.token(endpoint.target, "drain", body)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    await endpoint.client.post("/v1/drain", content=body, headers=headers)
    audit = await endpoint.client.get("/v1/audit")
    (event,) = audit.json()["events"]
    assert event["event"] == "control.refused"
    assert (event["actor"], event["target"], event["result"]) == ("alice", "voice-a-1", "refused")
    assert (event["reason"], event["action"], event["verified"]) == ("expect", "drain", True)
    assert (event["sub"], event["kid"], event["plan_id"]) == ("alice", "alice", "plan-7")
    assert event["op_id"] == json.loads(body)["op_id"]
    assert event["remote"] == "127.0.0.1"
    assert token not in audit.text
    assert token.split(".")[2] not in audit.text


async def test_a_name_that_was_only_claimed_is_no_actor(endpoint, tmp_path):
    await endpoint.ask(Operator(tmp_path, "alice"), "drain")
    (event,) = endpoint.target.audit_log.after(0)
    assert (event.actor, event.fields["kid"], event.fields["verified"]) == ("unverified", "alice", False)


async def test_a_flood_of_strangers_is_counted_and_does_not_fill_the_audit(endpoint):
    for _ in range(60):
        await endpoint.client.post("/v1/drain", content=b"{}", headers={"Content-Type": "application/json"})
    assert await endpoint.counted("drain", "token") == 60
    assert len(endpoint.target.audit_log.after(0)) == 20


async def test_refused_reads_are_counted_and_not_audited(endpoint):
    await endpoint.client.get("/v1/snapshot", headers={"Host": "evil"})
    assert await endpoint.counted("read", "host") == 1
    assert endpoint.target.audit_log.after(0) == ()


def test_what_was_only_counted_is_told_with_the_next_event():
    target, now = FakeTarget(), [0.0]
    record = ControlRecord(target.audit_log, lambda: "w", lambda: now[0])
    for _ in range(50):
        record.refused(Asking(action="drain"), "token", "no token")
    record.refused(Asking(action="drain", sub="alice", operator="alice"), "expect", "another boot")
    now[0] = 301.0
    record.refused(Asking(action="drain"), "token", "no token")
    events = target.audit_log.after(0)
    assert len(events) == 22
    assert [event.fields["unaudited_before"] for event in events] == [0] * 21 + [30]
    assert record.counts["drain", "token"] == 51


def test_an_allowance_is_a_burst_and_then_one_at_a_time():
    now = [0.0]
    allowance = Allowance(2, 10, lambda: now[0])
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    now[0] = 9.9
    assert not allowance.take()
    now[0] = 10.0
    assert allowance.take()
    now[0] = 1_000.0
    assert [allowance.take() for _ in range(3)] == [True, True, False]


def test_every_operation_is_remembered_and_when_there_is_no_room_nothing_new_is_done():
    memory = OperationMemory(capacity=2)
    for number in range(2):
        assert memory.recall(f"op-{number}", action="drain", sub="alice", body=b"{}") is None
        memory.remember(f"op-{number}", action="drain", sub="alice", body=b"{}", effect="started")
    with pytest.raises(Refusal) as refusal:
        memory.recall("op-2", action="drain", sub="alice", body=b"{}")
    assert refusal.value.reason == "full"
    assert refusal.value.response().status == 503
    assert memory.recall("op-0", action="drain", sub="alice", body=b"{}") == "started"


def test_the_reasons_are_those_of_the_contract():
    contract = """
        host origin method content_type size acting_off token key algorithm signature times claims audience action
        body_hash operator not_allowed body op_id expect manifest seq conflict full
    """
    assert set(COUNTED) == set(contract.split())
