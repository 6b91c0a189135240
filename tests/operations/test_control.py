"""Requests to a real control endpoint that checks real tokens, with answers lost on purpose."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from openrtc_tui.http import Access, Http
from openrtc_tui.operations.control import ControlClient
from openrtc_tui.operations.operator import KeyFileError, Operator
from openrtc_tui.operations.request import Ask
from openrtc_worker.contract.keys import generate_operator_key
from openrtc_worker.contract.snapshot import encode_json
from openrtc_worker.control.server import ControlServer
from openrtc_worker.control.settings import ControlSettings
from tests.control.fake_target import FakeTarget
from tests.operations.lossy import LossyProxy
from tests.support.fake_worker import FakeWorker, hold, reply, snapshot


class Bench:
    """A worker's real endpoint, a proxy before it, and an operator's client. Pauses pass in no time."""

    def __init__(self, folder) -> None:
        private, self.public = generate_operator_key("alice", folder)
        self.operator = Operator.load("alice", private)
        self.folder = folder
        self.target = FakeTarget()
        self.now = 1_000.0
        self.pauses: list[float] = []
        self.said: list[str] = []

    async def open(self, stack: AsyncExitStack, **settings) -> Bench:
        settings = {"operator_keys": self.public, **settings}
        self.server = ControlServer(self.target, settings=ControlSettings(port=0, **settings), clock=lambda: self.now)
        await self.server.start()
        stack.push_async_callback(self.server.aclose)
        self.proxy = await stack.enter_async_context(LossyProxy(self.server.port))
        self.http = Http()
        stack.push_async_callback(self.http.aclose)
        self.client = ControlClient(
            self.http,
            self.operator,
            lambda _: Access(read_token=settings.get("read_token")),
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        return self

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += max(seconds, 1.0)  # tokens are dated in whole seconds
        await asyncio.sleep(0)

    def ask(self, action="drain", **more) -> Ask:
        fields = {
            "key": "voice-a-1",
            "url": self.proxy.url,
            "worker_id": self.target.worker_id,
            "boot_id": self.target.boot_id,
            "state": str(self.target.snapshot.state),
        }
        return Ask(action=action, **{**fields, **more})

    async def send(self, ask: Ask):
        return await self.client.send(ask, lambda _, text: self.said.append(text))


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def bench(tmp_path, stack):
    return await Bench(tmp_path).open(stack)


# --------------------------------------------------------------------------------------------- what is answered


async def test_a_drain_is_begun_with_its_reason_timeout_and_operator(bench):
    answer = await bench.send(bench.ask(reason="rollout 7", timeout=90.0, plan_id="plan-1"))
    assert (answer.outcome, answer.status, answer.done) == ("started", 202, True)
    assert answer.snapshot
    assert answer.snapshot.draining
    assert json.loads(answer.raw)["state"] == "draining"
    ((action, by, timeout),) = bench.target.calls
    assert (action, timeout) == ("drain", 90.0)
    assert (by.actor, by.kid, by.reason, by.plan_id, by.op_id) == (
        "alice",
        "alice",
        "rollout 7",
        "plan-1",
        answer.ask.op_id,
    )


async def test_cordon_and_uncordon_and_what_is_so_already(bench):
    assert (await bench.send(bench.ask("cordon"))).outcome == "started"
    assert (await bench.send(bench.ask("cordon"))).outcome == "already"
    assert (await bench.send(bench.ask("uncordon"))).outcome == "started"
    assert (await bench.send(bench.ask("drain"))).outcome == "started"
    assert (await bench.send(bench.ask("drain"))).outcome == "already"


async def test_a_refusal_keeps_the_workers_own_words(bench):
    bench.target.change(draining=True, state="draining")
    answer = await bench.send(bench.ask("cordon"))
    assert (answer.outcome, answer.status, answer.reason) == ("refused", 409, "expect")
    assert answer.detail == "the worker is draining, and a drain cannot be undone"
    assert not answer.done


async def test_a_state_other_than_the_one_seen_is_refused(bench):
    bench.target.change(state="cordoned")
    answer = await bench.send(bench.ask(state="serving"))
    assert (answer.outcome, answer.status) == ("refused", 409)
    assert "cordoned, not serving" in answer.detail
    assert bench.target.calls == []


async def test_another_boot_at_the_address_is_refused_and_named(bench):
    answer = await bench.send(bench.ask(boot_id="an-earlier-one"))
    assert answer.outcome == "refused"
    assert "restarted since you looked" in answer.detail
    assert bench.target.calls == []


async def test_an_unknown_key_and_a_wrong_name_are_refused(bench, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    private, _ = generate_operator_key("mallory", folder)
    bench.client._operator = Operator.load("mallory", private)
    assert (await bench.send(bench.ask())).reason == "key"
    bench.client._operator = replace(bench.operator, name="bob")
    answer = await bench.send(bench.ask())
    assert (answer.status, answer.reason) == (403, "operator")
    assert bench.target.calls == []


async def test_acting_that_is_off_says_how_to_switch_it_on(tmp_path, stack):
    bench = await Bench(tmp_path).open(stack, operator_keys=None)
    answer = await bench.send(bench.ask())
    assert (answer.outcome, answer.status, answer.reason) == ("refused", 403, "acting_off")
    assert "OPENRTC_OPERATOR_KEYS" in answer.detail


async def test_a_clock_that_is_wrong_is_refused_by_the_worker_and_told(bench):
    bench.client._clock = lambda: bench.now - 3_600
    answer = await bench.send(bench.ask())
    assert (answer.outcome, answer.reason) == ("refused", "times")
    assert "compare the clocks" in answer.detail


async def test_a_full_memory_is_a_refusal_and_not_a_lost_answer(bench):
    bench.server._memory._capacity = 0
    answer = await bench.send(bench.ask())
    assert (answer.outcome, answer.status, answer.reason) == ("refused", 503, "full")
    assert bench.pauses == []


# ------------------------------------------------------------------------------------------------ what gets lost


@pytest.mark.parametrize("action", ["drain", "cordon"])
@pytest.mark.parametrize("losses", [["answer"], ["answer", "answer"], ["request"], ["request", "answer"]])
async def test_a_lost_answer_is_found_again_with_one_effect(bench, action, losses):
    bench.proxy.losses = list(losses)
    answer = await bench.send(bench.ask(action))
    assert answer.outcome == "started"
    assert [call[0] for call in bench.target.calls] == [action]
    assert len({body for _, body in bench.proxy.posts}) == 1, "every retry carries the very same body"
    assert len({head for head, _ in bench.proxy.posts}) == len(bench.proxy.posts), "and a token of its own"
    assert bench.said


async def test_a_drain_that_the_snapshot_names_is_not_asked_again(bench):
    bench.proxy.losses = ["answer"]
    answer = await bench.send(bench.ask())
    assert answer.outcome == "started"
    assert answer.status is None
    assert len(bench.proxy.posts) == 1


async def test_a_shortened_deadline_with_a_lost_answer_is_asked_again(bench):
    """The snapshot names who began the drain, not who shortened it; only the worker's answer settles it."""
    bench.target.change(draining=True, state="draining")
    bench.proxy.losses = ["answer"]
    answer = await bench.send(bench.ask(timeout=60.0))
    assert answer.outcome == "already"
    assert len(bench.proxy.posts) == 2
    assert len(bench.target.calls) == 1


