"""How one offer is answered: at once by the gate, in time by the user's hook, and always so that nobody is lost.

Every refusal passes the call on: with livekit's default, a refused call is ended and its caller gets nobody.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from openrtc_worker.hook import HookThread, OfferClosedError, Question
from openrtc_worker.ledger import Call
from openrtc_worker.routing import Route, tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from openrtc_worker.boot import Boot

logger = logging.getLogger(__name__)

_STOP_HOOK_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What an offer says of its call."""

    job_id: str
    room: str
    job_metadata: str = ""
    room_metadata: str = ""
    agent_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Yes, and how the agent appears in the room."""

    name: str = ""
    identity: str = ""
    metadata: str = ""
    attributes: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """No. *terminate* ends the call for good, no other worker is asked."""

    terminate: bool = False


Answer: TypeAlias = Acceptance | Rejection
Router: TypeAlias = "Callable[[Offered], Route]"
Hook: TypeAlias = "Callable[[Question[Answer]], Coroutine[Any, Any, None]]"


class Request(Protocol):
    """livekit's ``JobRequest``, as far as it answers."""

    async def accept(
        self, *, name: str = "", identity: str = "", metadata: str = "", attributes: dict[str, str] | None = None
    ) -> None:
        """Accept, and return once the job is launched."""

    async def reject(self, *, terminate: bool = True) -> None:
        """Refuse."""


class Offers:
    """Answers the offers of one boot.

    Args:
        boot: is told what happens, and says why an offer is refused.
        router: which agent answers a job.
        lost: what ``accept`` raises when LiveKit had given up on us.
    """

    def __init__(self, boot: Boot, *, router: Router, lost: type[Exception]) -> None:
        self._boot = boot
        self._router = router
        self._lost = lost
        self._hooks = HookThread()
        self._accepting: set[asyncio.Future[None]] = set()

    async def answer(self, offered: Offered, request: Request, *, deployment: str | None, hook: Hook | None) -> None:
        """Answer one offer; without a *hook* everything that the gate lets in is taken. Raises no error of ours.

        livekit passes an offer on that is left without an answer.
        """
        try:
            await self._answer(offered, request, deployment=deployment, hook=hook)
        except Exception:
            logger.exception("an offer of room %s could not be answered", offered.room)

    def abandon(self) -> None:
        """Wait no longer for any accepted offer to become a call; each counts as failed to launch."""
        for accepting in tuple(self._accepting):
            accepting.cancel("no job process starts")

    def stop(self) -> None:
        """No hook is asked any more."""
        self._hooks.stop(_STOP_HOOK_TIMEOUT)

    async def _answer(self, offered: Offered, request: Request, *, deployment: str | None, hook: Hook | None) -> None:
        route = self._router(offered)
        refusal = self._boot.refusal() or route.refusal
        if refusal is not None:
            if refusal == route.refusal:
                logger.warning("refused a job of room %s: %s %s", offered.room, refusal, route.asked_for or "")
            await self._refuse(request, refusal)
            return
        call = Call(
            job_id=offered.job_id,
            room=offered.room,
            agent=route.agent or offered.agent_name or None,
            tenant=tenant(job_metadata=offered.job_metadata, room_metadata=offered.room_metadata),
            deployment=deployment,
        )
        if hook is None:
            await self._accept(request, call, Acceptance())
        else:
            await self._ask(hook, request, call)

    async def _ask(self, hook: Hook, request: Request, call: Call) -> None:
        timeout = self._boot.settings.answer_timeout
        question: Question[Answer] = Question()
        returned = self._hooks.submit(hook(question))
        try:
            given = await question.first(returned, within=timeout)
        except TimeoutError:
            question.close(f"this offer was refused after {timeout:g} s without an answer")
            returned.cancel()
            logger.warning("the request hook took more than %g s: refused a job of room %s", timeout, call.room)
            await self._refuse(request, "slow_request_hook")
            return
        if given is None:
            question.close("this offer was refused: the hook returned without an answer")
            await self._refuse(request, "user_rejected")
            return
        failure: Exception | None = None
        try:
            if isinstance(given.answer, Acceptance):
                failure = await self._accept(request, call, given.answer)
            else:
                reason = "user_terminated" if given.answer.terminate else "user_rejected"
                await self._refuse(request, reason, terminate=given.answer.terminate)
        except BaseException as error:
            given.settle(error)
            raise
        given.settle(failure)

    async def _accept(self, request: Request, call: Call, wishes: Acceptance) -> Exception | None:
        """Returns why it came to nothing, which is counted, and logged or audited, by then."""
        refusal = self._boot.refusal()  # the hook took its time: what held before it may not hold now
        if refusal is not None:
            await self._refuse(request, refusal)
            return OfferClosedError(f"this offer was refused: {refusal}")
        self._boot.offer_answered(call)
        accepting = asyncio.ensure_future(
            request.accept(
                name=wishes.name,
                identity=wishes.identity,
                metadata=wishes.metadata,
                attributes={**(wishes.attributes or {}), **self._boot.attributes},
            )
        )
        self._accepting.add(accepting)
        accepting.add_done_callback(self._accepting.discard)
        try:
            await accepting
        except self._lost as error:
            self._boot.offer_lost(call)
            return error
        except Exception as error:  # whatever livekit raises on the way to a running job
            self._boot.launch_failed(call, error)
            return error
        except BaseException as error:
            self._boot.launch_failed(call, error)
            raise
        self._boot.call_started(call)
        return None

    async def _refuse(self, request: Request, reason: str, *, terminate: bool = False) -> None:
        self._boot.offer_refused(reason)
        await request.reject(terminate=terminate)
