"""``promote``, ``rollback``, ``drain --wave`` and ``resume`` as processes, on real workers that obey manifests."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.commands.conftest import PATIENCE, Done, Running
from tests.steering.steered_fleet import SteeredFleet
from tests.support.processes import clean_env, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

OLD, NEW = "v1", "v2"


class Shop:
    """A fleet of one worker of each version, and the command line beside it."""

    def __init__(self, fleet: SteeredFleet) -> None:
        self.fleet = fleet
        self._running: list[Running] = []

    async def start(self, *arguments: str) -> Running:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "openrtc_tui", *arguments, "-f", str(self.fleet.file)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_env(COLUMNS="120"),
            process_group=0,
        )
        running = Running(process)
        self._running.append(running)
        return running

    async def run(self, *arguments: str) -> Done:
        return await (await self.start(*arguments)).done()

    def end(self) -> None:
        for running in self._running:
            if running.process.returncode is None:
                os.killpg(running.process.pid, signal.SIGKILL)


async def told(running: Running, wanted: Callable[[str], bool]) -> None:
    """Read what a command says of its progress until a line is *wanted*."""
    assert running.process.stderr is not None
    while not wanted((await asyncio.wait_for(running.process.stderr.readline(), PATIENCE)).decode()):
        pass


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    fleet = SteeredFleet(tmp_path)
    await fleet.board.open()
    made = Shop(fleet)
    await fleet.start({"a-1": OLD, "b-1": NEW})
    yield made
    made.end()
    await fleet.board.close()


async def test_a_promotion_and_the_way_back_with_proof(shop: Shop) -> None:
    """What would be done is printed first and changes nothing; a rollback that is proven ends with 7."""
    looked = await shop.run("promote", NEW, "--plan")
    assert (looked.code, looked.err) == (0, "")
    assert "1. publish a manifest: v2 may take new calls" in looked.out

    unasked = await shop.run("promote", NEW)
    assert unasked.code == 6
    assert "--yes" in unasked.err

    promoted = await shop.run("promote", NEW, "--yes", "--reason", "rollout 214")
    assert promoted.code == 0, promoted.err
    assert promoted.out == "v2 takes the calls (manifest 1)\n", "nothing was published by what came before"
    assert "step 1 of 2" in promoted.err
    call = await shop.fleet.board.held("talk-1")
    assert call.attributes["openrtc.version"] == NEW

    shop.fleet.board.hang_up(call)
    back = await shop.run("rollback", "--yes")
    assert (back.code, back.out) == (7, "rolled back to v1: dropped 0 PROVEN\n"), back.err
    assert "done      " in back.err


async def test_a_rollback_that_times_out_is_resumed_or_given_up(shop: Shop) -> None:
    assert (await shop.run("promote", NEW, "--yes")).code == 0
    call = await shop.fleet.board.held("talk-1")
    stopped = await shop.run("rollback", "--yes", "--timeout", "6s")
    assert stopped.code == 3, stopped.err
    assert "openrtc-tui resume" in stopped.err

    again = await shop.run("rollback", "--plan")
    assert "interrupted, and neither resumed nor given up: Roll back from v2 to v1" in again.err

    looked = await shop.run("resume", "--plan")
    assert looked.code == 0
    assert "Roll back from v2 to v1" in looked.err
    assert "not done" in looked.err

    resumed = await shop.start("resume", "--yes")
    await told(resumed, lambda line: "step 3 of 4" in line and "not heard" not in line)
    shop.fleet.board.hang_up(call)
    done = await resumed.done()
    assert (done.code, done.out) == (7, "rolled back to v1: dropped 0 PROVEN\n"), done.err

    nothing = await shop.run("resume", "--yes")
    assert nothing.code == 1
    assert "no plan is interrupted" in nothing.err


async def test_a_command_that_is_interrupted_leaves_a_plan_that_can_be_given_up(shop: Shop) -> None:
    assert (await shop.run("promote", NEW, "--yes")).code == 0
    call = await shop.fleet.board.held("talk-1")
    running = await shop.start("rollback", "--yes")
    await told(running, lambda line: "step 3 of 4" in line)
    running.interrupt()
    assert (await running.done()).code == 130
    given_up = await shop.run("resume", "--give-up", "--yes")
    assert given_up.code == 0, given_up.err
    assert "what was done stays done" in given_up.out
    assert (await shop.run("resume", "--yes")).code == 1
    shop.fleet.board.hang_up(call)


async def test_a_drain_in_waves_ends_with_its_proof(shop: Shop) -> None:
    assert (await shop.run("promote", NEW, "--yes")).code == 0
    done = await shop.run("drain", "--version", OLD, "--wave", "1", "--yes")
    assert (done.code, done.out) == (0, "Drain v1: dropped 0 PROVEN\n"), done.err
    await until(lambda: not shop.fleet.workers["a-1"].program.running, within=PATIENCE, what="the end of a-1")


async def test_yes_never_overrides_what_has_to_be_typed(shop: Shop) -> None:
    """Nobody is ready to take the calls of v3: that needs its own word, and nothing is published without it."""
    refused = await shop.run("promote", "v3", "--yes")
    assert refused.code == 6
    assert "--override " in refused.err
    word = refused.err.split("--override ")[1].split()[0]
    looked = await shop.run("promote", "v3", "--plan")
    assert f"needs {word}" in looked.out
