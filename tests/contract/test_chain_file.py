"""A chained file on a real disk: what counts is durable, what does not leaves no trace, one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from openrtc_worker.contract.chain import (
    ChainError,
    ChainFollower,
    ChainMissing,
    ChainWriter,
    RecordRefused,
    Word,
    read_chain,
    read_entries,
    verify_chain,
)
from openrtc_worker.contract.chain import reader as reader_module
from openrtc_worker.contract.chain import writer as writer_module
from openrtc_worker.contract.chain.line import MAX_LINE_BYTES
from tests.contract.chains import lines_in, record, write_chain
from tests.support.processes import clean_env

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trail" / "audit.jsonl"


@pytest.fixture
def key():
    return Ed25519PrivateKey.generate()


def python(program: str, *arguments: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        cwd=ROOT,
        env=clean_env(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def numbers(path):
    return [each["chain"] for each in read_chain(path)]


def seqs(path):
    """The numbers of the events that a writer was asked for, without what the file tells of itself."""
    return [each["seq"] for each in read_chain(path) if each["event"] != "audit.torn_line"]


# --------------------------------------------------------------------------------------------------- the file


def test_each_record_is_a_line_of_its_own_in_the_order_of_writing(path):
    assert write_chain(path, 3) == [1, 2, 3]
    found = list(read_chain(path))
    assert [each["seq"] for each in found] == [1, 2, 3]
    assert found[0]["actor"] == "alice"
    assert [each["prev"] for each in found[1:]] == [each["hash"] for each in found[:-1]]
    assert verify_chain(path).is_ok


def test_a_chain_goes_on_where_the_writer_before_left_it(path):
    write_chain(path, 2)
    assert write_chain(path, 2) == [3, 4]
    assert verify_chain(path).lines == 4


def test_file_lock_and_folder_are_for_this_user_only(path):
    before = os.umask(0)
    try:
        write_chain(path, 1, max_bytes=10)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("suffix", ["", ".lock"])
def test_a_symbolic_link_is_refused_and_its_target_stays_as_it_is(path, tmp_path, suffix):
    path.parent.mkdir()
    target = tmp_path / "important"
    target.write_text("keep me")
    path.with_name(path.name + suffix).symlink_to(target)
    with pytest.raises(ChainError, match="symbolic link; name the file itself"):
        ChainWriter(path, exclusive=True)
    assert target.read_text() == "keep me"


def test_what_is_no_regular_file_is_refused_at_once(path):
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(ChainError, match="not a regular file"):
        ChainWriter(path, exclusive=True)
    with pytest.raises(ChainError, match="not a regular file"):
        verify_chain(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ChainError, match="is a directory"):
        ChainWriter(path, exclusive=True)


def test_a_file_that_others_may_write_is_refused(path):
    write_chain(path, 1)
    path.chmod(0o620)
    with pytest.raises(ChainError, match="chmod 600"):
        ChainWriter(path, exclusive=True)


@pytest.mark.parametrize(
    "content",
    [b"hello", b"hello\n", b"[]\n[]\n", b'{"a":1}\n', b"\x00" * 10 + b"x", b'{"chain":1}\nx\n', b"x" * 3_000_000],
)
def test_a_file_that_never_was_a_chain_is_refused_and_not_touched(path, content):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ChainError, match="is no chain"):
        ChainWriter(path, exclusive=True)
    assert path.read_bytes() == content
    if content.startswith((b"{", b"\0")):
        assert verify_chain(path).word is (Word.TAMPERED if content.endswith(b"\n") else Word.INCOMPLETE)
    else:
        with pytest.raises(ChainError, match="not an audit file"):
            verify_chain(path)
    assert list(read_chain(path)) == []


def test_a_missing_file_is_told_in_one_line(path):
    for look in (verify_chain, lambda missing: list(read_chain(missing))):
        with pytest.raises(ChainMissing, match="no such file"):
            look(path)


def test_a_record_that_no_line_can_hold_is_refused_and_the_next_one_follows(path):
    with ChainWriter(path, exclusive=True) as writer:
        writer.append(record(1))
        for refused in ({"hash": "mine"}, {"long": "x" * MAX_LINE_BYTES}):
            with pytest.raises(RecordRefused):
                writer.append(refused)
        assert writer.append(record(2)) == 2
    assert verify_chain(path).lines == 2


def test_a_closed_writer_and_one_of_a_parent_process_write_nothing(path):
    writer = ChainWriter(path, exclusive=True)
    writer.close()
    writer.close()
    with pytest.raises(ChainError, match="closed"):
        writer.append(record(1))
    done = python(
        """
        import os, sys
        from openrtc_worker.contract.chain import ChainError, ChainWriter
        writer = ChainWriter(sys.argv[1], exclusive=True)
        child = os.fork()
        if not child:
            try:
                writer.append({})
            except ChainError as error:
                os._exit(7)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        path,
    )
    assert done.stdout == "7\n", done.stderr


