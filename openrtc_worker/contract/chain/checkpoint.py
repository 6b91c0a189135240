"""A checkpoint: a signed note of how long a chain is and which line is its newest. Pure.

A chain alone does not show that its tail was cut: what is left is a whole chain. A checkpoint does, as far as it
reaches: compact JWS, EdDSA over Ed25519, header ``{"alg": "EdDSA", "typ": "openrtc-checkpoint", "kid": …}``, payload
``{"chain", "hash", "at"}`` with the number of the newest line, its hash, and Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import jwt
import msgspec

from openrtc_worker.contract.chain.line import Head
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM: Final = "EdDSA"
TYPE: Final = "openrtc-checkpoint"
MAX_BYTES: Final = 4 << 10
"""A checkpoint above this size is refused unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A chain's newest line at the time ``at`` (Unix seconds). ``signed``: the signature was checked and is good."""

    head: Head
    at: float
    kid: str
    signed: bool


class _Payload(msgspec.Struct, frozen=True):
    chain: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    at: Annotated[float, msgspec.Meta(ge=0, le=1e11)]


_jws: Final = jwt.PyJWS(algorithms=[ALGORITHM])
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Payload)


def sign_checkpoint(head: Head, at: float, *, private_key: Ed25519PrivateKey, kid: str) -> str:
    """The compact JWS that vouches for *head*; ``kid`` names the key: the stem of its file."""
    payload = _encoder.encode(_Payload(head.chain, head.hash, at))
    return _jws.encode(payload, private_key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": kid})


def read_checkpoint(token: str, keys: Mapping[str, Ed25519PublicKey] | None) -> Checkpoint:
    """What *token* says.

    Args:
        token: the compact JWS; spaces around it are ignored.
        keys: public keys by ``kid``; None takes it without checking the signature.

    Raises:
        ValueError: it is no checkpoint, or none of these keys signed it; the message is for people.
    """
    text = token.strip()
    if len(text) > MAX_BYTES:
        raise ValueError("too long for a checkpoint")
    try:
        header = _jws.get_unverified_header(text.encode("ascii"))
        kid = header.get("kid")
        if not isinstance(kid, str) or header.get("typ") != TYPE:
            raise ValueError("no checkpoint")
        key = None if keys is None else keys.get(kid)
        if keys is not None and key is None:
            raise ValueError(f"signed with the key {printable(kid, 64)!r}, which is not known here")
        if key is None:
            payload = _jws.decode_complete(text, options={"verify_signature": False})["payload"]
        else:
            payload = _jws.decode_complete(text, key, algorithms=[ALGORITHM])["payload"]
        said = _decoder.decode(payload)
    except jwt.InvalidSignatureError:
        raise ValueError("its signature is not good") from None
    except (jwt.PyJWTError, msgspec.MsgspecError, UnicodeError, RecursionError):
        raise ValueError("no checkpoint") from None
    return Checkpoint(head=Head(said.chain, said.hash), at=said.at, kid=printable(kid, 64), signed=key is not None)
