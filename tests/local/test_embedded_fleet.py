"""``python -m openrtc_worker.local``: real workers of two versions with calls, and nothing left when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from livekit import api

from openrtc_tui.fleet_file import load_fleet_file
from openrtc_tui.operations.platforms.local import LocalPlatform
from openrtc_worker.contract.membership import FleetVerifier
from openrtc_worker.contract.snapshot import decode_snapshot
from tests.support.processes import Program, clean_env, members_of_group, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_tui.fleet_file import FleetFile
    from openrtc_worker.contract.snapshot import RuntimeSnapshot


def start_fleet(directory: Path, *arguments: str, **env: str) -> Program:
    return Program.python(
        "openrtc_worker.local",
        *("--workers", "1", *arguments),
        name="fleet",
        directory=directory,
        env=clean_env(**env),
    )


def groups_of(fleet: Program) -> list[int]:
    return [event["pid"] for event in fleet.events(event="worker", state="starting")]


async def nothing_left(fleet: Program) -> None:
    await until(lambda: not any(map(members_of_group, groups_of(fleet))), what="the workers' groups to be empty")
    assert members_of_group(fleet.process.pid) == []


async def ask(directory: Path, path: str) -> list[dict]:
    """What the dispatcher's side door answers, with the keys that the fleet wrote down."""
    lines = (directory / "livekit.env").read_text().split()
    livekit = dict(line.split("=", 1) for line in lines)
    token = api.AccessToken(livekit["LIVEKIT_API_KEY"], livekit["LIVEKIT_API_SECRET"])
    token = token.with_grants(api.VideoGrants(room_admin=True)).to_jwt()
    url = livekit["LIVEKIT_URL"].replace("ws:", "http:") + path
    async with aiohttp.ClientSession() as http, http.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
        return await answer.json()


async def a_call_is_answered(directory: Path) -> None:
    async with asyncio.timeout(30):
        while True:
            calls = await ask(directory, "/calls")
            versions = {offer["attributes"].get("openrtc.version") for call in calls for offer in call["offers"]}
            if versions & {"v1.0.0", "v2.0.0"}:
                return
            await asyncio.sleep(0.2)


async def test_two_versions_take_calls_and_all_is_gone_when_stdin_closes(tmp_path):
    directory = tmp_path / "run"
    fleet = start_fleet(tmp_path, "--isolation", "thread", "--seed", "5", "--dir", str(directory))
    try:
        [opened] = await fleet.has(event="fleet", within=20)
        assert opened["media"] is False
        file = load_fleet_file(opened["fleet_file"])
        assert [worker.key for worker in file.workers] == ["voice-a-1"], "a worker is listed when it is started"
        assert fleet.events(event="worker", state="serving") == [], "the file is there before the workers are"
        await fleet.has(event="ready", within=90)
        assert [worker.key for worker in load_fleet_file(opened["fleet_file"]).workers] == ["voice-a-1", "voice-b-1"]
        serving = fleet.events(event="worker", state="serving")
        assert [(each["name"], each["version"]) for each in serving] == [
            ("voice-a-1", "v1.0.0"),
            ("voice-b-1", "v2.0.0"),
        ]
        await a_call_is_answered(directory)
        assert fleet.process.stdin is not None
        fleet.process.stdin.close()
        assert await fleet.exit_code() == 0
        *_, stopping, stopped = [each for each in fleet.events() if each["event"] != "worker"]
        assert (stopping["event"], stopping["reason"]) == ("stopping", "stdin closed")
        assert (stopped["event"], stopped) == ("stopped", fleet.events()[-1])
        assert stopped["calls_ended"] >= 1
        assert stopped["seconds"] - stopping["seconds"] < 5
        await nothing_left(fleet)
        assert (directory / "logs" / "voice-a-1.log").exists()
    finally:
        fleet.kill()


async def test_a_fleet_that_is_killed_takes_its_workers_and_their_job_processes_with_it(tmp_path):
    fleet = start_fleet(tmp_path, "--dir", str(tmp_path / "run"))
    try:
        await fleet.has(event="worker", state="serving", within=60)
        [group] = groups_of(fleet)
        assert len(members_of_group(group)) > 2, "the worker, livekit's fork server, and job processes"
        os.kill(fleet.process.pid, signal.SIGKILL)
        await nothing_left(fleet)
    finally:
        fleet.kill()


