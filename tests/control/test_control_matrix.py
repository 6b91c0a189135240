"""The whole matrix: each rule of the control endpoint broken on its own, for each action, over the real endpoint.

Every cell is one HTTP request that is right but for one thing. It must be refused with that rule's status and
reason, counted once under its action, audited once as what it was, and nothing may be done.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from openrtc_worker.contract.manifest import ManifestRefused
from openrtc_worker.control.actions import OperationMemory
from openrtc_worker.control.problems import COUNTED
from tests.control.conftest import Operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.control.fake_target import FakeTarget

ACTIONS = {"drain": "POST", "cordon": "POST", "uncordon": "POST", "manifest": "PUT"}


@dataclass(slots=True)
class Request:
    """One request that is about to be sent; a cell of the matrix makes one thing of it wrong."""

    target: FakeTarget
    alice: Operator
    folder: Any
    action: str
    method: str
    fields: dict[str, Any]
    path: str = ""
    body: bytes = b""
    token: str | None = None
    signing: dict[str, Any] | None = None
    headers: dict[str, str] | None = None

    def seal(self) -> None:
        """Write the body and sign it."""
        self.body = self.body or self.alice.body(self.target, **self.fields)
        if self.token is None:
            signed = {"action": self.action, "body": self.body, "op_id": self.op_id, **(self.signing or {})}
            self.token = self.alice.token(self.target, **signed)

    @property
    def op_id(self) -> str:
        return str(self.fields.get("op_id"))


def signed_with(**changed: Any) -> Callable[[Request], None]:
    def spoil(request: Request) -> None:
        request.signing = changed

    return spoil


def header(name: str, value: str) -> Callable[[Request], None]:
    def spoil(request: Request) -> None:
        request.headers = {name: value}

    return spoil


def other_method(request: Request) -> None:
    request.method = "POST" if request.method == "PUT" else "PUT"


def too_large(request: Request) -> None:
    request.fields |= {"reason": "x" * 65_536}


def no_token(request: Request) -> None:
    request.token = ""


def torn_token(request: Request) -> None:
    request.seal()
    request.token = (request.token or "").rpartition(".")[0]


def strange_key(request: Request) -> None:
    mallory = Operator(request.folder, "mallory")
    request.signing = {"private_key": mallory.private_key, "kid": "mallory", "sub": "mallory"}


def wrong_key(request: Request) -> None:
    request.signing = {"private_key": Operator(request.folder, "alice").private_key}


def tampered_claims(request: Request) -> None:
    """The signature is alice's, of other claims."""
    request.seal()
    head, claims, signature = (request.token or "").split(".")
    content = json.loads(base64.urlsafe_b64decode(claims + "=="))
    changed = base64.urlsafe_b64encode(json.dumps({**content, "jti": "other"}).encode()).rstrip(b"=").decode()
    request.token = f"{head}.{changed}.{signature}"


def algorithm(name: str, key: Any) -> Callable[[Request], None]:
    def spoil(request: Request) -> None:
        request.seal()
        claims = jwt.decode(request.token or "", options={"verify_signature": False})
        request.token = jwt.encode(claims, key, algorithm=name, headers={"kid": "alice"})

    return spoil


def without_claim(name: str) -> Callable[[Request], None]:
    def spoil(request: Request) -> None:
        request.seal()
        claims = jwt.decode(request.token or "", options={"verify_signature": False})
        del claims[name]
        request.token = jwt.encode(claims, request.alice.private_key, algorithm="EdDSA", headers={"kid": "alice"})

    return spoil


def skewed(seconds: float) -> Callable[[Request], None]:
    def spoil(request: Request) -> None:
        request.signing = {"now": time.time() + seconds}

    return spoil


def another_action(request: Request) -> None:
    request.signing = {"action": "cordon" if request.action != "cordon" else "drain"}


def fields(**changed: Any) -> Callable[[Request], None]:
    def spoil(request: Request) -> None:
        request.fields |= changed

    return spoil


def raw_body(body: bytes) -> Callable[[Request], None]:
    def spoil(request: Request) -> None:
        request.body = body

    return spoil


def other_state(request: Request) -> None:
    request.fields |= {"expect": {"boot_id": request.target.boot_id, "state": "starting"}}


def not_of_this_action(request: Request) -> None:
    if request.action == "manifest":
        del request.fields["manifest"]
    else:
        request.fields |= {"manifest": "a.b.c"}


