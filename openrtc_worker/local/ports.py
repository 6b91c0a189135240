"""Ports that are picked now and listened on later, by a process that is not there yet."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLD: Final = sys.platform == "linux"
"""There a socket that is bound and does not listen keeps the port out of what the system hands out, and a server
that binds it by number with SO_REUSEADDR, as asyncio's and Go's do, gets it all the same. BSD would refuse it."""


class ReservedPorts:
    """*number* different ports of *host* that nobody listens on; until :meth:`close` nobody is given one by chance.

    Without that a port picked for a worker that starts ten seconds later can meanwhile become the near end of
    somebody's connection, and the worker finds it in use.
    """

    def __init__(self, number: int, *, host: str = "127.0.0.1") -> None:
        self._sockets: list[socket.socket] = []
        try:
            for _ in range(number):
                self._sockets.append(_bound(host))
        except OSError:
            self.close()
            raise
        self._numbers: tuple[int, ...] = tuple(each.getsockname()[1] for each in self._sockets)
        if not _HOLD:
            self.close()

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give them back."""
        while self._sockets:
            self._sockets.pop().close()


def _bound(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, 0))
    except OSError:
        made.close()
        raise
    return made
