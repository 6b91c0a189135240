"""What everybody may read: snapshot, sessions, audit, health; where it listens; and who needs a token for it."""

from __future__ import annotations

import asyncio
import logging
import socket

import httpx
import msgspec
import pytest

from openrtc_worker.contract.snapshot import decode_sessions, decode_snapshot
from openrtc_worker.control.server import ControlServer
from openrtc_worker.control.settings import ControlError, ControlSettings
from tests.control.fake_target import FakeTarget, a_session


async def test_the_snapshot_is_what_the_worker_says(endpoint):
    response = await endpoint.client.get("/v1/snapshot")
    assert response.headers["content-type"] == "application/json"
    assert decode_snapshot(response.content) == endpoint.target.snapshot


async def test_a_snapshot_with_half_a_character_is_still_a_snapshot(endpoint):
    endpoint.target.change(last_error="no such file: \udcff.wav")
    response = await endpoint.client.get("/v1/snapshot")
    assert response.json()["last_error"] == "no such file: .wav"


async def test_sessions_are_listed_without_any_content(endpoint):
    endpoint.target.session_list = [a_session(callers=0, alone_since=12.0), a_session(job_id="AJ_2")]
    sessions = decode_sessions((await endpoint.client.get("/v1/sessions")).content)
    assert sessions.boot_id == "b00t1"
    assert [session.job_id for session in sessions.sessions] == ["AJ_1", "AJ_2"]
    assert (sessions.sessions[0].callers, sessions.sessions[0].alone_since) == (0, 12.0)


async def test_the_audit_is_read_from_where_a_reader_was(endpoint):
    for number in range(3):
        endpoint.target.audit_log.emit("worker.rejected", reason=f"reason-{number}")

    async def after(query):
        return (await endpoint.client.get(f"/v1/audit{query}")).json()

    everything = await after("")
    assert [event["seq"] for event in everything["events"]] == [1, 2, 3]
    assert everything["next"] == 3
    assert [event["reason"] for event in (await after("?after=2"))["events"]] == ["reason-2"]
    assert await after("?after=3") == {"events": [], "next": 3}
    # a reader that comes with the number of an earlier boot goes on from this one's newest
    assert await after("?after=999") == {"events": [], "next": 3}


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "", "٣", "9" * 19, "1&after=x"])
async def test_an_audit_number_that_is_none(endpoint, after):
    response = await endpoint.client.get(f"/v1/audit?after={after}")
    if after == "1&after=x":
        assert response.status_code == 200
    else:
        assert (response.status_code, response.json()["reason"]) == (400, "query")


