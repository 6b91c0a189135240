"""Names to addresses, without asyncio's resolver."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
"""What a socket of that family connects to."""


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of *host*, an IP literal or a name.

    asyncio's own resolver shares a handful of executor threads, and the end of the loop waits for them: a name
    server that hangs would hold up ``q``. A daemon thread per look-up does not.
    """
    with contextlib.suppress(OSError):  # no literal: ask the resolver
        return _look_up(host, port, socket.AI_NUMERICHOST)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()

    def settle(addresses: list[Address], error: OSError | None) -> None:
        if answer.done():  # nobody waits any more
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def work() -> None:
        addresses: list[Address] = []
        error: OSError | None = None
        try:
            addresses = _look_up(host, port, 0)
        except OSError as failed:
            error = failed
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, addresses, error)

    threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()
    return await answer


def _look_up(host: str, port: int, flags: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError:  # a label that is empty or longer than 63 characters
        raise socket.gaierror(socket.EAI_NONAME, "not a valid host name") from None
    return [(family, where) for family, _, _, _, where in found]
