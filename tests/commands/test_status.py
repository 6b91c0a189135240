"""``openrtc-tui status`` as a process, against real endpoints."""

from __future__ import annotations

import asyncio
import json

from openrtc_tui.state.view import VerdictWord


async def test_one_shot_hears_every_worker_before_it_prints(bench):
    await bench.add("a-1", "v1", calls=3)
    await bench.add("b-1", "v2")
    bench.write("rollout: {from: v1, to: v2}\n")
    done = await bench.run("status")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert "test" in lines[0]
    assert "v1 → v2" in lines[0]
    assert any("dropped 0  so far" in line for line in lines)
    heading = next(line for line in lines if "WORKER" in line)
    rows = [line for line in lines if line.strip().startswith(("a-1", "b-1"))]
    assert [row.split()[0] for row in rows] == ["a-1", "b-1"]
    assert "starting" not in done.out
    for row, state, calls in zip(rows, ("serving", "serving"), ("3", "0"), strict=True):
        assert row[heading.index("STATE") :].split()[1] == state
        assert row[: heading.index("CALLS") + 5].split()[-1] == calls
    assert "\x1b" not in done.out


async def test_json_has_the_shape_that_scripts_rely_on(bench):
    worker = await bench.add("a-1", "v1", calls=2)
    await bench.add("b-1", "v2")
    bench.write("rollout: {from: v1, to: v2}\n", urls={"gone": "http://127.0.0.1:9"})
    done = await bench.run("status", "--json")
    assert done.code == 5, "one that was never heard may hold calls"
    document = done.json
    assert list(document) == ["schema", "fleet", "at", "rollout", "workers"]
    assert (document["schema"], document["fleet"]) == (1, "test")
    assert list(document["rollout"]) == ["from", "to", "started_at", "verdict"]
    assert (document["rollout"]["from"], document["rollout"]["to"]) == ("v1", "v2")
    by_name = {shown["name"]: shown for shown in document["workers"]}
    assert set(by_name) == {"a-1", "b-1", "gone"}
    for shown in document["workers"]:
        assert list(shown) == ["name", "url", "state", "verdict", "findings", "age_seconds", "snapshot"]
        assert list(shown["verdict"]) == ["word", "confirmed", "possible", "exact"]
        assert shown["verdict"]["word"] in set(VerdictWord)
        assert all(list(finding) == ["code", "text"] for finding in shown["findings"])
    assert by_name["a-1"]["state"] == "serving"
    assert by_name["a-1"]["snapshot"] == worker.target.runtime_snapshot().to_dict()
    assert 0 <= by_name["a-1"]["age_seconds"] < 60
    assert (by_name["gone"]["state"], by_name["gone"]["snapshot"]) == ("starting", None)


async def test_a_version_is_not_called_empty_while_workers_were_never_heard(bench):
    rollout = "rollout: {from: v1, to: v2}\n"
    await bench.add("b-1", "v2")
    bench.write(rollout, urls={"a-1": "http://127.0.0.1:9", "a-2": "http://127.0.0.1:7"})
    done = await bench.run("status")
    assert done.code == 5
    assert "  2 workers were never heard: a-1, a-2" in done.out.splitlines()
    verdict = next(line for line in done.out.splitlines() if "dropped" in line)
    assert "so far   2 workers were never heard" in verdict, "the verdict itself says whom it does not speak of"
    heading = next(line for line in done.out.splitlines() if "WORKER" in line)
    for name in ("a-1", "a-2"):
        row = next(line for line in done.out.splitlines() if line.split()[:1] == [name])
        assert row[: heading.index("CALLS") + 5].split()[-1] == "n/a", "unknown is never shown as none"
    leaving = next(line for line in done.out.splitlines() if " leaving " in line)
    assert "empty" not in leaving
    assert "n/a calls" in leaving
    assert "2 not heard" in leaving
    bench.write(rollout)
    heard = (await bench.run("status")).out
    assert "empty" in heard
    assert "never heard" not in heard


async def test_without_a_rollout_a_worker_that_was_never_heard_is_said_and_no_verdict_hangs_on_it(bench):
    await bench.add("a-1")
    bench.write("", urls={"a-2": "http://127.0.0.1:9"})
    done = await bench.run("status")
    assert done.code == 0
    assert "a-2 was never heard" in next(line for line in done.out.splitlines() if "dropped" in line)


async def test_help_says_what_its_exit_code_means(bench):
    said = " ".join((await bench.run("status", "--help")).out.split())
    assert "5 when a rollout is on and a worker was never heard" in said


async def test_without_two_versions_there_is_no_rollout(bench):
    await bench.add("a-1")
    assert (await bench.run("status", "--json")).json["rollout"] is None


