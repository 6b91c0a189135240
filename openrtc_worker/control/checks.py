"""What a request must be before anybody asks what it wants: its host, its origin, its bearer token."""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING, Final

from openrtc_worker.contract.text import printable
from openrtc_worker.control.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_AUTHORITY: Final = re.compile(r"(?:\[(?P<v6>[^\[\]@/\s]+)\]|(?P<name>[^\[\]@/:\s]+))(?::[0-9]{1,5})?")


class HostCheck:
    """Which ``Host`` a request may name. Anything else may be a web page that has this address under its own name.

    Args:
        names: host names beside ``localhost`` and every IP literal, case ignored.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset({"localhost", *(name.strip().lower() for name in names)})

    def check(self, header: str | None, target_host: str | None) -> None:
        """Refuse a request for another host.

        Args:
            header: the ``Host`` header.
            target_host: the host of an absolute request target; None where the target is a path.

        Raises:
            Refusal: ``host``.
        """
        if header is None:
            raise Refusal("host", "the request names no host")
        match = _AUTHORITY.fullmatch(header)
        named = [match["v6"] or match["name"] if match else ""]
        for name in named if target_host is None else [*named, target_host]:
            if not self._allowed(name):
                raise Refusal(
                    "host",
                    f"{printable(name or header, 100)!r} is not a name of this worker: ask by address,"
                    " or add the name to control_allowed_hosts (OPENRTC_CONTROL_ALLOWED_HOSTS)",
                )

    def _allowed(self, name: str) -> bool:
        if name.lower() in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def check_origin(headers: Mapping[str, str]) -> None:
    """Refuse what a browser sends for a page.

    Raises:
        Refusal: ``origin``.
    """
    if "Origin" in headers:
        raise Refusal("origin", "a request with an Origin header comes from a web page, and those are refused")


def check_content(headers: Mapping[str, str], content_type: str, limit: int) -> None:
    """Refuse a body that is not plain JSON, or declared longer than *limit* bytes.

    Raises:
        Refusal: ``content_type`` or ``size``.
    """
    if content_type != "application/json":
        raise Refusal("content_type", "send Content-Type: application/json")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("content_type", "send the body without a Content-Encoding")
    declared = headers.get("Content-Length", "0")
    if declared.isascii() and declared.isdecimal() and int(declared) > limit:
        raise too_large(limit)


def too_large(limit: int) -> Refusal:
    """The refusal of a body longer than *limit* bytes."""
    return Refusal("size", f"the body may be {limit} bytes long at most")


def bearer(headers: Mapping[str, str]) -> str | None:
    """The token of ``Authorization: Bearer …``; None without one."""
    scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def check_read_token(headers: Mapping[str, str], expected: bytes | None) -> None:
    """Refuse a read without the read token, where one is set.

    Raises:
        Refusal: ``token``.
    """
    if expected is None:
        return
    shown = bearer(headers)
    if shown is None:
        raise Refusal("token", "reading needs the read token as Authorization: Bearer …")
    if not hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), expected):
        raise Refusal("token", "this is not the worker's read token")
