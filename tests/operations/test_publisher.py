"""Publishing: everybody is read again, the next number is signed, who is opened has it before anybody is closed."""

from __future__ import annotations

import msgspec
import pytest

from openrtc_tui.fleet_specs import ManifestSpec, PublishFile
from openrtc_tui.operations.batch import BatchResult
from openrtc_tui.operations.history import Put
from openrtc_tui.operations.publisher import SETTLE, Publisher, PublishRefused
from openrtc_tui.operations.request import Answer
from openrtc_worker.contract.keys import OperatorKey, generate_operator_key, public_key_from_pem
from openrtc_worker.contract.manifest import verify_manifest
from openrtc_worker.contract.snapshot import ManifestInfo
from tests.operations.views import row, view


def worker(key, version, seq=None, *active, **more):
    made = row(key, version=version, boot_id=f"boot-{key}", ready_to_take=True, **more)
    held = ManifestInfo(seq=seq, active=list(active)) if seq is not None else None
    object.__setattr__(made, "snapshot", msgspec.structs.replace(made.snapshot, manifest=held))
    return made


class FakeHands:
    """A fleet whose workers answer what ``answers`` says of them, and yes otherwise.

    ``fresh`` are rows as they are once the worker is read again.
    """

    def __init__(self, *rows, fresh=(), answers=None):
        self.rows = {each.key: each for each in rows}
        self.fresh = {each.key: each for each in fresh}
        self.answers = answers or {}
        self.looked, self.batches = [], []
        self.paused: list[tuple[float, int]] = []
        """Each pause, and how many batches were sent before it."""

    def view(self):
        return view(*self.rows.values())

    async def sleep(self, seconds):
        self.paused.append((seconds, len(self.batches)))

    async def look(self, key):
        self.looked.append(key)
        self.rows[key] = self.fresh.get(key, self.rows[key])
        return self.rows[key].snapshot

    async def send(self, asks, _=None, *, width, all_of_them):
        assert all_of_them
        assert width > 1
        self.batches.append({ask.key: ask for ask in asks})
        return BatchResult(tuple(self._answer(ask) for ask in asks), ())

    def _answer(self, ask):
        outcome, reason = self.answers.get(ask.key, ("started", None))
        return Answer(ask=ask, outcome=outcome, detail=f"says {reason or outcome}", reason=reason)


@pytest.fixture
def publisher_of(tmp_path):
    generate_operator_key("release", tmp_path)

    def make(hands, publish="put"):
        spec = ManifestSpec(key_file=tmp_path / "release.pem", publish=publish)
        return Publisher(
            spec,
            hands=hands,
            fleet="eu",
            operator="alice",
            folder=tmp_path,
            clock=lambda: 1_000.0,
            sleep=hands.sleep,
        )

    return make


async def published(publisher, *active, known=0, expected=None, **more):
    draft = await publisher.draft(active, op_id="op-1", known=known, expected=expected)
    return await publisher.publish(draft, plan_id="plan-1", **more)


async def test_the_next_number_is_above_all_that_is_shown_now_and_all_that_was_journaled(publisher_of, tmp_path):
    hands = FakeHands(worker("a", "v1", 3, "v1"), fresh=[worker("a", "v1", 8, "v1")])
    publisher = publisher_of(hands)
    draft = await publisher.draft(("v2",), op_id="op-1", known=5, expected=None)
    assert (draft.seq, hands.looked) == (9, ["a"])
    assert (await publisher.draft(("v2",), op_id="op-1", known=20, expected=None)).seq == 21
    key = OperatorKey(
        kid="release", operator="release", public_key=public_key_from_pem((tmp_path / "release.pub.pem").read_bytes())
    )
    manifest = verify_manifest(draft.token, keys={"release": key}, fleet="eu")
    assert (manifest.seq, manifest.active, manifest.issued_by, manifest.issued_at) == (9, ("v2",), "alice", 1_000.0)


async def test_what_somebody_else_published_since_is_told_and_not_written_over(publisher_of):
    hands = FakeHands(worker("a", "v1", 3, "v1"), fresh=[worker("a", "v1", 4, "v2", "v3")])
    told = "manifest 4, which names v2, v3, was published meanwhile: a shows it: look again"
    with pytest.raises(PublishRefused, match=told):
        await publisher_of(hands).draft(("v1",), op_id="op-1", known=4, expected=3)


async def test_a_strangers_number_counts_for_nothing_and_a_stranger_is_given_nothing(publisher_of):
    hands = FakeHands(worker("a", "v1", 3, "v1"), worker("f", "v1", 2**52, "v9", findings=("foreign",)))
    publisher = publisher_of(hands)
    assert (await publisher.draft(("v1",), op_id="op-1", known=0, expected=3)).seq == 4
    assert (await published(publisher, "v1")).asked == 1
    assert [set(batch) for batch in hands.batches] == [{"a"}]


async def test_who_is_opened_has_it_before_anybody_is_closed(publisher_of):
    hands = FakeHands(worker("a", "v1"), worker("b", "v2"), worker("c", "v2"))
    result = await published(publisher_of(hands), "v2")
    assert [set(batch) for batch in hands.batches] == [{"b", "c"}, {"a"}]
    assert (result.outcome, result.detail) == ("started", "manifest 1 taken by 3 of 3")


async def test_livekit_is_given_a_moment_to_learn_of_the_opened_before_the_others_are_closed(publisher_of):
    """A worker's yes comes before LiveKit has its new load: a caller in between would find nobody."""
    hands = FakeHands(worker("a", "v1"), worker("b", "v2"))
    await published(publisher_of(hands), "v2")
    assert hands.paused == [(SETTLE, 1)]


