"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager.

RBAC is on, users have static tokens, every port is a free one. There is no scheduler and no kubelet of containers:
``kubelet.py`` does the work of both. Everything dies with the tests.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import shutil
import ssl
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from openrtc_worker.local.ports import ReservedPorts
from tests.support.leash import leashed
from tests.support.processes import Program, clean_env

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

USERS: Final = {
    "admin": "system:masters",
    "kubelet": "system:masters",
    "alice": "openrtc-operators",
    "bob": "openrtc-operators",
    "viewer": "openrtc-viewers",
    "nobody": "strangers",
}
"""Who there is, and each one's group. Groups have no rights until a test or the example gives them some."""

CONTROLLERS: Final = (
    "deployment-controller",
    "replicaset-controller",
    "garbage-collector-controller",
    "endpointslice-controller",
    "serviceaccount-controller",
    "namespace-controller",
    "disruption-controller",
    "pod-garbage-collector-controller",
)

# Three processes start in 3 s on two idle cores.
START_WITHIN: Final = 90.0


class ControlPlane:
    """One control plane with its node of processes. Blocking: start it from the main thread.

    ``url`` is the API server's address, ``authority`` the file with the certificate to trust.
    """

    def __init__(self, binary: Path, directory: Path) -> None:
        self.binary = binary
        self.url = ""
        self.authority = directory / "certs" / "apiserver.crt"
        self._directory = directory
        self._tokens = {user: secrets.token_hex(16) for user in USERS}
        self._programs: dict[str, Program] = {}
        self._ports: ReservedPorts | None = None

    @property
    def running(self) -> bool:
        return len(self._programs) == 4 and all(program.running for program in self._programs.values())

    @property
    def pids(self) -> dict[str, int]:
        """The process of each part: ``etcd``, ``kube-apiserver``, ``kube-controller-manager``, ``kubelet``."""
        return {name: program.process.pid for name, program in self._programs.items()}

    @property
    def kubelet_events(self) -> Path:
        """What the kubelet did, one JSON object a line."""
        return self._directory / "kubelet.out"

    @property
    def logs(self) -> Path:
        """Folder with what pods wrote: ``NAMESPACE.POD.log``."""
        return self._directory / "pods"

    def token(self, user: str) -> str:
        return self._tokens[user]

    def kubeconfig(self, user: str, *, namespace: str = "default") -> Path:
        """A kubeconfig file of *user* (see :data:`USERS`) whose context names *namespace*."""
        path = self._directory / f"{user}.{namespace}.kubeconfig"
        authority = base64.b64encode(self.authority.read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [
                {"name": "tests", "context": {"cluster": "tests", "user": user, "namespace": namespace}},
            ],
        }
        text = json.dumps(config)
        if not path.exists() or path.read_text() != text:  # another kubectl may be reading it now
            path.touch(mode=0o600)
            path.write_text(text)
        return path

    # -- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all of it and wait until the API server answers and pods can be run."""
        self._directory.mkdir(parents=True, exist_ok=True)
        client_port, peer_port, port = self._ports = ReservedPorts(3)
        etcd = f"http://127.0.0.1:{client_port}"
        self.url = f"https://127.0.0.1:{port}"
        self._start_etcd(etcd, f"http://127.0.0.1:{peer_port}")
        self._wait("etcd", lambda: _answers(f"{etcd}/health"))
        signer = self._write_signer()
        self._start_apiserver(etcd, port, signer)
        self._wait("kube-apiserver", lambda: self._get("/readyz"))
        self._start_controllers(signer)
        self._wait("kube-controller-manager", lambda: self._get("/api/v1/namespaces/default/serviceaccounts/default"))
        self._start_kubelet()
        self._wait("kubelet", lambda: self._programs["kubelet"].events(event="registered"))

    def kill(self) -> None:
        """End all of it. The kubelet first and by SIGTERM: it takes its pods' processes with it."""
        kubelet = self._programs.get("kubelet")
        if kubelet is not None and kubelet.running:
            kubelet.process.terminate()
            deadline = time.monotonic() + 10
            while kubelet.running and time.monotonic() < deadline:
                time.sleep(0.02)
        for program in reversed(self._programs.values()):
            program.kill()
        self._programs.clear()
        if self._ports is not None:
            self._ports.close()
        shutil.rmtree(self._directory / "etcd", ignore_errors=True)  # 60 MB and more; the logs stay

    def _start_etcd(self, url: str, peer: str) -> None:
        self._spawn(
            "etcd",
            "--name=tests",
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=tests={peer}",
            "--unsafe-no-fsync",  # nothing of it outlives the tests
        )

    def _write_signer(self) -> Path:
        """The key that signs service accounts' tokens, and the users' tokens beside it."""
        key = rsa.generate_private_key(65537, 2048)
        signer = self._directory / "service-accounts.key"
        signer.touch(mode=0o600)
        signer.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
        tokens = self._directory / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text("".join(f'{token},{user},{user},"{USERS[user]}"\n' for user, token in self._tokens.items()))
        return signer

    def _start_apiserver(self, etcd: str, port: int, signer: Path) -> None:
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={self.authority.parent}",
            f"--token-auth-file={self._directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--anonymous-auth=false",
            f"--service-account-key-file={signer}",
            f"--service-account-signing-key-file={signer}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
            "--enable-priority-and-fairness=false",
        )

    def _start_controllers(self, signer: Path) -> None:
        config = self.kubeconfig("admin")
        self._spawn(
            "kube-controller-manager",
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--secure-port=0",
            "--leader-elect=false",
            "--use-service-account-credentials=false",
            f"--service-account-private-key-file={signer}",
            f"--controllers={','.join(CONTROLLERS)}",
        )

    def _start_kubelet(self) -> None:
        arguments = {
            "url": self.url,
            "token": self._tokens["kubelet"],
            "authority": str(self.authority),
            "logs": str(self.logs),
        }
        program = [sys.executable, "-m", "tests.kubernetes.kubelet"]
        env = clean_env(KUBELET=json.dumps(arguments))
        self._programs["kubelet"] = Program(leashed(program), name="kubelet", directory=self._directory, env=env)

    def _spawn(self, part: str, *flags: str) -> None:
        self._programs[part] = Program(
            leashed([str(self.binary), part, *flags]), name=part, directory=self._directory, env=clean_env()
        )

    def _wait(self, part: str, ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + START_WITHIN
        program = self._programs[part]
        while True:
            with contextlib.suppress(OSError):  # not yet listening, or its certificate not yet written
                if ready():
                    return
            if not program.running or time.monotonic() > deadline:
                raise AssertionError(f"{part} does not start:\n{program.tail()}")
            time.sleep(0.05)

    def _get(self, path: str) -> bytes:
        context = ssl.create_default_context(cafile=self.authority)
        request = urllib.request.Request(  # noqa: S310 - our own https address
            self.url + path, headers={"Authorization": f"Bearer {self._tokens['admin']}"}
        )
        with urllib.request.urlopen(request, timeout=2, context=context) as answer:  # noqa: S310
            return bytes(answer.read())


def _answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - loopback
        return True
