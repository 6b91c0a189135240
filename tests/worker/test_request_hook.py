"""The user's request hook: its own thread, one answer, a time to give it."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from openrtc_worker.hook import HookThread, OfferClosedError, Question, consult


@pytest.fixture
async def hooks():
    thread = HookThread()
    yield thread
    await asyncio.to_thread(thread.stop, 5.0)


async def test_a_hook_runs_in_a_thread_of_its_own_and_the_same_one(hooks):
    async def where():
        return threading.current_thread().name

    first, second = [await asyncio.wrap_future(hooks.submit(where())) for _ in range(2)]
    assert first == second == "openrtc-request-hook"


async def test_the_answer_is_carried_out_before_the_hook_goes_on(hooks):
    question: Question[str] = Question()
    seen = []

    async def hook():
        await question.give("yes")
        seen.append("went on")

    returned = hooks.submit(hook())
    given = await question.first(returned, within=5)
    assert given.answer == "yes"
    await asyncio.sleep(0.05)
    assert seen == []
    given.settle()
    await asyncio.wrap_future(returned)
    assert seen == ["went on"]


async def test_what_carrying_out_raised_is_raised_in_the_hook(hooks):
    question: Question[str] = Question()
    returned = hooks.submit(question.give("yes"))
    given = await question.first(returned, within=5)
    given.settle(ValueError("the offer was lost"))
    with pytest.raises(ValueError, match="lost"):
        await asyncio.wrap_future(returned)


async def test_a_second_answer_is_an_error_in_the_hook_only(hooks):
    question: Question[str] = Question()
    returned = hooks.submit(question.give("yes"))
    given = await question.first(returned, within=5)
    with pytest.raises(OfferClosedError, match="already"):
        await asyncio.wrap_future(hooks.submit(question.give("no")))
    given.settle()
    await asyncio.wrap_future(returned)


async def test_a_hook_that_returns_without_an_answer_gave_none(hooks):
    question: Question[str] = Question()
    assert await question.first(hooks.submit(asyncio.sleep(0)), within=5) is None


async def test_a_late_answer_is_told_why(hooks):
    question: Question[str] = Question()
    go = threading.Event()

    async def hook():
        await asyncio.to_thread(go.wait)
        await question.give("yes")

    returned = hooks.submit(hook())
    with pytest.raises(TimeoutError):
        await question.first(returned, within=0.05)
    question.close("refused after 0.05 s")
    go.set()
    with pytest.raises(OfferClosedError, match="refused after"):
        await asyncio.wrap_future(returned)


async def test_a_hook_that_blocks_holds_nobody_but_hooks(hooks):
    release = threading.Event()

    async def block():
        release.wait(10)

    blocked = hooks.submit(block())
    question: Question[str] = Question()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await question.first(hooks.submit(question.give("yes")), within=0.05)
    assert time.monotonic() - started < 5
    question.close("too late")
    release.set()
    await asyncio.wrap_future(blocked)


async def test_a_hook_s_error_is_logged_and_goes_no_further(caplog):
    def fails(_offer):
        raise RuntimeError("the hook failed")

    await consult(fails, object(), "room-1")
    assert "room-1" in caplog.text
    assert "the hook failed" in caplog.text


async def test_a_hook_that_is_no_coroutine_function_may_return_at_once():
    seen = []
    await consult(seen.append, "offer", "room-1")
    assert seen == ["offer"]