async def test_nothing_is_waited_for_where_nobody_is_opened_or_nobody_is_closed(publisher_of):
    hands = FakeHands(worker("a", "v1"), worker("b", "v2"))
    publisher = publisher_of(hands)
    await published(publisher, "v1", "v2")
    await published(publisher, anyhow={("", "")})
    assert hands.paused == []


@pytest.mark.parametrize("outcome", ["refused", "unreached", "unknown"])
async def test_nobody_is_closed_while_an_agent_has_nobody_who_took_it(publisher_of, outcome):
    rows = worker("a", "v1", agent="sales"), worker("b", "v2", agent="sales"), worker("c", "v2", agent="help")
    hands = FakeHands(*rows, answers={"b": (outcome, None)})
    result = await published(publisher_of(hands), "v2")
    assert [set(batch) for batch in hands.batches] == [{"b", "c"}]
    assert result.outcome == "refused"
    assert "nobody ready of the agent sales took manifest 1: the other version was left as it is" in result.detail
    anyhow = FakeHands(*rows, answers={"b": (outcome, None)})
    assert (await published(publisher_of(anyhow), "v2", anyhow={("sales", "")})).outcome == "started", (
        "overridden by typing"
    )
    assert [set(batch) for batch in anyhow.batches] == [{"b", "c"}, {"a"}]


async def test_who_did_not_take_it_is_named_and_the_others_count(publisher_of):
    hands = FakeHands(worker("a", "v1"), worker("b", "v2"), worker("c", "v2"), answers={"c": ("unreached", None)})
    result = await published(publisher_of(hands), "v2")
    assert (result.outcome, result.taken, result.asked) == ("started", 2, 3)
    assert result.detail == "manifest 1 taken by 2 of 3; not reached: c (says unreached)"


@pytest.mark.parametrize("reason", ["conflict", "seq"])
async def test_a_worker_that_has_another_manifest_refuses_the_whole(publisher_of, reason):
    hands = FakeHands(worker("a", "v1"), worker("b", "v2"), answers={"a": ("refused", reason)})
    result = await published(publisher_of(hands), "v2")
    assert result.outcome == "refused"
    assert result.detail == f"a has another: says {reason}; manifest 1 taken by 1 of 2"


async def test_taken_up_again_it_asks_nobody_twice_and_keeps_each_identity(publisher_of):
    hands = FakeHands(worker("a", "v1"), worker("b", "v2"), worker("c", "v2"))
    puts = {"boot-b": Put("put-b", "started"), "boot-c": Put("put-c")}
    result = await published(publisher_of(hands), "v2", puts=puts)
    first, second = hands.batches
    assert [(ask.op_id, ask.again) for ask in first.values()] == [("put-c", True)]
    assert [ask.again for ask in second.values()] == [False]
    assert result.taken == 3


async def test_taken_up_again_after_somebody_published_more_it_is_left_alone(publisher_of):
    hands = FakeHands(worker("a", "v1"))
    publisher = publisher_of(hands)
    draft = await publisher.draft(("v1",), op_id="op-1", known=0, expected=None)
    hands.fresh["a"] = worker("a", "v1", 2, "v2")
    result = await publisher.publish(draft, plan_id="plan-1", puts={})
    assert (result.outcome, hands.batches) == ("refused", [])
    assert "manifest 2, which names v2, was published meanwhile" in result.detail


@pytest.mark.parametrize(("to_file", "again"), [(False, False), (False, True), (True, False), (True, True)])
async def test_who_could_not_take_the_calls_any_more_is_not_published(publisher_of, tmp_path, to_file, again):
    path = tmp_path / "manifest.jws"
    hands = FakeHands(worker("a", "v1", 3, "v2"), worker("b", "v2", 3, "v2"))
    publisher = publisher_of(hands, PublishFile(path) if to_file else "put")
    result = await published(publisher, "v1", puts={} if again else None, unfit=lambda: "v1 is gone")
    assert (hands.batches, path.exists(), result.detail) == ([], False, "v1 is gone")
    assert result.outcome == ("unknown" if to_file and again else "refused")


async def test_what_a_worker_shows_already_is_brought_to_the_others_whatever_is_so_now(publisher_of):
    hands = FakeHands(worker("a", "v1", 3, "v2"), worker("b", "v2", 3, "v2"))
    publisher = publisher_of(hands)
    draft = await publisher.draft(("v1",), op_id="op-1", known=0, expected=None)
    hands.fresh["a"] = worker("a", "v1", 4, "v1")
    result = await publisher.publish(draft, plan_id="plan-1", puts={}, unfit=lambda: "v1 has no room")
    assert (result.outcome, result.taken) == ("started", 2)


async def test_a_fleet_without_workers_is_not_published_to(publisher_of):
    assert (await published(publisher_of(FakeHands()), "v2")).outcome == "unreached"


async def test_a_files_own_number_counts_and_another_fleets_file_is_left_alone(publisher_of, tmp_path):
    path = tmp_path / "manifest.jws"
    hands = FakeHands(worker("a", "v1", 3, "v1"))
    publisher = publisher_of(hands, PublishFile(path))
    assert (await published(publisher, "v1", known=10)).outcome == "started"
    assert hands.batches == [], "workers read it by themselves"
    assert (await publisher.draft(("v2",), op_id="op-2", known=0, expected=None)).seq == 12
    publisher._fleet = "us"
    with pytest.raises(PublishRefused, match="for the fleet 'eu', not 'us'"):
        await publisher.draft(("v2",), op_id="op-3", known=0, expected=None)