async def test_sigterm_during_the_start_ends_it_and_removes_its_folder(tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    fleet = start_fleet(tmp_path, TMPDIR=str(temporary))
    try:
        await fleet.has(event="worker", state="starting", within=30)
        assert len(list(temporary.iterdir())) == 1
        fleet.signal(signal.SIGTERM)
        assert await fleet.exit_code() == 0
        assert fleet.events()[-1]["event"] == "stopped"
        assert fleet.events()[-1]["calls_ended"] == 0
        assert list(temporary.iterdir()) == []
        await nothing_left(fleet)
    finally:
        fleet.kill()


async def test_a_folder_that_cannot_be_used_is_told_in_one_line(tmp_path):
    directory = tmp_path / "run"
    (directory / "operators").mkdir(parents=True)
    fleet = start_fleet(tmp_path, "--dir", str(directory))
    try:
        assert await fleet.exit_code() == 1
        assert fleet.events()[-1]["event"] == "failed"
        assert "operators" in fleet.events()[-1]["message"]
    finally:
        fleet.kill()


async def test_a_version_that_is_gone_is_brought_up_again_where_it_was(tmp_path):
    """What a rollback asks of its platform, when no worker of the good version runs any more, or all drain."""
    directory = Path(tempfile.mkdtemp(prefix="or-"))  # short: the fleet's socket lives in it
    fleet = start_fleet(tmp_path, "--isolation", "thread", "--dir", str(directory))
    try:
        await fleet.has(event="ready", within=90)
        platform = LocalPlatform(directory / "platform.sock")
        [first] = fleet.events(event="worker", state="starting", name="voice-a-1")
        assert not (await platform.roll_back("v1.0.0", token="", op_id="op-0", reason=None)).changed
        os.kill(first["pid"], signal.SIGKILL)  # its calls are long: a drain would take minutes
        await fleet.has(event="worker", state="exited", name="voice-a-1", within=90)
        assert "v1.0.0: 0 of 1 workers run" in (await platform.describe("v1.0.0")).detail
        assert (await platform.roll_back("v1.0.0", token="", op_id="op-1", reason=None)).detail == (
            "voice-a-1 being started"
        )
        [_, again] = await fleet.has(2, event="worker", state="starting", name="voice-a-1")
        assert again["pid"] != first["pid"]
        file = load_fleet_file(directory / "fleet.yaml")
        url = next(worker.url for worker in file.workers if worker.key == "voice-a-1")
        master = file.membership.masters[0].file.read_text()
        async with aiohttp.ClientSession() as http:
            snapshot = await served(http, url)
        assert (snapshot.deployment_version, snapshot.fleet) == ("v1.0.0", "demo")
        claim = snapshot.membership
        FleetVerifier(masters=[master]).verify(
            token=claim.token, version="v1.0.0", worker_id="voice-a-1", timestamp=claim.timestamp
        )

        await drains(file, "voice-a-1", pid=again["pid"])
        asked = await platform.roll_back("v1.0.0", token="", op_id="op-2", reason=None)
        assert (asked.changed, asked.detail) == (True, "1 is started again when its drain has ended")
        with contextlib.suppress(ProcessLookupError):
            os.kill(again["pid"], signal.SIGKILL)  # the end of the drain, hastened: calls may last for minutes
        [*_, third] = await fleet.has(3, event="worker", state="starting", name="voice-a-1")
        assert third["pid"] not in {first["pid"], again["pid"]}
        os.kill(third["pid"], signal.SIGKILL)
        await fleet.has(3, event="worker", state="exited", name="voice-a-1")

        [other] = fleet.events(event="worker", state="starting", name="voice-b-1")
        await drains(file, "voice-b-1", pid=other["pid"])
        await platform.roll_back("v2.0.0", token="", op_id="op-3", reason=None)
        assert fleet.process.stdin is not None
        fleet.process.stdin.close()
        assert await fleet.exit_code() == 0
        starts = [event["name"] for event in fleet.events(event="worker", state="starting")]
        assert starts.count("voice-b-1") == 1, "a fleet that stops starts nobody"
        assert starts.count("voice-a-1") == 3, "one answer, one start"
    finally:
        fleet.kill()
        await nothing_left(fleet)
        shutil.rmtree(directory, ignore_errors=True)


async def drains(file: FleetFile, name: str, *, pid: int) -> None:
    """A worker that serves is told to end, and says that it drains."""
    url = next(worker.url for worker in file.workers if worker.key == name)
    async with aiohttp.ClientSession() as http:
        await served(http, url, lambda snapshot: snapshot.state == "serving")
        os.kill(pid, signal.SIGTERM)
        await served(http, url, lambda snapshot: snapshot.draining)


async def served(
    http: aiohttp.ClientSession, url: str, wanted: Callable[[RuntimeSnapshot], bool] = lambda _: True
) -> RuntimeSnapshot:
    """The snapshot of a worker that may still be being started, once it answers and is as *wanted*."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"{url}/v1/snapshot") as answer:
                    snapshot = decode_snapshot(await answer.read())
                    if wanted(snapshot):
                        return snapshot
            await asyncio.sleep(0.1)
