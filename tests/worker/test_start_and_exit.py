"""How a worker starts, fails to start, and ends: one line that says what to do, and a telling exit code."""

from __future__ import annotations

import json
import signal
import socket

import pytest

from tests.support.processes import members_of_group, until


def error_lines(worker):
    return [line for line in worker.log.splitlines() if " ERROR " in line or "Traceback" in line]


@pytest.mark.parametrize("name", ["LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"])
async def test_a_missing_address_or_key_is_one_line_and_exit_4_at_once(switchboard, name):
    worker = switchboard.launch(env={name: ""})
    assert await worker.exits() == 4
    [line] = error_lines(worker)
    assert f"set {name}:" in line


async def test_an_address_that_is_none_is_one_line_and_exit_4(switchboard):
    worker = switchboard.launch(url="livekit.example.com")
    assert await worker.exits() == 4
    [line] = error_lines(worker)
    assert "LIVEKIT_URL 'livekit.example.com'" in line


async def test_a_wrong_secret_is_one_line_that_names_key_and_secret(switchboard):
    worker = switchboard.launch(env={"LIVEKIT_API_SECRET": "0" * 48})
    assert await worker.exits() == 4
    [line] = error_lines(worker)
    assert "LIVEKIT_API_KEY and LIVEKIT_API_SECRET" in line
    assert switchboard.dispatcher.api_key in line
    assert "0" * 48 not in line


async def test_authorities_that_are_not_there_are_one_line_and_exit_4(switchboard):
    worker = switchboard.launch(env={"SSL_CERT_FILE": "/nonexistent/authorities.pem"})
    assert await worker.exits() == 4
    [line] = error_lines(worker)
    assert "SSL_CERT_FILE" in line


async def test_an_unreachable_server_is_exit_4_after_the_connect_timeout(switchboard):
    await switchboard.dispatcher.stop()
    worker = switchboard.launch(connect_timeout=2)
    status, _ = await worker.get("/readyz")
    assert status == 503
    assert (await worker.get("/healthz"))[0] == 200
    assert await worker.exits() == 4
    [line] = error_lines(worker)
    assert switchboard.dispatcher.url in line
    assert "check LIVEKIT_URL" in line


async def test_a_server_that_comes_late_is_waited_for(switchboard):
    await switchboard.dispatcher.stop()
    worker = switchboard.launch(isolation="thread")
    await until(lambda: "trying again" in worker.log, what="the first line about it")
    await switchboard.dispatcher.start()
    await worker.serving()
    started = await worker.audit("deployment.started")
    assert [(event["version"], event["result"]) for event in started] == [("v1", "ok")]


async def test_a_worker_that_never_registers_exits_4_though_somebody_answers(switchboard):
    """Something that is no LiveKit answers at the address."""
    elsewhere = f"{switchboard.dispatcher.url}/elsewhere"
    patient = switchboard.launch("patient", url=elsewhere, connect_timeout=2, isolation="thread")
    hasty = switchboard.launch("hasty", url=elsewhere, server={"max_retry": 0, "isolation": "thread"})
    for worker in (patient, hasty):
        assert await worker.exits() == 4
        assert any("check LIVEKIT_URL" in line for line in error_lines(worker))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_before_the_first_registration_is_a_clean_drain(switchboard, number):
    await switchboard.dispatcher.stop()
    worker = switchboard.launch()
    await until(lambda: worker.url, what="the endpoint")
    worker.program.signal(number)
    assert await worker.exits() == 0
    assert error_lines(worker) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_job_processes_warm_up_is_a_clean_drain(switchboard, number):
    worker = switchboard.launch(isolation="process")
    await until(lambda: "starting worker" in worker.log, what="livekit's start")
    await until(lambda: len(members_of_group(worker.program.process.pid)) > 1, what="the start of a job process")
    worker.program.signal(number)
    assert await worker.exits() == 0


async def test_a_taken_control_port_is_one_line_and_exit_1(switchboard):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = switchboard.launch(control_port=port)
        assert await worker.exits() == 1
    [line] = error_lines(worker)
    assert str(port) in line


async def test_a_control_port_that_is_none_is_one_line_and_exit_1(switchboard):
    worker = switchboard.launch(control_port="x")
    assert await worker.exits() == 1
    [line] = error_lines(worker)
    assert "control_port must be a number" in line


