"""The control endpoint: what a worker answers over HTTP, and in which order a request is judged."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from openrtc_worker.contract.control_token import TokenRefused, verify_request
from openrtc_worker.contract.snapshot import SessionList, encode_json
from openrtc_worker.contract.text import printable
from openrtc_worker.control.actions import (
    MAX_REASON,
    ActionRequest,
    OperationMemory,
    check_expectation,
    parse_action,
    perform,
)
from openrtc_worker.control.checks import (
    HostCheck,
    bearer,
    check_content,
    check_origin,
    check_read_token,
    too_large,
)
from openrtc_worker.control.connection import Listener
from openrtc_worker.control.events import EventHub
from openrtc_worker.control.limits import ControlLimits
from openrtc_worker.control.operator_keys import OperatorKeys
from openrtc_worker.control.problems import COUNTED, PLAIN_HEADERS, Refusal
from openrtc_worker.control.refusals import Asking, ControlRecord
from openrtc_worker.control.target import ControlTarget, Requester
from openrtc_worker.metrics import SnapshotCollector, registry_of, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from openrtc_worker.contract.control_token import VerifiedToken
    from openrtc_worker.contract.snapshot import RuntimeSnapshot
    from openrtc_worker.control.settings import ControlSettings

ACTIONS: Final = {
    "/v1/drain": ("POST", "drain"),
    "/v1/cordon": ("POST", "cordon"),
    "/v1/uncordon": ("POST", "uncordon"),
    "/v1/manifest": ("PUT", "manifest"),
}
"""What acts: by path its method, and its name in tokens, counts and the audit."""
UNGUARDED: Final = frozenset({"/healthz", "/readyz"})
"""Paths that never need the read token: a platform's probes have none."""
KEYS_LOOK_SECONDS: Final = 10.0
"""A key file that cannot be read is named within this time, though nobody acts."""

logger = logging.getLogger("openrtc.control")


