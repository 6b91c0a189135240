"""What the adapter relies on beyond livekit-agents' public API, by name: an upgrade that changes it fails here."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import signal
from types import SimpleNamespace

import pytest
from livekit.agents import AgentServer, JobExecutorType
from livekit.agents.ipc import supervised_proc
from livekit.agents.utils import http_context

from openrtc_worker import DeployServer
from tests.support.processes import until
from tests.support.tls import Authority


async def entrypoint(ctx) -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def server(switchboard, monkeypatch):
    """A DeployServer that runs in this process, in thread mode, without our boot's endpoint."""
    monkeypatch.setenv("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
    board = switchboard.dispatcher
    server = DeployServer(
        isolation="thread",
        num_idle_processes=0,
        ws_url=board.url,
        api_key=board.api_key,
        api_secret=board.api_secret,
        control_port=0,
    )
    server.rtc_session(entrypoint, agent_name="private")
    await server.open("test")
    running = asyncio.create_task(server.run())
    await until(lambda: server.link().connected, what="a registration")
    yield server
    await asyncio.wait_for(server.aclose(), 20)
    await server.boot.close()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_connecting_and_closed_tell_whether_there_is_a_connection(server, switchboard):
    """``_connecting`` is False before the first attempt and after ``aclose`` too, so it is not asked alone."""
    assert (server._connecting, server._closed) == (False, False)
    await switchboard.dispatcher.stop()
    await until(lambda: server._connecting, what="a lost connection")
    assert not server.link().connected
    await switchboard.dispatcher.start()
    await until(lambda: not server._connecting, what="a new connection")
    assert server.link().connected


def test_before_it_runs_it_is_not_connected_and_has_no_jobs():
    server = DeployServer()
    assert server._connecting is False
    assert server._closed is True
    assert not hasattr(server, "_proc_pool")  # active_jobs raises AttributeError until run()
    with pytest.raises(AttributeError):
        _ = server.active_jobs
    assert server.active_job_ids() == ()
    assert server.unassigned_job_ids() == ()
    assert not server.link().connected


async def test_connection_failed_says_that_livekit_gave_up(server):
    assert server._connection_failed is server.gave_up is False
    assert server._max_retry > 1_000_000  # after the first registration it never does


async def test_pending_assignments_holds_an_accepted_offer_until_it_is_assigned(server):
    assert server._pending_assignments == {}
    assert server.unassigned_job_ids() is server._pending_assignments


async def test_the_load_can_be_told_at_once_with_a_private_field_and_a_private_call(server, switchboard):
    record = switchboard.dispatcher.workers()[0]
    assert record.load < 0.7
    server.boot.cordon(by=_by())
    await until(lambda: switchboard.dispatcher.workers()[0].load == 1.0, within=2, what="the load")
    assert server._worker_load == 1.0
    assert asyncio.iscoroutinefunction(AgentServer._update_worker_status)


async def test_telling_full_does_not_wait_for_the_jobs(server, switchboard):
    """livekit's own ``drain`` does, in a loop that never yields while what is over is still listed.

    Two calls that are cut at once come to that in about one drain of ten; here one is over and stays listed.
    """

    class Over:
        running_job = SimpleNamespace(job=SimpleNamespace(id="AJ_over"))

        async def join(self) -> None:
            """It has ended."""

    over = Over()
    server._proc_pool.processes.append(over)
    server.tell_full()
    await until(lambda: not switchboard.dispatcher.workers()[0].available, within=2, what="told full")
    assert server._draining  # so that livekit refuses by itself what is offered in spite of it
    server._proc_pool.processes.remove(over)


async def test_a_server_that_is_closed_already_has_nobody_to_be_told_full(server):
    failed: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    await server.close_livekit()
    server.tell_full()
    await asyncio.sleep(0.05)
    gc.collect()  # a task that failed unseen is told of when it goes
    await asyncio.sleep(0)
    assert failed == []


async def test_the_pool_says_when_processes_are_ready_and_closed(server):
    assert server._proc_pool.processes == []
    assert not server.job_processes.fail.is_set()
    for _ in range(3):
        server._proc_pool.emit("process_closed", object())
    assert server.job_processes.fail.is_set()


async def test_a_failure_after_the_first_process_was_ready_is_livekit_s_business(server):
    server._proc_pool.emit("process_ready", object())
    for _ in range(5):
        server._proc_pool.emit("process_closed", object())
    assert not server.job_processes.fail.is_set()


def test_what_the_constructor_resolved_is_where_we_probe(monkeypatch):
    monkeypatch.setenv("LIVEKIT_URL", "wss://livekit.example.com")
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("LIVEKIT_AGENT_DEPLOYMENT", "blue")
    server = DeployServer(isolation="thread")
    found = server.credentials()
    assert (found.url, found.api_key, found.api_secret) == ("wss://livekit.example.com", "key", "secret")
    assert found.proxy == "http://proxy:3128"
    assert "secret" not in repr(found)
    assert server._job_executor_type is JobExecutorType.THREAD
    assert server.link().deployment == server._deployment == "blue"
    assert server.link().agent_name == server._agent_name == ""


async def test_mask_ctrl_c_no_longer_swallows_the_worker_s_sigint(monkeypatch):
    """livekit ignores SIGINT, process-wide, while it starts a job process: a drain asked for then would be lost."""
    assert "with _mask_ctrl_c():" in inspect.getsource(supervised_proc.SupervisedProc)
    monkeypatch.setattr(supervised_proc, "_mask_ctrl_c", supervised_proc._mask_ctrl_c)  # put back afterwards
    before = signal.getsignal(signal.SIGINT)
    server = DeployServer(isolation="process", control_port=0)
    with pytest.raises(RuntimeError):  # there is no entrypoint, so it ends at once
        await server.run()
    await server.boot.close()
    with supervised_proc._mask_ctrl_c():
        assert signal.getsignal(signal.SIGINT) is before


def test_the_probe_trusts_what_livekit_s_own_connection_trusts(monkeypatch, tmp_path):
    """A slim container has no authorities of its own; livekit then takes certifi's, and so must the probe."""
    authority = Authority(tmp_path)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(http_context, "_has_system_trust_store", lambda: False)
    monkeypatch.setattr(http_context.certifi, "where", lambda: str(authority.ca))
    http_context._ssl_context_for.cache_clear()
    try:
        trusted = DeployServer(isolation="thread").trust().get_ca_certs()
    finally:
        http_context._ssl_context_for.cache_clear()
    assert "test authority" in str(trusted)


def _by():
    from openrtc_worker.control.target import Requester

    return Requester(source="test")
