"""The Kubernetes example that we ship, used as its README says: its own commands, then an overlay of the tests.

The overlay changes what a cluster of containers would have done otherwise: the program instead of the image, the
pod's own address instead of every one of this machine's, and shorter times.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

import openrtc_worker
from tests.support.processes import clean_env

if TYPE_CHECKING:
    from tests.kubernetes.namespace import Namespace
    from tests.support.worker_process import Switchboard

SOURCE: Final = Path(openrtc_worker.__file__).parent / "deploy" / "kubernetes"
SHIPPED_VERSION: Final = "v1.0.0"


class Example:
    """A copy of the example in *folder*, for one namespace."""

    def __init__(self, namespace: Namespace, board: Switchboard, folder: Path, *, min_ready: int = 2) -> None:
        self.folder = folder / "voice"
        shutil.copytree(SOURCE, self.folder)
        self._namespace = namespace
        self._board = board
        self._min_ready = min_ready
        self._programs = folder / "bin"
        self._programs.mkdir()
        kubectl = self._programs / "kubectl"
        kubectl.write_text(f'#!/bin/sh\nexec {namespace.control_plane.binary} kubectl "$@"\n')
        kubectl.chmod(0o755)

    async def prepare(self) -> None:
        """What README says under *Once*."""
        board = self._board.dispatcher
        (self.folder / "livekit.env").write_text(
            f"LIVEKIT_URL={board.url}\nLIVEKIT_API_KEY={board.api_key}\nLIVEKIT_API_SECRET={board.api_secret}\n"
        )
        await self._run(self._block("Once"))

    async def release(self, version: str) -> None:
        """What README says under *Each version*, up to the apply, which is the overlay's."""
        secret, apply = self._blocks("Each version")
        assert apply == "kubectl apply -k .\n"
        await self._run(secret, VERSION=version)
        deployment = self.folder / "deployment.yaml"
        lines = deployment.read_text().splitlines(keepends=True)
        marked = [number for number, line in enumerate(lines) if re.search(r"# release\b", line)]
        assert len(marked) == 3
        for number in marked:
            lines[number] = re.sub(r"\bv\d+\.\d+\.\d+", version, lines[number])
        deployment.write_text("".join(lines))
        await self._run(f"kubectl apply -k {self._overlay()}")

    def write_fleet_file(self, workers: dict[str, str]) -> None:
        """README's fleet file as ``fleet.yaml``, with these workers (URLs by name) and this namespace."""
        readme = (self.folder / "README.md").read_text()
        [shown] = re.findall(r"^```yaml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
        listed = "".join(f'  - {{name: {name}, url: "{url}"}}\n' for name, url in workers.items())
        text, workers_found = re.subn(r"^  - .*\n", listed, shown, flags=re.MULTILINE)
        text, namespaces = re.subn(r"\bnamespace: voice\b", f"namespace: {self._namespace.name}", text)
        assert (workers_found, namespaces) == (1, 1)
        (self.folder / "fleet.yaml").write_text(text)

    @property
    def read_token(self) -> str:
        return (self.folder / "read-token").read_text().strip()

    @property
    def master(self) -> str:
        return (self.folder / "master").read_text().strip()

    async def run(self, command: str) -> str:
        """A command of the one who operates, in the folder with the keys; returns what it prints."""
        return await self._run(command)

    def _overlay(self) -> Path:
        overlay = self.folder.parent / "overlay"
        overlay.mkdir(exist_ok=True)
        container = {
            "name": "worker",
            "command": ["python", "-m", "tests.kubernetes.pod_program"],
            "env": [
                {
                    "name": "OPENRTC_CONTROL_HOST",
                    "value": None,
                    "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
                },
                {"name": "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "value": "0"},
            ],
            # a failed first look costs a period
            "startupProbe": {"periodSeconds": 1},
            "readinessProbe": {"periodSeconds": 1},
        }
        patch = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "voice"},
            "spec": {"minReadySeconds": self._min_ready, "template": {"spec": {"containers": [container]}}},
        }
        (overlay / "tests.yaml").write_text(yaml.safe_dump(patch))
        kustomization = {"resources": ["../voice"], "patches": [{"path": "tests.yaml"}]}
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return overlay

    def _block(self, title: str) -> str:
        [block] = self._blocks(title)
        return block

    def _blocks(self, title: str) -> list[str]:
        """The shell blocks below a heading of README."""
        _, _, rest = (self.folder / "README.md").read_text().partition(f"\n## {title}\n")
        section, _, _ = rest.partition("\n## ")
        return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)

    async def _run(self, script: str, **env: str) -> str:
        path = f"{self._programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        config = str(self._namespace.kubeconfig("admin"))
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euc",
            script,
            cwd=self.folder,
            env=clean_env(PATH=path, KUBECONFIG=config, **env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, f"{script}\n{err.decode()}"
        return out.decode()
