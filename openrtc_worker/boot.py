"""One boot of a worker: the shell around the lifecycle that keeps time, carries out decisions and answers requests.

It knows no LiveKit: the adapter tells it what happens and does what it asks (:class:`LiveKitSide`). Everything
happens on the worker's event loop; :meth:`Boot.begin_drain`, :meth:`Boot.runtime_snapshot` and
:attr:`Boot.reported_load` may be used from any thread, and before there is a loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Protocol

from openrtc_worker.call_file import CallFile
from openrtc_worker.calls import Calls
from openrtc_worker.claims import Claimant
from openrtc_worker.clock import AnchoredClock
from openrtc_worker.contract import audit
from openrtc_worker.control.settings import ControlError, default_worker_id
from openrtc_worker.control.target import ConflictError, Requester
from openrtc_worker.deeds import Deeds
from openrtc_worker.environment import platform_info
from openrtc_worker.fleet_settings import FleetSetupError
from openrtc_worker.gate import BEAT
from openrtc_worker.gatekeeper import Gatekeeper
from openrtc_worker.lifecycle import Decision, Decisions, ExitCode, Lifecycle, LifecycleConflictError
from openrtc_worker.manifest_source import KeptManifest
from openrtc_worker.observers import Observers
from openrtc_worker.outbox import Outbox
from openrtc_worker.snapshots import Link, LoopLag, Notes, assemble
from openrtc_worker.trail import SYSTEM, Trail

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from openrtc_worker.contract.audit import AuditLog, Sink
    from openrtc_worker.contract.snapshot import RuntimeSnapshot, SessionInfo
    from openrtc_worker.control.server import ControlServer
    from openrtc_worker.control.target import Effect
    from openrtc_worker.ledger import Call
    from openrtc_worker.observers import SessionObserver
    from openrtc_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_FLUSH_TIMEOUT = 2.0
"""Seconds that the audit sink, the observers and the call file each get to finish when the boot ends."""


class LiveKitSide(Protocol):
    """What the boot asks of the adapter; every method returns at once."""

    def tell_full(self) -> None:
        """Tell LiveKit, now and for good, that this worker is full."""
        ...

    def tell_load(self) -> None:
        """Tell LiveKit the present load without waiting for the next regular report."""
        ...

    def active_job_ids(self) -> Collection[str]:
        """The jobs that run in this worker."""
        ...

    def unassigned_job_ids(self) -> Collection[str]:
        """The accepted offers that LiveKit has not assigned."""
        ...

    def kill_jobs(self, pids: Collection[int]) -> None:
        """End what could not be ended otherwise; where jobs are threads there is nothing to do but to exit."""
        ...

    def link(self) -> Link:
        """The connection to LiveKit."""
        ...


class Boot:
    """One life of a worker process, from its construction to its exit code. Implements ``ControlTarget``."""

    def __init__(
        self,
        settings: WorkerSettings,
        livekit: LiveKitSide,
        *,
        audit_sink: Sink | None = None,
        session_observers: Sequence[SessionObserver] = (),
        clock: Callable[[], float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.boot_id = uuid.uuid4().hex
        self.clock = clock or AnchoredClock()
        self._monotonic = monotonic
        self._environ = os.environ if environ is None else environ
        self._lock = threading.RLock()
        self.notes = Notes(started_at=self.clock(), platform=platform_info(self._environ))
        self._trail = Trail(
            audit_sink,
            version=settings.deployment_version,
            boot_id=self.boot_id,
            worker_id=lambda: self.worker_id,
            clock=self.clock,
        )
        self._observers = Observers(session_observers, version=settings.deployment_version, boot=self.boot_id)
        self.calls = Calls(
            capacity=settings.max_concurrent_sessions,
            clock=self.clock,
            monotonic=monotonic,
            trail=self._trail,
            notes=self.notes,
            lock=self._lock,
            ended=self._observers.session_ended,
        )
        self._fleet = settings.membership(self._environ)
        self._claimant: Claimant | None = None
        self._gatekeeper = Gatekeeper(
            self._fleet,
            version=settings.deployment_version,
            trail=self._trail,
            changed=self._gate_changed,
            monotonic=monotonic,
        )
        self._lifecycle = Lifecycle(
            drain_timeout=settings.drain_timeout,
            cut_grace=settings.cut_grace,
            drain_linger=settings.drain_linger,
            waits=settings.waits_after_drain(self._environ),
        )
        self._lag = LoopLag()
        self._outbox = Outbox("the call file")
        self._file: CallFile | None = None
        self._decided: deque[tuple[Decision, Requester]] = deque()
        self._listeners: list[Callable[[], None]] = []
        self._seq = 0
        self._worker_id: str | None = None
        self._livekit = livekit
        self._link = Link()
        self.registered_once = False
        """Whether LiveKit ever took this boot's registration."""
        self.reported_load = 0.0
        """What LiveKit is told; a plain number, so that asking for it can never fail, from whatever thread."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._control: ControlServer | None = None
        self._beat: asyncio.Task[None] | None = None
        self._exited = asyncio.Event()
        self._deeds = Deeds(
            lifecycle=self._lifecycle,
            calls=self.calls,
            trail=self._trail,
            clock=self.clock,
            tell_full=livekit.tell_full,
            kill_jobs=livekit.kill_jobs,
            over=self._exited.set,
            lock=self._lock,
        )

    # -- opening and closing ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Serve the control endpoint and start to keep time. LiveKit is not contacted.

        Raises:
            ControlError: the endpoint cannot be served as it is set up.
            StateDirError: the state folder cannot be used.
            FleetSetupError: the worker cannot prove that it belongs, as it is set up.
        """
        from openrtc_worker.control.server import ControlServer

        self._loop = asyncio.get_running_loop()
        self._trail.start()
        self._observers.start()
        self._claimant = self._find_secret()
        self._gatekeeper.find_keys()
        if self.exit_code is not None:  # drained before there was anything to drain
            self._exited.set()
        control = ControlServer(self, settings=self.settings.control(self._environ))
        await control.start()
        self._control = control
        self._worker_id = default_worker_id(control.port, self._environ)
        if self.settings.state_dir is not None:
            self._outbox.start()
            self._file = CallFile(
                self.settings.state_dir,
                worker_id=self._worker_id,
                boot_id=self.boot_id,
                clock=self.clock,
                defer=self._outbox.put,
            )
            self.notes.previous_boot = self._file.previous
        state_dir = self.settings.state_dir
        kept = None if state_dir is None else KeptManifest(state_dir, worker_id=self._worker_id)
        await self._gatekeeper.open(kept, self._outbox.put)
        self.calls.open(self._file)
        self._beat = asyncio.create_task(self._keep_time(), name="openrtc-beat")
        self._changed()

    async def until_exit(self) -> ExitCode:
        """Wait until the boot is over; everything is still open then."""
        await self._exited.wait()
        return self.exit_code or ExitCode.DRAINED

    async def say_bye(self, code: int) -> None:
        """Hand the last snapshot, with the exit code, to whoever watches; let audit sink and call file finish."""
        self._trail.rest()
        self.notes.exit_code = code
        self._changed()
        if self._control is not None:
            await self._control.say_bye(self.runtime_snapshot())
        if self._file is not None:
            self._file.exited(code)
        with contextlib.suppress(TimeoutError):  # the loop's executor may be full of resolvers that hang
            async with asyncio.timeout(3 * _FLUSH_TIMEOUT + 1):
                await asyncio.to_thread(self._outbox.stop, _FLUSH_TIMEOUT)
                await asyncio.to_thread(self._observers.stop, _FLUSH_TIMEOUT)
                await asyncio.to_thread(self._trail.stop, _FLUSH_TIMEOUT)

    async def close(self) -> None:
        """Close what :meth:`open` opened, as far as it got."""
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.gather(self._beat, return_exceptions=True)
        if self._control is not None:
            await self._control.aclose()
        await self._gatekeeper.close()
        self.calls.close()
        if self._file is not None:
            self._file.close()
        self._outbox.stop(_FLUSH_TIMEOUT)
        self._observers.stop(_FLUSH_TIMEOUT)
        self._trail.stop(_FLUSH_TIMEOUT)
        self._loop = None

    def _find_secret(self) -> Claimant | None:
        secret, version = self._fleet.load_secret(), self.settings.deployment_version
        if secret is None:
            return None
        if version is None:
            raise FleetSetupError("membership_secret needs deployment_version: each version has a secret of its own")
        return Claimant(version, secret)

    # -- what it is (ControlTarget) -----------------------------------------------------------------------------

    @property
    def worker_id(self) -> str:
        """``OPENRTC_WORKER_ID``, else the host's name; final once the endpoint's port is bound."""
        if self._worker_id is None:
            try:
                return default_worker_id(self.settings.control(self._environ).port, self._environ)
            except ControlError:
                return ""  # said plainly when the endpoint is opened
        return self._worker_id

    @property
    def audit_log(self) -> AuditLog:
        return self._trail.log

    @property
    def attributes(self) -> dict[str, str]:
        """What our agents carry in their rooms: LiveKit shows it, so a room tells which version answers it."""
        mine = {
            "openrtc.version": self.settings.deployment_version,
            "openrtc.boot": self.boot_id,
            "openrtc.worker": self.worker_id,
        }
        return {name: value for name, value in mine.items() if value}

    @property
    def ready(self) -> bool:
        return self._livekit.link().connected

    @property
    def draining(self) -> bool:
        """Whether a drain has begun; from any thread."""
        return self._lifecycle.draining

    @property
    def exit_code(self) -> ExitCode | None:
        return self._lifecycle.exit_code

    def runtime_snapshot(self) -> RuntimeSnapshot:
        """What the worker is doing right now; from any thread, also before there is a loop."""
        with self._lock:
            now, worker_id = self.clock(), self.worker_id
            return assemble(
                self.notes,
                now=now,
                seq=self._seq,
                boot_id=self.boot_id,
                worker_id=worker_id,
                fleet=self._fleet.fleet,
                membership=None if self._claimant is None else self._claimant.claim(worker_id, now),
                manifest=self._gatekeeper.info,
                settings=self.settings,
                lifecycle=self._lifecycle,
                ledger=self.calls.ledger,
                link=self._livekit.link(),
                reported_load=self.reported_load,
                loop_lag=self._lag.worst(self._monotonic()),
                findings=self._findings(),
            )

    def sessions(self) -> Sequence[SessionInfo]:
        return self.calls.ledger.sessions(self.clock())

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._listeners.append(callback)

        def stop() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return stop

    def _findings(self) -> list[str]:
        now_and_then = {
            "untagged": self.settings.deployment_version is None,
            "audit_sink_failing": self._trail.is_failing,
            "call_file_failing": self._outbox.failing,
            "session_observer_failing": self._observers.is_failing,
            "manifest_unreadable": self._gatekeeper.source_problem is not None,
        }
        return [*self.notes.findings, *(code for code, is_so in now_and_then.items() if is_so)]

    def _changed(self) -> None:
        self._seq += 1
        for listener in tuple(self._listeners):
            listener()

    # -- requests -----------------------------------------------------------------------------------------------

    def begin_drain(self, *, by: Requester, timeout: float | None = None) -> Effect:
        """Start the drain, or shorten the one that runs; latched at once, from any thread."""
        with self._lock:
            effect, decisions = self._lifecycle.begin_drain(
                self.clock(),
                source=by.source,
                actor=by.actor,
                reason=by.reason,
                op_id=by.op_id,
                timeout=timeout,
            )
            self._weigh()
        self._decide(decisions, by)
        return effect

    def cordon(self, *, by: Requester) -> Effect:
        return self._set_cordoned(True, by)

    def uncordon(self, *, by: Requester) -> Effect:
        return self._set_cordoned(False, by)

    def _set_cordoned(self, wanted: bool, by: Requester) -> Effect:
        try:
            with self._lock:
                effect = self._lifecycle.cordon() if wanted else self._lifecycle.uncordon()
                self._weigh()
        except LifecycleConflictError as error:
            raise ConflictError(str(error)) from None
        if effect == "started":
            self._livekit.tell_load()
            self._trail.act(audit.WORKER_CORDONED if wanted else audit.WORKER_UNCORDONED, by)
            self._changed()
        return effect

    async def refresh_release_keys(self) -> None:
        """Look whether release keys changed, so that :meth:`install_manifest` judges by those of now."""
        await self._gatekeeper.refresh_keys()

    def install_manifest(self, token: str, *, by: Requester) -> Effect:
        """Obey a newer signed manifest. Raises ManifestRefused."""
        return self._gatekeeper.install(token, by=by)

    def _gate_changed(self) -> None:
        with self._lock:
            self._weigh()
        self._livekit.tell_load()
        self._changed()

    # -- what LiveKit says --------------------------------------------------------------------------------------

    def registered(self) -> None:
        """LiveKit took the (first or a later) registration."""
        with self._lock:
            decisions = self._lifecycle.registered(self.clock())
            self._weigh()
        if not self.registered_once:
            self.registered_once = True
            if not self.draining:
                self._trail.act(audit.DEPLOYMENT_STARTED, max_sessions=self.settings.max_concurrent_sessions)
        self._decide(decisions)
        self._changed()

    def refusal(self) -> str | None:
        """Why an offer that is handled now is refused, or None."""
        return self._lifecycle.refusal or self._gatekeeper.refusal or self.calls.refusal

    def offer_refused(self, reason: str) -> None:
        self.calls.refused(reason)
        self._changed()

    def offer_answered(self, call: Call) -> None:
        """We are about to say yes; from here on the offer takes a place."""
        self.calls.answered(call)
        self._recount()

    def call_started(self, call: Call) -> None:
        """The job is launched."""
        self.calls.started(call)
        self._recount()

    def launch_failed(self, call: Call, error: BaseException) -> None:
        """LiveKit gave us the job and we could not run it."""
        self.calls.launch_failed(call, error)
        self._recount()

    def offer_lost(self, call: Call) -> None:
        """We said yes and LiveKit had given up on us."""
        self.calls.offer_lost(call)
        self._recount()

    def _weigh(self) -> None:
        """LiveKit takes its target (0.7) for full, and draws workers by how far below it they are: just below it
        at full capacity, so that each worker is used to the last place, and 1 when nothing more may come.
        """
        if self._lifecycle.refusal in ("cordoned", "draining") or self._gatekeeper.refusal is not None:
            self.reported_load = 1.0
            return
        share = min(1.0, self.calls.taken / self.settings.max_concurrent_sessions)
        self.reported_load = (self.settings.livekit_target_load - 0.01) * share

    # -- time ---------------------------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        while True:
            try:
                self._turn()
            except Exception:  # the beat ends calls, drains and the process: it must go on
                logger.exception("the worker's beat failed")
            await asyncio.sleep(BEAT)

    def _turn(self) -> None:
        now = self._monotonic()
        self._lag.seen(self.calls.gate.beat(now), now)
        self.calls.gate.all_assigned_but(self._livekit.unassigned_job_ids())
        changed = self.calls.reap(self._livekit.active_job_ids())
        before, self._link = self._link, self._livekit.link()
        self._trail.due()
        self._gatekeeper.due()
        self.calls.due()
        self._recount(changed=changed or before != self._link)

    def _recount(self, *, changed: bool = True) -> None:
        """Tell the lifecycle the numbers, and do what follows from them and from the time."""
        with self._lock:
            decisions = self._numbers()
            self._weigh()
        self._decide(decisions)
        if changed:
            self._changed()

    def _numbers(self) -> Decisions:
        ledger, gate = self.calls.ledger, self.calls.gate
        return self._lifecycle.calls_changed(self.clock(), live=ledger.active, pending=gate.pending, cut=ledger.cut)

    # -- decisions ----------------------------------------------------------------------------------------------

    def _decide(self, decisions: Decisions, by: Requester = SYSTEM) -> None:
        if not decisions:
            return
        self._decided.extend((decision, by) for decision in decisions)
        loop = self._loop
        if loop is None or _runs_here(loop):
            self._carry_out()
        else:
            loop.call_soon_threadsafe(self._carry_out)

    def _carry_out(self) -> None:
        while self._decided:
            decision, by = self._decided.popleft()
            following = self._deeds.do(decision, by)
            self._decided.extend((follower, SYSTEM) for follower in following)
        self._changed()


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
