"""Many requests: a few at a time, in order, until one gets no yes."""

from __future__ import annotations

import asyncio

import pytest

from openrtc_tui.operations.batch import run_batch
from openrtc_tui.operations.request import Answer, Ask


def asks(count: int) -> list[Ask]:
    return [
        Ask(action="drain", key=f"w{number}", url="http://w", worker_id=f"w{number}", boot_id="b")
        for number in range(count)
    ]


class FakeSender:
    """Answers when it is told to; ``refuse`` names the keys that get another outcome."""

    def __init__(self, refuse: dict[str, str] | None = None) -> None:
        self.refuse = refuse or {}
        self.begun: list[str] = []
        self.most_at_once = 0
        self._at_once = 0

    async def send(self, ask: Ask, on_progress=None) -> Answer:
        assert on_progress is None
        self.begun.append(ask.key)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        for _ in range(5):
            await asyncio.sleep(0)
        self._at_once -= 1
        return Answer(ask=ask, outcome=self.refuse.get(ask.key, "started"), detail="")


async def test_all_are_asked_four_at_a_time_and_in_order():
    sender, heard = FakeSender(), []
    result = await run_batch(sender, asks(10), on_answer=lambda answer: heard.append(answer.ask.key))
    assert sender.begun == [f"w{number}" for number in range(10)] == [answer.ask.key for answer in result.answers]
    assert sorted(heard) == sorted(sender.begun)
    assert sender.most_at_once == 4
    assert (result.not_asked, result.stopped_by) == ((), None)


@pytest.mark.parametrize("outcome", ["refused", "unreached", "unknown"])
async def test_the_first_that_gets_no_yes_stops_the_rest_and_what_was_not_asked_is_named(outcome):
    sender = FakeSender({"w1": outcome})
    result = await run_batch(sender, asks(10))
    assert sender.begun[:4] == ["w0", "w1", "w2", "w3"]
    assert len(sender.begun) <= 5, "only what was under way, or begun in the same breath, is brought to its end"
    assert result.stopped_by
    assert result.stopped_by.ask.key == "w1"
    assert [ask.key for ask in result.not_asked] == [f"w{number}" for number in range(len(sender.begun), 10)]
    assert len(result.answers) == len(sender.begun)


async def test_already_so_does_not_stop_a_batch():
    assert (await run_batch(FakeSender({"w0": "already"}), asks(6))).not_asked == ()


async def test_nothing_to_ask_is_done_at_once():
    assert (await run_batch(FakeSender(), [])).answers == ()
