"""``openrtc-tui drain``, ``cordon`` and ``uncordon`` as processes, against real endpoints that check real tokens."""

from __future__ import annotations

import asyncio

import pytest

from openrtc_tui import cli
from openrtc_tui.commands import act
from openrtc_tui.live import LiveFleet
from openrtc_tui.operations import control
from openrtc_worker.contract.snapshot import State
from tests.operations.lossy import LossyProxy


async def test_a_drain_is_asked_with_reason_and_timeout(bench):
    worker = await bench.add("a-1", calls=3)
    await bench.add("a-2")
    done = await bench.run("drain", "a-1", "--yes", "--reason", "rollout 214", "--drain-timeout", "5m")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("a-1  started: is draining")
    ((action, by, timeout),) = worker.target.calls
    assert (action, by.actor, by.reason, timeout) == ("drain", "alice", "rollout 214", 300.0)


async def test_cordon_and_uncordon(bench):
    worker = await bench.add("a-1", calls=3)
    await bench.add("a-2")
    assert (await bench.run("cordon", "a-1", "--yes")).code == 0
    again = await bench.run("cordon", "a-1", "--yes")
    assert (again.code, again.out) == (0, "a-1  is cordoned already\n")
    assert (await bench.run("uncordon", "a-1", "--yes")).code == 0
    assert worker.asked == ["cordon", "uncordon"]


async def test_the_files_timeout_is_sent_and_does_not_shorten_what_runs(bench):
    worker = await bench.add("a-1", calls=3)
    await bench.add("a-2")
    bench.write("operator: {name: alice, key_file: alice.pem}\ndrain: {timeout: 90}\n")
    assert (await bench.run("drain", "a-1", "--yes")).code == 0
    assert worker.target.calls[0][2] == 90.0
    assert (await bench.run("drain", "a-1", "--yes")).out == "a-1  is draining already\n"
    shorter = await bench.run("drain", "a-1", "--yes", "--drain-timeout", "30")
    assert shorter.code == 0
    assert "already" in shorter.out
    assert [call[2] for call in worker.target.calls] == [90.0, 30.0]


# -------------------------------------------------------------------------------------------------- not asked


async def test_nothing_is_asked_without_a_yes_where_nobody_can_be_asked(bench):
    worker = await bench.add("a-1")
    await bench.add("a-2")
    done = await bench.run("drain", "a-1")
    assert (done.code, done.out) == (6, "")
    assert "--yes" in done.err
    assert worker.asked == []


async def test_yes_never_takes_the_last_worker_away(bench):
    worker = await bench.add("a-1")
    done = await bench.run("drain", "a-1", "--yes")
    assert done.code == 6
    assert "--last-worker" in done.err
    assert "every new caller would get nobody" in done.err
    assert worker.asked == []
    done = await bench.run("drain", "a-1", "--yes", "--last-worker", "--reason", "end of service")
    assert done.code == 0
    assert worker.target.calls[0][1].reason == "override last-worker: end of service"


async def test_a_whole_version_that_is_the_last_is_refused_too(bench):
    for name in ("a-1", "a-2"):
        await bench.add(name, "v1")
    done = await bench.run("drain", "--version", "v1", "--yes")
    assert done.code == 6
    assert [worker.asked for worker in bench.workers.values()] == [[], []]


async def test_read_only_asks_nothing_by_option_and_by_file(bench):
    worker = await bench.add("a-1")
    for arguments in (("--read-only", "drain", "a-1", "--yes"), ("drain", "a-1", "--yes", "--read-only")):
        assert (await bench.run(*arguments)).code == 6
    bench.write("operator: {name: alice, key_file: alice.pem}\nread_only: true\n")
    assert (await bench.run("drain", "a-1", "--yes")).code == 6
    assert worker.asked == []


async def test_a_file_without_an_operator_says_what_to_add(bench):
    await bench.add("a-1")
    bench.write("")
    done = await bench.run("drain", "a-1", "--yes")
    assert done.code == 1
    assert "keys new" in done.err


async def test_a_name_that_nobody_has_is_a_usage_error_with_the_nearest(bench):
    await bench.add("voice-a-1")
    done = await bench.run("drain", "voice-a-l", "--yes")
    assert done.code == 2
    assert "did you mean voice-a-1?" in done.err


