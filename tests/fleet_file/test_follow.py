"""The fleet file followed on a real file system, edited in every way that editors and people know."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from openrtc_tui.discovery.static import Edited, access_of, follow, targets_of
from openrtc_tui.fleet_file import FleetFileError, load_fleet_file, parse_fleet_file
from openrtc_tui.http import Access
from openrtc_tui.state.observation import Target
from openrtc_worker.contract.keys import generate_operator_key

PATIENCE = 20
"""Seconds that a test waits for what must come; it comes within half of one."""


def text(*workers: str, more: str = "") -> str:
    return f"fleet: x\nworkers: [{', '.join(workers)}]\n{more}"


async def hurried(seconds: float) -> None:
    """Each edit below is whole at once, so the time that a file must stay as it is may be short."""
    await asyncio.sleep(seconds / 10)


class Told:
    """What the follower said, in order, and how to wait for the next word."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Edited | FleetFileError] = asyncio.Queue()

    async def edited(self) -> Edited:
        said = await asyncio.wait_for(self.queue.get(), PATIENCE)
        assert isinstance(said, Edited), said
        return said

    async def keys(self) -> list[str]:
        return [worker.key for worker in (await self.edited()).fleet.workers]

    async def error(self) -> str:
        said = await asyncio.wait_for(self.queue.get(), PATIENCE)
        assert isinstance(said, FleetFileError), said
        return str(said)


@asynccontextmanager
async def following(path: Path, sleep=hurried):
    told = Told()
    task = asyncio.create_task(
        follow(load_fleet_file(path), on_change=told.queue.put_nowait, on_error=told.queue.put_nowait, sleep=sleep)
    )
    try:
        yield told
        assert told.queue.empty(), told.queue.get_nowait()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text(text("http://a:1"))
    return path


def replace_atomically(path: Path, content: str) -> None:
    """As editors save: a new file takes the old one's name."""
    other = path.with_name(".fleet.yaml.swp")
    other.write_text(content)
    other.replace(path)


async def test_a_valid_change_is_taken_over(path):
    async with following(path) as told:
        path.write_text(text("http://a:1", "http://b:1", more="refresh: 2s\n"))
        edited = await told.edited()
        assert [worker.key for worker in edited.fleet.workers] == ["a:1", "b:1"]
        assert (edited.fleet.refresh, edited.restart_to_apply) == (2.0, ())


async def test_a_replaced_file_is_followed_again_and_again(path):
    async with following(path) as told:
        for name in "bcd":
            replace_atomically(path, text(f"http://{name}:1"))
            assert await told.keys() == [f"{name}:1"]


async def test_an_invalid_change_is_told_once_and_the_repair_is_told_too(path):
    async with following(path) as told:
        path.write_text(text("http://a:1", more="refresh: never\n"))
        assert "refresh" in await told.error()
        path.write_text(text("http://a:1", more="# try again\nrefresh: never\n"))
        assert ":4: refresh" in await told.error()  # another line is another problem
        path.write_text(text("http://a:1"))
        assert await told.keys() == ["a:1"]


async def test_a_deleted_file_is_told_and_its_return_too(path):
    async with following(path) as told:
        path.unlink()
        assert "cannot be read" in await told.error()
        path.write_text(text("http://b:1"))
        assert await told.keys() == ["b:1"]


async def test_a_file_that_is_written_piece_by_piece_is_read_when_it_is_whole(path):
    """Half of a YAML file is often valid, with half of the workers."""
    whole = "fleet: x\nworkers:\n" + "".join(f"  - http://w{number}:1\n" for number in range(20))
    pieces = [whole[start : start + 40] for start in range(0, len(whole), 40)]

    async def one_piece_later(_seconds: float) -> None:
        if pieces:
            with path.open("a") as file:
                file.write(pieces.pop(0))

    async with following(path, sleep=one_piece_later) as told:
        path.write_text("")
        assert len(await told.keys()) == 20


async def test_a_change_before_following_began_is_not_missed(path):
    first = load_fleet_file(path)
    path.write_text(text("http://b:1"))
    told = Told()
    task = asyncio.create_task(follow(first, on_change=told.queue.put_nowait, on_error=told.queue.put_nowait))
    assert await told.keys() == ["b:1"]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_comments_and_spaces_are_no_change(path):
    async with following(path) as told:
        path.write_text("# a comment\n\n" + text("http://a:1"))
        await asyncio.sleep(0.5)  # nothing may come; what follows proves that it was being watched
        path.write_text(text("http://b:1"))
        assert await told.keys() == ["b:1"]


async def test_a_link_that_is_pointed_elsewhere_is_a_change(tmp_path):
    """Kubernetes swaps a mounted ConfigMap by moving a link of the folder above."""
    for number in "12":
        (tmp_path / number).mkdir()
        (tmp_path / number / "fleet.yaml").write_text(text(f"http://w{number}:1"))
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "fleet.yaml").symlink_to("..data/fleet.yaml")
    async with following(tmp_path / "fleet.yaml") as told:
        (tmp_path / "..tmp").symlink_to("2")
        (tmp_path / "..tmp").replace(tmp_path / "..data")
        assert await told.keys() == ["w2:1"]