class ControlServer:
    """Serves one worker's control endpoint on the running event loop.

    Args:
        target: the worker. Its ids are read at each request, so they may be set once the port is known.
        settings: where to listen and who may ask.
        limits: what clients may cost.
        clock: Unix seconds, to judge tokens by.
    """

    def __init__(
        self,
        target: ControlTarget,
        *,
        settings: ControlSettings,
        limits: ControlLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._target = target
        self._settings = settings
        self._limits = limits or ControlLimits()
        self._clock = clock
        self._record = ControlRecord(target.audit_log, lambda: target.worker_id, time.monotonic)
        self._memory = OperationMemory()
        self._hosts = HostCheck((settings.host, *settings.allowed_hosts))
        self._hub = EventHub(target, self._limits, random.Random())
        self._metrics = registry_of(
            SnapshotCollector(
                target.runtime_snapshot,
                control_requests=lambda: self._record.counts,
                by_tenant=settings.metrics_by_tenant,
            )
        )
        self._reads: dict[str, Callable[[web.BaseRequest], web.Response]] = {
            "/v1/snapshot": self._snapshot,
            "/v1/sessions": self._sessions,
            "/v1/audit": self._audit,
            "/metrics": self._metrics_page,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }
        self._read_token: bytes | None = None
        self._keys: OperatorKeys | None = None
        self._keys_watch: asyncio.Task[None] | None = None
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Bind and serve. Do it before anything else of the worker: a taken port is then one line and exit 1.

        Raises:
            ControlError: a setting cannot be used, or the address cannot be bound.
        """
        self._read_token = self._settings.load_read_token()
        listener = Listener(self._handle, self._limits, self._settings.load_tls())
        if self._settings.operator_keys is not None:
            self._keys = OperatorKeys(
                self._settings.operator_keys, on_problems=self._record.unreadable, clock=time.monotonic
            )
            await self._keys.refresh()
        await listener.start(self._settings.host, self._settings.port)
        self._listener = listener
        self._hub.start()
        if self._keys is not None:
            self._keys_watch = asyncio.create_task(self._watch_keys(self._keys))
        self._announce()

    @property
    def port(self) -> int:
        """The port that is bound; the one of the settings before :meth:`start`."""
        addresses = self._listener.addresses if self._listener is not None else ()
        return int(addresses[0][1]) if addresses else self._settings.port

    @property
    def url(self) -> str:
        """Where a client on this machine finds the endpoint."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.host, self._settings.host)
        scheme = "http" if self._settings.tls_cert is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def say_bye(self, snapshot: RuntimeSnapshot) -> None:
        """End all event streams with ``bye`` and this snapshot, flushed before their sockets close.

        Args:
            snapshot: the last one of this boot, with ``exit_code``.
        """
        await self._hub.say_bye(snapshot)

    async def aclose(self) -> None:
        """Stop serving; streams and running answers end within a few seconds."""
        if self._keys_watch is not None:
            self._keys_watch.cancel()
            await asyncio.wait([self._keys_watch])
            self._keys_watch = None
        await self._hub.aclose()
        if self._listener is not None:
            await self._listener.aclose()
        if self._keys is not None:
            await self._keys.aclose()

    def _announce(self) -> None:
        logger.info("control endpoint: %s", self.url)
        if self._keys is None:
            logger.info(
                "nobody can drain or cordon this worker over HTTP: set operator_keys= or OPENRTC_OPERATOR_KEYS"
            )
        addresses = self._listener.addresses if self._listener is not None else ()
        beyond = [str(address[0]) for address in addresses if not ipaddress.ip_address(address[0]).is_loopback]
        if beyond and self._read_token is None:
            logger.warning(
                "control endpoint on %s: everybody who reaches it may read it;"
                " set read_token= or OPENRTC_READ_TOKEN_FILE, or bind 127.0.0.1",
                ", ".join(beyond),
            )

    async def _watch_keys(self, keys: OperatorKeys) -> None:
        while True:
            await asyncio.sleep(KEYS_LOOK_SECONDS)
            await keys.refresh()

    # -- one request ----------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        method, action = ACTIONS.get(path, (None, "read"))
        asking = Asking(action=action, remote=request.remote)
        try:
            self._hosts.check(request.headers.get("Host"), _absolute_host(request))
            check_origin(request.headers)
            if method is not None:
                _check_method(request, method)
                return await self._act(request, asking)
            return await self._read(request, path)
        except Refusal as refusal:
            if refusal.reason in COUNTED:
                self._record.refused(asking, refusal.reason, refusal.detail)
            response = refusal.response()
            if not request.content.is_eof():
                response.force_close()
            return response

    async def _read(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if path == "/v1/events":
            _check_method(request, "GET")
            check_read_token(request.headers, self._read_token)
            return await self._hub.serve(request)
        answer = self._reads.get(path)
        if answer is None:
            raise Refusal("not_found", "there is nothing under this path")
        _check_method(request, "GET", "HEAD")
        if path not in UNGUARDED:
            check_read_token(request.headers, self._read_token)
        return answer(request)

    async def _act(self, request: web.BaseRequest, asking: Asking) -> web.Response:
        """Every check in the order that the contract gives, then the deed; between the last two nothing waits."""
        check_content(request.headers, request.content_type, self._limits.body_bytes)
        body = await self._body(request)
        if self._keys is None:
            raise Refusal(
                "acting_off",
                "this worker has no operator keys: set operator_keys= or OPENRTC_OPERATOR_KEYS to a folder with"
                " NAME.pub.pem files (openrtc-tui keys new NAME makes a pair)",
            )
        await self._keys.refresh()
        if asking.action == "manifest":
            await self._target.refresh_release_keys()
        asked = _parsed(asking.action, body)
        if isinstance(asked, ActionRequest):
            asking.op_id, asking.plan_id = asked.op_id, asked.plan_id
        token = self._verified(request, asking, self._keys, body)
        if isinstance(asked, Refusal):
            raise asked
        effect = self._memory.recall(asked.op_id, action=asking.action, sub=token.sub, body=body)
        if effect is None:
            check_expectation(asked.expect, self._target)
            by = Requester(
                source="http",
                actor=token.sub,
                reason=None if asked.reason is None else printable(asked.reason, MAX_REASON),
                op_id=asked.op_id,
                plan_id=asked.plan_id,
                kid=token.kid,
            )
            effect = perform(asking.action, asked, self._target, by)
            self._memory.remember(asked.op_id, action=asking.action, sub=token.sub, body=body, effect=effect)
        self._record.answered(asking.action, effect)
        answer = {"op_id": asked.op_id, "effect": effect, "snapshot": self._target.runtime_snapshot()}
        return _json(answer, status=202)

    def _verified(self, request: web.BaseRequest, asking: Asking, keys: OperatorKeys, body: bytes) -> VerifiedToken:
        shown = bearer(request.headers)
        if shown is None:
            raise Refusal("token", "acting needs a signed token as Authorization: Bearer …")
        try:
            token = verify_request(
                shown,
                keys=keys.known,
                worker_id=self._target.worker_id,
                boot_id=self._target.boot_id,
                action=asking.action,
                op_id=asking.op_id,
                body=body,
                now=self._clock(),
            )
        except TokenRefused as refused:
            asking.kid, asking.sub, asking.operator = refused.kid, refused.sub, refused.operator
            raise Refusal(refused.reason, refused.detail) from None
        asking.kid, asking.sub, asking.operator = token.kid, token.sub, token.sub
        return token

    async def _body(self, request: web.BaseRequest) -> bytes:
        limit = self._limits.body_bytes
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer itself has not begun
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body):
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > limit:
                        raise too_large(limit)
        except TimeoutError:
            raise Refusal("slow_request", f"the body did not arrive within {self._limits.body:g} s") from None
        return bytes(body)

    # -- what is read ---------------------------------------------------------------------------------------

    def _snapshot(self, _: web.BaseRequest) -> web.Response:
        return _json(self._target.runtime_snapshot())

    def _sessions(self, _: web.BaseRequest) -> web.Response:
        return _json(SessionList(boot_id=self._target.boot_id, sessions=list(self._target.sessions())))

    def _audit(self, request: web.BaseRequest) -> web.Response:
        after = _sequence(request.query.get("after", "0"))
        log = self._target.audit_log
        events = log.after(after)
        # a number from an earlier boot may be above all of this one's: then go on from its newest
        following = events[-1].seq if events else min(after, log.last_seq)
        return _json({"events": [event.to_dict() for event in events], "next": following})

    def _metrics_page(self, request: web.BaseRequest) -> web.Response:
        body, content_type = render(self._metrics, request.headers.get("Accept"))
        return web.Response(body=body, headers={**PLAIN_HEADERS, "Content-Type": content_type})

    def _healthz(self, _: web.BaseRequest) -> web.Response:
        return _json({"status": "ok"})

    def _readyz(self, _: web.BaseRequest) -> web.Response:
        state = self._target.runtime_snapshot().state
        if not self._target.ready:
            raise Refusal("not_ready", f"not registered with LiveKit, the state is {state}", state=state)
        return _json({"status": "ok", "state": state})


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=encode_json(value), content_type="application/json", headers=PLAIN_HEADERS
    )


def _check_method(request: web.BaseRequest, *allowed: str) -> None:
    if request.method not in allowed:
        methods = ", ".join(allowed)
        raise Refusal("method", f"this path answers {methods}", headers={"Allow": methods})


def _absolute_host(request: web.BaseRequest) -> str | None:
    """The host of a request target that is a whole URL (RFC 9112, 3.2.2: it counts, not the header)."""
    header = request.headers.get("Host")
    return None if header is None or request.host == header else request.host


def _parsed(action: str, body: bytes) -> ActionRequest | Refusal:
    """The body, read before the token is judged because its ``op_id`` is part of the claims, but refused after it."""
    try:
        return parse_action(action, body)
    except Refusal as refusal:
        return refusal


def _sequence(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise Refusal("query", "after is the number of an audit event")
    return int(text)
