"""What may be asked of a worker: the body of a request, and the memory that makes a repeated one harmless."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from openrtc_worker.contract.manifest import MAX_BYTES, ManifestRefused
from openrtc_worker.contract.snapshot import State  # noqa: TC001 - msgspec reads it at run time
from openrtc_worker.contract.text import printable
from openrtc_worker.control.problems import Refusal
from openrtc_worker.control.target import ConflictError

if TYPE_CHECKING:
    from openrtc_worker.control.target import ControlTarget, Effect, Requester

MAX_OPERATIONS: Final = 4_096
"""Requests remembered in one boot; after that nothing more is done."""

MAX_REASON: Final = 1_000
"""Characters of an operator's reason."""

Id = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._:-]{1,128}\Z")]


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator saw when deciding; what is not so any more refuses the request."""

    boot_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    state: State | None = None


class ActionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request that acts; null is the same as absent.

    ``timeout`` in seconds, of a drain only; ``manifest``, a compact JWS, of the manifest action, which needs it.
    """

    op_id: Id
    expect: Expect
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON)] | None = None
    plan_id: Id | None = None
    timeout: Annotated[float, msgspec.Meta(ge=1)] | None = None
    manifest: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_BYTES)] | None = None


_decoder: Final = msgspec.json.Decoder(ActionRequest)


def parse_action(action: str, body: bytes) -> ActionRequest:
    """The request in *body*.

    Raises:
        Refusal: ``body``, with what is wrong and where.
    """
    try:
        asked = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("body", printable(str(error), 200)) from None
    if asked.timeout is not None and action != "drain":
        raise Refusal("body", f"a {action} has no timeout")
    if (asked.manifest is None) == (action == "manifest"):
        raise Refusal("body", "the manifest is missing" if action == "manifest" else f"a {action} has no manifest")
    return asked


@dataclass(frozen=True, slots=True)
class _Done:
    identity: bytes
    effect: Effect


class OperationMemory:
    """The requests of this boot that were done, by ``op_id``.

    A request is the same when ``op_id``, action, operator and the body's bytes are; it is then answered again and
    not done again. Nothing is ever forgotten within a boot: a token of long ago must find its request done.
    """

    def __init__(self, capacity: int = MAX_OPERATIONS) -> None:
        self._capacity = capacity
        self._done: dict[str, _Done] = {}

    def recall(self, op_id: str, *, action: str, sub: str, body: bytes) -> Effect | None:
        """The effect that this very request had; None when its ``op_id`` is new.

        Raises:
            Refusal: ``op_id`` when it was another request's, ``full`` when it is new and there is no room.
        """
        done = self._done.get(op_id)
        if done is None:
            if len(self._done) >= self._capacity:
                raise Refusal("full", f"this boot has done {self._capacity} operations and remembers no more")
            return None
        if done.identity != _identity(action, sub, body):
            raise Refusal("op_id", "the op_id was used for another request: take a new one")
        return done.effect

    def remember(self, op_id: str, *, action: str, sub: str, body: bytes, effect: Effect) -> None:
        """Keep what was done under *op_id*."""
        self._done[op_id] = _Done(_identity(action, sub, body), effect)


def check_expectation(expect: Expect, target: ControlTarget) -> None:
    """Refuse when the worker is not what the operator looked at.

    Raises:
        Refusal: ``expect``.
    """
    if expect.boot_id != target.boot_id:
        raise Refusal("expect", f"this is boot {target.boot_id}: the worker has restarted since you looked")
    state = target.runtime_snapshot().state
    if expect.state is not None and expect.state != state:
        raise Refusal("expect", f"the worker is {state}, not {expect.state}")


def perform(action: str, asked: ActionRequest, target: ControlTarget, by: Requester) -> Effect:
    """Do it.

    Raises:
        Refusal: ``expect``: the worker cannot in its present state. ``manifest``, ``seq``, ``conflict``: it does not
            take this manifest.
    """
    try:
        if action == "drain":
            return target.begin_drain(by=by, timeout=asked.timeout)
        if action == "cordon":
            return target.cordon(by=by)
        if action == "uncordon":
            return target.uncordon(by=by)
        return target.install_manifest(asked.manifest or "", by=by)
    except ConflictError as conflict:
        raise Refusal("expect", str(conflict)) from None
    except ManifestRefused as refused:
        # a signature, a key or a fleet that does not fit is one thing to whoever counts, the detail says which
        reason = refused.reason if refused.reason in ("seq", "conflict") else "manifest"
        raise Refusal(reason, str(refused)) from refused


def _identity(action: str, sub: str, body: bytes) -> bytes:
    head = f"{action}\0{sub}\0".encode()  # neither can hold a NUL: one is ours, the other a key's name
    return hashlib.sha256(head + body).digest()
