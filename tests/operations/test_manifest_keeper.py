"""Who is given the manifest once more, and when nobody is: a fleet is never taken back."""

from __future__ import annotations

import msgspec
import pytest

from openrtc_tui.operations.batch import BatchResult
from openrtc_tui.operations.keeper import AGAIN_AFTER, ManifestKeeper
from openrtc_tui.operations.publisher import _ask
from openrtc_tui.operations.request import Answer
from openrtc_worker.contract.snapshot import ManifestInfo
from tests.operations.views import row, view


def holding(key, seq, *active, **more):
    made = row(key, boot_id=f"boot-{key}", **more)
    held = ManifestInfo(seq=seq, active=list(active), allows=True) if seq is not None else None
    object.__setattr__(made, "snapshot", msgspec.structs.replace(made.snapshot, manifest=held))
    return made


def published(op_id="p1", seq=5, active=("v2",), outcome="started"):
    intent = {"event": "op.intent", "op_id": op_id, "action": "publish", "manifest_seq": seq, "active": list(active)}
    return [
        {**intent, "manifest": f"JWS-{seq}", "plan_id": "plan"},
        {"event": "op.outcome", "op_id": op_id, "outcome": outcome},
    ]


class FakePublisher:
    """Puts as the real one does, to workers that answer what they are told to."""

    def __init__(self, outcome="started"):
        self.outcome = outcome
        self.asks = []

    async def put(self, publication, rows, puts):
        asks = [_ask(publication, each, None, None, puts) for each in rows]
        self.asks += asks
        return BatchResult(tuple(Answer(ask=ask, outcome=self.outcome, detail="") for ask in asks), ())


@pytest.fixture
def keeper():
    made = ManifestKeeper()
    made.know(published())
    return made


def due(keeper, *rows, now=0.0):
    return [each.key for each in keeper.due(view(*rows), now)]


def test_a_boot_with_an_older_manifest_or_none_lacks_it(keeper):
    assert due(keeper, holding("a", 5, "v2"), holding("b", 4, "v1"), holding("c", None)) == ["b", "c"]


@pytest.mark.parametrize("seq", [4, 6])
def test_nobody_is_given_it_unless_the_fleet_shows_it_as_its_newest(keeper, seq):
    assert due(keeper, holding("a", seq, "v1"), holding("b", None)) == []


def test_no_side_is_taken_between_two_manifests_of_one_number(keeper):
    assert due(keeper, holding("a", 5, "v1"), holding("b", None)) == []


def test_strangers_and_the_dead_are_given_nothing(keeper):
    gone = holding("gone", None, shown="lost")
    assert due(keeper, holding("a", 5, "v2"), holding("f", None, findings=("foreign",)), gone) == []


def test_without_anything_published_there_is_nothing_to_keep():
    keeper = ManifestKeeper()
    keeper.know([])
    assert due(keeper, holding("a", 5, "v2"), holding("b", None)) == []


@pytest.mark.parametrize("outcome", [None, "refused"])
def test_what_is_on_its_way_or_came_to_nothing_is_kept_by_nobody(outcome):
    """Another dashboard of this machine may be bringing it, who is opened first; or it left the others on purpose."""
    keeper = ManifestKeeper()
    keeper.know(published(outcome=outcome)[: 1 if outcome is None else 2])
    assert due(keeper, holding("opened", 5, "v2"), holding("left as it is", 4, "v1")) == []


async def test_who_refuses_is_not_asked_again_and_who_was_not_reached_is_a_little_later(keeper):
    rows = holding("a", 5, "v2"), holding("b", None)
    assert await keeper.keep(FakePublisher("unreached"), view(*rows), 100.0) == ()
    assert due(keeper, *rows, now=100.0 + AGAIN_AFTER / 2) == []
    assert due(keeper, *rows, now=100.0 + AGAIN_AFTER) == ["b"]
    await keeper.keep(FakePublisher("refused"), view(*rows), 100.0 + AGAIN_AFTER)
    assert due(keeper, *rows, now=1e9) == []


async def test_what_an_earlier_life_was_about_to_give_keeps_its_identity(keeper):
    put = {"event": "op.intent", "op_id": "put-1", "action": "manifest", "publish": "p1"}
    keeper.know([*published(), {**put, "subject": {"boot_id": "boot-b"}}])
    publisher = FakePublisher()
    assert await keeper.keep(publisher, view(holding("a", 5, "v2"), holding("b", None)), 0.0) == ("b",)
    assert [(ask.op_id, ask.again, ask.manifest) for ask in publisher.asks] == [("put-1", True, "JWS-5")]
