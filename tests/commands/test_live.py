"""The live fleet under screen and commands: the file edited while running, and what is asked through it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from openrtc_tui.commands.common import hear_all
from openrtc_tui.fleet_file import FleetFileError, load_fleet_file
from openrtc_tui.live import LiveFleet
from openrtc_tui.operations.intent import confirm, intend
from openrtc_tui.state.view import FleetView, WorkerState
from openrtc_worker.contract.snapshot import State, encode_json
from tests.support.fake_worker import FakeWorker, hold, reply, snapshot

PATIENCE = 20


@asynccontextmanager
async def watching(bench, **options):
    live = LiveFleet(load_fleet_file(bench.file), **options)
    async with live.running():
        await hear_all(live)
        yield live


async def until(live: LiveFleet, condition) -> FleetView:
    async with asyncio.timeout(PATIENCE):
        while not condition(view := live.view()):
            await live.changed(0.1)
    return view


def events(view: FleetView) -> str:
    return "\n".join(f"{event.text} {event.detail}" for event in view.events)


async def test_an_edited_file_is_taken_over_while_running(bench):
    await bench.add("a-1", "v1")
    async with watching(bench) as live:
        await bench.add("b-1", "v2")
        bench.write("operator: {name: alice, key_file: alice.pem}\nrefresh: 300ms\nrollout: {from: v1, to: v2}\n")
        view = await until(live, lambda view: view.row("b-1") and view.row("b-1").snapshot)
        assert view.rollout
        assert (view.rollout.from_version, view.rollout.to_version) == ("v1", "v2")
        assert live.file.refresh == 0.3
        assert "fleet file taken over 2 workers" in events(view)


async def test_a_broken_file_is_trouble_until_it_is_mended_and_the_last_good_one_holds(bench):
    await bench.add("a-1", "v1")
    good = bench.file.read_text()
    async with watching(bench) as live:
        bench.file.write_text(good + "refresh: never\nwave: 1\n")
        view = await until(live, lambda _: live.trouble)
        assert "refresh" in live.trouble
        assert live.trouble.endswith("and 1 more")
        assert view.row("a-1").state is WorkerState.SERVING
        bench.file.write_text(good)
        await until(live, lambda _: not live.trouble)


async def test_a_worker_that_leaves_the_file_with_calls_is_watched_on(bench):
    worker = await bench.add("a-1", "v1", calls=2)
    await bench.add("b-1", "v2")
    async with watching(bench) as live:
        del bench.workers["a-1"]
        bench.write()
        await until(live, lambda view: view.row("a-1") and view.row("a-1").orphan)
        worker.live(1)
        await until(live, lambda view: view.row("a-1").calls == 1)
        worker.live(0)
        await until(live, lambda view: view.row("a-1") is None)
        assert "a-1" not in live._watch._followers, "and then its connection is given up"


async def test_who_acts_changes_only_with_a_restart_and_says_so(bench):
    await bench.add("a-1", "v1")
    async with watching(bench) as live:
        assert (live.operator, live.read_only) == ("alice", False)
        bench.write("operator: {name: bob, key_file: alice.pem}\n")
        view = await until(live, lambda view: "restart to apply" in events(view))
        assert "operator changed in the fleet file" in events(view)
        assert live.operator == "alice"


async def test_read_only_in_the_edited_file_holds_at_once(bench):
    await bench.add("a-1", "v1")
    await bench.add("a-2", "v1")
    async with watching(bench) as live:
        bench.write("operator: {name: alice, key_file: alice.pem}\nread_only: true\n")
        view = await until(live, lambda _: live.read_only)
        with pytest.raises(PermissionError):
            await live.send(confirm(intend(view, ["a-1"], "drain"), view).asks)
    assert bench.workers["a-1"].asked == []


async def test_what_an_answer_shows_is_in_the_next_view(bench):
    worker = await bench.add("a-1", "v1", calls=1)
    await bench.add("a-2", "v1")
    async with watching(bench) as live:
        asks = confirm(intend(live.view(), ["a-1"], "drain"), live.view()).asks
        heard = []
        result = await live.send(asks, heard.append)
        assert result.answers[0].done
        assert heard == list(result.answers)
        assert live.view().row("a-1").state is WorkerState.DRAINING
    assert worker.target.snapshot.state == State.DRAINING


async def test_more_of_a_worker_can_be_read(bench):
    await bench.add("a-1", "v1")
    async with watching(bench) as live:
        assert (await live.get("a-1", "/v1/sessions")).status == 200
        with pytest.raises(KeyError):
            await live.get("nobody", "/v1/sessions")


async def test_hearing_is_bounded_by_its_time_and_ends_with_the_first_failure(bench):
    silent = FakeWorker({"/v1/events": hold, "/v1/snapshot": hold})
    await bench.add("a-1", "v1")
    async with silent:
        bench.write("", urls={"silent": silent.url, "gone": "http://127.0.0.1:9"})
        live = LiveFleet(load_fleet_file(bench.file))
        async with live.running():
            view = await hear_all(live, within=2.0)
    assert [(row.key, row.snapshot is not None) for row in view.rows] == [
        ("a-1", True),
        ("gone", False),
        ("silent", False),
    ]


async def test_a_worker_without_events_is_heard_by_polling(bench):
    plain = FakeWorker({"/v1/snapshot": reply(200, encode_json(snapshot()), content_type="application/json")})
    async with plain:
        bench.write("", urls={"plain": plain.url})
        async with watching(bench) as live:
            assert live.view().row("plain").via == "poll"


async def test_a_failure_of_the_watching_itself_ends_the_block(bench, monkeypatch):
    await bench.add("a-1")
    live = LiveFleet(load_fleet_file(bench.file))

    async def fail() -> None:
        raise OSError("no more file descriptors")

    monkeypatch.setattr(live._watch, "run", fail)
    with pytest.raises(ExceptionGroup) as caught:
        async with live.running():
            await asyncio.sleep(PATIENCE)
    assert caught.group_contains(OSError, match="no more file descriptors")


async def test_a_read_token_that_is_none_keeps_it_from_starting(bench):
    (bench.folder / "token").write_text("two words")
    (bench.folder / "token").chmod(0o600)
    await bench.add("a-1")
    bench.write("read_token_file: token\n")
    with pytest.raises(FleetFileError, match="no read token"):
        LiveFleet(load_fleet_file(bench.file))
