"""A real control plane with real workers as pods. What a test of this folder gets:

``control_plane``
    The session's :class:`~tests.kubernetes.control_plane.ControlPlane`: ``url``, ``authority`` (CA file),
    ``token(user)``, ``kubeconfig(user, namespace=…)``, ``binary``. Users are ``admin``, ``alice`` and ``bob`` (group
    ``openrtc-operators``), ``viewer`` (group ``openrtc-viewers``) and ``nobody``; all but admin have no rights until
    a test grants some.
``namespace``
    A :class:`~tests.kubernetes.namespace.Namespace` of the test's own. ``await kubectl("rollout", "undo", …,
    user="alice")`` is the oracle and returns what it prints (``KubectlError`` has ``code`` and ``stderr``);
    ``apply(*objects)``, ``get(kind, name)``, ``all(kind)``, ``pods()`` give plain dicts;
    ``grant(user, (groups, resources, verbs), …)`` makes a Role; ``kubeconfig(user)`` is a file for a client under
    test; ``events(event="term", pod=…)`` and ``await has(…)`` tell what the kubelet did, ``log(pod)`` what a pod
    wrote. Its end kills its pods at once.
``board``
    An open :class:`~tests.support.worker_process.Switchboard`: the embedded dispatcher. ``await
    board.held("room-1")`` is a live call until ``board.hang_up(call)``; ``board.dispatcher.log`` is the truth.
``voice``
    A :class:`~tests.kubernetes.voice.Voice`: the Deployment ``voice`` of real workers registered at ``board``.
    ``await deploy("v1", replicas=2, grace=60, min_ready=0, **pool_arguments)`` returns its serving
    :class:`~tests.kubernetes.voice.PodWorker` s (``name`` and ``uid`` of the pod, ``url``, ``snapshot()``,
    ``active(n)``, ``state(name)``); ``apply(version, …)`` rolls out and returns at once; ``deployment(version, …)``
    is the object, to change before ``namespace.apply(…)``; ``workers(version)``, ``serving(version, n)``,
    ``rolled_out()``, ``gone(worker)``.

Beside the fixtures: ``eventually(look, what=…)`` in ``namespace.py`` waits for an async look to be true; ``async with
Line(board)`` in ``line.py`` is a steady stream of callers, of whom ``nobody_was_lost()``; ``Example`` in
``example.py`` is the Kubernetes example that we ship, applied as its README says.

Without Go and without the program there is one visible skip; ``OPENRTC_REQUIRE_KUBERNETES=1`` makes it a failure.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.kubernetes.binary import require_control_plane
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.namespace import Namespace
from tests.kubernetes.voice import Voice
from tests.support.real_server import RealServer
from tests.support.worker_process import Switchboard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SERVER = RealServer(
    folder=Path(__file__).parent,
    canary="test_a_real_control_plane_is_at_hand",
    variable="OPENRTC_REQUIRE_KUBERNETES",
    require=require_control_plane,
)

# The longest of these tests takes 25 s of two idle cores.
PATIENCE = 300


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a control plane keep one test of this folder, which says why nothing else runs."""
    for item in SERVER.collected(config, items):
        item.add_marker(pytest.mark.timeout(PATIENCE))


@pytest.fixture(scope="session")
def control_plane_binary() -> Path:
    """The program; skips without one, or fails where ``OPENRTC_REQUIRE_KUBERNETES=1`` is set."""
    return SERVER.binary()


@pytest.fixture(scope="session")
def control_plane(control_plane_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane that the tests share; each has a namespace of its own."""
    plane = ControlPlane(control_plane_binary, tmp_path_factory.mktemp("kubernetes"))
    try:
        plane.start()
        yield plane
    finally:
        plane.kill()


@pytest.fixture
async def namespace(control_plane: ControlPlane) -> AsyncIterator[Namespace]:
    own = Namespace(control_plane, f"test-{secrets.token_hex(4)}")
    await own.open()
    try:
        yield own
    finally:
        await own.close()


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[Switchboard]:
    switchboard = Switchboard(tmp_path)
    await switchboard.open()
    try:
        yield switchboard
    finally:
        await switchboard.close()


@pytest.fixture
async def voice(namespace: Namespace, board: Switchboard) -> AsyncIterator[Voice]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        yield Voice(namespace, board, http)