async def test_no_temporary_folder_is_one_line_and_exit_1(switchboard):
    program = switchboard.program(
        "templess",
        "-c",
        "import sys, tempfile; tempfile.tempdir = '/nonexistent'; from tests.support.pool_program import build\n"
        "sys.exit(build({'control_port': 0}).run())",
    )
    assert await program.exit_code() == 1, program.tail()
    assert "set TMPDIR" in program.tail()
    assert "Traceback" not in program.tail()


async def test_a_second_worker_of_the_same_id_and_state_dir_is_refused(switchboard, tmp_path):
    kept = {"isolation": "thread", "state_dir": str(tmp_path / "state")}
    await switchboard.start("w1", **kept)
    twin = switchboard.launch("w2", env={"OPENRTC_WORKER_ID": "w1"}, **kept)
    assert await twin.exits() == 1
    [line] = error_lines(twin)
    assert "OPENRTC_WORKER_ID" in line


async def test_should_livekit_give_up_for_good_the_live_call_ends_first_then_exit_4(switchboard, isolation):
    server = {"max_retry": 0, "isolation": isolation}
    worker = await switchboard.start(server=server)
    call = await switchboard.held()
    await switchboard.dispatcher.stop()
    shown = await worker.state("draining")
    assert (shown.drain.source, shown.active_sessions) == ("livekit", 1)
    switchboard.hang_up(call)
    shown = await worker.shows(lambda s: s.ledger.completed == 1, what="the call's own end")
    assert await worker.exits() == 4
    assert shown.ledger.balanced


async def test_a_worker_whose_connection_breaks_reconnects_and_goes_on(switchboard, isolation):
    worker = await switchboard.start(isolation=isolation)
    call = await switchboard.call(length=60)
    before = await worker.snapshot()
    await switchboard.dispatcher.stop()
    shown = await worker.shows(lambda s: not s.livekit.connected, what="a lost connection")
    assert (shown.accepting, shown.livekit.connected_since) == (False, None)
    assert (await worker.get("/readyz"))[0] == 503
    await switchboard.dispatcher.start()
    shown = await worker.serving()
    assert shown.livekit.worker_id != before.livekit.worker_id
    assert shown.livekit.connected_since > before.livekit.connected_since
    assert shown.active_sessions == 1
    assert len(await worker.audit("deployment.started")) == 1
    assert switchboard.dispatcher.log.call(call.job_id).kept_by == (shown.livekit.worker_id,)


async def test_a_drain_begun_before_run_ends_the_process_at_once(switchboard):
    program = switchboard.program(
        "early",
        "-c",
        "import sys; from tests.support.pool_program import build\n"
        "pool = build({'control_port': 0, 'drain_linger': 0.5}); pool.begin_drain()\n"
        "assert pool.draining and pool.runtime_snapshot().state == 'drained'\n"
        "sys.exit(pool.run())",
    )
    assert await program.exit_code() == 0, program.tail()
    assert switchboard.dispatcher.log.workers == ()


class TestAfterDrain:
    async def test_wait_stays_drained_until_a_signal_comes(self, switchboard, operator, isolation):
        worker = await switchboard.start(isolation=isolation, after_drain="wait", operator_keys=operator.keys)
        await operator.asks(worker, "drain")
        shown = await worker.state("drained")
        assert shown.limits.after_drain == "wait"
        with pytest.raises(AssertionError, match="waited"):
            await worker.exits(within=2)
        assert (await worker.get("/readyz"))[0] == 200  # the platform must not take it for broken
        assert (await switchboard.call()).loss == "no_bid"
        worker.program.signal(signal.SIGTERM)
        assert await worker.exits() == 0

    async def test_one_that_cut_a_call_waits_too_and_exits_3(self, switchboard, operator, isolation):
        """Whatever the code, a platform that always restarts would have the old version back at once."""
        worker = await switchboard.start(
            isolation=isolation, after_drain="wait", operator_keys=operator.keys, cut_grace=20
        )
        await switchboard.call()
        await operator.asks(worker, "drain", timeout=1)
        shown = await worker.shows(lambda s: s.ledger.cut == 1, what="a cut call")
        with pytest.raises(AssertionError, match="waited"):
            await worker.exits(within=2)
        shown = await worker.snapshot()
        assert (shown.state, shown.accepting, shown.active_sessions) == ("draining", False, 0)
        worker.program.signal(signal.SIGTERM)
        assert await worker.exits() == 3

    async def test_auto_waits_under_kubernetes(self, switchboard, operator):
        kubernetes = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "POD_NAMESPACE": "voice", "NODE_NAME": "n1"}
        worker = await switchboard.start(
            isolation="thread", after_drain="auto", operator_keys=operator.keys, env=kubernetes
        )
        await operator.asks(worker, "drain")
        shown = await worker.state("drained")
        assert (shown.platform.kind, shown.platform.namespace, shown.platform.node) == ("kubernetes", "voice", "n1")
        with pytest.raises(AssertionError, match="waited"):
            await worker.exits(within=2)
        worker.program.signal(signal.SIGTERM)
        assert await worker.exits() == 0

    async def test_auto_exits_everywhere_else(self, switchboard, operator):
        worker = await switchboard.start(isolation="thread", after_drain="auto", operator_keys=operator.keys)
        await operator.asks(worker, "drain")
        assert await worker.exits() == 0

    async def test_a_drain_that_a_signal_began_never_waits(self, switchboard):
        worker = await switchboard.start(isolation="thread", after_drain="wait")
        worker.program.signal(signal.SIGTERM)
        assert await worker.exits() == 0


