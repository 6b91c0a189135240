"""What a worker's answers mean when they are not what was asked for."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from openrtc_tui.state.observation import FailureKind

_HINTS: Final = {
    401: "it wants a read token; set read_token_env or read_token_file",
    403: "it refuses us",
    404: "no control endpoint at this address",
    421: "it does not answer to this host name; add it to OPENRTC_CONTROL_ALLOWED_HOSTS there",
    429: "it is asked too often",
    503: "it is busy",
}


class ContactError(Exception):
    """A worker answered, and not with what a worker says. ``kind`` and ``detail`` as in ``ContactFailed``."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        self.kind: FailureKind = kind
        self.detail = printable(detail)
        super().__init__(self.detail)


def wrong_status(status: int) -> ContactError:
    """The error for an HTTP status that is no success."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    hint = "it redirects, which is not followed" if 300 <= status < 400 else _HINTS.get(status, "")
    return ContactError("status", f"HTTP {status} {phrase}".rstrip() + (f": {hint}" if hint else ""))
