"""The operator's journal: chained, for this user only, written in turn, off the event loop, honest about a disk."""

from __future__ import annotations

import asyncio
import errno
import stat
import threading

import pytest

from openrtc_tui.operations.batch import run_batch
from openrtc_tui.operations.history import (
    active_before,
    highest_seq,
    last_rollback,
    newest_move,
    open_requests,
    plans_of,
    publications,
    puts_of,
)
from openrtc_tui.operations.journal import Journal, JournalError, file_name_of, journal_path, state_folder
from openrtc_tui.operations.journaled import JournaledSender
from openrtc_tui.operations.operator import Operator
from openrtc_tui.operations.request import Answer, Ask
from openrtc_worker.contract import chain
from openrtc_worker.contract.chain import verify_chain
from openrtc_worker.contract.keys import generate_operator_key, load_private_key


@pytest.fixture
def operator(tmp_path):
    private, _ = generate_operator_key("alice", tmp_path)
    return Operator("alice", "alice", load_private_key(private))


@pytest.fixture
def journal(tmp_path, operator):
    made = Journal(tmp_path / "state" / "journal-eu.jsonl", operator=operator, clock=lambda: 1_000.0)
    yield made
    made.close()


def ask(key="a-1", **more):
    return Ask(action="drain", key=key, url=f"http://{key}", worker_id=f"id-{key}", boot_id=f"boot-{key}", **more)


class FakeSender:
    """Says yes to everything, after telling what the journal had by then."""

    def __init__(self, journal):
        self.journal = journal
        self.seen = []

    async def send(self, ask, _=None):
        self.seen.append((ask.key, [record["event"] for record in await self.journal.records()]))
        return Answer(ask=ask, outcome="started", detail="is draining")


async def test_nothing_is_made_before_the_first_line_and_then_for_this_user_only(journal):
    assert await journal.records() == ()
    assert not journal.path.parent.exists()
    await journal.write("plan.begun", target="eu", plan_id="p1")
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


async def test_a_line_has_the_shape_of_a_workers_audit_event_and_chains_to_the_one_before(journal, operator):
    await journal.write("plan.begun", target="eu", version="v2", plan_id="p1", reason=None)
    await journal.write("plan.ended", target="eu", plan_id="p1", word="done")
    first, second = await journal.records()
    assert {name: first[name] for name in ("seq", "timestamp", "event", "actor", "target", "result", "version")} == {
        "seq": 1,
        "timestamp": 1_000.0,
        "event": "plan.begun",
        "actor": "alice",
        "target": "eu",
        "result": "ok",
        "version": "v2",
    }
    assert "reason" not in first, "what is not known is not written"
    assert second["prev"] == first["hash"]
    assert verify_chain(journal.path, {"alice": operator.private_key.public_key()}).is_ok, "and its length is signed"


async def test_a_reserved_name_is_no_field(journal):
    with pytest.raises(ValueError, match="seq"):
        await journal.write("op.intent", seq=4)


async def test_two_of_one_machine_write_in_turn(journal, operator):
    other = Journal(journal.path, operator=operator)
    await asyncio.gather(*(each.write("op.intent", number=n) for n in range(20) for each in (journal, other)))
    other.close()
    assert len(await journal.records()) == 40
    assert verify_chain(journal.path).is_ok


async def test_a_slow_disk_holds_up_nobody_but_who_waits_for_it(journal, monkeypatch):
    release = threading.Event()
    sync = chain.writer.make_durable

    def slow(descriptor):
        release.wait(30)
        sync(descriptor)

    await journal.write("first")
    monkeypatch.setattr(chain.writer, "make_durable", slow)
    writing = asyncio.create_task(journal.write("second"))
    for _ in range(50):  # the loop turns while the disk does not
        await asyncio.sleep(0)
    assert not writing.done()
    release.set()
    assert (await writing)["event"] == "second"


