"""Key files: who may read them, what is in them, and how a new operator key is made."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""An operator's name (``fullmatch``)."""

KID_PATTERN: Final = re.compile(r"([A-Za-z0-9._-]{1,64})(?:@[A-Za-z0-9._-]{1,64})?")
"""A key's id (``fullmatch``): ``NAME``, or ``NAME@2`` for a second key of NAME."""

PRIVATE_SUFFIX: Final = ".pem"
PUBLIC_SUFFIX: Final = ".pub.pem"

MAX_KEY_FILE_BYTES: Final = 256 * 1024


class KeyFileError(Exception):
    """A file cannot be used; ``problem`` says why and, where one thing helps, what to do."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = Path(path)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorKey:
    """A public key and whom it speaks for. ``actions`` limits what it may ask; None is no limit."""

    kid: str
    operator: str
    public_key: Ed25519PublicKey
    actions: frozenset[str] | None = None


def operator_of(kid: str) -> str:
    """The operator that a key file's stem names: ``alice`` of ``alice`` and of ``alice@2``.

    Raises:
        ValueError: *kid* is no such name.
    """
    match = KID_PATTERN.fullmatch(kid)
    if match is None:
        raise ValueError(f"{kid!r} is no operator's name: 1 to 64 of A-Z a-z 0-9 . _ - (and @2 for a second key)")
    return match[1]


def secret_mode_problem(mode: int, owner: int) -> str | None:
    """What is wrong with the permissions of a file that holds a secret; None when nothing is.

    A group may read the file only where root owns it: that is how Kubernetes mounts a Secret with
    ``defaultMode: 0440``.
    """
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        return "others can read or write it: chmod 600 it"
    if mode & stat.S_IWGRP:
        return "its group can write it: chmod 600 it"
    if mode & stat.S_IRGRP and owner != 0:
        return "its group can read it and root does not own it: chmod 600 it"
    return None


def public_mode_problem(mode: int) -> str | None:
    """What is wrong with the permissions of a public key or certificate; None when nothing is."""
    return "others can write it: chmod o-w it" if mode & stat.S_IWOTH else None


def read_secret_file(path: Path | str) -> bytes:
    """The bytes of a file that holds a secret, links followed.

    Raises:
        KeyFileError: it cannot be read, or somebody else can read or write it.
    """
    return _read(Path(path), secret=True)


def read_public_file(path: Path | str) -> bytes:
    """The bytes of a public key or certificate, links followed.

    Raises:
        KeyFileError: it cannot be read, or others can write it.
    """
    return _read(Path(path), secret=False)


def load_private_key(path: Path | str) -> Ed25519PrivateKey:
    """An operator's private key: unencrypted PKCS#8 PEM, Ed25519.

    Raises:
        KeyFileError: it cannot be read, others could read it, or it is no such key.
    """
    data = read_secret_file(path)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise KeyFileError(path, "the key is encrypted: an operator key has no passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyFileError(path, "not a private key in PEM: make one with openrtc-tui keys new NAME") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(path, "not an Ed25519 key: make one with openrtc-tui keys new NAME")
    return key


def public_key_from_pem(data: bytes) -> Ed25519PublicKey:
    """The Ed25519 key of an SPKI PEM.

    Raises:
        ValueError: it is anything else; the message is for a person.
    """
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 public key")  # noqa: TRY004 - the content of a file is wrong, no caller's type
    return key


def generate_operator_key(name: str, directory: Path | str) -> tuple[Path, Path]:
    """Make a key pair: ``NAME.pem`` (0600, PKCS#8) and ``NAME.pub.pem`` (SPKI). Both files or none.

    Args:
        name: the operator, or ``NAME@2`` for a second key of NAME.
        directory: where both go; it must exist.

    Returns:
        The private and the public path.

    Raises:
        KeyFileError: the name is none, a file of that name exists (none is ever overwritten), or the directory
            cannot be written.
    """
    folder = Path(directory)
    private_path, public_path = folder / f"{name}{PRIVATE_SUFFIX}", folder / f"{name}{PUBLIC_SUFFIX}"
    try:
        operator_of(name)
    except ValueError as error:
        raise KeyFileError(folder, str(error)) from None
    key = Ed25519PrivateKey.generate()
    files = (
        (private_path, 0o600, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())),
        (public_path, 0o644, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    )
    made: list[Path] = []
    try:
        for path, mode, data in files:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            made.append(path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        problem = (
            "exists already, and keys are never overwritten" if isinstance(error, FileExistsError) else _why(error)
        )
        raise KeyFileError(error.filename or folder, problem) from None
    return private_path, public_path


def _read(path: Path, *, secret: bool) -> bytes:
    try:
        # not blocking, or a FIFO of this name would hold the caller for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(path, "not a regular file")
            mode_problem = (
                secret_mode_problem(status.st_mode, status.st_uid) if secret else public_mode_problem(status.st_mode)
            )
            if mode_problem is not None:
                raise KeyFileError(path, mode_problem)
            data = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(path, _why(error)) from None
    if len(data) > MAX_KEY_FILE_BYTES:
        raise KeyFileError(path, f"longer than {MAX_KEY_FILE_BYTES} bytes: not a key file")
    return data


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
