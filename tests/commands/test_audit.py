"""``openrtc-tui audit``: what it says of a chain, its exit codes, and how both sides' events come together."""

from __future__ import annotations

import json

import pytest

from openrtc_tui import cli
from openrtc_tui.commands.exits import Exit
from openrtc_worker import AuditFile, AuditLog
from openrtc_worker.contract.chain import ChainWriter
from openrtc_worker.contract.keys import generate_operator_key, load_private_key


@pytest.fixture
def worker(tmp_path):
    """A worker's file: three events, one asked for by alice."""
    path = tmp_path / "worker.jsonl"
    times = iter([100.0, 102.5, 110.0])
    sink = AuditFile(path)
    log = AuditLog(sink, clock=lambda: next(times), version="v1")
    log.emit("deployment.started", target="voice-a-1")
    log.emit(
        "deployment.drain_started", actor="alice", target="voice-a-1", op_id="op-1", plan_id="p", reason="out it goes"
    )
    log.emit("deployment.drain_completed", target="voice-a-1", op_id="op-1")
    sink.close()
    return path


@pytest.fixture
def alice(tmp_path):
    """Her key pair: private, public."""
    return generate_operator_key("alice", tmp_path)


@pytest.fixture
def journal(tmp_path, alice):
    path = tmp_path / "journal-voice.jsonl"
    key = load_private_key(alice[0])
    with ChainWriter(path, exclusive=False, checkpoint_key=key, kid="alice", max_bytes=600) as writer:
        for seq, (time, event, op_id) in enumerate(
            [(102.0, "op.intent", "op-1"), (103.0, "op.outcome", "op-1"), (104.0, "op.intent", "op-2")], 1
        ):
            writer.append(
                {
                    "seq": seq,
                    "timestamp": time,
                    "event": event,
                    "actor": "alice",
                    "target": "voice-a-1",
                    "result": "ok",
                    "version": None,
                    "op_id": op_id,
                    "plan_id": "p",
                }
            )
    return path