class TestUnderLivekitsOwnCommandLine:
    async def test_it_says_so_and_is_watchable(self, switchboard, isolation):
        worker = await switchboard.start(server={"isolation": isolation}, cli=True)
        shown = await worker.snapshot()
        assert shown.findings == ["second_signal_cuts"]
        assert "a second signal cuts every call" in worker.log

    async def test_it_drains_over_http_and_the_live_call_finishes(self, switchboard, operator, isolation):
        worker = await switchboard.start(server={"isolation": isolation, "operator_keys": operator.keys}, cli=True)
        call = await switchboard.held()
        await operator.asks(worker, "drain")
        await worker.state("draining")
        switchboard.hang_up(call)
        assert await worker.exits() == 0

    async def test_the_first_signal_drains_and_the_streams_get_their_bye(self, switchboard, isolation):
        worker = await switchboard.start(server={"isolation": isolation}, cli=True)
        call = await switchboard.held()
        worker.program.signal(signal.SIGTERM)
        shown = await worker.shows(lambda s: s.draining, what="a drain")
        assert shown.drain.source == "signal"
        switchboard.hang_up(call)
        async with worker._http.get(f"{worker.url}/v1/events") as stream:
            said = (await stream.read()).decode()
        assert '"exit_code":0' in said.rpartition("event: bye")[2]
        assert await worker.exits() == 0
        assert list(switchboard.scratch.glob("openrtc-*")) == []  # the sockets of its jobs are gone with it

    async def test_a_call_that_its_dev_command_cuts_is_audited(self, switchboard, tmp_path, isolation):
        """It drains nothing: a signal ends every call."""
        audit = tmp_path / "audit.jsonl"
        server = {"isolation": isolation, "cut_grace": 1}
        worker = await switchboard.start(server=server, audit=str(audit), cli="dev --no-reload")
        call = await switchboard.held()
        await worker.shows(lambda s: s.active_sessions == 1, what="the call")
        worker.program.signal(signal.SIGTERM)
        await worker.exits()
        said = [json.loads(line) for line in audit.read_text().splitlines()]
        assert [(event["event"], event.get("room")) for event in said][1:] == [("call.cut", call.room)]

    @pytest.mark.parametrize("trouble", ["port", "state_dir"])
    async def test_a_boot_that_cannot_be_opened_is_one_line_and_exit_1(self, switchboard, tmp_path, trouble):
        no_folder = tmp_path / "file"
        no_folder.touch()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            wrong = {"port": {"control_port": port}, "state_dir": {"state_dir": str(no_folder)}}[trouble]
            worker = switchboard.launch(server={"isolation": "thread", **wrong}, cli=True)
            assert await worker.exits() == 1
        lines = [line for line in worker.log.splitlines() if '"ERROR"' in line]
        assert len(lines) == 1, worker.log
        [line] = lines
        assert str({"port": port, "state_dir": no_folder}[trouble]) in line
        assert "Traceback" not in worker.log

    async def test_a_job_s_thread_that_cannot_be_ended_keeps_no_drained_worker(self, switchboard, operator):
        server = {"isolation": "thread", "operator_keys": operator.keys, "drain_timeout": 1, "cut_grace": 1}
        worker = await switchboard.start(server=server, cli=True)
        await switchboard.call(do="block")
        await worker.program.has(event="call")
        await operator.asks(worker, "drain")
        assert await worker.exits() == 5


