"""``AgentPool``: several agents in one worker that has a version, a snapshot and a drain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from openrtc_worker.registry import AgentConfig, AgentRegistry, Entrypoint, Provider, Providers, agent_name
from openrtc_worker.routing import Route, route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from livekit.agents import Agent, JobContext, JobRequest

    from openrtc_worker.contract.audit import AuditLog, Sink
    from openrtc_worker.contract.snapshot import RuntimeSnapshot
    from openrtc_worker.livekit import DeployServer
    from openrtc_worker.observers import SessionObserver
    from openrtc_worker.offers import Offered
    from openrtc_worker.settings import AfterDrain


class AgentPool:
    """Hosts livekit agents and runs them as one LiveKit worker.

    Build it at module level and run it under ``if __name__ == "__main__":``: job processes import the module again.

    Args:
        agent: one ``livekit.agents.Agent`` subclass, registered under its class name.
        agents: several: a mapping of names to classes, or classes that are registered under their names.
        deployment_version: what this worker runs; None is an untagged worker, never part of a rollout.
        audit_sink: called with every ``AuditEvent``, in a thread of its own; None logs them.
        drain_timeout: seconds after which a drain cuts what is left.
        agent_name: LiveKit's name for explicit dispatch; empty is automatic dispatch.
        request_fnc: livekit's request hook. It runs in a thread of its own and has ``answer_timeout`` seconds.
        max_concurrent_sessions: the hard cap of live calls.
        isolation: ``process``: one process a call, killable; ``thread``: denser, a call cannot be killed.
        default_stt: model string or picklable factory for agents that name none; also ``default_llm``,
            ``default_tts``, and ``default_greeting``, instructions for the first reply.
        control_host: where the control endpoint listens; the ``control_*`` arguments, ``operator_keys`` and
            ``read_token`` are described with the endpoint.
        cut_grace: seconds between the cut and the kill of what is left.
        drain_linger: seconds that the endpoint stays up after the last call; 0 turns it off.
        after_drain: ``exit``, ``wait`` for a signal, or ``auto``: wait under Kubernetes only.
        answer_timeout: seconds that the request hook may take.
        connect_timeout: seconds until the first registration; 0 is for ever.
        state_dir: folder where live calls are noted, for the next boot to tell what became of them, and where the
            newest manifest is kept.
        livekit_target_load: the server's ``agents.target_load``.
        dispatch_deployment: LiveKit's routing key; only dispatches that name it come here.
        fleet: the fleet that this worker belongs to.
        membership_secret: the secret of its version; with it every snapshot carries a signed claim.
        release_keys: folder or file with the public keys whose manifests this worker obeys.
        manifest: file or URL where the newest manifest is read again and again; it can also be put over HTTP.
        manifest_required: no manifest, no calls.
        session_observers: told of every call that ended, in a thread of their own.

    Raises:
        ValueError: an argument has a value that cannot be used; the message names it.
        TypeError: an agent is no ``Agent`` subclass, or a provider neither string nor factory.
    """

    def __init__(
        self,
        agent: type[Agent] | None = None,
        *,
        agents: Mapping[str, type[Agent]] | Iterable[type[Agent]] | None = None,
        deployment_version: str | None = None,
        audit_sink: Sink | None = None,
        drain_timeout: float = 3600,
        agent_name: str = "",
        request_fnc: Callable[[JobRequest], Awaitable[None]] | None = None,
        max_concurrent_sessions: int = 50,
        isolation: Literal["process", "thread"] = "process",
        default_stt: Provider | None = None,
        default_llm: Provider | None = None,
        default_tts: Provider | None = None,
        default_greeting: str | None = None,
        control_host: str | None = None,
        control_port: int | None = None,
        control_allowed_hosts: Sequence[str] | None = None,
        operator_keys: Path | str | None = None,
        read_token: str | None = None,
        control_tls_cert: Path | str | None = None,
        control_tls_key: Path | str | None = None,
        control_tls_client_ca: Path | str | None = None,
        cut_grace: float = 30,
        drain_linger: float = 3,
        after_drain: AfterDrain = "auto",
        answer_timeout: float = 1.5,
        connect_timeout: float = 60,
        state_dir: Path | str | None = None,
        livekit_target_load: float = 0.7,
        dispatch_deployment: str | None = None,
        fleet: str | None = None,
        membership_secret: str | None = None,
        release_keys: Path | str | None = None,
        manifest: Path | str | None = None,
        manifest_required: bool | None = None,
        session_observers: Sequence[SessionObserver] = (),
    ) -> None:
        from openrtc_worker.livekit import DeployServer

        self._registry = AgentRegistry()
        self._defaults = Providers(stt=default_stt, llm=default_llm, tts=default_tts, greeting=default_greeting)
        self._server = DeployServer(
            deployment_version=deployment_version,
            audit_sink=audit_sink,
            drain_timeout=drain_timeout,
            max_concurrent_sessions=max_concurrent_sessions,
            isolation=isolation,
            control_host=control_host,
            control_port=control_port,
            control_allowed_hosts=control_allowed_hosts,
            operator_keys=operator_keys,
            read_token=read_token,
            control_tls_cert=control_tls_cert,
            control_tls_key=control_tls_key,
            control_tls_client_ca=control_tls_client_ca,
            cut_grace=cut_grace,
            drain_linger=drain_linger,
            after_drain=after_drain,
            answer_timeout=answer_timeout,
            connect_timeout=connect_timeout,
            state_dir=state_dir,
            livekit_target_load=livekit_target_load,
            dispatch_deployment=dispatch_deployment,
            fleet=fleet,
            membership_secret=membership_secret,
            release_keys=release_keys,
            manifest=manifest,
            manifest_required=manifest_required,
            session_observers=session_observers,
            router=self._route,
        )
        self._entrypoint = PoolEntrypoint()
        self._server.rtc_session(self._entrypoint, agent_name=agent_name, on_request=request_fnc)
        self._agents_changed()  # the server counts one entrypoint, the pool its agents
        self._is_running = False
        if agent is not None and agents is not None:
            raise ValueError("give agent= or agents=, not both")
        classes = [agent] if agent is not None else agents or ()
        named = classes.items() if isinstance(classes, Mapping) else [(_class_name(cls), cls) for cls in classes]
        for name, cls in named:
            self.add(name, cls)

    # -- agents -------------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        agent_class: type[Agent] | None = None,
        *,
        entrypoint: Entrypoint | None = None,
        stt: Provider | None = None,
        llm: Provider | None = None,
        tts: Provider | None = None,
        greeting: str | None = None,
    ) -> AgentConfig:
        """Register an agent: a plain ``Agent`` subclass with its providers, or a livekit entrypoint of your own.

        Raises:
            ValueError: the name is blank or taken; neither or both of class and entrypoint are given.
            TypeError: the class is no ``Agent`` subclass, or the entrypoint cannot be called.
            RuntimeError: the pool runs already.
        """
        from openrtc_worker.livekit import check_agent_class

        self._check_not_running("add")
        name = agent_name(name)
        if (agent_class is None) == (entrypoint is None):
            raise ValueError(f"agent {name!r} needs an Agent subclass or entrypoint=, and not both")
        if agent_class is not None:
            check_agent_class(agent_class)
        elif not callable(entrypoint):
            raise TypeError(f"the entrypoint of agent {name!r} must be an async function, not {entrypoint!r}")
        own = Providers(stt=stt, llm=llm, tts=tts, greeting=greeting)
        if entrypoint is not None and own != Providers():
            raise ValueError(
                f"agent {name!r} has an entrypoint, which sets its own session up: it takes no providers"
            )
        config = AgentConfig(
            name=name, agent_class=agent_class, entrypoint=entrypoint, providers=own.over(self._defaults)
        )
        self._registry.add(config)
        self._agents_changed()
        return config

    def get(self, name: str) -> AgentConfig:
        """The registered agent of that name. Raises KeyError when there is none."""
        return self._registry.get(name)

    def remove(self, name: str) -> AgentConfig:
        """Take an agent out again. Raises KeyError when there is none, RuntimeError when the pool runs already."""
        self._check_not_running("remove")
        config = self._registry.remove(name)
        self._agents_changed()
        return config

    def list_agents(self) -> list[str]:
        """The names of the registered agents, in the order in which they were added."""
        return list(self._registry.names)

    def _agents_changed(self) -> None:
        self._entrypoint.agents = self._registry.agents
        self._server.boot.notes.registered_agents = len(self._registry)

    def _check_not_running(self, verb: str) -> None:
        if self._is_running:
            raise RuntimeError(f"cannot {verb} an agent while the pool runs: job processes have their agents already")

    def _route(self, offered: Offered) -> Route:
        return route(
            self._registry.names,
            job_metadata=offered.job_metadata,
            room_metadata=offered.room_metadata,
            room=offered.room,
        )

    # -- the worker ---------------------------------------------------------------------------------------------

    @property
    def server(self) -> DeployServer:
        """The livekit ``AgentServer`` that the pool runs on."""
        return self._server

    @property
    def deployment_version(self) -> str | None:
        """The version that this worker runs, stripped; None for an untagged worker."""
        return self._server.deployment_version

    @property
    def draining(self) -> bool:
        """Whether a drain has begun; never false again once true."""
        return self._server.draining

    @property
    def audit_log(self) -> AuditLog:
        """The events of this boot."""
        return self._server.audit_log

    def begin_drain(self) -> None:
        """Refuse new jobs; live calls run to their hangup, then the process exits.

        From any thread, also before ``run`` and more than once. Raises RuntimeError in a job's process, where it
        would reach nobody.
        """
        self._server.begin_drain()

    def runtime_snapshot(self) -> RuntimeSnapshot:
        """What the worker is doing right now; from any thread, also before ``run``."""
        return self._server.runtime_snapshot()

    def run(self) -> int:
        """Run the worker until it has drained; returns the process's exit code for ``sys.exit``.

        0 drained, 1 crashed or could not start, 3 calls were cut, 4 never connected to LiveKit, 5 had to be killed.

        Raises:
            RuntimeError: in a job's process (the ``__main__`` guard is missing), or without any agent.
        """
        from openrtc_worker.processes import check_main
        from openrtc_worker.runner import run

        check_main("AgentPool.run()")
        if not len(self._registry):
            raise RuntimeError("the pool has no agent: call add() before run()")
        self._is_running = True
        return run(self._server)


@dataclass(slots=True)
class PoolEntrypoint:
    """What every job of a pool runs: the agent that the job is for. Job processes receive it pickled."""

    agents: dict[str, AgentConfig] = field(default_factory=dict)

    async def __call__(self, ctx: JobContext) -> None:
        from openrtc_worker.livekit import run_agent

        job = ctx.job
        chosen = route(self.agents, job_metadata=job.metadata, room_metadata=job.room.metadata, room=job.room.name)
        if chosen.agent is None:  # the worker asked the same question before it accepted
            raise LookupError(f"no agent answers room {job.room.name!r}: {chosen.refusal}")
        config = self.agents[chosen.agent]
        if config.entrypoint is not None:
            await config.entrypoint(ctx)
        else:
            await run_agent(ctx, config)


def _class_name(cls: Any) -> str:
    return str(getattr(cls, "__name__", cls))
