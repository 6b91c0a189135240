"""The manifest: a small signed record of which versions of a fleet may take new calls.

Compact JWS (RFC 7515), EdDSA over Ed25519, header ``{"alg": "EdDSA", "typ": "openrtc-manifest", "kid": …}``, payload
``{"fleet", "seq", "active", "issued_at", "issued_by"}``. The highest ``seq`` holds; one ``seq`` has one content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import jwt
import msgspec

from openrtc_worker.contract.snapshot import VERSION_PATTERN
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from openrtc_worker.contract.keys import OperatorKey

ALGORITHM: Final = "EdDSA"
TYPE: Final = "openrtc-manifest"
MAX_BYTES: Final = 16 << 10
"""A manifest above this size is refused unread."""
MAX_ACTIVE: Final = 64


class ManifestRefused(Exception):  # noqa: N818 - the refusal is the answer, not a fault of the program
    """Why a manifest is not accepted.

    Attributes:
        reason: ``size format key algorithm signature fleet``; a holder adds ``seq`` (not newer) and ``conflict``
            (the same ``seq`` with other content).
        detail: one line for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions of *fleet* may take new calls. ``issued_at`` is in Unix seconds.

    ``active`` may be empty: then nobody takes calls.
    """

    fleet: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    active: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_ACTIVE)]
    issued_at: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    issued_by: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]

    def allows(self, version: str | None) -> bool:
        """Whether workers of *version* may take new calls; an untagged worker never may."""
        return version is not None and version in self.active

    def same_content(self, other: Manifest) -> bool:
        """Whether both name the same versions for the same fleet under one ``seq``."""
        return (self.fleet, self.seq, set(self.active)) == (other.fleet, other.seq, set(other.active))


_jws: Final = jwt.PyJWS(algorithms=[ALGORITHM])
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Manifest)


def sign_manifest(manifest: Manifest, *, private_key: Ed25519PrivateKey, kid: str) -> str:
    """The compact JWS of *manifest*; ``kid`` is how workers know the release key: the stem of its file."""
    return _jws.encode(_encoder.encode(manifest), private_key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": kid})


def verify_manifest(token: str, *, keys: Mapping[str, OperatorKey], fleet: str | None) -> Manifest:
    """The manifest that *token* is.

    Args:
        token: the compact JWS, spaces around it are ignored.
        keys: release keys by ``kid``, public (:mod:`openrtc_worker.contract.keys` reads them).
        fleet: the only fleet whose manifests are accepted; None accepts every one (to look at it, never to obey it).

    Raises:
        ManifestRefused: with the first rule that does not hold.
    """
    text = token.strip()
    kid, algorithm = _header(text)
    key = keys.get(kid)
    if key is None:
        raise ManifestRefused("key", f"no release key {printable(kid, 64)!r} is known here")
    if algorithm != ALGORITHM:
        raise ManifestRefused("algorithm", f"a manifest must be signed with {ALGORITHM} (Ed25519)")
    try:
        payload = _jws.decode_complete(text, key.public_key, algorithms=[ALGORITHM])["payload"]
    except jwt.InvalidSignatureError:
        raise ManifestRefused("signature", f"the signature is not of key {printable(kid, 64)}") from None
    except jwt.PyJWTError:
        raise ManifestRefused("format", "not a signed manifest") from None
    manifest = _decoded(payload)
    if fleet is not None and manifest.fleet != fleet:
        raise ManifestRefused("fleet", f"it is for the fleet {printable(manifest.fleet, 64)!r}, not for {fleet!r}")
    return manifest


def read_unverified(token: str) -> Manifest:
    """What *token* says, whoever signed it: to show it, never to obey it.

    Raises:
        ManifestRefused: it is no manifest at all.
    """
    text = token.strip()
    _header(text)
    try:
        return _decoded(_jws.decode_complete(text, options={"verify_signature": False})["payload"])
    except jwt.PyJWTError:
        raise ManifestRefused("format", "not a signed manifest") from None


def _header(text: str) -> tuple[str, object]:
    if len(text) > MAX_BYTES:
        raise ManifestRefused("size", f"larger than {MAX_BYTES >> 10} KiB, so not a manifest")
    try:
        header = _jws.get_unverified_header(text.encode("ascii"))
    except (jwt.PyJWTError, UnicodeEncodeError):
        raise ManifestRefused("format", "not a signed manifest") from None
    kid = header.get("kid")
    if not isinstance(kid, str) or header.get("typ") != TYPE:
        raise ManifestRefused("format", f"not a signed manifest: its header needs kid and typ {TYPE}")
    return kid, header.get("alg")


def _decoded(payload: bytes) -> Manifest:
    try:
        manifest = _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestRefused("format", f"not a manifest: {printable(str(error), 120)}") from None
    strange = next((version for version in manifest.active if not VERSION_PATTERN.fullmatch(version)), None)
    if strange is not None:
        raise ManifestRefused("format", f"{printable(strange, 64)!r} is no version")
    if len(set(manifest.active)) != len(manifest.active):
        raise ManifestRefused("format", "a version is named twice")
    return manifest