async def test_without_the_main_guard_it_says_what_to_write_and_exits_1(switchboard, tmp_path):
    """Job processes import the program's module again: unguarded, each would start a worker of its own."""
    module = tmp_path / "unguarded.py"
    module.write_text(
        "import sys\nfrom tests.support.pool_program import build\nsys.exit(build({'control_port': 0}).run())\n"
    )
    program = switchboard.program("unguarded", str(module))
    assert await program.exit_code(within=60) == 1
    said = program.err.read_text()
    assert "RuntimeError: AgentPool.run() was called in a job process: put it under if __name__" in said
    assert "job processes do not start" in said
    assert switchboard.dispatcher.log.workers == ()  # it never registered, so no caller was lost


async def test_agents_that_cannot_be_sent_to_job_processes_are_one_line_and_exit_1(switchboard):
    program = switchboard.program(
        "local",
        "-c",
        "import sys\n"
        "from openrtc_worker import AgentPool\n"
        "async def call(ctx): pass\n"
        "pool = AgentPool(control_port=0)\n"
        "pool.add('booking', entrypoint=lambda ctx: call(ctx))\n"
        "if __name__ == '__main__': sys.exit(pool.run())\n",
    )
    assert await program.exit_code() == 1
    [line] = [line for line in program.err.read_text().splitlines() if " ERROR " in line]
    assert "module level" in line
    assert 'isolation="thread"' in line


async def test_threads_of_user_code_that_never_end_keep_no_drained_worker(switchboard, isolation):
    """Python waits for the threads of an executor at its exit; a supervisor would wait with it."""
    worker = await switchboard.start(isolation=isolation, hook=True)
    await switchboard.call(hook={"flood": 3600}, length=0.1)
    worker.program.signal(signal.SIGTERM)
    assert await worker.exits() == 0
    assert "threads that do not end" in worker.log


@pytest.mark.parametrize("stdout", ["broken", "closed"])
async def test_the_hard_cap_ends_the_process_whatever_became_of_its_output(switchboard, tmp_path, stdout):
    """A log collector that died must not keep a worker that has to be killed."""
    module = tmp_path / "mute.py"
    module.write_text(
        "import os, sys\n"
        "from openrtc_worker.runner import leave\n"
        "read, write = os.pipe()\n"
        "os.close(read)\n"
        "if sys.argv[1] == 'broken':\n"
        "    sys.stdout = sys.stderr = os.fdopen(write, 'w')\n"
        "    print('nobody reads this')\n"
        "else:\n"
        "    sys.stdout = sys.stderr = None\n"
        "leave(5)\n"
    )
    program = switchboard.program("mute", str(module), stdout)
    assert await program.exit_code() == 5, program.tail()


SLOW_RESOLVER = """
import socket, sys, time
from tests.support.pool_program import build
real = socket.getaddrinfo
def slow(host, *rest, **more):
    if host == "livekit.slow.example":
        print("asked", flush=True)
        time.sleep(3600)
    return real(host, *rest, **more)
socket.getaddrinfo = slow
if __name__ == "__main__":
    sys.exit(build({"control_port": 0, "isolation": "thread", "drain_linger": 0.2, "connect_timeout": 0}).run())
"""


async def test_a_resolver_that_hangs_keeps_no_worker_that_has_a_signal(switchboard, tmp_path):
    module = tmp_path / "slow.py"
    module.write_text(SLOW_RESOLVER)
    program = switchboard.program("slow", str(module), LIVEKIT_URL="ws://livekit.slow.example:7880")
    await until(lambda: "asked" in program.out.read_text(), what="the question")
    program.signal(signal.SIGTERM)
    assert await program.exit_code() == 0, program.tail()


UNGUARDED_AND_COLD = """
import sys
from openrtc_worker import DeployServer, run
async def call(ctx): pass
server = DeployServer(deployment_version="v1", control_port=0, drain_linger=0.2, after_drain="exit",
                      num_idle_processes=0)
server.rtc_session(call)
sys.exit(run(server))
"""


async def test_job_processes_that_fail_only_once_calls_come_end_the_worker_with_1(switchboard, tmp_path):
    """Without idle processes nothing is tried before the first call; it must not go on to lose every caller."""
    module = tmp_path / "cold.py"
    module.write_text(UNGUARDED_AND_COLD)
    program = switchboard.program("cold", str(module))
    await until(switchboard.dispatcher.workers, what="a registration")
    for number in range(3):
        await switchboard.call(f"booking-{number}")
    assert await program.exit_code(within=60) == 1, program.tail()
    log = program.err.read_text()
    assert "job processes do not start" in log
    # livekit waits for a process as long as another one is being tried, which on a busy machine is always
    assert log.count("could not be launched") == 3
