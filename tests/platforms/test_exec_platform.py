"""A program as a platform: no shell, a time limit, its output shown, and an honest word about what it came to."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from openrtc_tui.operations.platforms.exec import ExecPlatform
from openrtc_tui.operations.platforms.platform import PlatformError
from tests.support.processes import until

if TYPE_CHECKING:
    from pathlib import Path


def script(folder: Path, text: str) -> str:
    path = folder / "rollback.py"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return "./rollback.py"


async def ask(platform: ExecPlatform, version: str = "v1.0.0", reason: str | None = "v2 loses callers"):
    return await platform.roll_back(version, token="", op_id="op-1", reason=reason)


async def test_the_placeholders_are_filled_in_and_no_shell_looks_at_them(tmp_path):
    program = script(tmp_path, "import sys; print(sys.argv[1:])")
    platform = ExecPlatform([program, "{to}", "--id={op_id}", "{reason}", "{other} {to"], folder=tmp_path)
    asked = await ask(platform, reason="$(touch pwned); {to} `id` 'quoted'")
    assert asked.detail == str(["v1.0.0", "--id=op-1", "$(touch pwned); {to} `id` 'quoted'", "{other} {to"])
    assert not (tmp_path / "pwned").exists()


async def test_the_environment_names_the_operation_too(tmp_path):
    program = script(tmp_path, "import os; print(*(os.environ['OPENRTC_' + n] for n in ('TO', 'OP_ID', 'REASON')))")
    assert (await ask(ExecPlatform([program], folder=tmp_path))).detail == "v1.0.0 op-1 v2 loses callers"


async def test_each_line_is_heard_as_it_comes_and_the_last_ones_are_the_detail(tmp_path):
    heard: list[str] = []
    program = script(tmp_path, "for n in range(6): print('line', n)\nprint('no newline \\x1b[31m', end='')")
    asked = await ask(ExecPlatform([program], folder=tmp_path, on_output=heard.append))
    assert heard == [*(f"line {n}" for n in range(6)), "no newline [31m"]
    assert asked.detail == "line 4 / line 5 / no newline [31m"


async def test_a_program_that_says_no_leaves_open_what_it_did(tmp_path):
    program = script(tmp_path, "import sys; print('the cluster is gone'); sys.exit(7)")
    with pytest.raises(PlatformError, match="exit code 7: the cluster is gone") as caught:
        await ask(ExecPlatform([program], folder=tmp_path))
    assert caught.value.happened is None


async def test_one_that_is_killed_is_told_as_that(tmp_path):
    program = script(tmp_path, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(PlatformError, match="ended by signal 9"):
        await ask(ExecPlatform([program], folder=tmp_path))


async def test_one_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    program = script(
        tmp_path,
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "time.sleep(600)",
    )
    with pytest.raises(PlatformError, match=r"took more than 2 s") as caught:
        await ask(ExecPlatform([program], folder=tmp_path, timeout=2))
    assert caught.value.happened is None
    child = int((tmp_path / "pid").read_text())
    await until(lambda: not _runs(child), what="the child's end")


async def test_what_it_leaves_behind_with_its_output_open_holds_nobody(tmp_path):
    program = script(
        tmp_path,
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "print('started it')",
    )
    try:
        async with asyncio.timeout(30):
            await ask(ExecPlatform([program], folder=tmp_path))
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)


async def test_endless_output_is_read_and_not_kept(tmp_path):
    program = script(tmp_path, "import sys\nfor n in range(60_000): print('x' * 100)\nprint('end')")
    assert (await ask(ExecPlatform([program], folder=tmp_path))).detail.endswith("end")


@pytest.mark.parametrize("argv", [["./missing.sh"], ["no-such-program-anywhere"], ["./plain.txt"]])
async def test_a_program_that_cannot_be_run_is_refused_before_anything(tmp_path, argv):
    (tmp_path / "plain.txt").write_text("not to be run")
    (tmp_path / "plain.txt").chmod(stat.S_IRUSR)
    platform = ExecPlatform(argv, folder=tmp_path)
    [objection] = await platform.preflight("v1.0.0", await platform.describe("v1.0.0"))
    assert objection.blocks
    with pytest.raises(PlatformError, match="no program") as caught:
        await ask(platform)
    assert caught.value.happened is False


async def test_the_plan_says_what_would_be_run_and_that_nobody_knows_what_it_does(tmp_path):
    platform = ExecPlatform([script(tmp_path, ""), "{to}"], folder=tmp_path)
    description = await platform.describe("v1.0.0")
    assert description.detail == ("would run: ./rollback.py v1.0.0",)
    [objection] = await platform.preflight("v1.0.0", description)
    assert not objection.blocks
    assert [pods async for pods in platform.watch()] == []


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
