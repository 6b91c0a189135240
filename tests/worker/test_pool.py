"""The public face: what AgentPool and DeployServer take, refuse and show before they run."""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import pickle
import threading

import pytest
from livekit.agents import Agent, AgentServer

import openrtc_worker
from openrtc_worker import AgentConfig, AgentPool, DeployServer
from openrtc_worker.pool import PoolEntrypoint
from openrtc_worker.registry import Providers


class BookingAgent(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="book tables")


class SalesAgent(BookingAgent):
    pass


async def entrypoint(ctx) -> None:
    pass


def make_stt():
    return "a provider"


class TestVersion:
    @pytest.mark.parametrize("value", ["v1", " v1.2.3+build_4-rc ", "0", "x" * 128])
    def test_it_is_stripped(self, value):
        assert AgentPool(deployment_version=value).deployment_version == value.strip()

    def test_none_is_an_untagged_worker(self):
        assert AgentPool().deployment_version is None
        assert AgentPool().runtime_snapshot().deployment_version is None

    @pytest.mark.parametrize("value", ["", "   ", "-v1", ".1", "v 1", "v1/2", "x" * 129, "v1\n2", "ü1"])
    def test_anything_else_is_an_error_that_names_it(self, value):
        with pytest.raises(ValueError, match="deployment_version"):
            AgentPool(deployment_version=value)

    def test_a_number_is_no_version(self):
        with pytest.raises(TypeError, match="deployment_version"):
            AgentPool(deployment_version=1.10)


class TestArguments:
    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("drain_timeout", 0),
            ("drain_timeout", float("inf")),
            ("cut_grace", -1),
            ("drain_linger", -0.1),
            ("connect_timeout", -1),
            ("connect_timeout", float("nan")),
            ("answer_timeout", 0),
            ("answer_timeout", 2.8),
            ("max_concurrent_sessions", 0),
            ("livekit_target_load", 0),
            ("livekit_target_load", 1.1),
            ("after_drain", "never"),
            ("isolation", "coroutine"),
            ("dispatch_deployment", "blue_green"),
            ("dispatch_deployment", "a b"),
            ("dispatch_deployment", "x" * 65),
        ],
    )
    def test_a_value_that_cannot_be_used_is_an_error_that_names_the_argument(self, argument, value):
        with pytest.raises(ValueError, match=argument):
            AgentPool(**{argument: value})

    @pytest.mark.parametrize(
        ("argument", "value"),
        [("drain_timeout", "1h"), ("cut_grace", True), ("max_concurrent_sessions", 2.5), ("default_stt", object())],
    )
    def test_a_value_of_the_wrong_type_names_the_argument(self, argument, value):
        with pytest.raises(TypeError, match=argument.removeprefix("default_")):
            AgentPool(**{argument: value})

    def test_the_defaults_are_the_documented_ones(self):
        parameters = inspect.signature(AgentPool).parameters
        documented = {
            "drain_timeout": 3600,
            "max_concurrent_sessions": 50,
            "isolation": "process",
            "cut_grace": 30,
            "drain_linger": 3,
            "after_drain": "auto",
            "answer_timeout": 1.5,
            "connect_timeout": 60,
            "livekit_target_load": 0.7,
            "agent_name": "",
        }
        assert {name: parameters[name].default for name in documented} == documented

    @pytest.mark.parametrize("name", ["witness", "rescue"])
    def test_what_comes_later_is_not_accepted_yet(self, name):
        with pytest.raises(TypeError, match=name):
            AgentPool(**{name: None})
        with pytest.raises(TypeError, match=name):
            DeployServer(**{name: None})

    @pytest.mark.parametrize("name", ["load_fnc", "load_threshold"])
    def test_the_server_s_own_load_cannot_be_replaced(self, name):
        with pytest.raises(ValueError, match=name):
            DeployServer(**{name: 0.5})

    def test_the_routing_key_is_opt_in(self, monkeypatch):
        monkeypatch.delenv("LIVEKIT_AGENT_DEPLOYMENT", raising=False)
        assert AgentPool(deployment_version="v1").runtime_snapshot().livekit.deployment is None
        monkeypatch.setenv("LIVEKIT_AGENT_DEPLOYMENT", "")
        assert AgentPool(dispatch_deployment="blue").server.boot.settings.dispatch_deployment == "blue"