async def test_healthy_while_alive_and_ready_while_registered_whatever_the_state(endpoint):
    for state in ("serving", "cordoned", "draining"):
        endpoint.target.change(state=state)
        assert (await endpoint.client.get("/readyz")).json() == {"status": "ok", "state": state}
    endpoint.target.ready = False
    endpoint.target.change(state="starting")
    response = await endpoint.client.get("/readyz")
    assert (response.status_code, response.json()["state"]) == (503, "starting")
    assert "starting" in response.json()["detail"]
    assert (await endpoint.client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/snapshot/", "/v2/snapshot", "/v1/manifests", "/metrics/x", "//v1/snapshot"]
)
async def test_what_is_not_there(endpoint, path):
    response = await endpoint.client.get(path)
    assert (response.status_code, response.json()["reason"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/v1/snapshot", "/v1/events", "/v1/sessions", "/metrics", "/healthz"])
async def test_what_is_read_is_not_written(endpoint, path):
    response = await endpoint.client.post(path, content=b"{}")
    assert response.status_code == 405
    assert "GET" in response.headers["allow"]
    assert await endpoint.counted("read", "method") == 1


async def test_a_head_request_has_the_length_and_no_body(endpoint):
    response = await endpoint.client.head("/v1/snapshot")
    assert response.status_code == 200
    assert int(response.headers["content-length"]) > 500
    assert response.content == b""


async def test_a_worker_that_cannot_say_is_a_problem_and_the_next_request_is_served(endpoint, caplog):
    endpoint.target.fail_with = RuntimeError("secret detail")
    for path in ("/v1/snapshot", "/metrics", "/readyz", "/v1/events"):
        response = await endpoint.client.get(path)
        assert (response.status_code, response.json()["reason"]) == (500, "internal")
        assert "secret" not in response.text
    assert "secret detail" in caplog.text
    endpoint.target.fail_with = None
    assert (await endpoint.client.get("/v1/snapshot")).status_code == 200


# -- the read token -------------------------------------------------------------------------------------------

READS = ["/v1/snapshot", "/v1/sessions", "/v1/audit", "/v1/events", "/metrics"]


@pytest.mark.parametrize("path", READS)
async def test_with_a_read_token_reading_needs_it(serve, path):
    endpoint = await serve(read_token="s3cret")
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer s3cret2"},
        {"Authorization": "s3cret"},
    ):
        response = await endpoint.client.get(path, headers=headers)
        assert (response.status_code, response.json()["reason"]) == (401, "token")
        assert response.headers["www-authenticate"] == "Bearer"
    async with endpoint.client.stream("GET", path, headers={"Authorization": "bearer s3cret"}) as response:
        assert response.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_platform_s_probes_need_no_token(serve, path):
    endpoint = await serve(read_token="s3cret")
    assert (await endpoint.client.get(path)).status_code == 200


async def test_a_token_of_any_bytes_is_compared_and_refused(serve):
    endpoint = await serve(read_token="s3cret")
    response = await endpoint.client.get("/v1/snapshot", headers=[(b"Authorization", b"Bearer s3cret\xff\xfe")])
    assert response.status_code == 401


async def test_the_token_may_come_from_a_file(serve, tmp_path):
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    file.chmod(0o600)
    endpoint = await serve(read_token_file=file)
    assert (await endpoint.client.get("/v1/snapshot")).status_code == 401
    headers = {"Authorization": "Bearer from-a-file"}
    assert (await endpoint.client.get("/v1/snapshot", headers=headers)).status_code == 200


# -- where it listens -----------------------------------------------------------------------------------------


async def test_a_taken_port_is_one_line_that_says_what_to_do(target):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = ControlServer(target, settings=ControlSettings(port=port))
        with pytest.raises(ControlError, match=f"port {port} on 127.0.0.1 is taken") as refused:
            await server.start()
        assert "OPENRTC_CONTROL_PORT" in str(refused.value)
        assert "\n" not in str(refused.value)
        await server.aclose()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_this_machine_s(target, host):
    server = ControlServer(target, settings=ControlSettings(host=host, port=0))
    with pytest.raises(ControlError, match=host) as refused:
        await server.start()
    assert "\n" not in str(refused.value)
    await server.aclose()


async def test_a_free_port_is_found_and_named(serve, caplog):
    with caplog.at_level(logging.INFO, logger="openrtc.control"):
        endpoint = await serve()
    assert endpoint.server.port > 0
    assert endpoint.server.url == f"http://127.0.0.1:{endpoint.server.port}"
    assert endpoint.server.url in caplog.text


async def test_a_port_is_free_again_after_closing(serve, target):
    endpoint = await serve()
    port = endpoint.server.port
    assert (await endpoint.client.get("/healthz")).status_code == 200
    await endpoint.server.aclose()
    again = await serve(port=port)
    assert (await again.client.get("/healthz")).status_code == 200


async def test_localhost_is_every_loopback_address_on_one_port(serve):
    endpoint = await serve(host="localhost")
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{endpoint.server.port}/healthz")).status_code == 200


async def test_beyond_loopback_without_a_read_token_is_a_warning(serve, caplog):
    await serve()
    await serve(host="0.0.0.0", read_token="s3cret")
    assert "everybody who reaches it" not in caplog.text
    endpoint = await serve(host="0.0.0.0")
    assert "everybody who reaches it may read it" in caplog.text
    assert "OPENRTC_READ_TOKEN_FILE" in caplog.text
    assert endpoint.server.url.startswith("http://127.0.0.1:")


async def test_a_worker_that_nobody_may_act_on_says_so_at_its_start(serve, key_folder, caplog):
    caplog.set_level("INFO")
    await serve(operator_keys=key_folder)
    assert "nobody can drain" not in caplog.text
    await serve()
    assert "nobody can drain or cordon this worker over HTTP: set operator_keys=" in caplog.text


async def test_the_worker_s_ids_may_be_set_once_the_port_is_known(serve, key_folder, alice):
    target = FakeTarget(worker_id="")
    endpoint = await serve(to=target, operator_keys=key_folder)
    target.worker_id = f"host-{endpoint.server.port}"
    assert (await endpoint.ask(alice, "drain")).status_code == 202


async def test_ten_scrapes_at_once_are_ten_answers(endpoint):
    answers = await asyncio.gather(*(endpoint.client.get("/v1/snapshot") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert endpoint.target.snapshots_taken == 10


async def test_a_snapshot_of_thousands_of_tenants_arrives_whole(endpoint):
    tenants = {f"tenant-{number}": number for number in range(20_000)}
    endpoint.target.snapshot = msgspec.structs.replace(endpoint.target.snapshot, sessions_by_tenant=tenants)
    assert (await endpoint.client.get("/v1/snapshot")).json()["sessions_by_tenant"] == tenants
