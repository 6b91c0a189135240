"""The signed request token: who may ask what of which boot, for one request and at most a minute.

A JWT (RFC 7519) signed with EdDSA over Ed25519 (RFC 8037), made for that one request by the operator's private
key. The claims, all required: ``sub`` the operator, ``aud`` = ``worker_id/boot_id``, ``act`` the action, ``jti`` the
body's ``op_id``, ``bsh`` the SHA-256 of the body's bytes in lower-case hex, ``iat``, and ``exp`` at most 60 s later.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import jwt
import msgspec

from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from openrtc_worker.contract.keys import OperatorKey

ACTIONS: Final = frozenset({"drain", "cordon", "uncordon", "manifest"})
ALGORITHM: Final = "EdDSA"
MAX_LIFETIME_SECONDS: Final = 60
"""A token whose ``exp`` is later than this after its ``iat`` is refused, however well it is signed."""
LEEWAY_SECONDS: Final = 30
"""How far the clocks of operator and worker may differ."""

UNAUTHENTICATED: Final = frozenset({"token", "key", "algorithm", "signature", "times", "claims"})
"""Reasons that are answered with 401; the others are 403."""


class TokenRefused(Exception):  # noqa: N818 - the refusal is the answer, not a fault of the program
    """Why a token is not accepted.

    Attributes:
        reason: ``token key algorithm signature times claims`` (401) or
            ``audience action body_hash operator not_allowed`` (403).
        status: the HTTP status of the answer.
        detail: one line for the operator; never any part of the token.
        kid: the key id that the token names, None before it could be read.
        sub: the operator that the token names; only a claim, also in a signed token.
        operator: whose key signed it; None unless the signature of a known key was good.
    """

    def __init__(
        self, reason: str, detail: str, *, kid: str | None = None, sub: str | None = None, operator: str | None = None
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.status = 401 if reason in UNAUTHENTICATED else 403
        self.detail = detail
        self.kid = kid
        self.sub = sub
        self.operator = operator


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """What a good token proves: operator ``sub``, with key ``kid``, asks this once."""

    sub: str
    kid: str
    jti: str


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    sub: str
    aud: str
    act: str
    jti: str
    bsh: str
    iat: float
    exp: float
    nbf: float | None = None  # not asked for, but it is never ignored where it stands (RFC 7519, 4.1.5)


_jws: Final = jwt.PyJWS(algorithms=[ALGORITHM])
_claims_decoder: Final = msgspec.json.Decoder(_Claims)


def body_hash(body: bytes) -> str:
    """The claim ``bsh``: SHA-256 of the body's bytes in lower-case hex."""
    return hashlib.sha256(body).hexdigest()


def audience(worker_id: str, boot_id: str) -> str:
    """The claim ``aud``: one boot of one worker."""
    return f"{worker_id}/{boot_id}"


def sign_request(
    *,
    private_key: Ed25519PrivateKey,
    kid: str,
    sub: str,
    aud_worker_id: str,
    aud_boot_id: str,
    action: str,
    op_id: str,
    body: bytes,
    now: float,
    lifetime: int = MAX_LIFETIME_SECONDS,
) -> str:
    """The token for one request.

    Args:
        private_key: the operator's.
        kid: its id, as the worker knows it: the stem of the key's file.
        sub: the operator's name.
        aud_worker_id: the worker that is asked …
        aud_boot_id: … and which of its boots.
        action: ``drain``, ``cordon``, ``uncordon`` or ``manifest``.
        op_id: the body's ``op_id``.
        body: the request's body, byte for byte as it is sent.
        now: Unix seconds.
        lifetime: seconds until it expires, at most 60.

    Returns:
        The compact JWT for ``Authorization: Bearer …``.
    """
    issued = int(now)
    claims = {
        "sub": sub,
        "aud": audience(aud_worker_id, aud_boot_id),
        "act": action,
        "jti": op_id,
        "bsh": body_hash(body),
        "iat": issued,
        "exp": issued + lifetime,
    }
    return jwt.encode(claims, private_key, algorithm=ALGORITHM, headers={"kid": kid})