async def test_an_empty_fleet_and_the_places_where_the_file_is_looked_for(bench):
    bench.write()
    assert (await bench.run("status", "--json")).json["workers"] == []
    elsewhere = bench.folder / "other.yaml"
    elsewhere.write_text("fleet: other\nworkers: []\n")
    assert (await bench.run("status", "--json", "-f", "other.yaml")).json["fleet"] == "other"
    assert (await bench.run("-f", "other.yaml", "status", "--json")).json["fleet"] == "other"


async def test_a_fleet_file_that_cannot_be_read_is_exit_1_with_every_line(bench):
    bench.file.write_text("fleet: test\nworkers: [http://a/x]\nrefresh: never\n")
    done = await bench.run("status", "--json")
    assert (done.code, done.out) == (1, "")
    assert [line.split(": ")[0] for line in done.err.splitlines()] == ["fleet.yaml:2", "fleet.yaml:3"]


async def test_hostile_text_of_a_worker_reaches_no_terminal(bench):
    worker = await bench.add("a-1")
    worker.target.change(last_error="\x1b[2J\x9b2J", deployment_version="v1\x1b]0;x\x07")
    for arguments in (("status",), ("status", "--json")):
        done = await bench.run(*arguments)
        assert done.code == 0
        assert not {"\x1b", "\x9b", "\x07"} & set(done.out)


async def test_an_output_that_knows_only_ascii_gets_the_plain_signs(bench, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    await bench.add("a-1", calls=1)
    done = await bench.run("status")
    assert (done.code, done.err) == (0, "")
    assert "* serving" in done.out
    assert done.out.isascii()


async def test_watch_prints_a_document_a_line_whenever_something_changes(bench):
    worker = await bench.add("a-1", calls=1)
    running = await bench.start("status", "--json", "--watch")
    first = json.loads(await running.line())
    assert first["workers"][0]["snapshot"]["active_sessions"] == 1
    worker.target.change(active_sessions=2)
    while (seen := json.loads(await running.line())["workers"][0]["snapshot"]["active_sessions"]) != 2:
        assert seen == 1
    running.interrupt()
    done = await running.done()
    assert done.code == 130
    assert done.err == "interrupted\n"


async def test_watch_without_a_terminal_prints_one_line_for_each_event(bench):
    worker = await bench.add("a-1", calls=1)
    running = await bench.start("status", "--watch")
    while "a-1" not in (line := await running.line()) or "serving" not in line:
        pass
    worker.target.change(state="cordoned", accepting=False)
    event = await running.line()
    assert event[:8].count(":") == 2
    assert "a-1" in event
    assert "cordon" in event
    running.interrupt()
    assert (await running.done()).code == 130


async def test_watch_without_a_terminal_tells_each_worker_whose_state_or_calls_changed(bench):
    worker = await bench.add("a-1", calls=1)
    other = await bench.add("a-2", calls=2)
    bench.write("refresh: 200ms\n")
    running = await bench.start("status", "--watch")
    while not (line := await running.line()).strip().startswith("a-2"):
        assert line
    worker.live(4)
    assert (await running.line())[8:] == "  a-1 serving 4 calls\n"
    other.live(1, state="draining")
    while "a-2 draining 1 call\n" not in (line := await running.line()):
        assert line
    running.interrupt()
    assert (await running.done()).code == 130


async def test_watch_without_a_terminal_ends_with_its_reader(bench):
    worker = await bench.add("a-1", calls=1)
    running = await bench.start("status", "--watch")
    while not (await running.line()).strip().startswith("a-1"):
        pass
    running.process._transport.get_pipe_transport(1).close()
    worker.live(2)
    done = await running.done()
    assert (done.code, done.err) == (1, "")


async def test_watch_on_a_terminal_draws_the_table_again_in_place(bench, terminal):
    worker = await bench.add("a-1", calls=1)
    bench.write("refresh: 200ms\n")
    running = await bench.start("status", "--watch", stdout=terminal.theirs)
    await terminal.until("WORKER")
    await terminal.until("a-1")
    worker.target.change(state="cordoned", accepting=False)
    await terminal.until("cordoned")
    assert terminal.seen.count(b"\x1b[H\x1b[J") >= 2
    running.interrupt()
    assert (await running.done()).code == 130


async def test_a_reader_that_has_enough_ends_it_without_a_word(bench):
    worker = await bench.add("a-1", calls=1)
    running = await bench.start("status", "--json", "--watch")
    await running.line()
    running.process._transport.get_pipe_transport(1).close()
    for calls in range(2, 200):
        if running.process.returncode is not None:
            break
        worker.target.change(active_sessions=calls)
        await asyncio.sleep(0.1)
    done = await running.done()
    assert (done.code, done.err) == (1, "")
