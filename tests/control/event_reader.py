"""A reader of server-sent events that keeps everything, comments too."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """One event, or one comment (``kind`` is then ``comment``)."""

    kind: str
    id: str | None
    data: object
    at: float


def parse(block, at):
    lines = block.split("\n")
    if all(line.startswith(":") for line in lines):
        return Frame("comment", None, None, at)
    fields = [line.split(": ", 1) for line in lines]
    assert [name for name, _ in fields].count("data") == 1, "the data is one line"
    values = dict(fields)
    return Frame(values["event"], values.get("id"), json.loads(values["data"]), at)


class EventReader:
    """Reads until the stream ends; tests wait for what it has seen."""

    def __init__(self, response):
        self.response = response
        self.frames = []
        self.ended = False
        self._news = asyncio.Event()

    async def read(self):
        rest = ""
        async for chunk in self.response.aiter_text():
            rest += chunk
            *blocks, rest = rest.split("\n\n")
            now = asyncio.get_running_loop().time()
            self.frames += [parse(block, now) for block in blocks]
            self._news.set()
        assert rest == ""
        self.ended = True
        self._news.set()

    def of(self, kind):
        return [frame for frame in self.frames if frame.kind == kind]

    @property
    def snapshots(self):
        return [frame.data for frame in self.of("snapshot")]

    async def until(self, condition, *, within=15.0):
        """Wait until *condition* of this reader holds."""
        async with asyncio.timeout(within):
            while not condition(self):
                self._news.clear()
                await self._news.wait()
        return self


@contextlib.asynccontextmanager
async def events(endpoint, **options):
    """Open the event stream of an endpoint and read it in the background."""
    async with endpoint.client.stream("GET", "/v1/events", timeout=20, **options) as response:
        assert response.status_code == 200, await response.aread()
        reader = EventReader(response)
        task = asyncio.create_task(reader.read())
        try:
            yield reader
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
