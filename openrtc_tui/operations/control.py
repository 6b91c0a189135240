"""Sends one request to one worker until it is known what came of it, or known that it cannot be known.

An answer that was lost says nothing about the request: it may have been done. So the worker's snapshot is read
again, and the very same request is sent again under the same ``op_id``, which the worker answers with its first
effect. Only a worker's own words make a refusal; what stays open at the end is *unknown*, never *failed*.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from openrtc_tui.http import HttpFailure
from openrtc_tui.operations.request import Answer
from openrtc_worker.contract.snapshot import RuntimeSnapshot, SnapshotError, decode_snapshot
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from openrtc_tui.http import Access, Http, HttpResponse
    from openrtc_tui.operations.operator import Operator
    from openrtc_tui.operations.request import Action, Ask

ASK_DEADLINE: Final = 5.0
"""Seconds that one sending may take."""
LOOK_DEADLINE: Final = 3.0
"""Seconds that reading the snapshot again may take."""
PATIENCE: Final = 20.0
"""Seconds after which a request is not sent once more."""
_PAUSES: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
_MOST_TRIES: Final = len(_PAUSES) + 1
_UNREACHED_TRIES: Final = 3
_FULL: Final = "full"
_DONE: Final[dict[tuple[Action, str], str]] = {
    ("drain", "started"): "is draining: it takes no new call",
    ("drain", "already"): "was draining already",
    ("cordon", "started"): "is cordoned: it takes no new call",
    ("cordon", "already"): "was cordoned already",
    ("uncordon", "started"): "takes calls again",
    ("uncordon", "already"): "was not cordoned",
    ("manifest", "started"): "took the manifest",
    ("manifest", "already"): "has the manifest already",
}


class _Accepted(msgspec.Struct, frozen=True):
    op_id: str
    effect: Literal["started", "already"]
    snapshot: msgspec.Raw


class _Problem(msgspec.Struct, frozen=True):
    detail: str | None = None
    title: str | None = None
    reason: str | None = None


_accepted: Final = msgspec.json.Decoder(_Accepted)
_problem: Final = msgspec.json.Decoder(_Problem)


@dataclass(frozen=True, slots=True)
class _Lost:
    """One sending without an answer. ``arrived`` tells whether the worker may have got it."""

    detail: str
    arrived: bool


@dataclass(frozen=True, slots=True)
class _Look:
    """The worker's snapshot as it was read again."""

    snapshot: RuntimeSnapshot
    raw: bytes