def audit(capsys, *arguments) -> tuple[int, list[str], str]:
    code = cli.main(["audit", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out.splitlines(), printed.err


# ------------------------------------------------------------------------------------------------------- verify


def test_an_untouched_file_is_ok_and_its_head_is_named(capsys, worker):
    code, lines, _ = audit(capsys, "verify", worker)
    head = json.loads(worker.read_bytes().splitlines()[-1])["hash"]
    assert code == Exit.DONE
    assert lines == [
        f"ok: {worker}: 3 lines, head {head}; no checkpoint was checked, so a cut tail would not show (--key)"
    ]


def test_with_the_key_the_checkpoint_vouches(capsys, journal, alice):
    code, lines, _ = audit(capsys, "verify", journal, "--key", alice[1])
    assert code == Exit.DONE
    assert lines[0].endswith("; a signed checkpoint vouches for line 3")


def test_a_changed_byte_is_tampered_with_the_file_and_line(capsys, worker):
    worker.write_bytes(worker.read_bytes().replace(b"alice", b"malle"))
    code, lines, _ = audit(capsys, "verify", worker)
    assert code == Exit.TAMPERED == 4
    assert lines == [f"tampered: {worker}: worker.jsonl line 2: its bytes are not those that were written"]


@pytest.mark.parametrize("text", ["hello\n", "hello", "\n", "WARNING one\n{}\n", "\x89PNG\r\n\x1a\n"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_file_that_never_was_an_audit_file_is_an_error_and_no_tampering(capsys, tmp_path, text, options):
    other = tmp_path / "notes.txt"
    other.write_text(text, encoding="latin-1")
    assert cli.main(["audit", "verify", str(other), *options]) == Exit.ERROR
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"{other}: not an audit file\n")


@pytest.mark.parametrize("damage", ["first", "opening", "checkpoint", "only"])
def test_an_audit_file_stays_one_whatever_was_done_to_it(capsys, worker, journal, damage):
    """Nobody hides tampering by making the file look like another: one line that is left, or a checkpoint, tells."""
    path = worker
    lines = worker.read_bytes().splitlines(keepends=True)
    if damage == "first":
        worker.write_bytes(b"hello\n" + b"".join(lines[1:]))
    elif damage == "opening":
        worker.write_bytes(b"x" + lines[0][1:])
    elif damage == "only":
        worker.write_bytes(lines[0].replace(b'"hash":"', b'"hash":"x'))
    else:
        path = journal
        for each in journal.parent.glob(f"{journal.name}.[0-9]*"):
            each.unlink()
        journal.write_bytes(b"hello\n")
    assert cli.main(["audit", "verify", str(path)]) == Exit.TAMPERED
    assert capsys.readouterr().out.startswith("tampered: ")


def test_a_cut_tail_is_incomplete(capsys, journal, alice):
    journal.unlink()
    code, lines, _ = audit(capsys, "verify", journal, "--key", alice[1])
    assert code == Exit.INCOMPLETE == 5
    assert lines == [f"incomplete: {journal}: line 3 of the chain is missing at the end"]


def test_of_several_files_the_worst_is_the_exit_code(capsys, worker, journal):
    journal.unlink()
    assert audit(capsys, "verify", worker, journal)[0] == Exit.INCOMPLETE
    worker.write_bytes(worker.read_bytes().replace(b"alice", b"malle"))
    code, lines, _ = audit(capsys, "verify", worker, journal)
    assert code == Exit.TAMPERED
    assert [line.split(":")[0] for line in lines] == ["tampered", "incomplete"]


def test_the_verdict_as_json(capsys, journal, alice):
    _, lines, _ = audit(capsys, "verify", "--json", journal, "--key", alice[1])
    found = json.loads(lines[0])
    assert (found["word"], found["where"], found["lines"], found["checkpoint"]) == ("ok", None, 3, 3)
    assert found["head"]["chain"] == 3


def test_a_checkpoint_from_elsewhere_belongs_to_one_file(capsys, worker, journal):
    code, _, err = audit(capsys, "verify", worker, journal, "--checkpoint", "x")
    assert (code, err) == (Exit.USAGE, "--checkpoint belongs to one FILE\n")


def test_what_cannot_be_read_is_one_line_and_exit_1(capsys, worker, tmp_path):
    assert audit(capsys, "verify", tmp_path / "none") == (Exit.ERROR, [], f"{tmp_path / 'none'}: no such file\n")
    assert audit(capsys, "verify", tmp_path)[0] == Exit.ERROR
    (tmp_path / "bad.pub.pem").write_text("no key")
    code, _, err = audit(capsys, "verify", worker, "--key", tmp_path / "bad.pub.pem")
    assert (code, err.count("\n")) == (Exit.ERROR, 1)
    assert "not a public key" in err


# --------------------------------------------------------------------------------------------------------- show


def test_both_sides_of_a_request_stand_together_in_the_order_of_time(capsys, worker, journal):
    code, lines, err = audit(capsys, "show", worker, journal, "--op", "op-1")
    assert (code, err) == (Exit.DONE, "")
    assert [line.split()[1] for line in lines] == [
        "op.intent",
        "deployment.drain_started",
        "op.outcome",
        "deployment.drain_completed",
    ]
    assert lines[1] == (
        "1970-01-01T00:01:42.500Z deployment.drain_started alice voice-a-1 ok v1"
        ' op_id=op-1 plan_id=p reason="out it goes"'
    )


def test_events_can_be_picked_by_plan_and_by_how_they_begin(capsys, worker, journal):
    def events(*options):
        return [line.split()[1] for line in audit(capsys, "show", worker, journal, *options)[1]]

    assert len(events()) == 6
    assert len(events("--plan", "p")) == 4
    assert events("--event", "deployment.drain") == ["deployment.drain_started", "deployment.drain_completed"]
    assert events("--op", "nobody's") == []


def test_a_rotated_file_named_beside_its_own_chain_is_shown_once(capsys, journal):
    rotated = journal.with_name(f"{journal.name}.1")
    assert rotated.exists()
    assert len(audit(capsys, "show", journal, rotated)[1]) == 3


def test_as_json_each_line_is_the_record_as_it_stands_in_the_file(capsys, worker):
    _, lines, _ = audit(capsys, "show", "--json", worker)
    assert [json.loads(line) for line in lines] == [json.loads(line) for line in worker.read_bytes().splitlines()]


def test_as_cloudevents_each_line_has_what_version_1_0_asks_for(capsys, worker):
    _, lines, _ = audit(capsys, "show", "--cloudevents", worker, "--op", "op-1")
    event = json.loads(lines[0])
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": data["hash"],
        "source": "/openrtc/audit/worker.jsonl",
        "type": "openrtc.deployment.drain_started",
        "time": "1970-01-01T00:01:42.500Z",
        "subject": "voice-a-1",
        "datacontenttype": "application/json",
    }
    assert (data["event"], data["op_id"], data["reason"]) == ("deployment.drain_started", "op-1", "out it goes")
    assert len({json.loads(line)["id"] for line in lines}) == 2


def test_damaged_lines_are_left_out_and_counted_on_stderr(capsys, worker):
    worker.write_bytes(worker.read_bytes().replace(b"alice", b"malle"))
    code, lines, err = audit(capsys, "show", worker)
    assert (code, len(lines)) == (Exit.DONE, 2)
    assert err == f"{worker}: 1 line is damaged and left out; see openrtc-tui audit verify\n"


def test_nothing_in_a_file_can_steer_the_terminal(capsys, tmp_path):
    path = tmp_path / "hostile.jsonl"
    with ChainWriter(path, exclusive=True) as writer:
        writer.append(
            {"event": "x\x1b[2J", "actor": "\u202eecila", "timestamp": 1e300, "note\n": ["\x9b", None], "op_id": ""}
        )
        writer.append({"timestamp": "soon", "event": None})
    code, lines, _ = audit(capsys, "show", path)
    assert code == Exit.DONE
    assert lines == ['no time x[2J ecila - - - "note "=["", null] op_id=""', "no time - - - - -"]
    assert audit(capsys, "show", "--cloudevents", path)[0] == Exit.DONE


@pytest.mark.parametrize(
    "arguments", [[], ["verify"], ["show"], ["show", "--json", "--cloudevents", "x"], ["prove", "x"]]
)
def test_wrong_usage_is_exit_2(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["audit", *arguments])
    assert ended.value.code == Exit.USAGE
