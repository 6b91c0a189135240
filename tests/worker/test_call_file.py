"""The call file: what the next boot learns of this one, whatever was written last."""

from __future__ import annotations

import errno
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openrtc_worker import call_file
from openrtc_worker.call_file import CallFile, StateDirError, read_previous
from openrtc_worker.ledger import Call, EndedCall, Outcome


def call(number: int) -> Call:
    return Call(job_id=f"job-{number}", room=f"room-{number}")


def end(number: int) -> EndedCall:
    return EndedCall(call=call(number), outcome=Outcome.COMPLETED, started_at=0.0, ended_at=1.0)


def open_file(folder, boot="boot-1", worker_id="w1", clock=lambda: 5.0) -> CallFile:
    return CallFile(folder, worker_id=worker_id, boot_id=boot, clock=clock, defer=lambda write: write())


def test_a_boot_without_a_predecessor_says_nothing(tmp_path):
    file = open_file(tmp_path / "new" / "folder")
    assert file.previous is None
    file.close()


def test_open_calls_of_a_boot_that_died_are_told_to_the_next(tmp_path):
    first = open_file(tmp_path)
    for number in range(3):
        first.started(call(number))
    first.ended(end(1))
    first.close()  # the process died: no exit was written

    second = open_file(tmp_path, "boot-2")
    assert (second.previous.boot_id, second.previous.clean_exit) == ("boot-1", False)
    assert [(open_.job, open_.room) for open_ in second.previous.open_calls] == [
        ("job-0", "room-0"),
        ("job-2", "room-2"),
    ]
    second.exited(0)
    second.close()

    third = open_file(tmp_path, "boot-3")
    assert (third.previous.boot_id, third.previous.open_calls, third.previous.clean_exit) == ("boot-2", [], True)
    third.close()


def test_a_call_that_is_over_by_its_jobs_own_word_is_not_told_to_the_next_though_no_books_were_kept(tmp_path):
    first = open_file(tmp_path)
    for number in range(3):
        first.started(call(number))
    first.over("job-1")
    first.over("job-2")
    first.ended(end(2))  # the books, a beat later
    first.close()  # the process died
    second = open_file(tmp_path, "boot-2")
    assert [open_.job for open_ in second.previous.open_calls] == ["job-0"]
    second.close()


def test_a_call_that_is_over_stays_so_when_the_file_is_written_anew(tmp_path, monkeypatch):
    file = open_file(tmp_path)
    for number in range(3):
        file.started(call(number))
    with FullDisk(monkeypatch), suppress(OSError):
        file.over("job-1")
    file.due()
    assert open_jobs(tmp_path) == ["job-0", "job-2"]
    file.close()


def test_each_worker_id_has_a_file_of_its_own_that_only_its_user_may_read(tmp_path):
    first, second = open_file(tmp_path, worker_id="a/b"), open_file(tmp_path, worker_id="c")
    files = sorted(tmp_path.glob("*.jsonl"))
    assert [file.name for file in files] == ["calls-a_b.jsonl", "calls-c.jsonl"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    first.close()
    second.close()


def test_a_second_worker_of_the_same_id_is_refused_while_the_first_lives(tmp_path):
    first = open_file(tmp_path)
    with pytest.raises(StateDirError, match="OPENRTC_WORKER_ID"):
        open_file(tmp_path)
    first.close()
    open_file(tmp_path).close()


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirError, match=r"state_dir .*/file") as refused:
        open_file(tmp_path / "file")
    assert "\n" not in str(refused.value)


