"""Somebody who releases versions: a key whose manifests workers obey, and the next ``seq``."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from openrtc_worker.contract.keys import generate_operator_key, load_private_key
from openrtc_worker.contract.manifest import Manifest, sign_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.worker_process import Operator, WorkerProcess

FLEET = "tests"


class Release:
    """A release key, of which workers get the public half as ``release_keys``."""

    def __init__(self, folder: Path, name: str = "release") -> None:
        folder.mkdir(exist_ok=True)
        private, _ = generate_operator_key(name, folder)
        self.keys = str(folder)
        self.seq = 0
        self._name = name
        self._key = load_private_key(private)

    def sign(self, *active: str, **changed: Any) -> str:
        """The next manifest, that lets *active* take calls; *changed* says otherwise what is wrong with it."""
        self.seq = changed.get("seq", self.seq + 1)
        fields = {"fleet": FLEET, "seq": self.seq, "active": active, "issued_at": time.time(), "issued_by": "alice"}
        return sign_manifest(Manifest(**{**fields, **changed}), private_key=self._key, kid=self._name)


async def put_manifest(operator: Operator, workers: Iterable[WorkerProcess], token: str) -> None:
    """Every worker holds the manifest when this returns."""
    answers = await asyncio.gather(*(operator.asks(worker, "manifest", manifest=token) for worker in workers))
    assert [(status, body.get("effect")) for status, body in answers] == [(202, "started")] * len(answers), answers
