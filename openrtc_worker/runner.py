"""Running a worker as a process: signals, the first connection, and an exit code that says what became of calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from openrtc_worker import processes
from openrtc_worker.call_file import StateDirError
from openrtc_worker.control.settings import ControlError
from openrtc_worker.control.target import Requester
from openrtc_worker.fleet_settings import FleetSetupError
from openrtc_worker.hook import THREAD_NAME
from openrtc_worker.lifecycle import ExitCode
from openrtc_worker.probe import Answer, probe
from openrtc_worker.reports import NoSocketFolderError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import FrameType

    from openrtc_worker.boot import Boot
    from openrtc_worker.livekit import DeployServer

logger = logging.getLogger(__name__)

_Found = TypeVar("_Found")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LINE_EVERY = 10.0
"""Seconds between two lines about a LiveKit that cannot be reached."""

_PROBE_EVERY = 1.0
_CLOSE_TIMEOUT = 10.0
"""Seconds that livekit gets to close what is idle, once no call is live."""

_THREAD_TIMEOUT = 2.0

_NO_JOB_PROCESS = (
    "job processes do not start, each said why above: often run() is not under"
    ' if __name__ == "__main__": in the program\'s module, which job processes import again'
)


def run(server: DeployServer) -> int:
    """Run *server* until it has drained; returns the exit code for ``sys.exit``.

    SIGTERM and SIGINT begin the drain; a second one changes nothing. What cannot be started is one line in the log.

    Raises:
        RuntimeError: in a job's process: the ``if __name__ == "__main__":`` guard is missing.
    """
    processes.check_main("openrtc_worker.run()")
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threads = set(threading.enumerate())
    signals = DrainOnSignal(server.boot)
    signals.install()
    code = asyncio.run(_run_and_end(server, signals))
    _leave_if_threads_remain(code, threads)
    return code


class DrainOnSignal:
    """SIGTERM and SIGINT begin the drain, from before there is a loop until the process is gone."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._loop: asyncio.AbstractEventLoop | None = None

    def install(self) -> None:
        """Take the signals; outside of the main thread they stay whose they are."""
        if threading.current_thread() is not threading.main_thread():
            logger.warning("not the main thread: SIGTERM and SIGINT are not taken, call begin_drain() yourself")
            return
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From here on the drain begins on *loop*."""
        self._loop = loop

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._loop is None:
            self._drain(name)
        elif not self._loop.is_closed():
            # a handler runs between two bytecodes of whatever the loop is doing: leave that alone
            self._loop.call_soon_threadsafe(self._drain, name)

    def _drain(self, name: str) -> None:
        self._boot.begin_drain(by=Requester(source="signal", reason=name))


async def _run_and_end(server: DeployServer, signals: DrainOnSignal) -> int:
    code = await _run(server, signals)
    # asyncio waits for its executor's threads without a bound, and one may be in a resolver that hangs
    ending = asyncio.create_task(asyncio.get_running_loop().shutdown_default_executor())
    _, hanging = await asyncio.wait({ending}, timeout=_THREAD_TIMEOUT)
    if hanging:
        leave(code)
    return code


async def _run(server: DeployServer, signals: DrainOnSignal) -> int:
    signals.attach(asyncio.get_running_loop())
    boot, credentials = server.boot, server.credentials()
    line = credentials.missing() or credentials.malformed()
    if line is not None:
        logger.error("%s", line)
        return ExitCode.NEVER_CONNECTED
    line = _unpicklable(server)
    if line is not None:
        logger.error("%s", line)
        return ExitCode.CRASHED
    if not await open_boot(server, "openrtc"):
        return ExitCode.CRASHED
    if boot.settings.deployment_version is None:
        logger.warning("no deployment_version: this worker is untagged and never part of a rollout")
    code = await _Life(server).live()
    if not await end(server, code) or not await _all_tasks_end():
        leave(code)  # a job's thread, or a task, that cannot be ended would keep the process for ever
    return code


async def open_boot(server: DeployServer, runner_name: str) -> bool:
    """Open the boot of *server*; False, after one line that says what to do, when it cannot be."""
    try:
        await server.open(runner_name)
    except (ControlError, StateDirError, FleetSetupError, NoSocketFolderError) as error:
        logger.error("%s", error)  # noqa: TRY400 - the line says what to do, a traceback would hide it
        await server.boot.close()
        return False
    return True


async def end(server: DeployServer, code: ExitCode, *, grace: float = 0.0) -> bool:
    """Say bye, and close livekit's side and the boot; what does not close in time is killed.

    Args:
        server: whose boot is over.
        code: with what it exits.
        grace: seconds more that live calls get to end, which there are only if nothing drained.

    Returns:
        Whether everything closed; otherwise only :func:`leave` ends this process for sure.
    """
    await server.boot.say_bye(code)
    closed = code is not ExitCode.KILLED and await _close_livekit(server, _CLOSE_TIMEOUT + grace)
    if not closed:
        processes.kill_descendants()
    await server.boot.close()
    return closed


class _Life:
    """The way of one server from its first connection to its exit code."""

    def __init__(self, server: DeployServer) -> None:
        self._server = server
        self._boot = server.boot
        self._over = asyncio.create_task(self._boot.until_exit(), name="openrtc-until-exit")
        self._draining = asyncio.Event()
        self._registered = asyncio.Event()
        self._stop_listening = self._boot.on_change(self._look)
        self._look()

    def _look(self) -> None:
        if self._boot.draining:
            self._draining.set()
        if self._boot.registered_once:
            self._registered.set()

    async def live(self) -> ExitCode:
        try:
            code = await self._reach()
            if code is not None:
                return code
            if self._boot.draining:  # before there was a connection: no call can come any more
                return await self._over
            running = asyncio.create_task(self._server.run(), name="livekit-worker")
            code = await self._register(running)
            return code if code is not None else await self._serve(running)
        finally:
            self._stop_listening()
            self._over.cancel()

    async def _reach(self) -> ExitCode | None:
        """Wait until LiveKit answers; None when it does, or when a drain makes it needless."""
        credentials, patience = self._server.credentials(), self._boot.settings.connect_timeout
        started, said = time.monotonic(), -LINE_EVERY
        try:
            tls = self._server.trust()
        except OSError as error:
            logger.error("SSL_CERT_FILE or SSL_CERT_DIR cannot be used: %s", error)  # noqa: TRY400 - one line
            return ExitCode.NEVER_CONNECTED
        while not self._draining.is_set():
            found = await self._unless_draining(probe(credentials, tls=tls))
            if found is None:
                return None
            answer, detail = found
            now = time.monotonic() - started
            if answer is Answer.WELCOME:
                return None
            if answer is Answer.REFUSED:
                logger.error(
                    "LiveKit at %s refuses the key %s (%s): check LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
                    credentials.url,
                    credentials.api_key,
                    detail,
                )
                return ExitCode.NEVER_CONNECTED
            if patience and now >= patience:
                logger.error("no LiveKit at %s in %g s (%s): check LIVEKIT_URL", credentials.url, patience, detail)
                return ExitCode.NEVER_CONNECTED
            if now - said >= LINE_EVERY:
                said = now
                logger.warning("no LiveKit at %s yet (%s): trying again", credentials.url, detail)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_EVERY):
                    await self._draining.wait()
        return None

    async def _unless_draining(self, asked: Coroutine[Any, Any, _Found]) -> _Found | None:
        """What *asked* returns; None as soon as a drain begins, which must not wait for a resolver that hangs."""
        asking, draining = asyncio.create_task(asked), asyncio.create_task(self._draining.wait())
        try:
            await asyncio.wait({asking, draining}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            asking.cancel()
            draining.cancel()

    async def _register(self, running: asyncio.Task[None]) -> ExitCode | None:
        """Wait for the first registration; None when it came, or when the boot goes on without one."""
        patience = self._boot.settings.connect_timeout
        started = asyncio.create_task(self._server.started.wait())
        stuck = asyncio.create_task(self._server.job_processes.fail.wait())
        registered = asyncio.create_task(self._registered.wait())
        ends = {running, self._over, stuck}
        try:
            await asyncio.wait(ends | {started}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(ends | {registered}, timeout=patience or None, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (started, stuck, registered):
                task.cancel()
        if self._over.done() or self._registered.is_set() or self._boot.draining:
            return None
        if self._server.job_processes.fail.is_set():
            logger.error(_NO_JOB_PROCESS)
            return ExitCode.CRASHED
        if not running.done() or self._server.gave_up:
            url = self._server.credentials().url
            logger.error("somebody answers at %s but registers no worker: check LIVEKIT_URL", url)
            return ExitCode.NEVER_CONNECTED
        logger.error("the worker could not start", exc_info=running.exception())
        return ExitCode.CRASHED

    async def _serve(self, running: asyncio.Task[None]) -> ExitCode:
        """Until the boot is over. Should livekit give up before, its calls are let end all the same."""
        stuck = asyncio.create_task(self._server.job_processes.fail.wait())
        try:
            await asyncio.wait({running, self._over, stuck}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stuck.cancel()
        if self._over.done():
            return await self._over
        if self._server.job_processes.fail.is_set():  # without idle processes the first calls find it out
            logger.error(_NO_JOB_PROCESS)
            self._boot.begin_drain(by=Requester(source="livekit", reason="job processes do not start"))
            self._server.abandon_launches()  # livekit would let these callers wait for as long as the drain may take
            code = await self._over
            return ExitCode.CRASHED if code in (ExitCode.DRAINED, ExitCode.NEVER_CONNECTED) else code
        error = None if running.cancelled() else running.exception()
        logger.error("the connection to LiveKit is lost for good: %s", error or "the worker was closed")
        self._boot.begin_drain(by=Requester(source="livekit", reason=str(error or "closed")))
        return await self._over


def _unpicklable(server: DeployServer) -> str | None:
    """One line when job processes could not be sent their entrypoint; livekit would fail again and again."""
    if not server.isolates_processes:
        return None
    try:
        pickle.dumps(server.entrypoint)
    except Exception as error:  # pickle raises whatever an object's own hooks raise
        return (
            f"the agents cannot be sent to job processes ({error}): define classes, entrypoints and provider"
            ' factories at module level, or use isolation="thread"'
        )
    return None


async def _close_livekit(server: DeployServer, timeout: float) -> bool:  # noqa: ASYNC109 - it says so when it passes
    """Close livekit's side; no call is live, so what does not close in time is killed. False when it did not."""
    if server.is_warming_up:  # livekit holds its lock until its processes are warm; nothing but they is there yet
        return False
    try:
        async with asyncio.timeout(timeout):
            await server.close_livekit()
    except TimeoutError:
        logger.warning("livekit did not close in %g s", timeout)
        return False
    except Exception:  # the calls are over and counted: the exit code must not depend on the cleaning up
        logger.exception("livekit did not close")
        return False
    return True


async def _all_tasks_end() -> bool:
    """Cancel what livekit left running; False when something does not end."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if not rest:
        return True
    _, pending = await asyncio.wait(rest, timeout=_THREAD_TIMEOUT)
    return not pending


def _leave_if_threads_remain(code: int, before: set[threading.Thread]) -> None:
    """Python waits for every thread at its exit; a user's thread that never ends must not keep a drained worker."""
    deadline = time.monotonic() + _THREAD_TIMEOUT
    # Python waits for an executor's threads too, which are daemons where a daemon thread started them
    rest = [
        thread
        for thread in threading.enumerate()
        if thread not in before and (not thread.daemon or thread.name.startswith(f"{THREAD_NAME}_"))
    ]
    for thread in rest:
        thread.join(max(0.0, deadline - time.monotonic()))
    alive = [thread.name for thread in rest if thread.is_alive()]
    if alive:
        logger.warning("threads that do not end: %s; leaving without them", ", ".join(alive))
        leave(code)


def leave(code: int) -> NoReturn:
    """End the process now, whatever threads and tasks it has: not even broken or closed output keeps it."""
    with contextlib.suppress(BaseException):
        logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):  # a pipe that nobody reads any more, or None
            stream.flush()
    os._exit(code)
