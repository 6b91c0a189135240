"""``python -m openrtc_worker.local``: real workers of two versions with calls, and nothing left when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import aiohttp
from livekit import api

from openrtc_tui.fleet_file import load_fleet_file
from tests.support.processes import Program, clean_env, members_of_group, until

if TYPE_CHECKING:
    from pathlib import Path


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
