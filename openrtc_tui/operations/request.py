"""What is asked of a worker, and what came of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from openrtc_worker.contract.snapshot import encode_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openrtc_worker.contract.snapshot import RuntimeSnapshot

Action = Literal["drain", "cordon", "uncordon", "manifest"]

Outcome = Literal["started", "already", "refused", "unreached", "unknown"]
"""*started*, *already*: the worker said yes. *refused*: it said no, and did nothing. *unreached*: nothing left our
machine, so nothing was done. *unknown*: it was asked, and no answer came back: it may have been done."""


def new_op_id() -> str:
    """The identity of one request to one worker; every retry carries the same."""
    return secrets.token_hex(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to one boot of one worker.

    ``state`` is the state that the operator saw: the worker refuses when it is in another. ``timeout`` is in
    seconds and belongs to a drain, ``manifest`` is the signed record that a ``manifest`` brings.

    ``version`` and ``calls`` are what the operator saw, and ``note`` is what else the journal keeps with it; none of
    them is sent. ``again``: its intent is in the journal already, so it may have been sent in an earlier life.
    """

    action: Action
    key: str
    url: str
    worker_id: str
    boot_id: str
    op_id: str = field(default_factory=new_op_id)
    state: str | None = None
    reason: str | None = None
    timeout: float | None = None
    plan_id: str | None = None
    manifest: str | None = None
    version: str | None = None
    calls: int | None = None
    note: Mapping[str, Any] = field(default_factory=dict, compare=False)
    again: bool = False

    def body(self) -> bytes:
        """The request's body. The same bytes for every retry: they are part of the request's identity."""
        expect: dict[str, Any] = {"boot_id": self.boot_id}
        if self.state is not None:
            expect["state"] = self.state
        content: dict[str, Any] = {"op_id": self.op_id, "expect": expect}
        for name in ("reason", "plan_id", "timeout", "manifest"):
            value = getattr(self, name)
            if value is not None:
                content[name] = value
        return encode_json(content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one :class:`Ask`. ``detail`` is one printable line for people.

    ``reason`` is the worker's code of a refusal, where it gave one; ``snapshot`` is the newest that was seen on
    the way, with ``raw`` as it was received. ``unrecorded`` says why the journal does not have it, where it should.
    """

    ask: Ask
    outcome: Outcome
    detail: str
    status: int | None = None
    reason: str | None = None
    snapshot: RuntimeSnapshot | None = None
    raw: bytes | None = None
    unrecorded: str | None = None

    @property
    def done(self) -> bool:
        """Whether the worker said yes."""
        return self.outcome in {"started", "already"}
