"""What a worker wants to see of us before it answers: TLS files and a read token."""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from openrtc_tui.http.failure import HttpFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one worker. Without ``ca`` the public certificate authorities are trusted.

    ``ca`` is a PEM file of authorities, ``cert`` and ``key`` our own certificate for mTLS (``key`` may lie in the
    ``cert`` file), ``read_token`` the bearer token of GET requests.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    read_token: str | None = field(default=None, repr=False)


OPEN = Access()
"""No token, the public authorities."""


class TlsContexts:
    """One SSL context per distinct setting: building one costs 20 ms, and a fleet shares a handful.

    The files are looked at again for each new connection, so that a rotated certificate is taken over.
    """

    def __init__(self) -> None:
        self._contexts: dict[object, ssl.SSLContext] = {}

    def get(self, access: Access) -> ssl.SSLContext:
        """The context for *access*.

        Raises:
            HttpFailure: kind ``tls``, when a file cannot be read or is no certificate or key.
        """
        files = (access.ca, access.cert, access.key)
        try:
            setting = tuple((path, path.stat().st_mtime_ns) if path else None for path in files)
            context = self._contexts.get(setting)
            if context is None:
                context = self._contexts[setting] = _build(access)
        except OSError as error:
            raise HttpFailure("tls", f"cannot read {error.filename}: {error.strerror}") from None
        return context


def _build(access: Access) -> ssl.SSLContext:
    if access.ca is None:
        context = httpx.create_ssl_context(trust_env=False)
    else:
        with _naming(access.ca):
            context = ssl.create_default_context(cafile=access.ca)
    if access.cert is not None:
        with _naming(access.cert, access.key):
            # an encrypted key must fail here: without a password OpenSSL would ask for one on the terminal
            context.load_cert_chain(access.cert, access.key, password="")
    return context


@contextlib.contextmanager
def _naming(*files: Path | None) -> Iterator[None]:
    """Turn what OpenSSL says into one line: the reason first, since long paths may be clipped."""
    try:
        yield
    except ssl.SSLError as error:
        words = (error.reason or "not a certificate or key").replace("_", " ").lower()
        names = " with ".join(str(path) for path in files if path)
        raise HttpFailure("tls", f"{words}: cannot use {names}") from None
