"""Why a request got no answer, in one word that the fleet's state understands and one line for people."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openrtc_tui.state.observation import FailureKind


class HttpFailure(Exception):  # noqa: N818  a failure of contact is an outcome here, named as the state names it
    """No answer came.

    Attributes:
        kind: the word of :data:`openrtc_tui.state.observation.FailureKind`; never ``status``, as any status is an
            answer.
        detail: one printable line.
        sent: whether the request may have reached the other side. False is certain: no byte of it left.
    """

    def __init__(self, kind: FailureKind, detail: str, *, sent: bool = False) -> None:
        self.kind: FailureKind = kind
        self.detail = printable(detail)
        self.sent = sent
        super().__init__(self.detail)


def classify(error: BaseException) -> tuple[FailureKind, str] | None:
    """The kind and the words of what the network said, from *error* or what caused it; None if it said nothing."""
    return next((known for cause in _causes(error) if (known := _classify_one(cause)) is not None), None)


def _classify_one(cause: BaseException) -> tuple[FailureKind, str] | None:
    known: tuple[FailureKind, str]
    match cause:
        case ssl.SSLCertVerificationError():
            known = "tls", f"certificate not accepted: {cause.verify_message or cause.reason}"
        case ssl.SSLError():
            known = "tls", f"TLS: {(cause.reason or str(cause)).replace('_', ' ').lower()}"
        case socket.gaierror():
            known = "name", f"name not found: {cause.strerror}"
        case ConnectionRefusedError():
            known = "refused", "connection refused"
        case ConnectionError():
            known = "broken", "connection reset"
        case OSError() if cause.strerror:
            # no route, host or net unreachable: nobody said no, so it is the silence of a timeout
            known = "timeout", cause.strerror.lower()
        case _:
            return None
    return known


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 8:
        yield error
        error = error.__cause__
        seen += 1