def verify_request(
    token: str,
    *,
    keys: Mapping[str, OperatorKey],
    worker_id: str,
    boot_id: str,
    action: str,
    op_id: str | None,
    body: bytes,
    now: float,
) -> VerifiedToken:
    """Check a token against the request that carries it.

    Args:
        token: the compact JWT.
        keys: the public keys of all operators by ``kid``.
        worker_id: this worker …
        boot_id: … and this boot.
        action: what the request asks.
        op_id: the body's; None when the body has none that can be read. Then ``jti`` is not compared, and the
            caller refuses the body.
        body: the request's body as it was received.
        now: Unix seconds.

    Raises:
        TokenRefused: with the first rule that does not hold.
    """
    kid, key = _key_of(token, keys)
    claims = _signed_claims(token, kid, key)

    def refuse(reason: str, detail: str) -> TokenRefused:
        return TokenRefused(reason, detail, kid=kid, sub=printable(claims.sub), operator=key.operator)

    _check_times(claims, now, refuse)
    if op_id is not None and claims.jti != op_id:
        raise refuse("claims", "the token's jti is not the body's op_id")
    if claims.aud != audience(worker_id, boot_id):
        raise refuse("audience", f"the token is for another worker or boot than {audience(worker_id, boot_id)}")
    if claims.act != action:
        raise refuse("action", f"the token allows {printable(claims.act, 32)!r}, not {action}")
    if claims.bsh != body_hash(body):
        raise refuse("body_hash", "the token was made for another body")
    if claims.sub != key.operator:
        raise refuse("operator", f"key {kid} belongs to {key.operator}, not to {printable(claims.sub, 64)!r}")
    if key.actions is not None and action not in key.actions:
        raise refuse("not_allowed", f"key {kid} may not ask for {action}")
    return VerifiedToken(sub=claims.sub, kid=kid, jti=claims.jti)


def _key_of(token: str, keys: Mapping[str, OperatorKey]) -> tuple[str, OperatorKey]:
    """The key that the token's header names; nothing is trusted yet."""
    try:
        header = _jws.get_unverified_header(token.encode("ascii"))
    except (jwt.PyJWTError, UnicodeEncodeError):
        raise TokenRefused("token", "not a signed JWT") from None
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise TokenRefused("token", "the token's header has no kid")
    shown = printable(kid, 64)
    key = keys.get(kid)
    if key is None:
        raise TokenRefused("key", f"no operator key {shown!r} is known here", kid=shown)
    if header.get("alg") != ALGORITHM:
        raise TokenRefused("algorithm", f"the token must be signed with {ALGORITHM} (Ed25519)", kid=kid)
    return kid, key


def _signed_claims(token: str, kid: str, key: OperatorKey) -> _Claims:
    try:
        payload = _jws.decode_complete(token, key.public_key, algorithms=[ALGORITHM])["payload"]
    except jwt.InvalidSignatureError:
        raise TokenRefused("signature", f"the signature is not of key {kid}", kid=kid) from None
    except jwt.PyJWTError:
        raise TokenRefused("token", "not a signed JWT", kid=kid) from None
    try:
        return _claims_decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        detail = f"the token's claims are not as required: {printable(str(error), 120)}"
        raise TokenRefused("claims", detail, kid=kid, operator=key.operator) from None


def _check_times(claims: _Claims, now: float, refuse: Callable[[str, str], TokenRefused]) -> None:
    clocks = "compare the clocks of both machines"
    begins = claims.iat if claims.nbf is None else max(claims.iat, claims.nbf)
    if claims.exp - claims.iat > MAX_LIFETIME_SECONDS:
        raise refuse("times", f"the token lives longer than {MAX_LIFETIME_SECONDS} s")
    if claims.exp <= claims.iat:
        raise refuse("times", "the token expires before it begins")
    if begins - now > LEEWAY_SECONDS:
        raise refuse("times", f"the token begins {begins - now:.0f} s from now: {clocks}")
    if now - claims.exp >= LEEWAY_SECONDS:
        raise refuse("times", f"the token expired {now - claims.exp:.0f} s ago: {clocks}")
