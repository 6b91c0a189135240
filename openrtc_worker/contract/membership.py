"""Signed membership: a worker proves that it belongs to a fleet as the version that it says it runs.

The token is an HMAC-SHA256 over an unambiguous message of version, worker id and time: every part is prefixed with
its length, so that no two different claims share a message.
"""

from __future__ import annotations

import math
import struct
import time
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FUTURE_LEEWAY_SECONDS: Final = 30.0
"""How far ahead a worker's clock may be of the verifier's."""

_DOMAIN: Final = b"openrtc/membership/1"
_DERIVED: Final = b"openrtc/membership/1|"
_VERSIONS_KEPT: Final = 1_024


class MembershipError(ValueError):
    """A claim does not hold; ``reason`` is ``signature``, ``version``, ``stale`` or ``future``."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def membership_message(version: str, worker_id: str, timestamp: float) -> bytes:
    """The bytes that are signed.

    Raises:
        ValueError: *timestamp* is not finite, or an integer that a float cannot hold.
    """
    moment = float(timestamp)
    if not math.isfinite(moment) or moment != timestamp:
        raise ValueError(f"not a point in time: {timestamp!r}")
    parts = [_DOMAIN]
    for text in (version, worker_id):
        data = text.encode("utf-8", "surrogatepass")  # injective, and no text can make it raise
        parts += [struct.pack(">Q", len(data)), data]
    parts.append(struct.pack(">d", moment + 0.0))  # -0.0 is 0.0
    return b"".join(parts)


def sign_membership(*, version: str, worker_id: str, timestamp: float, secret: str) -> str:
    """The token of a claim, 64 lower-case hex digits.

    Args:
        version: the deployment version that the worker runs.
        worker_id: the worker.
        timestamp: when the claim is made, Unix seconds.
        secret: shared with the verifier, as it is.

    Raises:
        ValueError: the secret is empty, or *timestamp* is no point in time.
    """
    return _sign(membership_message(version, worker_id, timestamp), secret).hex()


def derive_version_secret(master: str, version: str) -> str:
    """The secret of one version, 64 lower-case hex digits: HKDF-SHA256 (RFC 5869) without salt, 32 bytes.

    A deploy pipeline that knows *master* injects this and nothing else, so that a worker of one version cannot sign
    for another.

    Raises:
        ValueError: the master is empty.
    """
    if not master:
        raise ValueError("a membership master must not be empty")
    info = _DERIVED + version.encode("utf-8", "surrogatepass")
    return HKDF(SHA256(), 32, None, info).derive(master.encode("utf-8", "surrogatepass")).hex()


class MembershipVerifier:
    """Checks membership tokens.

    Args:
        secrets: the secrets as they are, at least one; several during a rotation, each of them is enough.
        expected_version: the only version that is accepted; None accepts every one.
        max_age_seconds: how old a claim may be. One from the future may be ahead by 30 s at most.
        clock: Unix seconds.

    Raises:
        ValueError: no secret, or an empty one.
    """

    def __init__(
        self,
        *,
        secrets: Iterable[str],
        expected_version: str | None = None,
        max_age_seconds: float = 300,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(secrets, str):
            raise TypeError("secrets is a list of strings, not one string")
        self._secrets = tuple(secrets)
        if not self._secrets:
            raise ValueError("a membership verifier needs at least one secret")
        if not all(self._secrets):
            raise ValueError("a membership secret must not be empty")
        self._expected_version = expected_version
        self._max_age = max_age_seconds
        self._clock = clock

    def verify(self, *, token: str, version: str, worker_id: str, timestamp: float) -> None:
        """Return if the claim holds.

        Raises:
            MembershipError: it does not; the message begins with ``signature``, ``version``, ``stale`` or ``future``.
        """
        if not self.is_signed(token=token, version=version, worker_id=worker_id, timestamp=timestamp):
            raise MembershipError("signature", "the claim is not signed with a known secret")
        if self._expected_version is not None and version != self._expected_version:
            raise MembershipError("version", f"{version!r} where {self._expected_version!r} is expected")
        age = self._clock() - timestamp
        if age > self._max_age:
            raise MembershipError("stale", f"the claim is {age:.0f} s old, {self._max_age:g} s are allowed")
        if -age > FUTURE_LEEWAY_SECONDS:
            raise MembershipError("future", f"the claim is from {-age:.0f} s ahead: compare the clocks")

    def is_valid(self, *, token: str, version: str, worker_id: str, timestamp: float) -> bool:
        """Whether :meth:`verify` accepts the claim."""
        try:
            self.verify(token=token, version=version, worker_id=worker_id, timestamp=timestamp)
        except MembershipError:
            return False
        return True

    def is_signed(self, *, token: str, version: str, worker_id: str, timestamp: float) -> bool:
        """Whether the claim is signed with one of the secrets, whenever that was and whatever it claims."""
        try:
            message = membership_message(version, worker_id, timestamp)
        except (ValueError, OverflowError):
            return False
        shown = token.encode("utf-8", "surrogatepass")
        # every secret is tried, so that the time taken does not tell which one fits
        matches = [bytes_eq(_sign(message, secret).hex().encode(), shown) for secret in self._secrets]
        return any(matches)


class FleetVerifier:
    """Checks membership tokens of every version of a fleet, each with that version's own secret.

    Args:
        masters: what the secrets are derived from, at least one; several during a rotation.
        max_age_seconds: how old a claim may be. One from the future may be ahead by 30 s at most.
        clock: Unix seconds.

    Raises:
        ValueError: no master, or an empty one.
    """

    def __init__(
        self, *, masters: Iterable[str], max_age_seconds: float = 300, clock: Callable[[], float] = time.time
    ) -> None:
        if isinstance(masters, str):
            raise TypeError("masters is a list of strings, not one string")
        self._masters = tuple(masters)
        if not self._masters or not all(self._masters):
            raise ValueError("a fleet verifier needs at least one master, and none may be empty")
        self._max_age = max_age_seconds
        self._clock = clock
        self._by_version: dict[str, MembershipVerifier] = {}

    def verify(self, *, token: str, version: str, worker_id: str, timestamp: float) -> None:
        """Return if the claim holds.

        Raises:
            MembershipError: it does not; the message begins with ``signature``, ``stale`` or ``future``.
        """
        self._of(version).verify(token=token, version=version, worker_id=worker_id, timestamp=timestamp)

    def is_signed(self, *, token: str, version: str, worker_id: str, timestamp: float) -> bool:
        """Whether the claim is signed with the secret of its version, whenever that was.

        For a reader that judges freshness by when claims arrive, and not by two clocks that may differ.
        """
        return self._of(version).is_signed(token=token, version=version, worker_id=worker_id, timestamp=timestamp)

    def _of(self, version: str) -> MembershipVerifier:
        verifier = self._by_version.get(version)
        if verifier is None:
            if len(self._by_version) >= _VERSIONS_KEPT:  # somebody invents versions
                self._by_version.clear()
            verifier = self._by_version[version] = MembershipVerifier(
                secrets=[derive_version_secret(master, version) for master in self._masters],
                expected_version=version,
                max_age_seconds=self._max_age,
                clock=self._clock,
            )
        return verifier


def _sign(message: bytes, secret: str) -> bytes:
    if not secret:
        raise ValueError("a membership secret must not be empty")
    mac = HMAC(secret.encode("utf-8", "surrogatepass"), SHA256())
    mac.update(message)
    return mac.finalize()
