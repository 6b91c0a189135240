"""The files of one embedded fleet: keys, the fleet file, logs; all under one directory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openrtc_worker.contract.keys import generate_operator_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from openrtc_worker.local.platform import WorkerSpec

OPERATOR = "demo"


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
        """Make the folders and the operator's key pair.

        Raises OSError, or :class:`~openrtc_worker.contract.keys.KeyFileError` when there is a key already.
        """
        self.operator_keys.mkdir()
        self.logs.mkdir()
        self.temporary.mkdir()
        for worker in workers:
            self.state_dir(worker.name).mkdir(parents=True)
        _, public = generate_operator_key(OPERATOR, self.path)
        public.rename(self.operator_keys / public.name)

    def write_fleet_file(self, workers: Sequence[WorkerSpec], *, rollout: Rollout) -> Path:
        """Write what the dashboard opens; complete or not there at all."""
        lines = [
            "# An embedded fleet: simulated calls, no media. It is gone when the program that made it ends.",
            f"fleet: {json.dumps(rollout.fleet)}",
            "refresh: 1s",
            f"operator: {{name: {OPERATOR}, key_file: {json.dumps(str(self.key_file))}}}",
            "rollout:",
            f"  from: {json.dumps(rollout.from_version)}",
            f"  to: {json.dumps(rollout.to_version)}",
            f"drain: {{timeout: {rollout.drain_timeout}s}}",
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
        text = f"LIVEKIT_URL={url}\nLIVEKIT_API_KEY={api_key}\nLIVEKIT_API_SECRET={api_secret}\n"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        return path
