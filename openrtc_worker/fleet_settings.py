"""How a worker belongs to its fleet: by arguments, else by the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from openrtc_worker.contract.keys import KeyFileError, read_secret_file
from openrtc_worker.contract.text import printable
from openrtc_worker.environment import flag

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_FLEET: Final = 64
"""Characters of a fleet's name, as a manifest allows."""


class FleetSetupError(Exception):
    """The worker cannot prove that it belongs, as it is set up: one line that says what to do, and exit code 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """Which fleet it is, how this worker proves that it belongs, and who says which versions take calls.

    Attributes:
        fleet: the fleet's name; manifests of another one are refused.
        membership_secret: the secret of this worker's version (``derive_version_secret``); with it every snapshot
            carries a signed claim.
        membership_secret_file: the file that holds it instead.
        release_keys: a folder with ``NAME.pub.pem`` and ``*.jwks.json``, or one such file: whose manifests count.
            None: no manifest is taken, and none gates this worker.
        manifest: a file, or an ``http://`` or ``https://`` URL, where the newest manifest is read again and again.
        manifest_required: no manifest, no calls.
    """

    fleet: str | None = None
    membership_secret: str | None = field(default=None, repr=False)
    membership_secret_file: Path | str | None = None
    release_keys: Path | str | None = None
    manifest: Path | str | None = None
    manifest_required: bool = False

    def __post_init__(self) -> None:
        """Refuse what can never work.

        Raises:
            ValueError: the message names it.
        """
        if self.fleet is not None and (not self.fleet or printable(self.fleet, MAX_FLEET) != self.fleet):
            raise ValueError(f"fleet must be 1 to {MAX_FLEET} printable characters, not {self.fleet[:80]!r}")
        if self.membership_secret is not None and not self.membership_secret.strip():
            raise ValueError("membership_secret must not be empty")
        if self.release_keys is not None and self.fleet is None:
            raise ValueError("release_keys needs fleet= (OPENRTC_FLEET): a manifest counts for its own fleet only")
        if self.manifest is not None:
            _check_source(str(self.manifest))
        if self.release_keys is None:
            for name, wanted in (
                ("manifest", self.manifest is not None),
                ("manifest_required", self.manifest_required),
            ):
                if wanted:
                    raise ValueError(
                        f"{name} needs release_keys= (OPENRTC_RELEASE_KEYS): whose manifests this worker believes"
                    )

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        fleet: str | None = None,
        membership_secret: str | None = None,
        release_keys: Path | str | None = None,
        manifest: Path | str | None = None,
        manifest_required: bool | None = None,
    ) -> Self:
        """The settings: an argument that is given wins, then ``OPENRTC_…``, then the default.

        Raises:
            ValueError: a value cannot be used; the message names it.
        """

        def variable(name: str) -> str | None:
            return environ.get(name, "").strip() or None

        if manifest_required is None:
            manifest_required = flag("OPENRTC_MANIFEST_REQUIRED", variable("OPENRTC_MANIFEST_REQUIRED"))
        return cls(
            fleet=variable("OPENRTC_FLEET") if fleet is None else fleet,
            membership_secret=membership_secret,
            membership_secret_file=None if membership_secret else variable("OPENRTC_MEMBERSHIP_SECRET_FILE"),
            release_keys=release_keys or variable("OPENRTC_RELEASE_KEYS"),
            manifest=manifest or variable("OPENRTC_MANIFEST"),
            manifest_required=manifest_required,
        )

    def load_secret(self) -> str | None:
        """The secret that claims are signed with, from the argument or its file; None: this worker makes no claims.

        Raises:
            FleetSetupError: the file cannot be used.
        """
        if self.membership_secret is not None:
            return self.membership_secret.strip()
        if self.membership_secret_file is None:
            return None
        try:
            secret = read_secret_file(self.membership_secret_file).decode().strip()
        except KeyFileError as error:
            raise FleetSetupError(f"OPENRTC_MEMBERSHIP_SECRET_FILE: {error}") from None
        except UnicodeDecodeError:
            raise FleetSetupError(
                f"OPENRTC_MEMBERSHIP_SECRET_FILE: {self.membership_secret_file}: not text in UTF-8"
            ) from None
        if not secret:
            raise FleetSetupError(f"OPENRTC_MEMBERSHIP_SECRET_FILE: {self.membership_secret_file}: the file is empty")
        return secret


def _check_source(where: str) -> None:
    scheme, separator, _ = where.partition("://")
    if not separator:
        return
    try:
        url = urlsplit(where)
        usable = scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"manifest must be a file or an http:// or https:// URL, not {printable(where, 80)!r}")
    if url.username is not None or url.password is not None:
        raise ValueError("manifest must not hold a password: a manifest is signed, and may be read by everybody")