def test_a_long_life_does_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(call_file, "MAX_BYTES", 2_000)
    file = open_file(tmp_path)
    file.started(call(0))
    for number in range(1, 500):
        file.started(call(number))
        file.ended(end(number))
        assert next(tmp_path.glob("*.jsonl")).stat().st_size < 2_500
    file.close()
    previous = read_previous(next(tmp_path.glob("*.jsonl")))
    assert [open_.job for open_ in previous.open_calls] == ["job-0"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    cut=st.integers(0, 400),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=12),
)
def test_a_file_torn_anywhere_is_read_as_far_as_it_goes(tmp_path, cut, steps):
    for old in tmp_path.iterdir():
        old.unlink()
    file = open_file(tmp_path)
    for is_start, number in steps:
        if is_start:
            file.started(call(number))
        else:
            file.ended(end(number))
    file.close()
    path = next(tmp_path.glob("*.jsonl"))
    whole = path.read_text()
    path.write_text(whole[: max(0, len(whole) - cut)])
    previous = read_previous(path)
    kept = [line for line in whole[: max(0, len(whole) - cut)].split("\n") if _is_whole(line)]
    assert (previous is None) == (not kept)
    if previous is not None:
        live = {}
        for line in kept[1:]:
            record = json.loads(line)
            live.update({record["job"]: 1}) if record["event"] == "start" else live.pop(record["job"], None)
        assert [open_.job for open_ in previous.open_calls] == list(live)


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_foreign_text_is_printable_and_whatever_else_is_there_ignored(tmp_path):
    path = tmp_path / "calls-w1.jsonl"
    path.write_text(
        '{"event":"boot","boot":"b\\u001b[2J","at":1}\n[]\n"x"\n7\n{"event":"start"}\n'
        '{"event":"start","job":"j\\u0007","room":"r\\u001b"}\n{"event":"odd"}\n'
    )
    previous = read_previous(path)
    assert previous.boot_id == "b[2J"
    assert [(open_.job, open_.room) for open_ in previous.open_calls] == [("j", "r")]


class FullDisk:
    """Takes the first half of a line, as a disk does that has so much room left, and says that it is full."""

    def __init__(self, monkeypatch) -> None:
        self._patch = monkeypatch

    def __enter__(self) -> None:
        open_really = Path.open

        def open_half(path, *arguments):
            file = open_really(path, *arguments)
            write_really = file.write

            def write_half(text):
                write_really(text[: len(text) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")

            file.write = write_half
            return file

        self._patch.setattr(Path, "open", open_half)

    def __exit__(self, *_) -> None:
        self._patch.undo()


def open_jobs(folder) -> list[str]:
    previous = read_previous(next(folder.glob("*.jsonl")))
    return [open_.job for open_ in previous.open_calls]


def test_a_line_that_a_full_disk_did_not_take_is_made_up_for_with_the_next(tmp_path, monkeypatch):
    """Otherwise a call that its caller ended would be told as one that was dropped, confirmed."""
    file = open_file(tmp_path)
    for number in range(3):
        file.started(call(number))
    with FullDisk(monkeypatch), suppress(OSError):
        file.ended(end(0))
    file.ended(end(1))
    assert open_jobs(tmp_path) == ["job-2"]
    with FullDisk(monkeypatch), suppress(OSError):
        file.ended(end(2))
    file.exited(0)
    file.close()
    previous = read_previous(next(tmp_path.glob("*.jsonl")))
    assert (previous.open_calls, previous.clean_exit) == ([], True)


def test_a_line_that_a_full_disk_did_not_take_is_made_up_for_though_no_call_comes_or_goes(tmp_path, monkeypatch):
    now = 1_000.0
    file = open_file(tmp_path, clock=lambda: now)
    file.started(call(0))
    with FullDisk(monkeypatch), suppress(OSError):
        file.ended(end(0))
    assert open_jobs(tmp_path) == ["job-0"]
    with monkeypatch.context() as full:
        full.setattr(call_file, "write_anew", no_room)
        with pytest.raises(OSError, match="No space"):
            file.due()
        file.due()  # a disk that is full is not asked ten times a second
    now += call_file.WRITE_AGAIN
    file.due()
    assert open_jobs(tmp_path) == []
    file.close()


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_exit_is_the_last_line_however_long_the_file_is(tmp_path, monkeypatch):
    file = open_file(tmp_path)
    file.started(call(0))
    file.ended(end(0))
    monkeypatch.setattr(call_file, "MAX_BYTES", next(tmp_path.glob("*.jsonl")).stat().st_size + 1)
    file.exited(0)
    file.close()
    assert read_previous(next(tmp_path.glob("*.jsonl"))).clean_exit
