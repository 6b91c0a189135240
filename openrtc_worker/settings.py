"""How a worker was set up: checked where it is constructed, so that a mistake is one error at its own line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, get_args

from openrtc_worker.contract.snapshot import VERSION_PATTERN
from openrtc_worker.control.settings import ControlSettings
from openrtc_worker.fleet_settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from livekit.agents import JobExecutorType, JobProcess, WorkerPermissions
    from livekit.agents.worker import ServerEnvOption

AfterDrain = Literal["auto", "exit", "wait"]

MAX_ANSWER_TIMEOUT: Final = 2.5
"""LiveKit gives an offer up after about 2.8 s; an answer that may come later than this loses callers."""

MAX_DEPLOYMENT_BYTES: Final = 64


def deployment_version(value: str | None) -> str | None:
    """The version as it is used: stripped; None is allowed.

    Raises:
        ValueError: blank, or not ``[A-Za-z0-9][A-Za-z0-9._+-]{0,127}``.
        TypeError: not a string.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"deployment_version must be a string or None, not {type(value).__name__}")
    stripped = value.strip()
    if not stripped:
        raise ValueError("deployment_version must not be blank: name a version like v2.0.0, or leave it out")
    if not VERSION_PATTERN.fullmatch(stripped):
        raise ValueError(
            f"deployment_version {stripped[:140]!r} must be 1 to 128 of A-Z a-z 0-9 . _ + - and begin with a letter"
            " or digit"
        )
    return stripped


class WorkerArguments(TypedDict, total=False):
    """The keyword arguments that :class:`WorkerSettings` is made of."""

    deployment_version: str | None
    max_concurrent_sessions: int
    drain_timeout: float
    cut_grace: float
    drain_linger: float
    after_drain: AfterDrain
    answer_timeout: float
    connect_timeout: float
    livekit_target_load: float
    state_dir: Path | str | None
    dispatch_deployment: str | None
    control_host: str | None
    control_port: int | None
    control_allowed_hosts: Sequence[str] | None
    operator_keys: Path | str | None
    read_token: str | None
    control_tls_cert: Path | str | None
    control_tls_key: Path | str | None
    control_tls_client_ca: Path | str | None
    fleet: str | None
    membership_secret: str | None
    release_keys: Path | str | None
    manifest: Path | str | None
    manifest_required: bool | None