async def test_a_version_beside_names_must_be_theirs(bench):
    worker = await bench.add("a-1", "v2")
    done = await bench.run("drain", "a-1", "--version", "v1", "--yes")
    assert done.code == 6
    assert "a-1 runs v2, not v1" in done.err
    assert worker.asked == []


async def test_one_worker_that_cannot_be_asked_keeps_all_named_ones_from_it(bench):
    worker = await bench.add("a-1")
    await bench.add("b-1", "v2")
    bench.write(urls={"gone": "http://127.0.0.1:9"})
    done = await bench.run("drain", "a-1", "gone", "--yes")
    assert done.code == 6
    assert "gone  was not heard yet (connection refused)" in done.err
    assert worker.asked == []


async def test_a_refusal_stops_the_batch_and_says_who_was_not_asked(bench):
    await bench.add("spare", "v2")
    for number in range(1, 4):
        await bench.add(f"a-{number}")
    refusing = await bench.add("a-0", operator_keys=None)
    bench.workers = {name: bench.workers[name] for name in ("a-0", "a-1", "a-2", "a-3", "spare")}
    for number in range(4, 9):
        await bench.add(f"a-{number}")
    done = await bench.run("drain", "--version", "v1", "--yes")
    assert done.code == 6
    assert "a-0  refused: this worker has no operator keys" in done.err
    assert "not asked any more: " in done.err
    not_asked = done.err.split("not asked any more: ")[1].split("\n")[0].split(", ")
    assert "a-8" in not_asked
    assert all(bench.workers[name].asked == [] for name in not_asked)
    assert refusing.asked == []


# ---------------------------------------------------------------------------------------------------- waiting


async def test_a_drain_seen_to_its_end_is_proven(bench):
    worker = await bench.add("a-1", calls=2)
    await bench.add("a-2")
    running = await bench.start("drain", "a-1", "--yes", "--wait")
    await worker.until_asked("drain")
    worker.live(1)
    lines = []
    while "1 call left" not in (line := await running.line()):
        lines.append(line)
    await worker.exit()
    done = await running.done()
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "dropped 0 PROVEN"
    assert any("a-1  draining  2 calls left" in line for line in lines)


async def test_a_drain_that_drops_a_call_is_exit_4(bench):
    worker = await bench.add("a-1", calls=2)
    await bench.add("a-2")
    running = await bench.start("drain", "a-1", "--yes", "--wait")
    await worker.until_asked("drain")
    await worker.exit(cut=2)
    done = await running.done()
    assert done.code == 4
    assert done.out.splitlines()[-1] == "dropped 2 VIOLATED"


async def test_a_drain_that_ends_without_a_word_is_exit_5(bench):
    worker = await bench.add("a-1", calls=2)
    await bench.add("a-2")
    running = await bench.start("drain", "a-1", "--yes", "--wait")
    await worker.until_asked("drain")
    while "2 calls left" not in await running.line():
        pass
    worker.be_killed()
    done = await running.done()
    assert done.code == 5
    assert done.out.splitlines()[-1] == "dropped 0–2 UNPROVEN"


async def test_the_commands_own_patience_is_exit_3_and_the_drain_goes_on(bench):
    worker = await bench.add("a-1", calls=2)
    await bench.add("a-2")
    done = await bench.run("drain", "a-1", "--yes", "--wait", "--timeout", "200ms")
    assert done.code == 3
    assert "timed out with 2 calls live; the drain goes on" in done.err
    assert worker.target.calls[0][2] is None, "--timeout is not the worker's"


async def test_an_interrupted_wait_is_130_and_leaves_the_drain_alone(bench):
    worker = await bench.add("a-1", calls=2)
    await bench.add("a-2")
    running = await bench.start("drain", "a-1", "--yes", "--wait")
    await worker.until_asked("drain")
    await running.line()
    running.interrupt()
    done = await running.done()
    assert (done.code, done.err) == (130, "interrupted\n")
    assert worker.target.snapshot.state == State.DRAINING


async def test_waiting_for_a_drain_that_somebody_else_began(bench):
    worker = await bench.add("a-1", calls=1)
    await bench.add("a-2")
    worker.target.change(state=State.DRAINING, draining=True, accepting=False)
    running = await bench.start("drain", "a-1", "--yes", "--wait")
    assert await running.line() == "a-1  is draining already\n"
    await worker.exit()
    assert (await running.done()).code == 0
    assert worker.asked == []


