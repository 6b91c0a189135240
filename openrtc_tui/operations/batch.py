"""Many single requests, a few at a time, in the order of a confirmed list, as a rule until one gets no yes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from openrtc_tui.operations.request import Answer, Ask

WIDTH: Final = 4
"""Requests under way at one time."""


class Sender(Protocol):
    """What a batch needs of :class:`~openrtc_tui.operations.control.ControlClient`."""

    async def send(self, ask: Ask, on_progress: Callable[[Ask, str], None] | None = None) -> Answer: ...


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What was asked, in the list's order, and what was not asked any more."""

    answers: tuple[Answer, ...]
    not_asked: tuple[Ask, ...]

    @property
    def stopped_by(self) -> Answer | None:
        """The first answer, in the list's order, that was no yes."""
        return next((answer for answer in self.answers if not answer.done), None)


async def run_batch(
    sender: Sender,
    asks: Sequence[Ask],
    *,
    width: int = WIDTH,
    all_of_them: bool = False,
    on_answer: Callable[[Answer], None] | None = None,
    on_progress: Callable[[Ask, str], None] | None = None,
) -> BatchResult:
    """Send *asks*, *width* at a time; after the first that is refused or stays open no further one is begun.

    What is under way then is brought to its end. ``on_answer`` hears each answer as it comes. With ``all_of_them``
    every one is asked, whatever became of the others.
    """
    waiting: Iterator[Ask] = iter(asks)
    answers: dict[str, Answer] = {}

    async def work() -> None:
        while (all_of_them or all(answer.done for answer in answers.values())) and (
            ask := next(waiting, None)
        ) is not None:
            answer = await sender.send(ask, on_progress)
            answers[ask.op_id] = answer
            if on_answer:
                on_answer(answer)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(width, len(asks))):
            group.create_task(work())
    return BatchResult(
        answers=tuple(answers[ask.op_id] for ask in asks if ask.op_id in answers),
        not_asked=tuple(ask for ask in asks if ask.op_id not in answers),
    )
