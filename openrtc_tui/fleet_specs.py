"""What a fleet file says, as frozen values. Secrets never stand in them: only where they are to be found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_REFRESH: Final = 1.0
DEFAULT_WAVE: Final = 5
DEFAULT_EXEC_TIMEOUT: Final = 300.0


@dataclass(frozen=True, slots=True)
class TlsSpec:
    """PEM files for ``https``: whom to trust, and the client certificate. A ``cert`` without ``key`` holds both."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class OperatorSpec:
    """Who acts. The ``kid`` of the key is the stem of its file."""

    name: str
    key_file: Path


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    from_version: str
    to_version: str


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker. ``key`` is its name, else ``host:port``; ``url`` has no path and no trailing slash."""

    key: str
    url: str
    region: str | None = None
    tls: TlsSpec | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """Where a secret is: in the environment variable *env* or in *file*; exactly one of them is set."""

    env: str | None = None
    file: Path | None = None

    def __str__(self) -> str:
        return f"${self.env}" if self.env is not None else str(self.file)


@dataclass(frozen=True, slots=True)
class MembershipSpec:
    """What the secret of every version is derived from; several during a rotation."""

    masters: tuple[SecretRef, ...]


@dataclass(frozen=True, slots=True)
class PublishFile:
    """The manifest is written to this file; what brings it to the workers is not our part."""

    path: Path


@dataclass(frozen=True, slots=True)
class PublishExec:
    """The manifest is given to this program on its standard input. No shell."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ManifestSpec:
    """The release key (its ``kid`` is the stem of the file), and how a manifest comes to the workers."""

    key_file: Path
    publish: Literal["put"] | PublishFile | PublishExec = "put"


@dataclass(frozen=True, slots=True)
class KubernetesSpec:
    """A Deployment. Without *kubeconfig* and *context* the configuration is found as kubectl finds it."""

    namespace: str
    deployment: str
    kubeconfig: Path | None = None
    context: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookSpec:
    """A service that brings a version up; requests to *url* are signed with the key in *key_file*."""

    url: str
    key_file: Path


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A program that brings a version up: its arguments, no shell; ``{to}`` in them is the version.

    *timeout* is in seconds.
    """

    argv: tuple[str, ...]
    timeout: float = DEFAULT_EXEC_TIMEOUT


@dataclass(frozen=True, slots=True)
class LocalSpec:
    """The embedded fleet, which listens for requests on *socket*."""

    socket: Path


PlatformSpec: TypeAlias = KubernetesSpec | WebhookSpec | ExecSpec | LocalSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFile:
    """A valid fleet file. ``refresh`` and ``drain_timeout`` are in seconds, ``drain_wave`` in workers."""

    path: Path
    name: str
    workers: tuple[WorkerSpec, ...]
    refresh: float = DEFAULT_REFRESH
    read_only: bool = False
    operator: OperatorSpec | None = None
    read_token_env: str | None = None
    read_token_file: Path | None = None
    tls: TlsSpec | None = None
    rollout: RolloutSpec | None = None
    drain_timeout: float | None = None
    drain_wave: int = DEFAULT_WAVE
    membership: MembershipSpec | None = None
    manifest: ManifestSpec | None = None
    rollback: PlatformSpec | None = None
