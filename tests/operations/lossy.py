"""A proxy before a real worker's endpoint that loses what it is told to lose: :class:`LossyProxy`."""

from __future__ import annotations

import asyncio
from typing import Literal

Loss = Literal["none", "answer", "request"]
"""*answer*: the worker gets the request, its answer is thrown away. *request*: it is thrown away before the worker
gets it."""


class LossyProxy:
    """Forwards requests one by one to ``127.0.0.1:upstream``; ``losses`` says what becomes of the coming POSTs.

    ``posts`` has head and body of every POST that came, lost or not.
    """

    def __init__(self, upstream: int, losses: list[Loss] | None = None) -> None:
        self.upstream = upstream
        self.losses = losses or []
        self.posts: list[tuple[bytes, bytes]] = []
        self.port = 0
        self.before_next = None  # called once, after a loss, before anything else is forwarded
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> LossyProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head, body = await _message(reader)
                loss: Loss = "none"
                if head.startswith(b"POST"):
                    self.posts.append((head, body))
                    loss = self.losses.pop(0) if self.losses else "none"
                if head.startswith(b"GET /v1/events"):
                    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")  # it is polled then
                    continue
                if loss == "request":
                    break
                answer = await self._forward(head + body)
                if loss != "none":
                    if self.before_next:
                        self.before_next()
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            writer.transport.abort()

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            writer.write(request)
            head, body = await _message(reader)
            return head + body
        finally:
            writer.close()
            await writer.wait_closed()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    return head, await reader.readexactly(length)
