"""``openrtc-tui wait`` as a process, against real endpoints."""

from __future__ import annotations

from openrtc_worker.contract.snapshot import State


async def test_it_ends_when_a_worker_of_the_version_accepts(bench):
    worker = await bench.add("b-1", "v2")
    worker.target.change(state=State.STARTING, accepting=False)
    running = await bench.start("wait", "--version", "v2")
    while worker.target.snapshots_taken < 2:
        await bench.pause()
    worker.target.change(state=State.SERVING, accepting=True)
    done = await running.done()
    assert (done.code, done.out) == (0, "v2 takes calls on b-1\n")


async def test_nobody_who_accepts_in_time_is_exit_3(bench):
    worker = await bench.add("b-1", "v2")
    worker.target.change(state=State.CORDONED, accepting=False)
    done = await bench.run("wait", "--version", "v2", "--timeout", "100ms")
    assert (done.code, done.out) == (3, "")
    assert "b-1 cordoned" in done.err


async def test_a_worker_that_the_file_gains_meanwhile_counts(bench):
    await bench.add("a-1", "v1")
    running = await bench.start("wait", "--version", "v2")
    while not bench.workers["a-1"].target.snapshots_taken:
        await bench.pause()
    await bench.add("b-1", "v2")
    assert (await running.done()).code == 0


async def test_drained_is_proven_when_the_last_of_the_version_is(bench):
    first, second = await bench.add("a-1", "v1", calls=1), await bench.add("a-2", "v1", calls=2)
    await bench.add("b-1", "v2", calls=9)
    running = await bench.start("wait", "--version", "v1", "--drained")
    for worker in (first, second):
        while "call" not in await running.line():
            pass
        worker.target.change(state=State.DRAINING, draining=True, accepting=False)
    await first.exit()
    while "a-1  exited" not in await running.line():
        pass
    await second.exit()
    done = await running.done()
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "dropped 0 PROVEN"


async def test_drained_without_a_rollout_is_about_the_boots_of_that_version(bench):
    worker = await bench.add("a-1", "v1", calls=1)
    running = await bench.start("wait", "--version", "v1", "--drained")
    await running.line()
    worker.target.change(state=State.DRAINING, draining=True, accepting=False)
    await worker.exit(lost=1)
    done = await running.done()
    assert (done.code, done.out.splitlines()[-1]) == (4, "dropped 1 VIOLATED")


async def test_drained_with_dropped_calls_is_exit_4_and_says_where(bench):
    worker = await bench.add("a-1", "v1", calls=2)
    await bench.add("b-1", "v2")
    bench.write("rollout: {from: v1, to: v2}\n")
    running = await bench.start("wait", "--version", "v1", "--drained")
    await running.line()
    worker.target.change(state=State.DRAINING, draining=True, accepting=False)
    await worker.exit(cut=1, crashed=1)
    done = await running.done()
    assert done.code == 4
    assert done.out.splitlines()[-1].startswith("dropped 2 VIOLATED")
    assert "on a-1" in done.out.splitlines()[-1]


async def test_drained_of_a_worker_that_vanished_is_exit_5(bench):
    worker = await bench.add("a-1", "v1", calls=2)
    await bench.add("b-1", "v2")
    running = await bench.start("wait", "--version", "v1", "--drained")
    await running.line()
    worker.be_killed()
    done = await running.done()
    assert done.code == 5
    assert "dropped 0–2+ UNPROVEN" in done.out


async def test_drained_that_takes_too_long_is_exit_3_with_the_calls_that_are_live(bench):
    await bench.add("a-1", "v1", calls=2)
    done = await bench.run("wait", "--version", "v1", "--drained", "--timeout", "300ms")
    assert done.code == 3
    assert "2 calls live" in done.err


async def test_a_version_that_nobody_runs_is_not_taken_for_a_proof(bench):
    await bench.add("a-1", "v1")
    done = await bench.run("wait", "--version", "v9", "--drained")
    assert (done.code, done.out) == (5, "")
    assert "no worker of v9 was heard" in done.err


async def test_no_operators_key_is_needed_to_wait(bench):
    await bench.add("a-1", "v1")
    (bench.folder / "alice.pem").unlink()
    assert (await bench.run("wait", "--version", "v1")).code == 0