async def test_an_intent_is_on_the_disk_before_its_request_leaves_and_the_outcome_after(journal):
    sender = FakeSender(journal)
    await JournaledSender(sender, journal, on_trouble=pytest.fail).send(ask(version="v1", calls=3, plan_id="p1"))
    assert sender.seen == [("a-1", ["op.intent"])]
    intent, outcome = await journal.records()
    assert intent["subject"] == {
        "key": "a-1",
        "url": "http://a-1",
        "worker_id": "id-a-1",
        "boot_id": "boot-a-1",
        "version": "v1",
        "calls": 3,
    }
    assert (outcome["event"], outcome["outcome"], outcome["op_id"]) == ("op.outcome", "started", intent["op_id"])
    assert {intent["plan_id"], outcome["plan_id"]} == {"p1"}


async def test_what_was_journaled_in_an_earlier_life_has_no_second_intent(journal):
    await JournaledSender(FakeSender(journal), journal, on_trouble=pytest.fail).send(ask(again=True))
    assert [record["event"] for record in await journal.records()] == ["op.outcome"]


async def test_a_full_disk_sends_nothing_ends_the_batch_and_recovers(journal, monkeypatch):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    sender = FakeSender(journal)
    journaled = JournaledSender(sender, journal, on_trouble=pytest.fail)
    with monkeypatch.context() as patch:
        patch.setattr(chain.writer, "write_all", full)
        result = await run_batch(journaled, [ask("a-1"), ask("a-2"), ask("a-3")], width=1)
        with pytest.raises(
            JournalError, match=r"journal cannot be written: .*no space left on device; free some space"
        ):
            await journal.write("plan.begun")
    assert sender.seen == []
    assert [(answer.ask.key, answer.outcome) for answer in result.answers] == [("a-1", "unreached")]
    assert "nothing was asked: the journal cannot be written" in result.answers[0].detail
    assert [each.key for each in result.not_asked] == ["a-2", "a-3"]
    assert (await journaled.send(ask())).done


async def test_an_outcome_that_cannot_be_written_is_told_and_the_answer_stands(journal, monkeypatch):
    told = []
    write = journal.write

    async def write_intents(event, **fields):
        if event == "op.outcome":
            raise JournalError("the journal cannot be written: disk quota exceeded")
        return await write(event, **fields)

    monkeypatch.setattr(journal, "write", write_intents)
    answer = await JournaledSender(FakeSender(journal), journal, on_trouble=told.append).send(ask())
    assert answer.done
    assert told == [
        "what came of the drain of a-1 is not written down: the journal cannot be written: disk quota exceeded"
    ]
    assert answer.unrecorded == told[0]


@pytest.mark.parametrize("fleet", ["eu-1", "../../etc", "Berufung ä", ".hidden", "a/b"])
def test_every_fleet_has_one_plain_file_of_its_own(tmp_path, fleet):
    path = journal_path(fleet, tmp_path)
    assert path.parent == tmp_path
    assert path.name.isascii()
    assert journal_path(f"{fleet} ", tmp_path) != path
    assert file_name_of("eu-1") == "eu-1"


def test_the_folder_is_the_users_own_unless_the_environment_names_one(tmp_path):
    assert state_folder({"OPENRTC_STATE_DIR": str(tmp_path)}) == tmp_path
    assert state_folder({}).name == "openrtc"


def an_intent(op_id, action="publish", at=0.0, **more):
    return {"event": "op.intent", "op_id": op_id, "action": action, "timestamp": at, **more}


def an_outcome(op_id, outcome="started"):
    return {"event": "op.outcome", "op_id": op_id, "outcome": outcome}


