"""The embedded fleet as a platform, through its real socket."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from openrtc_tui.operations.platforms.local import LocalPlatform
from openrtc_tui.operations.platforms.platform import PlatformError
from openrtc_worker.local.platform_door import Begun, PlatformDoor


class FakeFleet:
    """The embedded fleet, without processes: one worker of v1 runs of two; those in *draining* drain."""

    def __init__(self, error: Exception | None = None, draining: tuple[str, ...] = ()) -> None:
        self.started: list[str] = []
        self._draining = draining
        self._error = error

    def versions(self) -> dict[str, dict[str, int]]:
        return {"v1.0.0": {"workers": 2, "running": 1 + len(self.started)}}

    async def start_version(self, version: str) -> Begun:
        if self._error is not None:
            raise self._error
        if version != "v1.0.0":
            raise KeyError(version)
        await asyncio.sleep(0.01)
        new = [] if self.started else ["voice-a-2"]
        self.started += new
        return Begun(started=tuple(new), again=self._draining)


@asynccontextmanager
async def platform_on(fleet: FakeFleet, folder):
    door = PlatformDoor(fleet, folder / "platform.sock")
    await door.start()
    try:
        yield LocalPlatform(folder / "platform.sock")
    finally:
        await door.stop()


async def start(platform, version="v1.0.0", op_id="op-1"):
    return await platform.roll_back(version, token="", op_id=op_id, reason=None)


async def test_it_tells_what_there_is_and_starts_what_does_not_run(tmp_path):
    async with platform_on(FakeFleet(), tmp_path) as platform:
        description = await platform.describe("v1.0.0")
        assert description.known == ("v1.0.0",)
        assert description.detail == ("v1.0.0: 1 of 2 workers run",)
        assert await platform.preflight("v1.0.0", description) == ()
        assert (await start(platform)).detail == "voice-a-2 being started"
        assert [pods async for pods in platform.watch()] == []


async def test_one_operation_starts_once_however_often_it_is_asked(tmp_path):
    fleet = FakeFleet()
    async with platform_on(fleet, tmp_path) as platform:
        asked = await asyncio.gather(*(start(platform) for _ in range(5)))
        assert {each.detail for each in asked} == {"voice-a-2 being started"}
        assert fleet.started == ["voice-a-2"]
        other = await start(platform, op_id="op-2")
        assert (other.changed, other.detail) == (False, "every worker of v1.0.0 runs already")


@pytest.mark.parametrize(
    ("draining", "told"),
    [
        (("voice-a-1",), "1 is started again when its drain has ended"),
        (("voice-a-1", "voice-a-3"), "2 are started again when their drain has ended"),
    ],
)
async def test_workers_that_drain_do_not_count_as_up_and_the_answer_says_when_they_come_back(
    tmp_path, draining, told
):
    async with platform_on(FakeFleet(draining=draining), tmp_path) as platform:
        first = await start(platform)
        assert (first.changed, first.detail) == (True, f"voice-a-2 being started; {told}")
        other = await start(platform, op_id="op-2")
        assert (other.changed, other.detail) == (True, told)


async def test_a_version_that_it_does_not_have_is_refused(tmp_path):
    async with platform_on(FakeFleet(), tmp_path) as platform:
        [objection] = await platform.preflight("v9", await platform.describe("v9"))
        assert objection.blocks
        with pytest.raises(PlatformError, match=r"no version 'v9' here; there are v1\.0\.0") as caught:
            await start(platform, "v9")
        assert caught.value.happened is False


async def test_a_fleet_that_cannot_start_says_why(tmp_path):
    async with platform_on(FakeFleet(RuntimeError("it is being stopped")), tmp_path) as platform:
        with pytest.raises(PlatformError, match="it is being stopped"):
            await start(platform)


async def test_a_fleet_that_is_gone_did_nothing(tmp_path):
    with pytest.raises(PlatformError, match="cannot be asked") as caught:
        await start(LocalPlatform(tmp_path / "platform.sock"))
    assert caught.value.happened is False


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"[1]\n"])
async def test_an_answer_that_makes_no_sense_leaves_open_what_was_done(tmp_path, answer):
    async def serve(reader, writer):
        await reader.readline()
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "platform.sock")
    async with server:
        with pytest.raises(PlatformError) as caught:
            await start(LocalPlatform(tmp_path / "platform.sock"))
        assert caught.value.happened is None


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b'{"do": "start"}\n', b'{"do": "stop"}\n', b"[]\n", b"[" * 9_000 + b"\n"]
)
async def test_nonsense_is_answered_and_the_door_stays_open(tmp_path, line):
    async with platform_on(FakeFleet(), tmp_path) as platform:
        assert b'"error"' in await said(tmp_path, line)
        assert (await platform.describe("v1.0.0")).known == ("v1.0.0",)


async def test_a_line_without_an_end_is_hung_up_on_and_the_door_stays_open(tmp_path):
    async with platform_on(FakeFleet(), tmp_path) as platform:
        assert await said(tmp_path, b"x" * 20_000) == b""
        assert (await platform.describe("v1.0.0")).known == ("v1.0.0",)


async def said(folder, line: bytes) -> bytes:
    """What the door answers to *line*."""
    reader, writer = await asyncio.open_unix_connection(folder / "platform.sock")
    writer.write(line)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_the_socket_is_its_owners_alone(tmp_path):
    async with platform_on(FakeFleet(), tmp_path):
        assert (tmp_path / "platform.sock").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "platform.sock").exists()
