"""Public keys of operators, or of releases: a folder or one file, read again when it changes, off the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from openrtc_worker.contract.control_token import ACTIONS
from openrtc_worker.contract.keys import (
    KID_PATTERN,
    NAME_PATTERN,
    PUBLIC_SUFFIX,
    KeyFileError,
    OperatorKey,
    operator_of,
    public_key_from_pem,
    read_public_file,
)
from openrtc_worker.contract.text import printable
from openrtc_worker.control.settings import ControlError
from openrtc_worker.daemon_thread import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

JWKS_SUFFIX: Final = ".jwks.json"
REREAD_SECONDS: Final = 1.0
"""The folder is looked at once in this time at most."""
PATIENCE_SECONDS: Final = 2.0
"""A request waits this long for a slow file system, then it is judged by the keys that were read last."""

logger = logging.getLogger("openrtc.control")


class _Jwk(msgspec.Struct, frozen=True):
    """One key of a JWKS (RFC 7517, RFC 8037); ``sub`` and ``actions`` are ours."""

    kty: str
    crv: str
    x: str
    kid: str
    d: str | None = None
    sub: str | None = None
    actions: list[str] | None = None


class _Jwks(msgspec.Struct, frozen=True):
    keys: list[_Jwk]


_jwks_decoder: Final = msgspec.json.Decoder(_Jwks)


@dataclass(frozen=True, slots=True)
class KeySet:
    """What a look at the folder found: keys by ``kid``, and by file name why a file was left out."""

    keys: Mapping[str, OperatorKey] = field(default_factory=lambda: MappingProxyType({}))
    problems: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    fingerprint: tuple[tuple[object, ...], ...] = ()


def read_key_set(path: Path) -> KeySet:
    """Read every key file. One that cannot be read is left out and named; the others count.

    Raises:
        OSError: the folder or file itself is not there or cannot be listed.
        KeyFileError: others may add files to the folder.
    """
    fingerprint = fingerprint_of(path)  # before reading: a change in between is then seen at the next look
    if path.is_dir() and _others_may_add(path):
        raise KeyFileError(path, "others can add keys to it: chmod o-w it")
    keys: dict[str, OperatorKey] = {}
    origins: dict[str, str] = {}
    problems: dict[str, str] = {}
    for file in _files(path):
        try:
            found = _read_file(file)
            taken = [key.kid for key in found if key.kid in keys]
            if taken:
                raise KeyFileError(file, f"key {taken[0]} stands in {origins[taken[0]]} already")  # noqa: TRY301
        except KeyFileError as error:
            problems[file.name] = error.problem
            continue
        keys.update((key.kid, key) for key in found)
        origins.update((key.kid, file.name) for key in found)
    return KeySet(MappingProxyType(keys), MappingProxyType(problems), fingerprint)


def fingerprint_of(path: Path) -> tuple[tuple[object, ...], ...]:
    """What changes when the folder's permissions or a key file do: identity, times, size and owner of each file,
    links followed.
    """
    result: list[tuple[object, ...]] = [(path.stat().st_mode,)]
    for file in _files(path):
        try:
            status = file.stat()
        except OSError as error:
            result.append((file.name, error.errno))
        else:
            identity = (status.st_dev, status.st_ino, status.st_uid, status.st_mode)
            result.append((file.name, *identity, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(result)


class OperatorKeys:
    """The keys as they are now.

    Args:
        path: a folder with ``NAME.pub.pem``, ``NAME@2.pub.pem`` and ``*.jwks.json``, or one such file. A folder that
            others can write to counts as unreadable.
        on_problems: called on the loop with the files that were left out, once for each change.
        clock: seconds that do not go back.
        whose: ``operator`` keys sign requests, ``release`` keys sign manifests; the words of messages, no more.

    Raises:
        ControlError: there is no such folder or file, or the file's name says not what it is.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        on_problems: Callable[[Mapping[str, str]], None],
        clock: Callable[[], float],
        whose: Literal["operator", "release"] = "operator",
    ) -> None:
        self._whose = whose
        setting = f"OPENRTC_{whose.upper()}_KEYS"
        self._path = Path(path)
        self._on_problems = on_problems
        self._clock = clock
        self._set = KeySet()
        self._looked_at = float("-inf")
        self._look: asyncio.Task[None] | None = None
        if self._path.is_file():
            if not self._path.name.endswith((PUBLIC_SUFFIX, JWKS_SUFFIX)):
                raise ControlError(f"{setting}: {path}: a key file is named NAME{PUBLIC_SUFFIX} or *{JWKS_SUFFIX}")
        elif not self._path.is_dir():
            raise ControlError(f"{setting}: {path}: no such folder: make it, or correct the setting")

    @property
    def known(self) -> Mapping[str, OperatorKey]:
        """The keys that were read last, by ``kid``."""
        return self._set.keys

    async def refresh(self) -> None:
        """Look for changes, unless that was done a moment ago. Never raises; an unreadable folder means no keys."""
        if self._look is None:
            if self._clock() - self._looked_at < REREAD_SECONDS:
                return
            self._looked_at = self._clock()
            self._look = asyncio.create_task(self._look_again())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.shield(self._look)
        except TimeoutError:
            logger.warning("%s keys in %s: the file system is slow, the last keys count", self._whose, self._path)

    async def aclose(self) -> None:
        """Look no more; a thread that hangs in the file system is left behind."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait([self._look])

    async def _look_again(self) -> None:
        try:
            found = await in_daemon_thread(self._read_if_changed, f"openrtc-{self._whose}-keys")
        except RuntimeError as error:  # no thread to be had: a worker in such need must be drainable all the same
            logger.warning("%s keys in %s: %s, the last keys count", self._whose, self._path, error)
            return
        finally:
            self._look = None
        if found is None:
            return
        new_problems = {
            name: problem for name, problem in found.problems.items() if self._set.problems.get(name) != problem
        }
        self._set = found
        logger.info("%s keys in %s: %s", self._whose, self._path, ", ".join(sorted(found.keys)) or "none")
        for name, problem in new_problems.items():
            logger.error("%s keys in %s: %s is left out: %s", self._whose, self._path, name, problem)
        if new_problems:
            self._on_problems(new_problems)

    def _read_if_changed(self) -> KeySet | None:
        """The new keys, in the thread; None when nothing changed."""
        try:
            if self._set.fingerprint and fingerprint_of(self._path) == self._set.fingerprint:
                return None
            found = read_key_set(self._path)
        except Exception as error:  # whatever it is: keys that cannot be read are no keys
            found = KeySet(problems=MappingProxyType({self._path.name: _problem(error)}))
        return None if found == self._set else found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        path.stat()
        return [path]
    return sorted(file for file in path.iterdir() if file.name.endswith((PUBLIC_SUFFIX, JWKS_SUFFIX)))


def _others_may_add(folder: Path) -> bool:
    """Whether anybody on the machine could put a key of their own into *folder*; a sticky bit does not hinder that.

    Kubernetes mounts Secrets and ConfigMaps with mode 0777, and read-only: nobody can write there all the same.
    """
    if not folder.stat().st_mode & stat.S_IWOTH:
        return False
    return not os.statvfs(folder).f_flag & os.ST_RDONLY


def _problem(error: Exception) -> str:
    if isinstance(error, KeyFileError):
        return error.problem
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return f"cannot be read: {reason.lower()}"


def _read_file(file: Path) -> list[OperatorKey]:
    data = read_public_file(file)
    try:
        if file.name.endswith(PUBLIC_SUFFIX):
            kid = file.name.removesuffix(PUBLIC_SUFFIX)
            return [OperatorKey(kid=kid, operator=operator_of(kid), public_key=public_key_from_pem(data))]
        return [_jwk(key) for key in _jwks_decoder.decode(data).keys]
    except (ValueError, RecursionError) as error:
        raise KeyFileError(file, printable(str(error), 200)) from None


def _jwk(key: _Jwk) -> OperatorKey:
    """Raises ValueError with what is wrong."""
    shown = printable(key.kid, 64)
    if (key.kty, key.crv) != ("OKP", "Ed25519"):
        raise ValueError(f"key {shown}: not an Ed25519 key (kty OKP, crv Ed25519)")
    if key.d is not None:
        raise ValueError(f"key {shown}: holds a private key; replace it, and never put private keys here")
    if not KID_PATTERN.fullmatch(key.kid):
        raise ValueError(f"kid {shown!r}: 1 to 64 of A-Z a-z 0-9 . _ - (and @2 for a second key)")
    if key.sub is not None and not NAME_PATTERN.fullmatch(key.sub):
        raise ValueError(f"key {shown}: sub is no operator's name")
    unknown = set(key.actions or ()) - ACTIONS
    if unknown:
        raise ValueError(f"key {shown}: {printable(min(unknown), 40)!r} is no action")
    raw = urlsafe_b64decode(key.x + "=" * (-len(key.x) % 4))
    return OperatorKey(
        kid=key.kid,
        operator=key.sub or key.kid,
        public_key=Ed25519PublicKey.from_public_bytes(raw),
        actions=None if key.actions is None else frozenset(key.actions),
    )
