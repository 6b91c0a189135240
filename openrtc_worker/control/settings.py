"""How the control endpoint is set up: by arguments, else by the environment, else by the page's defaults."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from openrtc_worker.contract.keys import KeyFileError, read_public_file, read_secret_file
from openrtc_worker.contract.text import printable
from openrtc_worker.environment import flag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 9464
MAX_WORKER_ID: Final = 128


class ControlError(Exception):
    """The endpoint cannot be served as it is set up. One line that says what to do; the process exits 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """Where the endpoint listens and who may ask.

    Attributes:
        host: address or name to bind; ``127.0.0.1`` is this machine alone.
        port: 0 is any free one.
        allowed_hosts: further names that a request's ``Host`` may have, without port.
        operator_keys: a folder with ``NAME.pub.pem`` and ``*.jwks.json``, or one such file. None: acting is off.
        read_token: bearer token that GETs must carry.
        read_token_file: the file that holds it instead.
        tls_cert: certificate chain in PEM; with ``tls_key``.
        tls_key: its private key in PEM, without a passphrase.
        tls_client_ca: CAs in PEM; every client, a platform's probes too, must then show a certificate of theirs.
        metrics_by_tenant: also export active sessions by tenant. Off, for their number is not bounded.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    allowed_hosts: tuple[str, ...] = ()
    operator_keys: Path | str | None = None
    read_token: str | None = field(default=None, repr=False)
    read_token_file: Path | str | None = None
    tls_cert: Path | str | None = None
    tls_key: Path | str | None = None
    tls_client_ca: Path | str | None = None
    metrics_by_tenant: bool = False

    def __post_init__(self) -> None:
        """Refuse what can never work, before anything is bound.

        Raises:
            ControlError: with one line.
        """
        if type(self.port) is not int or not 0 <= self.port <= 65535:  # a bool is an int
            raise ControlError(f"control_port must be a number from 0 to 65535, not {self.port!r}")
        if not self.host:
            raise ControlError("control_host must not be empty: 0.0.0.0 is every address of this machine")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ControlError("control_tls_cert and control_tls_key belong together: set both or none")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ControlError("control_tls_client_ca needs control_tls_cert and control_tls_key")
        if self.read_token is not None and not self.read_token.strip():
            raise ControlError("read_token must not be empty")

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        allowed_hosts: Sequence[str] | None = None,
        operator_keys: Path | str | None = None,
        read_token: str | None = None,
        read_token_file: Path | str | None = None,
        tls_cert: Path | str | None = None,
        tls_key: Path | str | None = None,
        tls_client_ca: Path | str | None = None,
        metrics_by_tenant: bool | None = None,
    ) -> Self:
        """The settings: an argument that is given wins, then ``OPENRTC_…``, then the default.

        Raises:
            ControlError: a value cannot be used; the line names it.
        """
        variables = os.environ if environ is None else environ

        def variable(name: str) -> str | None:
            return variables.get(name, "").strip() or None

        if isinstance(allowed_hosts, str):
            raise ControlError("control_allowed_hosts is a list of names, not one string")
        if allowed_hosts is None:
            allowed_hosts = [name.strip() for name in (variable("OPENRTC_CONTROL_ALLOWED_HOSTS") or "").split(",")]
        if read_token is None and read_token_file is None:
            read_token_file = variable("OPENRTC_READ_TOKEN_FILE")
        if metrics_by_tenant is None:
            try:
                metrics_by_tenant = flag("OPENRTC_METRICS_BY_TENANT", variable("OPENRTC_METRICS_BY_TENANT"))
            except ValueError as error:
                raise ControlError(str(error)) from None
        return cls(
            host=host or variable("OPENRTC_CONTROL_HOST") or DEFAULT_HOST,
            port=_port(variable("OPENRTC_CONTROL_PORT")) if port is None else port,
            allowed_hosts=tuple(name for name in allowed_hosts if name),
            operator_keys=operator_keys or variable("OPENRTC_OPERATOR_KEYS"),
            read_token=read_token,
            read_token_file=read_token_file,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_client_ca=tls_client_ca,
            metrics_by_tenant=metrics_by_tenant,
        )

    def load_read_token(self) -> bytes | None:
        """The token that GETs must carry, from the argument or its file.

        Raises:
            ControlError: the file cannot be used.
        """
        if self.read_token is not None:
            return self.read_token.strip().encode()
        if self.read_token_file is None:
            return None
        try:
            token = read_secret_file(self.read_token_file).strip()
        except KeyFileError as error:
            raise ControlError(f"OPENRTC_READ_TOKEN_FILE: {error}") from None
        if not token:
            raise ControlError(f"OPENRTC_READ_TOKEN_FILE: {self.read_token_file}: the file is empty")
        return token

    def load_tls(self) -> ssl.SSLContext | None:
        """The TLS context to serve with; None without a certificate.

        Raises:
            ControlError: a file cannot be used.
        """
        if self.tls_cert is None or self.tls_key is None:
            return None
        try:
            read_public_file(self.tls_cert)
            read_secret_file(self.tls_key)
            if self.tls_client_ca is not None:
                read_public_file(self.tls_client_ca)
        except KeyFileError as error:
            raise ControlError(f"control TLS: {error}") from None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # the empty answer to a question for a passphrase: a worker never waits for somebody to type one
            context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: b"")
        except (ssl.SSLError, OSError, ValueError):
            raise ControlError(
                f"control TLS: {self.tls_cert} and {self.tls_key} are no certificate chain and its key"
                " (PEM, without a passphrase)"
            ) from None
        if self.tls_client_ca is not None:
            try:
                context.load_verify_locations(cafile=self.tls_client_ca)
            except (ssl.SSLError, OSError):
                raise ControlError(f"control TLS: {self.tls_client_ca} holds no CA certificate in PEM") from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def default_worker_id(port: int, environ: Mapping[str, str] | None = None) -> str:
    """The worker's id: ``OPENRTC_WORKER_ID``, else the host name, with ``-PORT`` when *port* is not 9464.

    Args:
        port: the control port that is really bound, so that two workers of one host have two ids.
        environ: the environment, if not the process's own.

    Raises:
        ControlError: the variable holds what cannot be shown on one line.
    """
    variables = os.environ if environ is None else environ
    named = variables.get("OPENRTC_WORKER_ID", "").strip()
    if named:
        if printable(named, MAX_WORKER_ID) != named:
            raise ControlError(f"OPENRTC_WORKER_ID must be at most {MAX_WORKER_ID} printable characters")
        return named
    host = socket.gethostname() or "worker"
    return host if port == DEFAULT_PORT else f"{host}-{port}"


def _port(value: str | None) -> int:
    if value is None:
        return DEFAULT_PORT
    if not (value.isascii() and value.isdecimal()) or int(value) > 65535:
        raise ControlError(f"OPENRTC_CONTROL_PORT must be a number from 0 to 65535, not {printable(value, 40)!r}")
    return int(value)