class ControlClient:
    """Asks workers in the name of one operator.

    Args:
        http: the way out.
        operator: signs each sending anew.
        access: how each worker, by its key, is reached.
        clock: Unix seconds.
        sleep: waits between sendings.
    """

    def __init__(
        self,
        http: Http,
        operator: Operator,
        access: Callable[[str], Access | None],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = http
        self._operator = operator
        self._access = access
        self._clock = clock
        self._sleep = sleep

    async def send(self, ask: Ask, on_progress: Callable[[Ask, str], None] | None = None) -> Answer:
        """Ask, and ask again under the same ``op_id`` while the answer is lost.

        Takes at most half a minute and raises nothing; ``on_progress`` hears in one line why it is not done yet.
        """
        body = ask.body()
        began = self._clock()
        arrived = False
        look: _Look | None = None
        if ask.again:  # an earlier life may have sent it: what it came to may be there to be seen
            arrived = True
            look = await self._look(ask)
            known = _known(ask, look, arrived=True)
            if known is not None:
                return known
        tries = 0
        while True:
            result = await self._post(ask, body)
            if isinstance(result, Answer):
                return await self._since_restart(result, arrived=arrived)
            arrived = arrived or result.arrived
            tries += 1
            if tries >= (_MOST_TRIES if arrived else _UNREACHED_TRIES) or self._clock() - began > PATIENCE:
                return _open_end(ask, result, look, arrived=arrived)
            if on_progress:
                on_progress(ask, f"no answer yet ({result.detail}): looking, then asking again")
            await self._sleep(_PAUSES[tries - 1])
            look = await self._look(ask) or look
            known = _known(ask, look, arrived=arrived)
            if known is not None:
                return known

    async def _post(self, ask: Ask, body: bytes) -> Answer | _Lost:
        token = self._operator.sign(ask, body, self._clock())
        try:
            response = await self._http.request(
                "PUT" if ask.action == "manifest" else "POST",
                f"{ask.url}/v1/{ask.action}",
                body=body,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                deadline=ASK_DEADLINE,
                access=self._access(ask.key),
            )
        except HttpFailure as failure:
            return _Lost(failure.detail, arrived=failure.sent)
        return _read(ask, response)

    async def _look(self, ask: Ask) -> _Look | None:
        try:
            response = await self._http.request(
                "GET", f"{ask.url}/v1/snapshot", deadline=LOOK_DEADLINE, access=self._access(ask.key)
            )
            if response.status == HTTPStatus.OK:
                return _Look(decode_snapshot(response.body), response.body)
        except (HttpFailure, SnapshotError):
            pass  # asking again will tell, or nobody can
        return None

    async def _since_restart(self, answer: Answer, *, arrived: bool) -> Answer:
        """The answer, unless another boot gave it: that one cannot speak for the one that was asked first."""
        if answer.status not in {HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT}:
            return answer
        look = await self._look(answer.ask)
        if look is None or look.snapshot.boot_id == answer.ask.boot_id:
            return answer
        if arrived:
            return _restarted(answer.ask, look)
        detail = f"restarted since you looked, nothing was done ({answer.detail})"
        return replace(answer, detail=detail, snapshot=look.snapshot, raw=look.raw)


def _read(ask: Ask, response: HttpResponse) -> Answer | _Lost:
    """What one answer says; what no worker would say is as good as none."""
    if response.status == HTTPStatus.ACCEPTED:
        try:
            accepted = _accepted.decode(response.body)
            raw = bytes(accepted.snapshot)
            snapshot = decode_snapshot(raw)
        except (msgspec.MsgspecError, SnapshotError, UnicodeDecodeError, RecursionError):
            return _Lost("the answer makes no sense", arrived=True)
        if accepted.op_id != ask.op_id:
            return _Lost("the answer is to another request", arrived=True)
        return Answer(
            ask=ask,
            outcome=accepted.effect,
            detail=_DONE[ask.action, accepted.effect],
            status=response.status,
            snapshot=snapshot,
            raw=raw,
        )
    problem = _problem_of(response.body)
    refused = 400 <= response.status < 500 or (response.status == 503 and problem.reason == _FULL)
    said = printable(problem.detail or problem.title or f"answered {response.status} without a word")
    if not refused:
        return _Lost(f"HTTP {response.status}: {said}", arrived=True)
    reason = printable(problem.reason, 40) if problem.reason else None
    return Answer(ask=ask, outcome="refused", detail=said, status=response.status, reason=reason)


def _problem_of(body: bytes) -> _Problem:
    try:
        return _problem.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Problem()


def _known(ask: Ask, look: _Look | None, *, arrived: bool) -> Answer | None:
    """What the snapshot alone already settles."""
    if look is None or not arrived:
        return None
    if look.snapshot.boot_id != ask.boot_id:
        return _restarted(ask, look)
    drain = look.snapshot.drain
    if ask.action == "drain" and drain is not None and drain.op_id == ask.op_id:
        detail = "is draining: the answer was lost, its snapshot names this request"
        return Answer(ask=ask, outcome="started", detail=detail, snapshot=look.snapshot, raw=look.raw)
    return None


def _restarted(ask: Ask, look: _Look) -> Answer:
    return Answer(
        ask=ask,
        outcome="unknown",
        detail=f"the answer was lost and it was restarted since: the earlier boot may have taken the {ask.action}",
        snapshot=look.snapshot,
        raw=look.raw,
    )


def _open_end(ask: Ask, lost: _Lost, look: _Look | None, *, arrived: bool) -> Answer:
    detail = (
        f"no answer came back ({lost.detail}): it may have taken the {ask.action}"
        if arrived
        else f"could not be reached, nothing was asked ({lost.detail})"
    )
    return Answer(
        ask=ask,
        outcome="unknown" if arrived else "unreached",
        detail=detail,
        snapshot=look.snapshot if look else None,
        raw=look.raw if look else None,
    )