# ------------------------------------------------------------------------------------------------- two writers


def test_a_second_writer_is_refused_with_the_pid_of_the_first(path):
    with ChainWriter(path, exclusive=True) as writer:
        for exclusive in (True, False):
            with pytest.raises(ChainError, match=rf"another process \(pid {os.getpid()}\) writes it"):
                ChainWriter(path, exclusive=exclusive, sleep=lambda _: None)
        writer.append(record(1))
    with ChainWriter(path, exclusive=True) as successor:
        assert successor.append(record(2)) == 2


def test_the_lock_of_a_killed_writer_is_free(path):
    done = python(
        """
        import os, signal, sys
        from openrtc_worker.contract.chain import ChainWriter
        writer = ChainWriter(sys.argv[1], exclusive=True)
        print(writer.append({"seq": 1, "event": "x"}), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        path,
    )
    assert done.stdout == "1\n", done.stderr
    assert write_chain(path, 1) == [2]


def test_writers_that_take_turns_follow_each_other(path):
    with ChainWriter(path, exclusive=False, max_bytes=1_000) as one, ChainWriter(path, exclusive=False) as two:
        assert [each.append(record(1)) for each in (one, two, one, two, two, one, one, two)] == list(range(1, 9))
    assert numbers(path) == list(range(1, 9))
    assert verify_chain(path).is_ok
    assert path.with_name("audit.jsonl.1").exists()


def test_a_writer_that_waits_for_its_turn_gives_up_with_a_reason(path):
    pauses = []
    with ChainWriter(path, exclusive=False, sleep=pauses.append) as waiting:
        with ChainWriter(path, exclusive=True), pytest.raises(ChainError, match="another process"):
            waiting.append(record(1))
        assert sum(pauses) == pytest.approx(5, rel=0.01)
        assert waiting.append(record(1)) == 1


def test_threads_and_processes_write_one_chain_without_losing_a_line(path):
    program = """
        import sys
        from openrtc_worker.contract.chain import ChainWriter
        with ChainWriter(sys.argv[1], exclusive=False, max_bytes=4_000) as writer:
            for index in range(40):
                writer.append({"event": "x", "seq": index})
        """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(path)],
            cwd=ROOT,
            env=clean_env(),
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    acknowledged: list[int] = []
    with ChainWriter(path, exclusive=False, max_bytes=4_000) as writer:

        def write():
            acknowledged.extend(writer.append(record(index)) for index in range(20))

        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for process in processes:
        assert process.communicate(timeout=60)[1] == b""
    assert numbers(path) == list(range(1, 121))
    assert len(set(acknowledged)) == 40
    assert verify_chain(path).is_ok


def test_a_removed_lock_file_does_not_let_two_writers_into_one_turn(path):
    with ChainWriter(path, exclusive=False) as writer:
        writer.append(record(1))
        path.with_name("audit.jsonl.lock").unlink()
        assert writer.append(record(2)) == 2
    assert verify_chain(path).is_ok


def test_a_lock_file_removed_while_it_is_being_locked_is_not_the_lock(path, monkeypatch):
    """Whoever comes next would lock its successor, and there would be two writers."""
    flock, lock = fcntl.flock, path.with_name("audit.jsonl.lock")

    def removed_in_between(descriptor, operation):
        flock(descriptor, operation)
        monkeypatch.setattr(fcntl, "flock", flock)
        lock.unlink()

    monkeypatch.setattr(fcntl, "flock", removed_in_between)
    with ChainWriter(path, exclusive=True), pytest.raises(ChainError, match="another process"):
        ChainWriter(path, exclusive=True)


# ------------------------------------------------------------------------------------------ crashes and power loss


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_wherever_a_write_was_torn_the_chain_goes_on_and_tells_of_it(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("torn") / "audit.jsonl"
    write_chain(path, data.draw(st.integers(0, 3), label="whole lines"))
    whole = path.read_bytes()
    write_chain(path, 1)
    last = path.read_bytes()[len(whole) :]
    kept = data.draw(st.integers(1, len(last) - 1), label="bytes that reached the disk")
    fate = data.draw(st.sampled_from(["as written", "zeros", "zeros in front"]))
    rest = {
        "as written": last[:kept],
        "zeros": b"\0" * kept,
        "zeros in front": b"\0" * kept + last[kept:],  # the newline reached the disk, the beginning did not
    }[fate]
    path.write_bytes(whole + rest)
    acknowledged = len(whole.splitlines())
    assert not verify_chain(path).is_ok
    assert len(list(read_chain(path))) == acknowledged
    assert write_chain(path, 1) == [acknowledged + 2]
    torn = list(read_chain(path))[acknowledged]
    assert (torn["event"], torn["result"], torn["chain"]) == ("audit.torn_line", "moved aside", acknowledged + 1)
    assert path.with_name(torn["side_file"]).read_bytes() == rest.removesuffix(b"\n") + b"\n"
    assert verify_chain(path).is_ok


def test_two_damaged_lines_at_the_end_are_no_crash_and_stop_the_writer(path):
    write_chain(path, 4)
    first, second, third, fourth = lines_in(path)
    path.write_bytes(first + second + third.replace(b"alice", b"mally") + fourth.replace(b"alice", b"mally"))
    content = path.read_bytes()
    with pytest.raises(ChainError, match="its end is no chain; look at it with audit verify, and move it away"):
        ChainWriter(path, exclusive=True)
    assert path.read_bytes() == content


def test_a_damaged_line_before_an_unfinished_one_is_no_crash_either(path):
    write_chain(path, 3)
    first, second, third = lines_in(path)
    path.write_bytes(first + second.replace(b"alice", b"mally") + third[:20])
    with pytest.raises(ChainError, match="its end is no chain"):
        ChainWriter(path, exclusive=True)


def test_killed_while_a_torn_line_is_moved_aside_it_is_moved_and_told_after_all(path):
    write_chain(path, 2)
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"chain":3,')
    # killed before the cut: the side file has it, and the file still too
    path.with_name("audit.jsonl.torn").write_bytes(b'{"chain":3,\n')
    path.with_name("audit.jsonl.torn").chmod(0o600)
    write_chain(path, 1)
    assert [each["event"] for each in read_chain(path)][2:] == ["audit.torn_line", "worker.cordoned"]
    # killed after the cut, before the chain told of it
    path.write_bytes(whole)
    path.with_name("audit.jsonl.torn-3").rename(path.with_name("audit.jsonl.torn"))
    write_chain(path, 1)
    assert [each["event"] for each in read_chain(path)][2:] == ["audit.torn_line", "worker.cordoned"]
    assert path.with_name("audit.jsonl.torn-3").exists()
    assert not path.with_name("audit.jsonl.torn").exists()


def test_killed_in_the_middle_of_a_rotation_the_chain_goes_on(path):
    write_chain(path, 3)
    path.rename(path.with_name("audit.jsonl.1"))
    assert numbers(path) == [1, 2, 3]
    assert write_chain(path, 1) == [4]
    path.rename(path.with_name("audit.jsonl.2"))
    path.touch(mode=0o600)
    assert write_chain(path, 1) == [5]
    assert verify_chain(path).lines == 5


def test_file_and_folder_are_synced_before_a_new_file_counts(path, monkeypatch):
    """Seen at the system's own calls: fsync of the line, and of the folder when a name in it changed."""
    calls: list[str] = []
    fsync, write = os.fsync, os.write

    def seen_fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def seen_write(descriptor, data):
        calls.append("write")
        return write(descriptor, data)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "write", seen_write)
    with ChainWriter(path, exclusive=True, max_bytes=10) as writer:
        assert calls == ["folder", "folder"]  # the new folder in its own, the new file in it
        calls.clear()
        writer.append(record(1))
        assert calls == ["write", "file"]
        calls.clear()
        writer.append(record(2))
        assert calls == ["file", "folder", "folder", "write", "file"]  # rotated away, made anew, then the line


