"""Asking a LiveKit server for entrance before the worker does: a wrong secret and a dead server need other hands.

livekit-agents retries both alike. The server answers a plain GET of ``/agent`` with 401 when it does not take
the token and with 404 when it does (livekit-server 1.13.5; a WebSocket would go on from there).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import jwt

if TYPE_CHECKING:
    import ssl

PROBE_TIMEOUT = 5.0
_TOKEN_LIFE = 60


class Answer(Enum):
    """What the probe found."""

    WELCOME = "welcome"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where LiveKit is and what we show there; ``proxy`` as the worker's own connection uses it."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)
    proxy: str | None = None

    def missing(self) -> str | None:
        """One line that says what to set, or None."""
        wanted = {"LIVEKIT_URL": self.url, "LIVEKIT_API_KEY": self.api_key, "LIVEKIT_API_SECRET": self.api_secret}
        names = [name for name, value in wanted.items() if not value]
        if not names:
            return None
        return f"set {', '.join(names)}: a worker needs LiveKit's address and a key with its secret to register"

    def malformed(self) -> str | None:
        """One line that says what is wrong with the address, or None."""
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("ws", "wss", "http", "https") and parts.hostname is not None
            _ = parts.port
        except ValueError:
            usable = False
        return None if usable else f"LIVEKIT_URL {self.url!r} is no address: it looks like wss://livekit.example.com"


async def probe(credentials: Credentials, *, tls: ssl.SSLContext | None = None) -> tuple[Answer, str]:
    """Ask once. Returns the answer and, when it is not a welcome, one line of detail.

    *tls* is what the worker's own connection will trust; None trusts what the system does.
    """
    scheme, rest = credentials.url.split("://", 1)
    url = f"{scheme.replace('ws', 'http', 1)}://{rest.rstrip('/')}/agent"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT)) as session,
            session.get(
                url,
                headers={"Authorization": f"Bearer {_token(credentials)}"},
                proxy=credentials.proxy,
                allow_redirects=False,
                ssl=True if tls is None else tls,
            ) as response,
        ):
            if response.status in (401, 403):
                return Answer.REFUSED, f"HTTP {response.status}"
            if response.status >= 500:
                return Answer.UNREACHABLE, f"HTTP {response.status}"
            return Answer.WELCOME, ""
    except TimeoutError:
        return Answer.UNREACHABLE, f"no answer in {PROBE_TIMEOUT:g} s"
    except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
        return Answer.UNREACHABLE, str(error) or type(error).__name__


def _token(credentials: Credentials) -> str:
    now = int(time.time())
    claims = {"iss": credentials.api_key, "nbf": now - 5, "exp": now + _TOKEN_LIFE, "video": {"agent": True}}
    return jwt.encode(claims, credentials.api_secret, algorithm="HS256")
