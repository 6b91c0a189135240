"""AuditFile: the sink that chains a worker's events, whatever its disk does."""

from __future__ import annotations

import errno
import os

import pytest

import openrtc_worker
from openrtc_worker import AgentPool, AuditFile, AuditLog
from openrtc_worker.contract.chain import ChainError, ChainWriter, read_chain, verify_chain
from openrtc_worker.contract.keys import KeyFileError, generate_operator_key, load_private_key


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log" / "audit.jsonl"


def test_the_package_offers_it():
    assert "AuditFile" in openrtc_worker.__all__
    assert AgentPool(deployment_version="v1", audit_sink=AuditFile("audit.jsonl")) is not None


def test_making_the_sink_touches_nothing(path):
    """A worker's job processes import the program again, and make the sink again."""
    AuditFile(path)
    assert not path.parent.exists()


def test_each_event_is_a_line_of_the_chain(path):
    log = AuditLog(AuditFile(path), version="v1")
    log.emit("deployment.started", target="w")
    log.emit("worker.cordoned", actor="alice", target="w", op_id="o1", reason="rollout 7")
    found = [
        {name: value for name, value in each.items() if name not in {"chain", "prev", "hash", "timestamp"}}
        for each in read_chain(path)
    ]
    assert found[1] == {
        "seq": 2,
        "event": "worker.cordoned",
        "actor": "alice",
        "target": "w",
        "result": "ok",
        "version": "v1",
        "op_id": "o1",
        "reason": "rollout 7",
    }
    assert verify_chain(path).lines == 2


def test_the_next_boot_goes_on_with_the_same_chain(path):
    for _ in range(2):
        sink = AuditFile(path)
        AuditLog(sink).emit("deployment.started")
        sink.close()
    assert [(each["chain"], each["seq"]) for each in read_chain(path)] == [(1, 1), (2, 1)]


def test_it_rotates(path):
    log = AuditLog(AuditFile(path, max_bytes=500))
    for _ in range(6):
        log.emit("worker.cordoned")
    assert path.with_name("audit.jsonl.1").exists()
    assert verify_chain(path).lines == 6


def test_with_a_key_file_a_checkpoint_is_signed_after_each_event(path, tmp_path):
    private, _ = generate_operator_key("voice-audit", tmp_path)
    AuditLog(AuditFile(path, checkpoint_key=private)).emit("deployment.started")
    verdict = verify_chain(path, {"voice-audit": load_private_key(private).public_key()})
    assert (str(verdict.word), verdict.checkpoint) == ("ok", 1)


def test_a_key_that_cannot_be_used_is_told_with_each_event_until_it_can(path, tmp_path):
    sink = AuditFile(path, checkpoint_key=tmp_path / "voice-audit.pem")
    log = AuditLog(lambda _: None)
    with pytest.raises(KeyFileError, match="no such file"):
        sink(log.emit("deployment.started"))
    generate_operator_key("voice-audit", tmp_path)
    sink(log.emit("worker.cordoned"))
    assert [each["seq"] for each in read_chain(path)] == [1, 2]


def test_while_another_process_has_the_file_events_wait_and_are_written_in_order_after(path, caplog):
    sink = AuditFile(path)
    log = AuditLog(sink)
    with ChainWriter(path, exclusive=True):
        for _ in range(3):
            log.emit("worker.cordoned")
        assert "another process" in caplog.text
        assert list(read_chain(path)) == []
    log.emit("worker.uncordoned")
    assert [each["seq"] for each in read_chain(path)] == [1, 2, 3, 4]


def test_on_a_full_disk_events_wait_and_are_written_once_when_there_is_room(path, monkeypatch):
    sink = AuditFile(path)
    log = AuditLog(lambda _: None)
    sink(log.emit("deployment.started"))

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        for _ in range(2):
            with pytest.raises(ChainError, match="free some space"):
                sink(log.emit("worker.cordoned"))
    sink(log.emit("worker.uncordoned"))
    assert [each["seq"] for each in read_chain(path)] == [1, 2, 3, 4]
    assert verify_chain(path).is_ok


def test_what_waits_is_bounded_and_what_was_lost_shows_in_the_numbers(path, monkeypatch):
    monkeypatch.setattr("openrtc_worker.audit_file.MAX_WAITING", 2)
    sink = AuditFile(path)
    log = AuditLog(lambda _: None)
    with ChainWriter(path, exclusive=True):
        for _ in range(4):
            with pytest.raises(ChainError):
                sink(log.emit("worker.cordoned"))
    sink(log.emit("worker.uncordoned"))
    assert [each["seq"] for each in read_chain(path)] == [4, 5]


def test_an_event_that_no_line_can_hold_is_told_without_its_own_fields_and_holds_up_nothing(path, caplog):
    log = AuditLog(AuditFile(path))
    log.emit("call.cut", target="w", load=float("nan"))
    log.emit("call.cut", huge="x" * (2 << 20))
    log.emit("worker.cordoned")
    found = list(read_chain(path))
    assert [(each["seq"], each.get("left_out")) for each in found] == [(1, ["load"]), (2, ["huge"]), (3, None)]
    assert found[0]["target"] == "w"
    assert "without its own fields" in caplog.text