# ------------------------------------------------------------------------------------------------- full disks


def test_on_a_full_disk_nothing_counts_nothing_stays_and_later_it_goes_on(path):
    """A real limit of the kernel, in the middle of a line: the write is partly done, then refused."""
    done = python(
        """
        import os, resource, sys
        from openrtc_worker.contract.chain import ChainError, ChainWriter
        path = sys.argv[1]
        writer = ChainWriter(path, exclusive=True)
        writer.append({"event": "x", "seq": 1})
        size = os.path.getsize(path)
        for room in (0, 1, 50, size - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
            try:
                writer.append({"event": "y", "seq": 2})
            except ChainError as error:
                print(error)
            assert os.path.getsize(path) == size
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert writer.append({"event": "z", "seq": 3}) == 2
        """,
        path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{path}: file too large; raise the limit of file sizes, then try again"] * 4
    assert [each["event"] for each in read_chain(path)] == ["x", "z"]
    assert verify_chain(path).is_ok


class FakeDisk:
    """Stands for the system's write and fsync: takes a few bytes at a time and fails when told to."""

    def __init__(self, monkeypatch):
        self._write, self._fsync = os.write, os.fsync
        self.bite: int | None = None
        self.room: int | None = None
        self.sync_fails: list[OSError | BaseException] = []
        self.error: BaseException = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def write(self, descriptor, data):
        if self.room is not None:
            if self.room == 0:
                raise self.error
            data = data[: self.room]
        if self.bite is not None:
            data = data[: self.bite]
        written = self._write(descriptor, data)
        if self.room is not None:
            self.room -= written
        return written

    def fsync(self, descriptor):
        if self.sync_fails:
            raise self.sync_fails.pop(0)
        self._fsync(descriptor)


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_every_line_whole(path, monkeypatch):
    FakeDisk(monkeypatch).bite = 7
    write_chain(path, 3)
    assert verify_chain(path).lines == 3


@pytest.mark.parametrize("room", [0, 1, 40])
def test_no_space_left_is_told_with_what_to_do_and_leaves_no_part_of_a_line(path, monkeypatch, room):
    disk = FakeDisk(monkeypatch)
    with ChainWriter(path, exclusive=False) as writer:
        writer.append(record(1))
        content = path.read_bytes()
        disk.room = room
        with pytest.raises(
            ChainError, match=r"audit.jsonl: no space left on device; free some space, then try again"
        ):
            writer.append(record(2))
        assert path.read_bytes() == content
        disk.room = None
        assert writer.append(record(3)) == 2
    assert seqs(path) == [1, 3]
    assert verify_chain(path).is_ok


def test_no_space_left_right_after_a_rotation_leaves_an_empty_file_and_the_chain_goes_on(path, monkeypatch):
    disk = FakeDisk(monkeypatch)
    with ChainWriter(path, exclusive=True, max_bytes=10) as writer:
        writer.append(record(1))
        disk.room = 30
        with pytest.raises(ChainError, match="no space left"):
            writer.append(record(2))
        assert path.read_bytes() == b""
        disk.room = None
        assert writer.append(record(3)) == 2
    assert seqs(path) == [1, 3]
    assert verify_chain(path).is_ok


@pytest.mark.parametrize("room", [None, 30])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interruption_in_the_middle_of_a_line_leaves_no_part_of_it(path, monkeypatch, room, interruption):
    disk = FakeDisk(monkeypatch)
    with ChainWriter(path, exclusive=True) as writer:
        writer.append(record(1))
        content = path.read_bytes()
        disk.room, disk.error = room, interruption
        if room is None:
            disk.sync_fails = [interruption]
        with pytest.raises(type(interruption)):
            writer.append(record(2))
        assert path.read_bytes() == content
        disk.room = None
        assert writer.append(record(3)) == 2
    assert verify_chain(path).is_ok


def test_a_line_whose_sync_failed_does_not_count_even_if_it_cannot_be_taken_back(path, monkeypatch):
    disk = FakeDisk(monkeypatch)
    io_error = OSError(errno.EIO, os.strerror(errno.EIO))
    with ChainWriter(path, exclusive=True) as writer:
        writer.append(record(1))
        disk.sync_fails = [io_error, io_error]
        with pytest.raises(ChainError, match="input/output error"):
            writer.append(record(2))
        assert writer.append(record(3)) == 2
    assert seqs(path) == [1, 3]
    assert verify_chain(path).is_ok


def test_part_of_a_line_that_could_not_be_taken_back_is_moved_aside_by_the_next_append(path, monkeypatch):
    disk = FakeDisk(monkeypatch)

    def refused(descriptor, size):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with ChainWriter(path, exclusive=True) as writer:
        writer.append(record(1))
        with monkeypatch.context() as broken:
            broken.setattr(os, "ftruncate", refused)
            disk.room = 40
            with pytest.raises(ChainError):
                writer.append(record(2))
        disk.room = None
        assert not verify_chain(path).is_ok
        assert writer.append(record(3)) == 3
    assert [each["event"] for each in read_chain(path)] == ["worker.cordoned", "audit.torn_line", "worker.cordoned"]
    assert verify_chain(path).is_ok


def test_a_full_disk_while_a_torn_line_is_moved_aside_loses_nothing(path, monkeypatch):
    write_chain(path, 1)
    with path.open("ab") as file:
        file.write(b'{"chain":2,"torn')
    content = path.read_bytes()
    disk = FakeDisk(monkeypatch)
    for room in (0, 5, len(b'{"chain":2,"torn\n') + 20):
        disk.room = room
        with pytest.raises(ChainError, match="no space left"):
            ChainWriter(path, exclusive=True)
        assert path.read_bytes() in {content, lines_in(path)[0]}
    disk.room = None
    assert write_chain(path, 1) == [3]
    torn = list(read_chain(path))[1]
    assert b'{"chain":2,"torn' in path.with_name(torn["side_file"]).read_bytes()
    assert verify_chain(path).is_ok


# ---------------------------------------------------------------------------------------------------- rotation


def test_rotation_carries_the_chain_and_deletes_nothing(path):
    write_chain(path, 30, max_bytes=1_000)
    rotated = sorted(path.parent.glob("audit.jsonl.[0-9]*"))
    assert len(rotated) == 9
    assert max(each.stat().st_size for each in rotated) <= 1_000
    assert numbers(path) == list(range(1, 31))
    assert verify_chain(path).lines == 30


def test_a_missing_rotated_file_makes_the_chain_incomplete_and_the_gap_is_named(path):
    write_chain(path, 30, max_bytes=1_000)
    path.with_name("audit.jsonl.2").unlink()
    verdict = verify_chain(path)
    assert verdict.word is Word.INCOMPLETE
    assert verdict.where is not None
    assert verdict.where.startswith("audit.jsonl.3 line 1: lines ")
    path.with_name("audit.jsonl.1").unlink()
    assert verify_chain(path).word is Word.INCOMPLETE


def test_a_tampered_rotated_file_is_named(path):
    write_chain(path, 12, max_bytes=1_000)
    rotated = path.with_name("audit.jsonl.1")
    rotated.write_bytes(rotated.read_bytes().replace(b"alice", b"mally", 1))
    verdict = verify_chain(path)
    assert (verdict.word, verdict.where) == (
        Word.TAMPERED,
        "audit.jsonl.1 line 1: its bytes are not those that were written",
    )
    damaged = next(read_entries(path))
    assert (damaged.place, damaged.record) == ("audit.jsonl.1 line 1", None)
    assert numbers(path) == list(range(2, 13))


def test_a_file_renamed_by_another_tool_between_two_appends_is_followed(path):
    with ChainWriter(path, exclusive=True) as writer:
        writer.append(record(1))
        path.rename(path.with_name("audit.jsonl-20261121"))
        assert writer.append(record(2)) == 2
    assert numbers(path) == [1, 2]
    assert verify_chain(path).is_ok


def test_names_in_another_order_do_not_matter(path):
    """Other tools call the newest .1 and the oldest .9."""
    write_chain(path, 1)
    with ChainWriter(path, exclusive=False) as writer:
        for older in (3, 2, 1):
            path.rename(path.with_name(f"audit.jsonl.{older}"))
            writer.append(record(older))
    assert numbers(path) == [1, 2, 3, 4]
    assert verify_chain(path).is_ok


def test_two_names_of_one_file_are_one_file(path):
    """As a reader meets it when the file is rotated between two looks."""
    write_chain(path, 2)
    path.with_name("audit.jsonl.1").hardlink_to(path)
    assert numbers(path) == [1, 2]
    assert verify_chain(path).is_ok


def test_a_copy_that_lies_beside_as_if_it_were_rotated_is_told_as_what_it_is(path):
    write_chain(path, 2)
    shutil.copy(path, path.with_name("audit.jsonl.1"))
    assert str(verify_chain(path).where).endswith("line 1: line 1 of the chain stands here after line 2")


def test_other_files_with_such_a_name_are_no_part_of_the_chain(path):
    write_chain(path, 2)
    path.with_name("audit.jsonl.7").write_bytes(b"notes\n" * 100)
    path.with_name("audit.jsonl.8").mkdir()
    path.with_name("audit.jsonl.9").write_bytes(b"x" * 3_000_000)
    assert verify_chain(path).lines == 2
    assert write_chain(path, 1) == [3]


def test_a_file_cut_under_its_writer_shows_the_gap(path, caplog):
    with ChainWriter(path, exclusive=True) as writer:
        for index in range(1, 4):
            writer.append(record(index))
        os.truncate(path, len(lines_in(path)[0]))
        assert writer.append(record(4)) == 4
    assert f"{path}: line 3 of the chain was its newest and now line 1 is" in caplog.text
    verdict = verify_chain(path)
    assert verdict.word is Word.TAMPERED
    assert verdict.where == "audit.jsonl line 2: lines 2 to 3 of the chain are missing before it"


def test_a_removed_file_is_made_anew_and_what_is_missing_shows(path):
    with ChainWriter(path, exclusive=True) as writer:
        writer.append(record(1))
        path.unlink()
        assert writer.append(record(2)) == 2
    assert verify_chain(path).word is Word.INCOMPLETE


def test_reading_while_it_is_rotated_sees_each_line_once(path):
    write_chain(path, 6)
    reading = read_chain(path)
    first = next(reading)["chain"]
    write_chain(path, 6, max_bytes=100)
    assert [first, *(each["chain"] for each in reading)] == [1, 2, 3, 4, 5, 6]


def test_whoever_verifies_while_others_write_and_rotate_sees_a_whole_chain(path, key):
    """Never a gap, never lines behind the checkpoint; only the very last line may be seen half written."""
    write_chain(path, 1)

    def write():
        with ChainWriter(path, exclusive=True, checkpoint_key=key, kid="alice", max_bytes=2_000) as writer:
            for index in range(300):
                writer.append(record(index))

    thread = threading.Thread(target=write)
    thread.start()
    verdicts = []
    while thread.is_alive():
        verdicts.append(verify_chain(path))
    thread.join()
    assert {str(each.where) for each in verdicts if not each.is_ok and "unfinished" not in str(each.where)} == set()
    lengths = [each.lines for each in verdicts]
    assert lengths == sorted(lengths)
    assert verify_chain(path, {"alice": key.public_key()}).is_ok


# ------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_stands_beside_the_file_after_each_line(path, key):
    write_chain(path, 5, checkpoint_key=key, kid="alice", max_bytes=1_000)
    verdict = verify_chain(path, {"alice": key.public_key()})
    assert (verdict.word, verdict.checkpoint) == (Word.OK, 5)
    assert verify_chain(path).checkpoint is None


def test_a_tail_cut_behind_the_checkpoint_is_seen_also_after_more_was_written(path, key):
    keys = {"alice": key.public_key()}
    write_chain(path, 5, checkpoint_key=key, kid="alice")
    path.write_bytes(b"".join(lines_in(path)[:3]))
    for given_keys in (keys, None):
        verdict = verify_chain(path, given_keys)
        assert (verdict.word, verdict.where) == (
            Word.INCOMPLETE,
            "lines 4 to 5 of the chain are missing at the end",
        )
    # the next writer does not bury it
    assert write_chain(path, 1, checkpoint_key=key, kid="alice") == [6]
    assert verify_chain(path, keys).where == "audit.jsonl line 4: lines 4 to 5 of the chain are missing before it"


def test_a_cut_tail_without_a_checkpoint_cannot_be_seen(path):
    """As the documents say: what is left is a whole chain."""
    write_chain(path, 5)
    path.write_bytes(b"".join(lines_in(path)[:3]))
    assert verify_chain(path).is_ok


def test_a_story_told_anew_from_the_start_does_not_fit_the_checkpoint(path, key, tmp_path):
    write_chain(path, 3, checkpoint_key=key, kid="alice")
    other = tmp_path / "other.jsonl"
    with ChainWriter(other, exclusive=True) as writer:
        for _ in range(3):
            writer.append({"event": "nothing.happened"})
    shutil.copy(other, path)
    assert verify_chain(path).where == "line 3 of the chain is not the one that the checkpoint names"
    assert verify_chain(path).word is Word.TAMPERED


def test_with_a_key_a_checkpoint_must_be_there_and_be_of_that_key(path, key):
    write_chain(path, 2)
    keys = {"alice": key.public_key()}
    verdict = verify_chain(path, keys)
    assert (verdict.word, verdict.lines) == (Word.INCOMPLETE, 2)
    write_chain(path, 1, checkpoint_key=Ed25519PrivateKey.generate(), kid="alice")
    assert verify_chain(path, keys).where == "audit.jsonl.checkpoint: its signature is not good"
    assert verify_chain(path, keys).word is Word.TAMPERED


def test_a_checkpoint_kept_elsewhere_finds_a_cut_of_both_files(path, key, tmp_path):
    write_chain(path, 2, checkpoint_key=key, kid="alice")
    beside = path.with_name("audit.jsonl.checkpoint")
    early_file, early_checkpoint = path.read_bytes(), beside.read_bytes()
    write_chain(path, 2, checkpoint_key=key, kid="alice")
    elsewhere = shutil.copy(beside, tmp_path / "elsewhere")
    path.write_bytes(early_file)
    beside.write_bytes(early_checkpoint)
    keys = {"alice": key.public_key()}
    assert verify_chain(path, keys).is_ok
    assert verify_chain(path, keys, checkpoint=elsewhere).word is Word.INCOMPLETE
    with pytest.raises(ChainError, match="no such file"):
        verify_chain(path, keys, checkpoint=tmp_path / "nowhere")


def test_operators_who_share_a_journal_each_sign_and_neither_hides_a_cut(path, key):
    other = Ed25519PrivateKey.generate()
    keys = {"alice": key.public_key(), "bob": other.public_key()}
    write_chain(path, 3, checkpoint_key=key, kid="alice")
    write_chain(path, 1, checkpoint_key=other, kid="bob")
    assert verify_chain(path, keys).checkpoint == 4
    path.write_bytes(b"".join(lines_in(path)[:2]))
    assert write_chain(path, 1, checkpoint_key=key, kid="alice") == [5]
    assert not verify_chain(path, keys).is_ok


def test_a_checkpoint_that_cannot_be_written_does_not_undo_its_line(path, key, monkeypatch, caplog):
    with ChainWriter(path, exclusive=True, checkpoint_key=key, kid="alice") as writer:
        writer.append(record(1))

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as broken:
            broken.setattr(writer_module, "replace_file", full)
            assert [writer.append(record(2)), writer.append(record(3))] == [2, 3]
        assert writer.checkpoint_failed is not None
        assert "no space left" in writer.checkpoint_failed
        assert len(caplog.records) == 1
        assert verify_chain(path, {"alice": key.public_key()}).checkpoint == 1
        writer.append(record(4))
        assert writer.checkpoint_failed is None
    assert verify_chain(path, {"alice": key.public_key()}).checkpoint == 4


def test_garbage_for_a_checkpoint_is_told_and_replaced_by_the_next_line(path, key, caplog):
    write_chain(path, 1)
    beside = path.with_name("audit.jsonl.checkpoint")
    beside.write_bytes(os.urandom(100_000))
    assert verify_chain(path).word is Word.TAMPERED
    write_chain(path, 1, checkpoint_key=key, kid="alice")
    assert "a new one takes its place" in caplog.text
    assert verify_chain(path, {"alice": key.public_key()}).is_ok


def test_a_key_without_its_name_is_refused(path, key):
    with pytest.raises(ValueError, match="kid"):
        ChainWriter(path, exclusive=True, checkpoint_key=key)


def test_the_hash_that_verify_names_as_head_stands_in_the_last_line(path):
    write_chain(path, 2)
    assert verify_chain(path).head.hash == json.loads(lines_in(path)[-1])["hash"]


# ------------------------------------------------------------------------------------------------- read as it grows


def test_a_chain_that_is_followed_is_decoded_once(path, monkeypatch):
    decoded = []
    decode = reader_module.decode_line
    monkeypatch.setattr(reader_module, "decode_line", lambda data: decoded.append(data) or decode(data))
    write_chain(path, 5)
    follower = ChainFollower(path)
    assert len(follower.records()) == 5
    write_chain(path, 2)
    assert follower.records() == tuple(read_chain(path))
    assert len(decoded) - 7 == 7, "five, then two; read_chain has decoded all seven"


@given(st.lists(st.sampled_from(["write", "rotate", "torn", "damage", "cut", "gone"]), max_size=12))
@settings(max_examples=40, deadline=None)
def test_whatever_happens_to_a_chain_whoever_follows_it_sees_what_is_there(tmp_path_factory, deeds):
    path = tmp_path_factory.mktemp("followed") / "audit.jsonl"
    follower = ChainFollower(path)
    for number, deed in enumerate(["write", *deeds]):
        if deed in {"write", "rotate"}:
            with suppress(ChainError):  # it does not go on behind more than one damaged line
                write_chain(path, 3, max_bytes=600 if deed == "rotate" else 1 << 20)
        elif not path.exists():
            continue
        elif deed == "torn":
            path.write_bytes(path.read_bytes() + b'{"chain":9,"pre')
        elif deed == "damage":
            path.write_bytes(path.read_bytes() + b"\0" * 40 + b"\n")
        elif deed == "cut":
            path.write_bytes(b"".join(lines_in(path)[:-1]))
        else:
            path.rename(path.with_name(f"moved-{number}"))
        try:
            there = tuple(read_chain(path))
        except ChainMissing:
            with pytest.raises(ChainMissing):
                follower.records()
        else:
            assert follower.records() == there
