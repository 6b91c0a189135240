"""Where a manifest is read: a file or a URL that is looked at again and again, and the one kept in ``state_dir``.

Everything here blocks and belongs into a thread. Nothing is believed: whoever reads verifies.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from openrtc_worker.call_file import file_stem, write_anew
from openrtc_worker.contract.keys import KeyFileError, read_public_file
from openrtc_worker.contract.manifest import MAX_BYTES
from openrtc_worker.contract.text import printable

FILE_EVERY: Final = 1.0
URL_EVERY: Final = 5.0
"""Seconds between two looks."""

URL_SECONDS: Final = 5.0
"""Seconds that a server has for each step of an answer, and for the whole of it once it is connected."""


class SourceError(Exception):
    """Nothing could be read; one line that says why."""


class ManifestSource:
    """A file, or an ``http://`` or ``https://`` URL. No proxy is asked and no redirect is followed."""

    def __init__(self, where: Path | str) -> None:
        self.where = str(where)
        self.kind = "url" if is_url(self.where) else "file"
        self.pause = URL_EVERY if self.kind == "url" else FILE_EVERY
        self._tls: ssl.SSLContext | None = None

    def read(self) -> str:
        """The manifest's text as it is now.

        Raises:
            SourceError: there is nothing that could be one.
        """
        data = self._read_url() if self.kind == "url" else self._read_file()
        if len(data) > MAX_BYTES:
            raise SourceError(f"larger than {MAX_BYTES >> 10} KiB, so not a manifest")
        try:
            text = data.decode("ascii").strip()
        except UnicodeDecodeError:
            raise SourceError("not a signed manifest") from None
        if not text:
            raise SourceError("it is empty")
        return text

    def _read_file(self) -> bytes:
        try:
            return read_public_file(Path(self.where).expanduser())
        except KeyFileError as error:
            raise SourceError(error.problem) from None

    def _read_url(self) -> bytes:
        url = urlsplit(self.where)
        try:
            if url.scheme == "https":
                self._tls = self._tls or ssl.create_default_context()
                connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                    url.hostname or "", url.port, timeout=URL_SECONDS, context=self._tls
                )
            else:
                connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=URL_SECONDS)
            with contextlib.closing(connection):
                connection.connect()
                return _answer(connection, f"{url.path or '/'}{f'?{url.query}' if url.query else ''}")
        except TimeoutError:
            raise SourceError(f"no answer within {URL_SECONDS:g} s") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise SourceError(printable(reason, 200).lower()) from None


def is_url(where: str) -> bool:
    """Whether *where* is asked over HTTP; anything else is the path of a file."""
    return where.startswith(("http://", "https://"))


def _answer(connection: http.client.HTTPConnection, target: str) -> bytes:
    """The body of one GET, a byte more than a manifest may have at most. Raises TimeoutError when it is late."""
    late, sock = threading.Event(), connection.sock  # which the connection forgets once it has an answer's head

    def give_up() -> None:
        late.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    # a timeout of a socket is for each piece: whoever sends one byte a second would never reach it
    guard = threading.Timer(URL_SECONDS, give_up)
    guard.daemon = True
    guard.start()
    try:
        connection.request(
            "GET", target, headers={"Accept": "application/jose, text/plain, */*", "Connection": "close"}
        )
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise SourceError(f"it answers {response.status} {printable(response.reason, 60)}")
        body = response.read(MAX_BYTES + 1)
    except (OSError, http.client.HTTPException):
        if late.is_set():  # it was we who closed
            raise TimeoutError from None
        raise
    finally:
        guard.cancel()
    if late.is_set():  # cut off by us, though it looks like an end
        raise TimeoutError
    return body


class KeptManifest:
    """The newest manifest in ``state_dir``, so that a worker that restarts alone remembers what it was told."""

    def __init__(self, folder: Path | str, *, worker_id: str) -> None:
        self._path = Path(folder).expanduser() / f"manifest-{file_stem(worker_id)}.jws"

    def read(self) -> str | None:
        """The manifest's text; None when none was kept.

        Raises:
            SourceError: there is one, and it cannot be read.
        """
        if not os.path.lexists(self._path):
            return None
        try:
            return read_public_file(self._path).decode("ascii", "replace")
        except KeyFileError as error:
            raise SourceError(str(error)) from None

    def keep(self, token: str) -> None:
        """Replace what was kept, in one step. Raises OSError."""
        write_anew(self._path, f"{token}\n")
