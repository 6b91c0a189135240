"""The one queue: nothing is lost, nothing changes its order or its time, and no fault of one hides the others."""

from __future__ import annotations

import logging

import pytest

from openrtc_tui.sources.inbox import MOST_WAITING, Inbox
from openrtc_tui.state.observation import ContactFailed, HeartbeatSeen, NoticeSeen


@pytest.fixture
def folded():
    return []


@pytest.fixture
def clock():
    class Clock:
        now = 100.0

        def __call__(self) -> float:
            return self.now

    return Clock()


def test_observations_keep_their_order_and_the_time_when_they_came(folded, clock):
    inbox = Inbox(lambda seen, at: folded.append((seen, at)), clock)
    inbox.put(HeartbeatSeen("a"))
    clock.now = 101.0
    inbox.put(HeartbeatSeen("b"))
    clock.now = 102.0
    assert folded == []
    inbox.empty()
    assert folded == [(HeartbeatSeen("a"), 100.0), (HeartbeatSeen("b"), 101.0)]
    inbox.empty()
    assert len(folded) == 2


def test_no_more_than_so_many_wait_when_nobody_looks(folded, clock):
    inbox = Inbox(lambda seen, _: folded.append(seen), clock)
    for number in range(MOST_WAITING + 5):
        inbox.put(HeartbeatSeen(str(number)))
    assert len(folded) == MOST_WAITING
    inbox.empty()
    assert [seen.key for seen in folded] == [str(number) for number in range(MOST_WAITING + 5)]


def test_what_is_put_while_folding_is_folded_too(folded, clock):
    def fold(seen, at):
        folded.append(seen)
        if seen.key == "a":
            inbox.put(HeartbeatSeen("b"))

    inbox = Inbox(fold, clock)
    inbox.put(HeartbeatSeen("a"))
    inbox.empty()
    assert [seen.key for seen in folded] == ["a", "b"]


def test_what_cannot_be_folded_is_told_and_logged_and_the_rest_is_folded(folded, clock, caplog):
    def fold(seen, at):
        if isinstance(seen, HeartbeatSeen) and seen.key == "a":
            raise KeyError("ours\x1b")
        folded.append(seen)

    inbox = Inbox(fold, clock)
    inbox.put(HeartbeatSeen("a"))
    inbox.put(HeartbeatSeen("b"))
    inbox.empty()
    told, heard = folded
    assert (type(told), told.key, told.kind) == (ContactFailed, "a", "garbage")
    assert told.detail.startswith("fault in the dashboard: KeyError")
    assert told.detail.isprintable()
    assert heard == HeartbeatSeen("b")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("seen", [NoticeSeen("hello"), ContactFailed("a", "refused", "connection refused")])
def test_a_fault_that_concerns_no_contact_is_logged_only(seen, folded, clock, caplog):
    def fold(seen, at):
        raise KeyError("ours")

    inbox = Inbox(fold, clock)
    inbox.put(seen)
    inbox.empty()
    assert len(caplog.records) == 1
