"""Server-sent events: the truth at once and on every change, a heartbeat, the last word, and no reader that hurts."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading

import msgspec
import pytest

from openrtc_worker.contract.snapshot import LedgerCounts, RuntimeSnapshot
from openrtc_worker.control.events import EventStream, snapshot_frame
from openrtc_worker.control.limits import ControlLimits
from tests.control.conftest import until
from tests.control.event_reader import events

CALM = ControlLimits(heartbeat=30.0, snapshot_recheck=30.0)
"""Nothing comes but what changed."""


async def test_the_whole_snapshot_comes_at_once_in_one_line(endpoint):
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.snapshots)
        assert reader.response.headers["content-type"] == "text/event-stream"
        assert reader.response.headers["cache-control"] == "no-store"
        assert reader.frames[0].kind == "snapshot"
        assert reader.frames[0].id == "b00t1:0"
        assert reader.snapshots[0] == json.loads(json.dumps(endpoint.target.snapshot.to_dict()))


async def test_every_reader_sees_a_change(serve):
    endpoint = await serve(limits=CALM)
    async with events(endpoint) as one, events(endpoint) as other:
        for reader in (one, other):
            await reader.until(lambda r: r.snapshots)
        endpoint.target.change(active_sessions=2)
        for reader in (one, other):
            await reader.until(lambda r: r.snapshots[-1]["active_sessions"] == 2)
            assert reader.of("snapshot")[-1].id == "b00t1:1"


async def test_a_burst_of_changes_is_ten_a_second_and_ends_with_the_truth(serve):
    endpoint = await serve(limits=CALM)
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.snapshots)
        for number in range(1, 301):
            endpoint.target.change(active_sessions=number)
            await asyncio.sleep(0.003)
        await reader.until(lambda r: r.snapshots[-1]["active_sessions"] == 300)
        seen = reader.of("snapshot")
        # what was sent late may be read early, so only the whole span bounds the number
        assert len(seen) <= (seen[-1].at - seen[0].at) / CALM.snapshot_gap + 2
        assert len(seen) < 300


async def test_a_single_change_does_not_wait_for_a_beat(serve):
    endpoint = await serve(limits=CALM)
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.snapshots)
        await asyncio.sleep(0.2)
        endpoint.target.change(draining=True)
        await reader.until(lambda r: r.snapshots[-1]["draining"], within=5)


async def test_what_only_tells_the_time_is_no_change(serve):
    endpoint = await serve(limits=ControlLimits(heartbeat=30.0, snapshot_recheck=0.02, snapshot_gap=0.01))
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.snapshots)
        for second in range(20):
            taken = endpoint.target.snapshots_taken
            endpoint.target.change(
                timestamp=float(second),
                uptime_seconds=float(second),
                loop_lag_ms=float(second),
                session_ages=[second],
            )
            await until(lambda taken=taken: endpoint.target.snapshots_taken > taken)
        assert len(reader.snapshots) == 1
        endpoint.target.change(active_sessions=0)
        await reader.until(lambda r: len(r.snapshots) == 2)
        assert reader.snapshots[-1]["uptime_seconds"] == 19.0


async def test_a_change_that_nobody_announced_is_seen_all_the_same(serve):
    endpoint = await serve(limits=ControlLimits(heartbeat=30.0, snapshot_recheck=0.05))
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.snapshots)
        endpoint.target.snapshot = msgspec.structs.replace(endpoint.target.snapshot, sessions_without_caller=2)
        await reader.until(lambda r: r.snapshots[-1]["sessions_without_caller"] == 2)


async def test_a_heartbeat_comes_though_nothing_happens(serve):
    endpoint = await serve(limits=ControlLimits(heartbeat=0.05, snapshot_recheck=30.0))
    async with events(endpoint) as reader:
        await reader.until(lambda r: len(r.of("comment")) >= 5)
        assert len(reader.snapshots) == 1


def test_heartbeats_are_two_seconds_apart_jittered_by_a_tenth():
    stream = EventStream(ControlLimits(), random.Random(1))
    beats = [stream._beat() for _ in range(500)]
    assert 1.8 <= min(beats) < 1.85
    assert 2.15 < max(beats) <= 2.2


async def test_a_full_snapshot_comes_now_and_then_though_nothing_changed(serve):
    assert ControlLimits().snapshot_refresh <= 60
    endpoint = await serve(limits=ControlLimits(heartbeat=30.0, snapshot_recheck=0.02, snapshot_refresh=0.1))
    async with events(endpoint) as reader:
        await reader.until(lambda r: len(r.snapshots) >= 4)
        assert all(snapshot["active_sessions"] == 3 for snapshot in reader.snapshots)


async def test_audit_events_come_in_order_from_whatever_thread(serve):
    endpoint = await serve(limits=CALM)
    log = endpoint.target.audit_log
    log.emit("deployment.started", target="before anybody listened")
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.snapshots)
        threads = [threading.Thread(target=lambda: [log.emit("call.cut", room="r") for _ in range(50)]) for _ in "ab"]
        for thread in threads:
            thread.start()
        await reader.until(lambda r: len(r.of("audit")) == 100)
        for thread in threads:
            thread.join()
        assert [frame.data["seq"] for frame in reader.of("audit")] == list(range(2, 102))
        assert reader.of("audit")[0].data["event"] == "call.cut"
        assert reader.of("audit")[0].id is None


async def test_bye_is_the_last_word_and_has_the_exit_code(serve):
    endpoint = await serve(limits=CALM)
    async with events(endpoint) as one, events(endpoint) as other:
        for reader in (one, other):
            await reader.until(lambda r: r.snapshots)
        endpoint.target.audit_log.emit("deployment.drain_completed")
        endpoint.target.change(state="drained", draining=True, active_sessions=0)
        last = msgspec.structs.replace(endpoint.target.snapshot, state="exited", exit_code=3)
        await endpoint.server.say_bye(last)
        for reader in (one, other):
            await reader.until(lambda r: r.ended)
            assert reader.frames[-1].kind == "bye"
            assert reader.frames[-1].data["exit_code"] == 3
            assert reader.frames[-1].id == "b00t1:1"
            assert [frame.data["event"] for frame in reader.of("audit")] == ["deployment.drain_completed"]


async def test_bye_is_flushed_before_the_socket_closes_however_soon_the_server_ends(serve):
    endpoint = await serve(limits=CALM)
    rooms = {f"tenant-{number}": 1 for number in range(20_000)}
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.snapshots)
        last = msgspec.structs.replace(endpoint.target.snapshot, exit_code=0, sessions_by_tenant=rooms)
        await endpoint.server.say_bye(last)
        await endpoint.server.aclose()
        await reader.until(lambda r: r.ended)
        assert reader.frames[-1].data["sessions_by_tenant"] == rooms


async def test_whoever_comes_after_the_last_word_gets_it_too(serve):
    endpoint = await serve(limits=CALM)
    await endpoint.server.say_bye(msgspec.structs.replace(endpoint.target.snapshot, exit_code=0))
    await endpoint.server.say_bye(msgspec.structs.replace(endpoint.target.snapshot, exit_code=0))
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.ended)
        assert [frame.kind for frame in reader.frames] == ["bye"]


async def test_a_server_that_closes_without_bye_ends_its_streams_in_order(serve):
    """Without ``bye`` a reader knows that this was no proper end."""
    endpoint = await serve(limits=CALM)
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.snapshots)
        await endpoint.server.aclose()
        await reader.until(lambda r: r.ended)
        assert not reader.of("bye")


async def test_a_snapshot_that_cannot_be_made_does_not_silence_the_stream(serve, caplog):
    endpoint = await serve(limits=CALM)
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.snapshots)
        endpoint.target.fail_with = RuntimeError("half built")
        endpoint.target.change(active_sessions=1)
        await until(lambda: "half built" in caplog.text)
        endpoint.target.fail_with = None
        endpoint.target.change(active_sessions=0)
        await reader.until(lambda r: r.snapshots[-1]["active_sessions"] == 0)


async def test_streams_are_limited_and_a_place_is_free_when_a_reader_left(serve):
    endpoint = await serve(limits=ControlLimits(streams=2, heartbeat=0.05))
    async with events(endpoint), events(endpoint):
        refused = await endpoint.client.get("/v1/events")
        assert (refused.status_code, refused.json()["reason"]) == (503, "too_many_streams")
        assert refused.headers["retry-after"] == "5"
    hub = endpoint.server._hub
    await until(lambda: not hub._streams)
    async with events(endpoint) as reader:
        await reader.until(lambda r: r.snapshots)


async def lazy_reader(endpoint):
    """A client that asks for events and then reads nothing at all."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", endpoint.server.port))
    await loop.sock_sendall(client, b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


def large(number):
    return {f"tenant-{number}-{index:05}-{'x' * 40}": 1 for index in range(5_000)}


async def test_a_reader_that_reads_nothing_is_dropped_and_costs_nothing_until_then(serve, caplog):
    endpoint = await serve(limits=ControlLimits(heartbeat=0.1, write=0.5, snapshot_gap=0.001))
    hub = endpoint.server._hub
    with await lazy_reader(endpoint) as lazy:
        await until(lambda: len(hub._streams) == 1)
        (stream,) = hub._streams
        async with events(endpoint) as reader:
            for number in range(1, 10_000):
                endpoint.target.change(active_sessions=number, sessions_by_tenant=large(number))
                await asyncio.sleep(0.01)
                # whatever happens, one snapshot waits and no more
                assert len(stream._snapshot or b"") < 2 * len(snapshot_frame(endpoint.target.snapshot))
                if stream not in hub._streams:
                    break
            assert "reads nothing" in caplog.text
            endpoint.target.change(active_sessions=7, sessions_by_tenant={})
            await reader.until(lambda r: r.snapshots and r.snapshots[-1]["active_sessions"] == 7)
        await until(lambda: gone(lazy))


def gone(client):
    """Whether the server has reset or closed this connection."""
    try:
        return client.recv(1 << 20) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def test_a_reader_too_slow_for_the_audit_is_dropped(serve, caplog):
    endpoint = await serve(limits=ControlLimits(heartbeat=30.0, stream_audit_events=10, write=30.0))
    hub = endpoint.server._hub
    with await lazy_reader(endpoint) as lazy:
        await until(lambda: len(hub._streams) == 1)
        (stream,) = hub._streams
        for _ in range(2_000):
            endpoint.target.audit_log.emit("call.cut", detail="x" * 20_000)
            await asyncio.sleep(0)
            assert len(stream._audit) <= 10
            if stream._overrun:
                break
        assert stream._overrun
        lazy_end = asyncio.create_task(drain(lazy))
        await until(lambda: stream not in hub._streams, within=20)
        await lazy_end
    assert "reads too slowly" in caplog.text


async def drain(client):
    loop = asyncio.get_running_loop()
    try:
        while await loop.sock_recv(client, 1 << 20):
            pass
    except ConnectionError:
        pass


async def test_say_bye_does_not_wait_for_a_reader_that_reads_nothing(serve):
    endpoint = await serve(limits=ControlLimits(heartbeat=30.0, write=30.0, goodbye=0.2))
    hub = endpoint.server._hub
    with await lazy_reader(endpoint):
        await until(lambda: len(hub._streams) == 1)
        (stream,) = hub._streams
        for number in range(1, 2_000):
            endpoint.target.change(active_sessions=number, sessions_by_tenant=large(number))
            await asyncio.sleep(0.02)
            if stream._snapshot is not None:
                break  # it waits, so the one before it is stuck
        async with asyncio.timeout(10):
            await endpoint.server.say_bye(endpoint.target.snapshot)
            await endpoint.server.aclose()


@pytest.mark.parametrize("field", ["\n", "\r", "\u2028", "data: x\n\nevent: bye"])
def test_no_text_of_a_worker_can_end_a_line_or_forge_an_event(field):
    snapshot = RuntimeSnapshot(
        deployment_version="v1", draining=False, active_sessions=0, last_error=field, ledger=LedgerCounts(cut=1)
    )
    frame = snapshot_frame(snapshot)
    assert frame.count(b"\n") == 5 - 1
    assert frame.endswith(b"\n\n")
    assert b"\r" not in frame