MATRIX: dict[str, tuple[str, Callable[[Request], None]]] = {
    "host: a name that is not the worker's": ("host", header("Host", "evil.example.com")),
    "origin: a web page": ("origin", header("Origin", "http://127.0.0.1:9464")),
    "origin: a sandboxed page": ("origin", header("Origin", "null")),
    "method: another one": ("method", other_method),
    "content type: a form": ("content_type", header("Content-Type", "application/x-www-form-urlencoded")),
    "content type: text": ("content_type", header("Content-Type", "text/plain")),
    "content type: packed": ("content_type", header("Content-Encoding", "gzip")),
    "size: above 64 KiB": ("size", too_large),
    "token: none": ("token", no_token),
    "token: torn": ("token", torn_token),
    "key: of nobody who is known": ("key", strange_key),
    "signature: somebody else's key": ("signature", wrong_key),
    "signature: other claims": ("signature", tampered_claims),
    "algorithm: none": ("algorithm", algorithm("none", None)),
    "algorithm: a shared secret": ("algorithm", algorithm("HS256", "s" * 32)),
    "span: above a minute": ("times", signed_with(lifetime=61)),
    "span: thirty years": ("times", signed_with(lifetime=30 * 365 * 86_400)),
    "span: backwards": ("times", signed_with(lifetime=-1)),
    "clock: expired": ("times", skewed(-95)),
    "clock: not yet": ("times", skewed(45)),
    "claims: no audience": ("claims", without_claim("aud")),
    "claims: no hash of the body": ("claims", without_claim("bsh")),
    "claims: no end": ("claims", without_claim("exp")),
    "claims: another op_id": ("claims", signed_with(op_id="op-of-another-request")),
    "audience: an earlier boot": ("audience", signed_with(aud_boot_id="an-earlier-boot")),
    "audience: another worker": ("audience", signed_with(aud_worker_id="voice-a-2")),
    "action: another one": ("action", another_action),
    "body: not the one that was signed": ("body_hash", signed_with(body=b"another body")),
    "operator: alice's key, bob's name": ("operator", signed_with(sub="bob")),
    "body: no JSON": ("body", raw_body(b"{")),
    "body: an unknown key": ("body", fields(force=True)),
    "body: no boot": ("body", fields(expect={})),
    "body: a bad op_id": ("body", fields(op_id="a b")),
    "body: not this action's": ("body", not_of_this_action),
    "expect: an earlier boot": ("expect", fields(expect={"boot_id": "an-earlier-boot"})),
    "expect: another state": ("expect", other_state),
}

AUDITED_AS_NOBODY = {"host", "origin", "method", "content_type", "size", "token", "key", "signature", "algorithm"}
"""Whoever breaks these rules has not shown to be anybody."""


def a_request(endpoint, alice, tmp_path, action) -> Request:
    given = {"manifest": "a.b.c"} if action == "manifest" else {}
    return Request(
        endpoint.target, alice, tmp_path, action, ACTIONS[action], {"op_id": "op-1", **given}, path=f"/v1/{action}"
    )


async def send(endpoint, request):
    request.seal()
    headers = {"Content-Type": "application/json"}
    if request.token:
        headers["Authorization"] = f"Bearer {request.token}"
    return await endpoint.client.request(
        request.method, request.path, content=request.body, headers={**headers, **(request.headers or {})}
    )


async def check_refused(endpoint, response, action, reason, *, event_type="control.refused", done=0):
    """Answered as the contract says, counted once with its reason, audited once, and nothing done."""
    status, title = COUNTED[reason]
    problem = response.json()
    assert (response.status_code, problem["reason"], problem["title"]) == (status, reason, title), problem
    assert await endpoint.counted(action, reason) == 1
    assert len(endpoint.target.calls) == done
    (event,) = endpoint.target.audit_log.after(0)
    assert (event.event_type, event.result) == (event_type, "refused")
    assert (event.fields["action"], event.fields["reason"]) == (action, reason)
    return event


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("cell", MATRIX, ids=str)
async def test_each_rule_refuses_each_action(endpoint, alice, tmp_path, action, cell):
    reason, spoil = MATRIX[cell]
    request = a_request(endpoint, alice, tmp_path, action)
    spoil(request)
    event = await check_refused(endpoint, await send(endpoint, request), action, reason)
    # whoever's key signed it is who did it, whatever name the token says
    nobody = reason in AUDITED_AS_NOBODY
    assert (event.actor, event.fields["verified"]) == (("unverified", False) if nobody else ("alice", True))


