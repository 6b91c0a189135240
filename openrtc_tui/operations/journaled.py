"""Requests with a journal around them: the intent is durable before anything leaves, the outcome is written after."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openrtc_tui.operations.journal import JournalError
from openrtc_tui.operations.plans.progress import INTENT, OUTCOME
from openrtc_tui.operations.request import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_tui.operations.batch import Sender
    from openrtc_tui.operations.journal import Journal
    from openrtc_tui.operations.request import Ask

PENDING = "pending"
"""``result`` of an intent."""


class JournaledSender:
    """Sends through *sender* what is in the *journal* first.

    A request whose intent cannot be written is not sent: its answer is ``unreached``, which ends a batch. One whose
    outcome cannot be written was sent all the same; the journal shows it as interrupted, *on_trouble* hears why.
    """

    def __init__(self, sender: Sender, journal: Journal, *, on_trouble: Callable[[str], None]) -> None:
        self._sender = sender
        self._journal = journal
        self._on_trouble = on_trouble

    async def send(self, ask: Ask, on_progress: Callable[[Ask, str], None] | None = None) -> Answer:
        """Journal *ask*, send it and journal what came of it. Raises nothing."""
        try:
            if not ask.again:
                await self._journal.write(INTENT, **_intent(ask))
        except JournalError as error:
            return Answer(ask=ask, outcome="unreached", detail=f"nothing was asked: {error}")
        answer = await self._sender.send(ask, on_progress)
        try:
            await self._journal.write(OUTCOME, **_outcome(answer))
        except JournalError as error:
            unrecorded = f"what came of the {ask.action} of {ask.key} is not written down: {error}"
            self._on_trouble(unrecorded)
            return replace(answer, unrecorded=unrecorded)
        return answer


def _intent(ask: Ask) -> dict[str, Any]:
    subject: dict[str, Any] = {
        "key": ask.key,
        "url": ask.url,
        "worker_id": ask.worker_id,
        "boot_id": ask.boot_id,
        "version": ask.version or "",
    }
    if ask.calls is not None:
        subject["calls"] = ask.calls
    return {
        "target": ask.worker_id,
        "result": PENDING,
        "version": ask.version,
        "op_id": ask.op_id,
        "plan_id": ask.plan_id,
        "action": ask.action,
        "subject": subject,
        "state": ask.state,
        "reason": ask.reason,
        "timeout": ask.timeout,
        **ask.note,
    }


def _outcome(answer: Answer) -> dict[str, Any]:
    ask = answer.ask
    return {
        "target": ask.worker_id,
        "result": answer.outcome,
        "version": ask.version,
        "op_id": ask.op_id,
        "plan_id": ask.plan_id,
        "action": ask.action,
        "outcome": answer.outcome,
        "detail": answer.detail,
        "refusal": answer.reason,
    }
