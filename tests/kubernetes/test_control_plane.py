"""What the other tests of this folder rest on: the control plane, pods that are real workers, and their ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.namespace import KubectlError, Namespace, eventually

if TYPE_CHECKING:
    from tests.kubernetes.control_plane import ControlPlane
    from tests.kubernetes.voice import Voice
    from tests.support.worker_process import Switchboard


def test_a_real_control_plane_is_at_hand(control_plane: ControlPlane) -> None:
    """The one test that stays when there is none: its skip names the command."""
    assert control_plane.running


async def test_a_rollout_and_its_undo_start_and_end_real_workers(voice: Voice) -> None:
    """kubectl and the workers themselves agree on what runs."""
    namespace = voice.namespace
    first = await voice.deploy("v1", replicas=1)
    await voice.deploy("v2", replicas=1)
    await voice.rolled_out()
    await voice.gone(first[0])
    await namespace.kubectl("rollout", "undo", "deployment/voice")
    [again] = await voice.serving("v1", 1)
    assert again.uid != first[0].uid
    assert (await again.snapshot()).deployment_version == "v1"
    await namespace.kubectl("rollout", "restart", "deployment/voice")
    await voice.gone(again)
    await voice.serving("v1", 1)


async def test_a_worker_knows_the_pod_it_is(voice: Voice) -> None:
    [worker] = await voice.deploy("v1", replicas=1, grace=77)
    shown = await worker.snapshot()
    assert shown.platform is not None
    assert shown.worker_id == worker.name
    assert (shown.platform.kind, shown.platform.pod, shown.platform.uid) == ("kubernetes", worker.name, worker.uid)
    assert (shown.platform.namespace, shown.platform.grace_seconds) == (voice.namespace.name, 77)


async def test_a_pod_is_killed_at_the_end_of_its_grace(voice: Voice, board: Switchboard) -> None:
    """With a call live, SIGTERM ends nothing; SIGKILL falls when the grace is over, and nobody hears a word."""
    [worker] = await voice.deploy("v1", replicas=1, grace=3)
    call = await board.held("room-1")
    await voice.namespace.kubectl("delete", "pod", worker.name, "--wait=false")
    await worker.state("draining")
    await voice.gone(worker)
    [term] = voice.namespace.events(event="term", uid=worker.uid)
    [kill] = voice.namespace.events(event="kill", uid=worker.uid)
    assert kill["at"] - term["at"] >= 2.5
    assert [each["code"] for each in voice.namespace.events(event="exited", uid=worker.uid)] == [-9]
    assert board.dispatcher.log.call(call.job_id).open, "the caller was told"


async def test_users_have_the_rights_that_they_are_given_and_no_others(namespace: Namespace) -> None:
    with pytest.raises(KubectlError, match=r'deployments.apps is forbidden: User "alice"'):
        await namespace.kubectl("get", "deployments", user="alice")
    await namespace.grant("alice", (["apps"], ["deployments"], ["get", "list"]))

    async def sees() -> bool:
        can = await namespace.kubectl("auth", "can-i", "--list", user="alice")
        return "deployments.apps" in can

    await eventually(sees, what="the new role")
    assert json.loads(await namespace.kubectl("get", "deployments", "-o", "json", user="alice"))["items"] == []
    with pytest.raises(KubectlError, match="forbidden"):
        await namespace.kubectl("get", "pods", user="alice")