async def test_an_answer_that_never_comes_stays_unknown_and_is_bounded(bench):
    bench.proxy.losses = ["answer"] * 99
    answer = await bench.send(bench.ask("cordon"))
    assert answer.outcome == "unknown"
    assert "may have taken the cordon" in answer.detail
    assert answer.snapshot
    assert answer.snapshot.state == "cordoned", "what was read meanwhile is handed on"
    assert len(bench.proxy.posts) <= 6
    assert [call[0] for call in bench.target.calls] == ["cordon"]


async def test_a_restart_between_a_lost_answer_and_the_look_stays_unknown(bench):
    """The boot that may have taken it is gone, and no other can tell. It is not reported as refused."""
    bench.proxy.losses = ["answer"]

    def restart() -> None:
        bench.target.boot_id = "next-boot"
        bench.target.change(boot_id="next-boot", state="serving", draining=False, drain=None)

    bench.proxy.before_next = restart
    answer = await bench.send(bench.ask())
    assert answer.outcome == "unknown"
    assert "restarted" in answer.detail
    assert len(bench.proxy.posts) == 1


async def test_a_refusal_by_the_next_boot_after_a_loss_stays_unknown(bench):
    """The same, where the snapshot cannot be read in between: the refusal is the first word of the next boot."""
    ask = bench.ask()
    answers = iter([hold_nothing, reply(403, b'{"reason": "audience", "detail": "another boot"}')])
    next_boot = reply(200, encode_json(snapshot("next-boot")))
    looks = iter([reply(500), next_boot])

    async def act(exchange) -> None:
        await next(answers)(exchange)

    async def look(exchange) -> None:
        await next(looks)(exchange)

    async with FakeWorker({"/v1/drain": act, "/v1/snapshot": look}) as worker:
        answer = await bench.send(replace(ask, url=worker.url))
    assert (answer.outcome, answer.status) == ("unknown", None)


