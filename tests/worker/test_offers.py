"""Answering one offer: what livekit raises is counted, and what is our own mistake is said."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from openrtc_worker.offers import Offered, Offers
from openrtc_worker.routing import Route
from tests.support.processes import until

OFFER = Offered(job_id="job-1", room="booking-1")


class LostError(Exception):
    """What livekit raises when it had given up on us."""


class FakeBoot:
    """The boot's side of an offer: it notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.attributes: dict[str, str] = {}
        self.settings = SimpleNamespace(answer_timeout=1.5)

    def refusal(self):
        return None

    def offer_answered(self, _call):
        self.told.append("answered")

    def call_started(self, _call):
        self.told.append("started")

    def launch_failed(self, _call, _error):
        self.told.append("launch_failed")

    def offer_lost(self, _call):
        self.told.append("lost")


class FakeRequest:
    """livekit's request; accepting raises *error*."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def accept(self, **_wishes):
        if self._error is not None:
            raise self._error


async def answer(boot, request):
    offers = Offers(boot, router=lambda _: Route(agent="booking"), lost=LostError)
    await offers.answer(OFFER, request, deployment=None, hook=None)
    offers.stop()


@pytest.mark.parametrize(
    ("error", "told"), [(None, "started"), (LostError(), "lost"), (RuntimeError("no process"), "launch_failed")]
)
async def test_what_accepting_comes_to_is_told_once_and_is_no_error_of_ours(caplog, error, told):
    boot = FakeBoot()
    await answer(boot, FakeRequest(error))
    assert boot.told == ["answered", told]
    assert not caplog.records


async def test_a_mistake_of_our_own_is_in_the_log_with_its_traceback(caplog):
    boot = FakeBoot()
    boot.call_started = lambda _: {}["a mistake"]
    await answer(boot, FakeRequest())
    assert "an offer of room booking-1 could not be answered" in caplog.text
    assert "KeyError: 'a mistake'" in caplog.text


class FakeHangingRequest:
    """livekit's request; accepting it never comes to an end."""

    async def accept(self, **_wishes):
        await asyncio.Event().wait()


async def test_an_abandoned_launch_is_counted_and_waited_for_no_longer():
    boot = FakeBoot()
    offers = Offers(boot, router=lambda _: Route(agent="booking"), lost=LostError)
    answering = asyncio.create_task(offers.answer(OFFER, FakeHangingRequest(), deployment=None, hook=None))
    await until(lambda: boot.told == ["answered"], what="the answer")
    offers.abandon()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert boot.told == ["answered", "launch_failed"]
    offers.stop()
