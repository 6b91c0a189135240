"""A signed POST as a platform: whoever answers it brings the version up.

The signature is that of Standard Webhooks with an asymmetric key: ``webhook-signature: v1a,BASE64`` is Ed25519 over
``webhook-id.webhook-timestamp.body``. ``Idempotency-Key`` (and ``webhook-id``) is the ``op_id``: it is the same for
every try, so that a receiver does nothing twice.
"""

from __future__ import annotations

import asyncio
import base64
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrtc_tui.http import HttpFailure
from openrtc_tui.operations.plans.plan import Objection
from openrtc_tui.operations.platforms.platform import Asked, Description, PlatformError, nothing_to_watch
from openrtc_worker.contract.keys import KeyFileError, load_private_key
from openrtc_worker.contract.snapshot import encode_json
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from openrtc_tui.http import Http, HttpResponse
    from openrtc_tui.state.observation import PodSeen

_DEADLINE: Final = 10.0
_PAUSES: Final = (1.0, 2.0, 4.0)
"""Seconds before each further try, while the answer is lost or says that the receiver is at fault."""
_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class _Said(msgspec.Struct):
    detail: str | None = None


class WebhookPlatform:
    """Posts ``{"type": "openrtc.rollback", "fleet", "to", "op_id", "reason", "timestamp"}`` to *url*.

    Any 2xx is a yes, and a JSON body's ``detail`` is shown. 4xx is a no: nothing was done. Everything else is tried
    again under the same ``op_id``, and is *unknown* in the end.

    Args:
        url: where to.
        key_file: the Ed25519 key that signs.
        fleet: the fleet's name, for the receiver.
        http: the way out.
        clock: Unix seconds.
        sleep: waits between tries.
    """

    name = "webhook"
    ends_other = True  # nobody knows, and naming both versions until the good one is ready is right either way

    def __init__(
        self,
        url: str,
        *,
        key_file: Path,
        fleet: str,
        http: Http,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = url
        self._key_file = key_file
        self._fleet = fleet
        self._http = http
        self._clock = clock
        self._sleep = sleep

    async def describe(self, version: str) -> Description:
        """What would be posted; a webhook cannot be asked what there is."""
        return Description(detail=(f"would post to {self._url}: roll back to {version}",))

    async def preflight(self, version: str, description: Description) -> tuple[Objection, ...]:  # noqa: ARG002
        """Blocks when the key cannot be used; what the receiver would do is not known, so that is a warning."""
        try:
            load_private_key(self._key_file)
        except KeyFileError as error:
            return (Objection(code="webhook_key", text=str(error), blocks=True),)
        text = f"what {self._url} would do is not known here: no dry run"
        return (Objection(code="webhook_unknown", text=text),)

    async def roll_back(self, version: str, *, token: str, op_id: str, reason: str | None) -> Asked:  # noqa: ARG002
        """Post it. Raises PlatformError when the receiver says no, or nobody knows what it did."""
        try:
            key = load_private_key(self._key_file)
        except KeyFileError as error:
            raise PlatformError(str(error)) from None
        content: dict[str, Any] = {
            "type": "openrtc.rollback",
            "fleet": self._fleet,
            "to": version,
            "op_id": op_id,
            "reason": reason,
            "timestamp": self._clock(),
        }
        body = encode_json(content)
        arrived, why = False, ""
        for pause in (0.0, *_PAUSES):
            if pause:
                await self._sleep(pause)
            stamp = str(int(self._clock()))
            signature = key.sign(b".".join((op_id.encode(), stamp.encode(), body)))
            headers = {
                "Content-Type": "application/json",
                "Idempotency-Key": op_id,
                "webhook-id": op_id,
                "webhook-timestamp": stamp,
                "webhook-signature": f"v1a,{base64.b64encode(signature).decode()}",
            }
            try:
                response = await self._http.request("POST", self._url, body=body, headers=headers, deadline=_DEADLINE)
            except HttpFailure as failure:
                arrived, why = arrived or failure.sent, failure.detail
                continue
            status = response.status
            if 200 <= status < 300:
                return Asked(detail=_said(response) or f"the webhook answered {status}")
            why = f"HTTP {status}{f': {said}' if (said := _said(response)) else ''}"
            if status < 500 and status not in _LATER:
                # a no to a later try says nothing of an earlier one that may have arrived
                raise PlatformError(f"the webhook refused: {why}", happened=None if arrived else False)
            arrived = True
        raise PlatformError(f"the webhook gave no answer that counts: {why}", happened=None if arrived else False)

    def watch(self) -> AsyncIterator[tuple[PodSeen, ...]]:
        """Nothing: a webhook shows no pods."""
        return nothing_to_watch()


def _said(response: HttpResponse) -> str:
    try:
        return printable(msgspec.json.decode(response.body, type=_Said).detail or "", 300)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