def test_what_was_published_is_known_with_what_nobody_knows_the_end_of():
    records = [
        an_intent("1", manifest_seq=4, active=["v1"], manifest="JWS1"),
        an_outcome("1"),
        an_intent("2", manifest_seq=5, active=["v2"], manifest="JWS2"),
    ]
    assert [(found.seq, found.active, found.taken) for found in publications(records)] == [
        (4, ("v1",), True),
        (5, ("v2",), False),
    ]
    assert highest_seq(records) == 5, "it may have reached somebody"
    assert active_before(records) == (("v1",),)


def test_the_boots_of_a_publication_keep_the_identity_under_which_they_were_asked():
    subject = {"boot_id": "boot-1"}
    records = [
        an_intent("x", "manifest", publish="1", plan_id="p", subject=subject),
        an_intent("y", "manifest", publish="1", subject=subject),
        an_outcome("y", "unreached"),
        an_intent("z", "manifest", publish="2", plan_id="p", subject=subject),
    ]
    assert {boot: (put.op_id, put.outcome) for boot, put in puts_of(records, "1", plan_id="p").items()} == {
        "boot-1": ("x", None)
    }
    assert puts_of(records, "1", plan_id=None)["boot-1"].outcome == "unreached"


def test_a_single_request_is_interrupted_once_nobody_can_still_be_sending_it():
    of = {"subject": {"key": "a-1", "boot_id": "boot-1"}}
    records = [
        an_intent("old", "cordon", **of),
        an_intent("new", "cordon", at=950.0, **of),
        an_intent("done", "cordon", **of),
        an_outcome("done"),
        an_intent("planned", "drain", plan_id="p", **of),
    ]
    assert [record["op_id"] for record in open_requests(records, 1_000.0)] == ["old"]


# -- where the calls went by plans


def planned(kind, to, away, *, word="done", done=True, reason=None):
    """The lines of one plan, *done*: something of it was."""
    plan_id = f"{kind} {away} {to} {word}"
    plan = {"plan_id": plan_id, "kind": kind, "fleet": "eu", "made_at": 1.0, "steps": [], "to_version": to}
    lines = [{"event": "plan.begun", "timestamp": 1.0, "plan": {**plan, "from_version": away, "reason": reason}}]
    if done:
        lines += [an_intent(plan_id, "publish"), an_outcome(plan_id)]
    if word:
        lines.append({"event": "plan.ended", "word": word})
    return [line | {"plan_id": plan_id} for line in lines]


V2, BACK = planned("promote", "v2", "v1"), planned("rollback", "v1", "v2")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], None),
        (V2, ("v1", "v2")),
        (V2 + BACK, ("v2", "v1")),
        (V2 + BACK + planned("promote", "v2", "v1", word=""), ("v1", "v2")),
        (V2 + planned("rollback", "v1", "v2", word="", done=False), ("v2", "v1")),
        (V2 + planned("rollback", "v1", "v2", word="aborted"), ("v2", "v1")),
        (V2 + planned("rollback", "v1", "v2", word="failed", done=False), ("v1", "v2")),
        (V2 + BACK + planned("drain", None, "v3"), ("v2", "v1")),
    ],
    ids=["nothing", "promoted", "back", "again", "under way", "aborted", "failed", "drained"],
)
def test_the_calls_went_where_the_newest_plan_took_them_that_did_anything(lines, expected):
    found = newest_move(plans_of(lines).values())
    assert (found and (found.plan.from_version, found.plan.to_version)) == expected


def test_a_version_that_a_rollback_left_is_good_again_once_somebody_promoted_it():
    def left(lines):
        found = last_rollback(plans_of(lines).values())
        return found and found.plan.from_version

    assert left(V2) is None
    assert left(V2 + BACK) == "v2"
    assert left(V2 + BACK + planned("promote", "v3", "v1")) == "v2"
    assert left(V2 + BACK + planned("promote", "v2", "v1", word="failed", done=False)) == "v2"
    assert left(V2 + BACK + planned("promote", "v2", "v1", word="aborted")) is None
    assert left(V2 + planned("rollback", "v1", "v2", word="failed", done=False)) is None