async def hold_nothing(exchange) -> None:
    exchange.close()


async def test_a_worker_that_nobody_can_reach_was_never_asked(bench):
    worker = FakeWorker()
    await worker.start()
    await worker.stop()
    answer = await bench.send(bench.ask(url=worker.url))
    assert answer.outcome == "unreached"
    assert "nothing was asked" in answer.detail
    assert sum(bench.pauses) < 2


async def test_a_worker_that_leaves_after_a_lost_answer_is_unknown_and_not_unreached(bench):
    async def leave(exchange) -> None:
        asyncio.get_running_loop().create_task(worker.stop())
        await exchange.hold()

    worker = FakeWorker({"/v1/drain": leave})
    async with worker:
        assert (await bench.send(bench.ask(url=worker.url))).outcome == "unknown"


@pytest.mark.parametrize(
    "script",
    [
        reply(500, b"oops"),
        reply(502),
        reply(503, b"no problem document"),
        reply(200, b"<html>login</html>"),
        reply(302),
        reply(202, b"not json"),
        reply(202, b'{"op_id": "another", "effect": "started", "snapshot": {}}'),
        reply(202, b'{"op_id": "x", "effect": "maybe"}'),
    ],
)
async def test_an_answer_that_no_worker_gives_is_as_good_as_none(bench, script):
    async with FakeWorker({"/v1/drain": script}) as worker:
        answer = await bench.send(bench.ask(url=worker.url))
        asked = [asked for asked in worker.asked if asked.method == "POST"]
    assert answer.outcome == "unknown"
    assert 2 <= len(asked) <= 6


@pytest.mark.parametrize("status", [404, 405, 413])
async def test_an_endpoint_without_actions_refuses_in_few_words(bench, status):
    async with FakeWorker({"/v1/drain": reply(status, b"\xff")}) as worker:
        answer = await bench.send(bench.ask(url=worker.url))
    assert (answer.outcome, answer.status) == ("refused", status)
    assert str(status) in answer.detail


async def test_hostile_words_of_a_worker_are_made_printable(bench):
    body = json.dumps({"detail": "no\x1b[2J\nway" * 100, "reason": "a\x1bb"}).encode()
    async with FakeWorker({"/v1/drain": reply(409, body), "/v1/snapshot": reply(404)}) as worker:
        answer = await bench.send(bench.ask(url=worker.url))
    assert answer.detail.isprintable()
    assert len(answer.detail) <= 256
    assert answer.reason == "ab"


async def test_silence_is_not_waited_for_for_ever(bench, monkeypatch):
    monkeypatch.setattr("openrtc_tui.operations.control.ASK_DEADLINE", 0.1)
    monkeypatch.setattr("openrtc_tui.operations.control.LOOK_DEADLINE", 0.1)
    async with FakeWorker({"/v1/drain": hold, "/v1/snapshot": hold}) as worker:
        answer = await bench.send(bench.ask(url=worker.url))
    assert answer.outcome == "unknown"


async def test_a_read_token_opens_the_look_and_is_never_sent_with_an_action(tmp_path, stack):
    bench = await Bench(tmp_path).open(stack, read_token="read-me")
    bench.proxy.losses = ["answer"]
    assert (await bench.send(bench.ask())).outcome == "started"
    assert not any(b"read-me" in head for head, _ in bench.proxy.posts)


# ------------------------------------------------------------------------------------------------- the operator


def test_an_operator_does_not_show_its_key(bench_folder):
    private, _ = generate_operator_key("alice", bench_folder)
    operator = Operator.load("alice", private)
    assert (operator.name, operator.kid) == ("alice", "alice")
    assert "key" not in repr(operator).replace("kid", "")


def test_a_key_that_others_can_read_is_not_used(bench_folder):
    private, _ = generate_operator_key("alice", bench_folder)
    private.chmod(0o640 if private.stat().st_uid else 0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        Operator.load("alice", private)


@pytest.fixture
def bench_folder(tmp_path):
    return tmp_path
