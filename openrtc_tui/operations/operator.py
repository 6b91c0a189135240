"""The operator: a name, a private key, and a signature for one request at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openrtc_worker.contract.control_token import sign_request
from openrtc_worker.contract.keys import KeyFileError, load_private_key

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from openrtc_tui.operations.request import Ask

__all__ = ["KeyFileError", "Operator"]


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts. ``kid`` is how workers know the key: the stem of its file."""

    name: str
    kid: str
    private_key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def load(cls, name: str, key_file: Path) -> Operator:
        """The operator *name* with the key in *key_file*.

        Raises:
            KeyFileError: the key cannot be read, others could read it, or it is none.
        """
        return cls(name, key_file.stem, load_private_key(key_file))

    def sign(self, ask: Ask, body: bytes, now: float) -> str:
        """The token for one sending of *ask*; *now* is in Unix seconds, and it expires within a minute."""
        return sign_request(
            private_key=self.private_key,
            kid=self.kid,
            sub=self.name,
            aud_worker_id=ask.worker_id,
            aud_boot_id=ask.boot_id,
            action=ask.action,
            op_id=ask.op_id,
            body=body,
            now=now,
        )
