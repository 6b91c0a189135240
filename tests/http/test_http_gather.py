"""Reading many streams in one go: what comes in quiet times is read at once, nothing is lost, no silence made up."""

from __future__ import annotations

import asyncio

import pytest

from openrtc_tui.http import Http
from openrtc_tui.http.gather import Gather
from openrtc_tui.http.wire import Wire
from tests.support.fake_worker import FakeWorker
from tests.support.processes import until

NEVER = 3600.0


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def reading(wire, limit=None):
    return asyncio.create_task(wire.read(65536, limit))


async def test_what_comes_in_quiet_times_is_read_at_once_and_what_follows_waits():
    gather = Gather(NEVER)
    first, second = Wire(gather), Wire(gather)
    one, two = reading(first), reading(second)
    await settle()
    first.data_received(b"one")
    second.data_received(b"two")
    await settle()
    assert (one.done(), two.done()) == (True, False)
    two.cancel()
    await settle()


async def test_all_that_waited_is_read_when_the_pause_is_over_and_then_it_is_quiet_again():
    gather = Gather(0.01)
    wires = [Wire(gather) for _ in range(20)]
    tasks = [reading(wire) for wire in wires]
    await settle()
    for number, wire in enumerate(wires):
        wire.data_received(b"%d" % number)
    assert await asyncio.gather(*tasks) == [b"%d" % number for number in range(20)]
    await until(lambda: gather._waiting is None, what="quiet")


async def test_many_streams_are_woken_in_few_goes():
    gather = Gather(0.05)
    wires = [Wire(gather) for _ in range(100)]
    moments = set()
    loop = asyncio.get_running_loop()
    rounds = 0

    def count_rounds():
        nonlocal rounds
        rounds += 1
        if not everything.done():
            loop.call_soon(count_rounds)

    async def read(wire):
        await wire.read(65536, None)
        moments.add(rounds)

    everything = asyncio.gather(*(read(wire) for wire in wires))
    loop.call_soon(count_rounds)
    await settle()
    for wire in wires:
        wire.data_received(b"x")
        await asyncio.sleep(0)
    await everything
    assert len(moments) <= 10


async def test_data_that_waits_is_no_silence():
    """The limit is over before the pause is: what was received is read, and no timeout raised."""
    gather = Gather(NEVER)
    Wire(gather).data_received(b"opens the pause")
    wire = Wire(gather)
    task = reading(wire, 0.05)
    await settle()
    wire.data_received(b"in time")
    assert await asyncio.wait_for(task, 20) == b"in time"


async def test_silence_is_still_a_timeout():
    with pytest.raises(TimeoutError):
        await Wire(Gather(NEVER)).read(65536, 0.05)


async def test_a_wake_up_that_finds_all_read_is_no_end():
    gather = Gather(0.01)
    Wire(gather).data_received(b"opens the pause")
    wire = Wire(gather)
    wire.data_received(b"one")
    assert await wire.read(65536, None) == b"one"  # before its wake-up comes
    task = reading(wire)
    await until(lambda: gather._waiting is None, what="the wake-up")
    assert not task.done()
    wire.data_received(b"two")
    assert await task == b"two"


async def test_an_end_is_read_at_once():
    gather = Gather(NEVER)
    Wire(gather).data_received(b"opens the pause")
    wire = Wire(gather)
    task = reading(wire)
    await settle()
    wire.data_received(b"last words")
    wire.connection_lost(None)
    assert await task == b"last words"
    assert await wire.read(65536, None) == b""


async def test_unhurried_streams_lose_nothing():
    http, workers = Http(), [FakeWorker() for _ in range(20)]

    async def talk(exchange):
        await exchange.open_stream()
        for number in range(200):
            await exchange.chunk(b"%d;" % number)
            await asyncio.sleep(0)
        await exchange.end_stream()

    async def read(worker) -> bytes:
        async with http.stream(f"{worker.url}/x", unhurried=True, deadline=60) as stream:
            return b"".join([chunk async for chunk in stream.chunks()])

    for worker in workers:
        worker.scripts["/x"] = talk
        await worker.start()
    expected = b"".join(b"%d;" % number for number in range(200))
    assert await asyncio.gather(*(read(worker) for worker in workers)) == [expected] * 20
    await http.aclose()
    await asyncio.gather(*(worker.stop() for worker in workers))