class ServerArguments(WorkerArguments, total=False):
    """Those, and what ``AgentServer`` of livekit-agents 1.8 takes beside them."""

    isolation: Literal["process", "thread"]
    job_executor_type: JobExecutorType
    job_memory_warn_mb: float
    job_memory_limit_mb: float
    num_idle_processes: int | ServerEnvOption[int]
    shutdown_process_timeout: float
    session_end_timeout: float
    initialize_process_timeout: float
    permissions: WorkerPermissions
    max_retry: int
    ws_url: str | None
    api_key: str | None
    api_secret: str | None
    host: str
    port: int | ServerEnvOption[int]
    http_proxy: str | None
    multiprocessing_context: Literal["spawn", "forkserver"]
    setup_fnc: Callable[[JobProcess], Any] | None
    preload_modules: list[str] | None
    prometheus_port: int | None
    prometheus_multiproc_dir: str | None
    log_level: str | ServerEnvOption[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What a boot is governed by. Times are in seconds.

    Attributes:
        deployment_version: None is an untagged worker; it is never part of a rollout.
        max_concurrent_sessions: the hard cap.
        drain_timeout: after this long a drain cuts what is left.
        cut_grace: and this long after the cut it kills what is still there.
        drain_linger: the endpoint stays up this long after the last call ended.
        after_drain: ``exit``; ``wait`` stays idle until a signal comes, also after a cut; ``auto`` waits under
            Kubernetes.
        answer_timeout: what the user's request hook may take before the offer is refused.
        connect_timeout: until the first registration; 0 is for ever.
        livekit_target_load: the server's ``agents.target_load``.
        state_dir: folder of the call file and of the newest manifest; None keeps neither.
        dispatch_deployment: LiveKit's routing key; a worker that sets it gets only dispatches that name it.

    The rest are the arguments of :class:`ControlSettings` and :class:`FleetSettings`; None leaves each to
    ``OPENRTC_…`` and the defaults.
    """

    deployment_version: str | None = None
    max_concurrent_sessions: int = 50
    drain_timeout: float = 3600.0
    cut_grace: float = 30.0
    drain_linger: float = 3.0
    after_drain: AfterDrain = "auto"
    answer_timeout: float = 1.5
    connect_timeout: float = 60.0
    livekit_target_load: float = 0.7
    state_dir: Path | str | None = None
    dispatch_deployment: str | None = None
    control_host: str | None = None
    control_port: int | None = None
    control_allowed_hosts: Sequence[str] | None = None
    operator_keys: Path | str | None = None
    read_token: str | None = field(default=None, repr=False)
    control_tls_cert: Path | str | None = None
    control_tls_key: Path | str | None = None
    control_tls_client_ca: Path | str | None = None
    fleet: str | None = None
    membership_secret: str | None = field(default=None, repr=False)
    release_keys: Path | str | None = None
    manifest: Path | str | None = None
    manifest_required: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "deployment_version", deployment_version(self.deployment_version))
        for name, least in (
            ("drain_timeout", 1.0),
            ("cut_grace", 0.0),
            ("drain_linger", 0.0),
            ("connect_timeout", 0.0),
        ):
            _check_seconds(name, getattr(self, name), least)
        if not 0 < self.answer_timeout <= MAX_ANSWER_TIMEOUT:
            raise ValueError(
                f"answer_timeout must be above 0 and at most {MAX_ANSWER_TIMEOUT} s: LiveKit gives an offer up"
                f" after about 2.8 s; it is {self.answer_timeout!r}"
            )
        if isinstance(self.max_concurrent_sessions, bool) or not isinstance(self.max_concurrent_sessions, int):
            raise TypeError("max_concurrent_sessions must be a whole number")
        if self.max_concurrent_sessions < 1:
            raise ValueError(f"max_concurrent_sessions must be at least 1, not {self.max_concurrent_sessions}")
        if not 0.1 <= self.livekit_target_load <= 1:
            raise ValueError(f"livekit_target_load must be from 0.1 to 1, not {self.livekit_target_load!r}")
        if self.after_drain not in get_args(AfterDrain):
            raise ValueError(f"after_drain must be auto, exit or wait, not {self.after_drain!r}")
        if self.dispatch_deployment is not None:
            _check_dispatch_deployment(self.dispatch_deployment)

    def control(self, environ: Mapping[str, str]) -> ControlSettings:
        """How the endpoint is served. Raises ControlError when a setting cannot be used."""
        return ControlSettings.from_environment(
            environ,
            host=self.control_host,
            port=self.control_port,
            allowed_hosts=self.control_allowed_hosts,
            operator_keys=self.operator_keys,
            read_token=self.read_token,
            tls_cert=self.control_tls_cert,
            tls_key=self.control_tls_key,
            tls_client_ca=self.control_tls_client_ca,
        )

    def membership(self, environ: Mapping[str, str]) -> FleetSettings:
        """How the worker belongs to its fleet. Raises ValueError when a setting cannot be used."""
        return FleetSettings.from_environment(
            environ,
            fleet=self.fleet,
            membership_secret=self.membership_secret,
            release_keys=self.release_keys,
            manifest=self.manifest,
            manifest_required=self.manifest_required,
        )

    def waits_after_drain(self, environ: Mapping[str, str]) -> bool:
        """Whether a drain that no signal began leaves the process running, idle.

        A supervisor that always restarts, whatever the exit code, would have the same version back within half a
        second, taking calls.
        """
        return self.after_drain == "wait" or (self.after_drain == "auto" and "KUBERNETES_SERVICE_HOST" in environ)


def _check_seconds(name: str, value: float, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if not math.isfinite(value) or value < least:
        raise ValueError(f"{name} must be at least {least:g} s, not {value!r}")


def _check_dispatch_deployment(value: str) -> None:
    if not value or len(value.encode()) > MAX_DEPLOYMENT_BYTES or "_" in value or any(c.isspace() for c in value):
        raise ValueError(
            f"dispatch_deployment must be 1 to {MAX_DEPLOYMENT_BYTES} bytes without _ and spaces, not {value!r}"
        )
