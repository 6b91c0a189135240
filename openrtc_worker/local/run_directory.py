"""The files of one embedded fleet: keys, the fleet file, logs; all under one directory."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrtc_worker.contract.keys import generate_operator_key
from openrtc_worker.contract.membership import derive_version_secret
from openrtc_worker.local.platform_door import LONGEST_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from openrtc_worker.local.platform import WorkerSpec

OPERATOR = "demo"
RELEASE = "release"
"""The name of the key that signs manifests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What the fleet file says of the fleet. ``drain_timeout`` in seconds."""

    fleet: str
    from_version: str
    to_version: str
    drain_timeout: int


class RunDirectory:
    """Makes what a fleet needs in *path*, which must exist and hold no earlier fleet."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()  # the fleet file names its key file, and may be opened from anywhere

    @property
    def fleet_file(self) -> Path:
        return self.path / "fleet.yaml"

    @property
    def operator_keys(self) -> Path:
        """The folder of public keys that the workers obey."""
        return self.path / "operators"

    @property
    def release_keys(self) -> Path:
        """The folder of public keys whose manifests the workers obey."""
        return self.path / "release-keys"

    @property
    def release_key_file(self) -> Path:
        """The private key that signs manifests, once :meth:`prepare` made it."""
        return self.path / f"{RELEASE}.pem"

    @property
    def master_file(self) -> Path:
        """What every version's membership secret is derived from; the dashboard alone reads it."""
        return self.path / "membership-master"

    def secret_file(self, version: str) -> Path:
        """The membership secret of one version, which its workers read."""
        return self.path / "membership" / version

    @property
    def platform_socket(self) -> Path | None:
        """Where the fleet is asked for a version; None when this folder's path is too long for a socket."""
        path = self.path / "platform.sock"
        return path if len(str(path)) <= LONGEST_PATH else None

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def temporary(self) -> Path:
        """Where workers put temporary files: one that is killed leaves some, and they go with the folder."""
        return self.path / "tmp"

    def state_dir(self, worker: str) -> Path:
        return self.path / "state" / worker

    @property
    def key_file(self) -> Path:
        """The operator's private key, once :meth:`prepare` made it."""
        return self.path / f"{OPERATOR}.pem"

    def prepare(self, workers: Sequence[WorkerSpec]) -> None:
        """Make the folders, the key pairs of operator and release, and the membership secrets.

        Raises OSError, or :class:`~openrtc_worker.contract.keys.KeyFileError` when there is a key already.
        """
        self.logs.mkdir()
        self.temporary.mkdir()
        for worker in workers:
            self.state_dir(worker.name).mkdir(parents=True)
        for name, folder in ((OPERATOR, self.operator_keys), (RELEASE, self.release_keys)):
            folder.mkdir()
            _, public = generate_operator_key(name, self.path)
            public.rename(folder / public.name)
        master = secrets.token_hex(32)
        _write_secret(self.master_file, master)
        for version in {worker.version for worker in workers}:
            secret = self.secret_file(version)
            secret.parent.mkdir(exist_ok=True)
            _write_secret(secret, derive_version_secret(master, version))

    def write_fleet_file(self, workers: Sequence[WorkerSpec], *, rollout: Rollout) -> Path:
        """Write what the dashboard opens; complete or not there at all."""
        socket = self.platform_socket
        lines = [
            "# An embedded fleet: simulated calls, no media. It is gone when the program that made it ends.",
            f"fleet: {json.dumps(rollout.fleet)}",
            "refresh: 1s",
            f"operator: {{name: {OPERATOR}, key_file: {json.dumps(str(self.key_file))}}}",
            "rollout:",
            f"  from: {json.dumps(rollout.from_version)}",
            f"  to: {json.dumps(rollout.to_version)}",
            f"drain: {{timeout: {rollout.drain_timeout}s}}",
            f"membership: {{masters: [{{file: {json.dumps(str(self.master_file))}}}]}}",
            f"manifest: {{key_file: {json.dumps(str(self.release_key_file))}, publish: put}}",
            *([] if socket is None else [f"rollback: {{local: {json.dumps(str(socket))}}}"]),
            "workers:",
            *(f"  - {{name: {worker.name}, url: {json.dumps(worker.control_url)}}}" for worker in workers),
        ]
        unfinished = self.fleet_file.with_suffix(".part")
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
        unfinished.rename(self.fleet_file)
        return self.fleet_file

    def write_livekit_env(self, *, url: str, api_key: str, api_secret: str) -> Path:
        """Write what a worker of your own needs to join the fleet, as a shell would read it (mode 0600)."""
        path = self.path / "livekit.env"
        _write_secret(path, f"LIVEKIT_URL={url}\nLIVEKIT_API_KEY={api_key}\nLIVEKIT_API_SECRET={api_secret}\n")
        return path


def _write_secret(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