class TestAgents:
    def test_one_agent_goes_by_its_class_name_and_several_by_theirs_or_yours(self):
        assert AgentPool(BookingAgent).list_agents() == ["BookingAgent"]
        assert AgentPool(agent=BookingAgent).list_agents() == ["BookingAgent"]
        assert AgentPool(agents=[BookingAgent, SalesAgent]).list_agents() == ["BookingAgent", "SalesAgent"]
        assert AgentPool(agents={"book": BookingAgent}).list_agents() == ["book"]
        with pytest.raises(ValueError, match="not both"):
            AgentPool(agent=BookingAgent, agents=[SalesAgent])

    def test_agents_are_added_found_listed_and_removed(self):
        pool = AgentPool(default_llm="openai/gpt", default_greeting="hello")
        added = pool.add(" booking ", BookingAgent, stt=make_stt, greeting="good day")
        assert AgentPool().runtime_snapshot().registered_agents == 0
        assert added == AgentConfig(
            name="booking",
            agent_class=BookingAgent,
            providers=Providers(stt=make_stt, llm="openai/gpt", greeting="good day"),
        )
        pool.add("sales", entrypoint=entrypoint)
        assert pool.list_agents() == ["booking", "sales"]
        assert pool.get("booking") is added
        assert pool.runtime_snapshot().registered_agents == 2
        assert pool.remove("booking") is added
        assert pool.list_agents() == ["sales"]
        for verb in (pool.get, pool.remove):
            with pytest.raises(KeyError, match="booking"):
                verb("booking")

    @pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 129])
    def test_a_name_that_cannot_be_used_is_refused(self, name):
        with pytest.raises(ValueError, match="name"):
            AgentPool().add(name, BookingAgent)

    def test_a_name_is_taken_once(self):
        pool = AgentPool(agents={"booking": BookingAgent})
        with pytest.raises(ValueError, match="booking"):
            pool.add("booking", SalesAgent)

    @pytest.mark.parametrize("value", [object, "BookingAgent", BookingAgent(), None])
    def test_only_agent_classes_are_agents(self, value):
        with pytest.raises((TypeError, ValueError), match=r"Agent subclass|livekit\.agents\.Agent"):
            AgentPool().add("booking", value)

    def test_an_entrypoint_takes_no_providers_and_no_class(self):
        pool = AgentPool()
        with pytest.raises(ValueError, match="providers"):
            pool.add("booking", entrypoint=entrypoint, stt="deepgram/nova-3")
        with pytest.raises(ValueError, match="not both"):
            pool.add("booking", BookingAgent, entrypoint=entrypoint)
        with pytest.raises(TypeError, match="entrypoint"):
            pool.add("booking", entrypoint="talk")

    def test_what_job_processes_are_sent_survives_pickling(self):
        pool = AgentPool(default_stt=make_stt)
        pool.add("booking", BookingAgent)
        pool.add("sales", entrypoint=entrypoint)
        sent = pickle.loads(pickle.dumps(pool.server.entrypoint))  # noqa: S301 - our own bytes
        assert isinstance(sent.entrypoint, PoolEntrypoint)
        assert sent.entrypoint.agents == {name: pool.get(name) for name in pool.list_agents()}


class TestBeforeRun:
    def test_the_snapshot_works_and_says_starting(self):
        pool = AgentPool(deployment_version="v1", control_port=0)
        shown = pool.runtime_snapshot()
        assert (shown.state, shown.draining, shown.accepting, shown.active_sessions) == ("starting", False, False, 0)
        assert shown.ledger.balanced
        assert shown.livekit.connected is False
        assert (shown.fleet, shown.membership, shown.manifest, shown.previous_boot) == (None, None, None, None)
        plain = shown.to_dict()
        assert plain["schema"] == 1
        assert plain["resident_set"]["bytes"] > 0
        assert plain["limits"] == {
            "drain_timeout": 3600,
            "cut_grace": 30,
            "drain_linger": 3,
            "after_drain": "auto",
        }

    def test_a_drain_is_latched_once_and_audited_once(self):
        events = []
        pool = AgentPool(deployment_version="v1", audit_sink=events.append)
        assert not pool.draining
        pool.begin_drain()
        threading.Thread(target=pool.begin_drain).start()
        pool.begin_drain()
        assert pool.draining
        assert pool.server.draining
        assert pool.runtime_snapshot().livekit.reported_load == 1.0
        names = [event.event_type for event in events]
        assert names == ["deployment.drain_started", "deployment.drain_completed"]
        assert [event.seq for event in pool.audit_log.after(0)] == [1, 2]

    def test_running_without_an_agent_is_one_clear_line(self):
        with pytest.raises(RuntimeError, match="no agent"):
            AgentPool().run()


@pytest.mark.parametrize("make", [lambda: AgentPool(agent=BookingAgent).run, lambda: _server_run])
def test_running_in_a_job_process_raises_one_clear_line(make, monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    with pytest.raises(RuntimeError, match=r'job process.*if __name__ == "__main__"') as raised:
        make()()
    assert "\n" not in str(raised.value)


def _server_run():
    openrtc_worker.run(DeployServer())


class TestDeployServer:
    def test_it_is_an_agent_server_whose_decorator_leaves_the_function_alone(self):
        server = DeployServer(deployment_version="v1", num_idle_processes=0, permissions=None)
        assert isinstance(server, AgentServer)

        @server.rtc_session(agent_name="booking")
        async def talk(ctx) -> None:
            pass

        assert inspect.iscoroutinefunction(talk)
        assert server.rtc_session is not None
        assert server.runtime_snapshot().livekit.agent_name == "booking"
        assert server.runtime_snapshot().registered_agents == 1
        with pytest.raises(RuntimeError, match="one rtc_session"):
            server.rtc_session(talk)

    def test_a_load_function_that_cannot_raise_is_asked_from_any_thread(self):
        server = DeployServer()
        assert asyncio.run(server._invoke_load_fnc()) == 0.0
        server.begin_drain()
        assert asyncio.run(server._invoke_load_fnc()) == 1.0


def test_the_public_names_are_there_and_sorted():
    assert list(openrtc_worker.__all__) == sorted(openrtc_worker.__all__)
    for name in openrtc_worker.__all__:
        assert getattr(openrtc_worker, name) is not None
    assert set(openrtc_worker.__all__) <= set(dir(openrtc_worker))
    with pytest.raises(AttributeError, match="nothing"):
        _ = openrtc_worker.nothing