async def test_an_answer_that_stays_lost_is_exit_5(bench, monkeypatch, capsys):
    """In this process: the real pauses between its attempts take eight seconds."""
    monkeypatch.setattr(control, "_PAUSES", (0.01,) * 5)
    worker = await bench.add("a-1")
    await bench.add("a-2")
    async with LossyProxy(worker.server.port, ["answer"] * 99) as proxy:
        bench.write(urls={"a-1": proxy.url})
        args = cli._parse(["cordon", "a-1", "--yes", "-f", str(bench.file)])
        assert await act._run(args) == 5
    assert worker.asked == ["cordon"], "asked again and again, done once"
    assert "unknown: no answer came back" in capsys.readouterr().err


async def test_of_a_whole_version_those_that_nobody_heard_are_named(bench):
    worker = await bench.add("a-1", "v1")
    await bench.add("b-1", "v2")
    bench.write(urls={"silent": "http://127.0.0.1:1"})
    done = await bench.run("drain", "--version", "v1", "--yes")
    assert done.code == 0
    assert "silent  was not heard" in done.err
    assert worker.asked == ["drain"]


async def test_a_file_that_became_read_only_after_the_confirmation_is_a_refusal(bench, monkeypatch, capsys):
    worker = await bench.add("a-1")
    await bench.add("a-2")
    monkeypatch.setattr(LiveFleet, "read_only", property(lambda _live: True))
    arguments = ["drain", "a-1", "--yes", "--fleet", str(bench.file)]
    assert await asyncio.to_thread(cli.main, arguments) == 6
    assert "nothing is asked of any worker" in capsys.readouterr().err
    assert worker.asked == []


# ---------------------------------------------------------------------------------------------- on a terminal


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 6), ("\n", 6), ("\x04", 6)])
async def test_a_terminal_is_asked(bench, terminal, answer, code):
    worker = await bench.add("a-1", calls=4)
    await bench.add("a-2")
    running = await bench.start("drain", "a-1", stdin=terminal.theirs, stderr=terminal.theirs)
    await terminal.until("Drain? [y/N] ")
    assert b"Drain a-1?" in terminal.seen
    assert b"4 calls live" in terminal.seen
    terminal.type(answer)
    assert (await running.done()).code == code
    assert worker.asked == (["drain"] if code == 0 else [])


@pytest.mark.parametrize(("answer", "code"), [("LAST\n", 0), ("last\n", 6), ("y\n", 6)])
async def test_the_last_worker_is_taken_away_only_for_the_word(bench, terminal, answer, code):
    worker = await bench.add("a-1")
    running = await bench.start("drain", "a-1", "--yes", stdin=terminal.theirs, stderr=terminal.theirs)
    await terminal.until("Type LAST to drain: ")
    terminal.type(answer)
    assert (await running.done()).code == code
    assert worker.asked == (["drain"] if code == 0 else [])


async def test_several_want_their_number(bench, terminal):
    for name in ("a-1", "a-2", "spare"):
        await bench.add(name)
    running = await bench.start("cordon", "a-1", "a-2", stdin=terminal.theirs, stderr=terminal.theirs)
    await terminal.until("Type 2 to cordon: ")
    terminal.type("2\n")
    assert (await running.done()).code == 0


async def test_a_worker_that_changed_while_the_question_stood_is_not_drained(bench, terminal):
    """Seen by the command or, if that has not heard of it yet, by the worker: both know the confirmed state."""
    worker = await bench.add("a-1")
    await bench.add("a-2")
    running = await bench.start("drain", "a-1", stdin=terminal.theirs, stderr=terminal.theirs)
    await terminal.until("[y/N] ")
    worker.target.change(state=State.CORDONED, accepting=False)
    terminal.type("y\n")
    assert (await running.done()).code == 6
    assert worker.asked == []


async def test_a_question_can_be_left_with_an_interrupt(bench, terminal):
    worker = await bench.add("a-1")
    await bench.add("a-2")
    running = await bench.start("drain", "a-1", stdin=terminal.theirs, stderr=terminal.theirs)
    await terminal.until("[y/N] ")
    running.interrupt()
    assert (await running.done()).code == 130
    assert worker.asked == []
