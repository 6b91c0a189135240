"""Refusals and errors as ``application/problem+json`` (RFC 9457), each with the reason that is counted."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from openrtc_worker.contract.snapshot import encode_json

COUNTED: Final = {
    "host": (421, "Not served under this host name"),
    "origin": (403, "Requests of web pages are refused"),
    "method": (405, "Method not allowed"),
    "content_type": (415, "The body must be JSON"),
    "size": (413, "The body is too large"),
    "acting_off": (403, "Acting is off"),
    "token": (401, "A token is required"),
    "key": (401, "Unknown operator key"),
    "algorithm": (401, "Algorithm not allowed"),
    "signature": (401, "The signature does not verify"),
    "times": (401, "The token is not valid now"),
    "claims": (401, "The token's claims are not as required"),
    "audience": (403, "The token is for another worker or boot"),
    "action": (403, "The token is for another action"),
    "body_hash": (403, "The token is for another body"),
    "operator": (403, "The key belongs to another operator"),
    "not_allowed": (403, "The key may not ask for this"),
    "body": (400, "The body is malformed"),
    "op_id": (422, "This op_id was used for another request"),
    "expect": (409, "The worker is not in the expected state"),
    "manifest": (403, "The manifest is not accepted"),
    "seq": (409, "A newer manifest holds"),
    "conflict": (409, "Another manifest of this number holds"),
    "full": (503, "Too many operations"),
}
"""Reasons that ``openrtc_control_requests_total`` counts: HTTP status and title."""

OTHER: Final = {
    "bad_request": (400, "Not an HTTP request"),
    "query": (400, "The query is malformed"),
    "not_found": (404, "No such resource"),
    "slow_request": (408, "The request took too long"),
    "internal": (500, "Internal error"),
    "too_many_streams": (503, "Too many event streams"),
    "not_ready": (503, "Not ready"),
}
"""Reasons that only the answer names."""


class Refusal(Exception):  # noqa: N818 - an answer, not a fault of the program
    """A request is answered with this problem and nothing is done."""

    def __init__(self, reason: str, detail: str, *, headers: dict[str, str] | None = None, **extra: Any) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra

    def response(self) -> web.Response:
        """The answer as it goes over the wire."""
        status, title = (COUNTED.get(self.reason) or OTHER[self.reason])[:2]
        headers = {**PLAIN_HEADERS, **self.headers}
        if status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        elif status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.setdefault("Retry-After", "5")
        body = {
            "type": f"urn:openrtc:problem:{self.reason}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "reason": self.reason,
            **self.extra,
        }
        return web.Response(
            status=status, body=encode_json(body), content_type="application/problem+json", headers=headers
        )


PLAIN_HEADERS: Final = {
    "Server": "openrtc-worker",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer: nothing is kept, and nothing is guessed."""