@pytest.mark.parametrize("action", ACTIONS)
async def test_the_same_request_unspoilt_is_done(endpoint, alice, tmp_path, action):
    """What the matrix spoils is right: every refusal there comes from the one thing that is wrong."""
    response = await send(endpoint, a_request(endpoint, alice, tmp_path, action))
    assert response.status_code == 202, response.text
    assert [call[0] for call in endpoint.target.calls] == [action]
    assert endpoint.target.audit_log.after(0) == ()


@pytest.mark.parametrize("action", ACTIONS)
async def test_acting_is_off_without_operator_keys(serve, alice, tmp_path, action):
    endpoint = await serve()
    await check_refused(
        endpoint, await send(endpoint, a_request(endpoint, alice, tmp_path, action)), action, "acting_off"
    )


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_key_that_may_do_other_things_only(serve, alice, tmp_path, action):
    """A key in a JWKS may be limited to some actions; the one that is asked for is not among them."""
    raw = alice.private_key.public_key().public_bytes_raw()
    folder = tmp_path / "limited"
    folder.mkdir()
    key = {
        "kty": "OKP",
        "crv": "Ed25519",
        "kid": "alice",
        "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(),
        "actions": sorted(set(ACTIONS) - {action}),
    }
    (folder / "ci.jwks.json").write_text(json.dumps({"keys": [key]}))
    endpoint = await serve(operator_keys=folder)
    await check_refused(
        endpoint, await send(endpoint, a_request(endpoint, alice, tmp_path, action)), action, "not_allowed"
    )


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_replayed_op_id_with_anything_else_is_refused_and_the_same_request_has_one_effect(
    endpoint, alice, tmp_path, action
):
    request = a_request(endpoint, alice, tmp_path, action)
    first, replay = await send(endpoint, request), await send(endpoint, request)
    assert first.status_code == replay.status_code == 202
    assert first.json()["effect"] == replay.json()["effect"]
    other = a_request(endpoint, alice, tmp_path, action)
    other.fields["reason"] = "something else"
    await check_refused(endpoint, await send(endpoint, other), action, "op_id", done=1)


@pytest.mark.parametrize("action", ACTIONS)
async def test_no_room_to_remember_one_more(endpoint, alice, tmp_path, action):
    endpoint.server._memory = OperationMemory(capacity=0)
    await check_refused(endpoint, await send(endpoint, a_request(endpoint, alice, tmp_path, action)), action, "full")


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ("key", "manifest"),
        ("signature", "manifest"),
        ("algorithm", "manifest"),
        ("format", "manifest"),
        ("size", "manifest"),
        ("fleet", "manifest"),
        ("seq", "seq"),
        ("conflict", "conflict"),
    ],
)
async def test_a_manifest_that_the_worker_does_not_take(endpoint, alice, tmp_path, refused, reason):
    """It is audited as a refused manifest, once, in the name of the operator who put it; the detail says why."""
    endpoint.target.refuse_manifest = ManifestRefused(refused, "why")
    response = await send(endpoint, a_request(endpoint, alice, tmp_path, "manifest"))
    event = await check_refused(endpoint, response, "manifest", reason, event_type="manifest.refused")
    assert (event.actor, event.fields["detail"]) == ("alice", f"{refused}: why")
    assert response.json()["detail"] == f"{refused}: why"
    assert endpoint.target.keys_refreshed == 1


async def test_a_refused_manifest_is_judged_anew_when_it_is_put_again(endpoint, alice, tmp_path):
    """The release key may have been missing: the very same request is good once it is there."""
    request = a_request(endpoint, alice, tmp_path, "manifest")
    endpoint.target.refuse_manifest = ManifestRefused("key", "no such key")
    assert (await send(endpoint, request)).status_code == 403
    endpoint.target.refuse_manifest = None
    assert (await send(endpoint, request)).status_code == 202


def test_the_matrix_names_every_reason_that_can_be_counted():
    """Those without a row have a test of their own above."""
    own = {"acting_off", "not_allowed", "op_id", "full", "manifest", "seq", "conflict"}
    assert {reason for reason, _ in MATRIX.values()} | own == set(COUNTED)
