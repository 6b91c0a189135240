"""A question on the terminal that can be left at any time."""

from __future__ import annotations

import asyncio
import sys


def can_ask() -> bool:
    """Whether somebody sits there who can read the question and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


async def ask(question: str) -> str:
    """The answer, without blanks around it; empty at the end of input.

    The line is read on the event loop and not in a thread: Ctrl+C must end the question, and the fleet is watched
    on while it stands there.
    """
    print(question, end="", file=sys.stderr, flush=True)
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not answered.done():
            answered.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin.fileno(), read)
    try:
        return (await answered).strip()
    finally:
        loop.remove_reader(sys.stdin.fileno())