async def test_a_folder_that_vanishes_and_returns_is_found_again(path, tmp_path):
    folder = tmp_path / "conf"
    folder.mkdir()
    moved = folder / "fleet.yaml"
    moved.write_text(path.read_text())
    async with following(moved) as told:
        moved.unlink()
        folder.rmdir()
        assert "cannot be read" in await told.error()
        folder.mkdir()
        moved.write_text(text("http://b:1"))
        assert await told.keys() == ["b:1"]


async def test_a_cause_outside_the_file_is_seen_to_be_repaired(path, tmp_path):
    token = tmp_path / "token"
    async with following(path) as told:
        path.write_text(text("http://a:1", more="read_token_file: token\n"))
        assert "read_token_file" in await told.error()
        token.write_text("x")
        token.chmod(0o600)
        assert (await told.edited()).restart_to_apply == ("read_token_file",)


async def test_keys_and_certificates_wait_for_a_restart(tmp_path):
    for name in ("alice", "bob"):
        generate_operator_key(name, tmp_path)
    for name in ("a.pem", "b.pem"):
        (tmp_path / name).write_text("a certificate")
    path = tmp_path / "fleet.yaml"
    operator = "operator: {{name: {0}, key_file: {0}.pem}}\n"
    worker = "{{name: w, url: https://w:1, tls: {{ca: {0}}}}}"
    path.write_text(text(worker.format("a.pem"), more=operator.format("alice")))
    async with following(path) as told:
        path.write_text(
            text(worker.format("b.pem"), "http://v:1", more=operator.format("bob") + "tls: {ca: a.pem}\n")
        )
        edited = await told.edited()
        assert edited.restart_to_apply == ("operator", "tls", "tls of w")
        assert edited.fleet.operator
        assert (edited.fleet.operator.name, edited.fleet.tls) == ("alice", None)
        assert edited.fleet.workers[0].tls
        assert edited.fleet.workers[0].tls.ca == tmp_path / "a.pem"
        assert edited.fleet.workers[1].key == "v:1"  # the rest of the change holds at once


async def test_who_belongs_what_is_released_and_who_rolls_back_wait_for_a_restart(tmp_path):
    for name in ("one", "two"):
        generate_operator_key(name, tmp_path)
        (tmp_path / f"{name}.master").write_text(name)
        (tmp_path / f"{name}.master").chmod(0o600)
    more = (
        "membership: {{masters: [{{file: {0}.master}}]}}\nmanifest: {{key_file: {0}.pem}}\n"
        "rollback: {{exec: [./{0}.sh]}}\ndrain: {{wave: {1}}}\n"
    )
    path = tmp_path / "fleet.yaml"
    path.write_text(text("http://a:1", more=more.format("one", 2)))
    async with following(path) as told:
        before = load_fleet_file(path)
        path.write_text(text("http://a:1", more=more.format("two", 7)))
        edited = await told.edited()
    assert edited.restart_to_apply == ("membership", "manifest", "rollback")
    now = edited.fleet
    assert (now.membership, now.manifest, now.rollback) == (before.membership, before.manifest, before.rollback)
    assert now.drain_wave == 7


async def test_read_only_holds_at_once_and_ends_with_a_restart(path):
    async with following(path) as told:
        path.write_text(text("http://a:1", more="read_only: true\n"))
        edited = await told.edited()
        assert (edited.fleet.read_only, edited.restart_to_apply) == (True, ())
        path.write_text(text("http://a:1"))
        edited = await told.edited()
        assert (edited.fleet.read_only, edited.restart_to_apply) == (True, ("read_only",))


# ------------------------------------------------------------------------------------------- targets and access


def test_targets_are_the_workers_in_the_files_order():
    fleet = parse_fleet_file(text("{name: b, url: http://b, region: eu}", "http://a:1"), "f")
    assert targets_of(fleet) == (Target("b", "http://b:80", "eu"), Target("a:1", "http://a:1"))


def test_a_worker_is_reached_with_its_own_certificates_else_the_fleets():
    fleet = parse_fleet_file(
        text(
            "{name: b, url: https://b, tls: {ca: b.pem}}", "https://a", more="tls: {ca: a.pem}\nread_token_env: T\n"
        ),
        "f",
    )
    access = access_of(fleet, {"T": " secret\n"})
    assert access("b") == Access(ca=Path("b.pem"), read_token="secret")
    assert access("a:443") == access("anything") == Access(ca=Path("a.pem"), read_token="secret")


@pytest.mark.parametrize("token", ["", "  ", "two words", "ümlaut", "x" * 5000, "a\x1bb"])
def test_what_is_no_token_is_refused_and_not_repeated(token, tmp_path):
    (tmp_path / "token").write_text(token)
    fleet = parse_fleet_file(text(more="read_token_file: token\n"), tmp_path / "f")
    with pytest.raises(FleetFileError, match="no read token") as caught:
        access_of(fleet, {})
    assert not token.strip() or token.strip() not in str(caught.value)


def test_a_token_file_that_cannot_be_read_is_told(tmp_path):
    fleet = parse_fleet_file(text(more="read_token_file: token\n"), tmp_path / "f")
    with pytest.raises(FleetFileError, match="cannot be read"):
        access_of(fleet, {})
