"""A Deployment as a platform: a rollback is what ``kubectl rollout undo`` does, made safe."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from openrtc_tui.operations.platforms.kubernetes import patch
from openrtc_tui.operations.platforms.kubernetes.config import find_cluster
from openrtc_tui.operations.platforms.kubernetes.failures import FORBIDDEN, GONE, RefusedError, UnansweredError
from openrtc_tui.operations.platforms.kubernetes.keeper import PodKeeper, keep
from openrtc_tui.operations.platforms.kubernetes.pods import peak
from openrtc_tui.operations.platforms.kubernetes.preflight import Facts, objections
from openrtc_tui.operations.platforms.kubernetes.rights import RIGHTS
from openrtc_tui.operations.platforms.kubernetes.versions import choose, known_versions, owned, version_of
from openrtc_tui.operations.platforms.kubernetes.watching import Sight, watch_once
from openrtc_tui.operations.platforms.platform import Asked, Description, PlatformError
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from openrtc_tui.fleet_specs import KubernetesSpec
    from openrtc_tui.operations.plans.plan import Objection
    from openrtc_tui.operations.platforms.kubernetes.client import KubernetesClient
    from openrtc_tui.operations.platforms.kubernetes.config import Cluster
    from openrtc_tui.operations.platforms.kubernetes.objects import Deployment, Pod, Quota, ReplicaSet
    from openrtc_tui.operations.platforms.kubernetes.rights import Right
    from openrtc_tui.operations.platforms.kubernetes.versions import Choice
    from openrtc_tui.operations.platforms.platform import Record
    from openrtc_tui.state.observation import PodSeen
    from openrtc_tui.state.view import FleetView

DRAIN_TIMEOUT: Final = 3600.0
CUT_GRACE: Final = 30.0
DRAIN_LINGER: Final = 3.0
"""A worker's own defaults, for the most that its drain takes."""

EXTRA: Final = "the kubernetes platform needs its extra: pip install 'openrtc-tui[kubernetes]'"
_TRIES: Final = 3
_PAUSES: Final = (1.0, 2.0, 5.0, 10.0)
"""Seconds between two tries to watch; the last one for ever."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """One reading of the Deployment and its ReplicaSets."""

    deployment: Deployment
    replica_sets: tuple[ReplicaSet, ...]

    def choice(self, version: str) -> Choice | None:
        return choose(version, self.replica_sets)


class KubernetesPlatform:
    """Brings versions up through one Deployment.

    Args:
        spec: which Deployment, and where its cluster is described.
        drain_timeout: what a drain may take, where the fleet file says it; else the worker's default.
        cluster: instead of the one that kubectl's configuration names.
        environ: for that configuration.
        sleep: waits between two tries.
        on_trouble: hears in one line why pods cannot be watched now, and None once they can again.
    """

    name = "kubernetes"
    ends_other = True

    def __init__(
        self,
        spec: KubernetesSpec,
        *,
        drain_timeout: float | None = None,
        cluster: Cluster | None = None,
        environ: Mapping[str, str] = os.environ,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_trouble: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._spec = spec
        self._drain_seconds = (DRAIN_TIMEOUT if drain_timeout is None else drain_timeout) + CUT_GRACE + DRAIN_LINGER
        self._cluster = cluster
        self._environ = environ
        self._sleep = sleep
        self._on_trouble = on_trouble
        self._opened: KubernetesClient | None = None

    async def close(self) -> None:
        """Close the connections; the next request opens them again."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    # -- what there is ------------------------------------------------------------------------------------------

    async def describe(self, version: str) -> Description:
        looked = await self._look()
        deployment = looked.deployment
        pods = await self._pods(deployment)
        choice = looked.choice(version)
        return Description(
            current=version_of(deployment.template),
            known=known_versions(looked.replica_sets),
            peak=None if pods is None or choice is None else peak(deployment, choice.replica_set, pods),
            detail=_detail(version, deployment, choice),
            token="" if choice is None else patch.looked_at(deployment, choice.replica_set).token(),
        )

    async def preflight(self, version: str, description: Description) -> tuple[Objection, ...]:
        looked = await self._look()
        deployment, choice = looked.deployment, looked.choice(version)
        missing = await self._missing_rights()
        return objections(
            Facts(
                version=version,
                deployment=deployment,
                replica_sets=looked.replica_sets,
                choice=choice,
                drain_seconds=self._drain_seconds,
                pods=await self._pods(deployment),
                quotas=await self._quotas(),
                missing=missing,
                changes=patch.changes_since(_read(description.token), deployment) if description.token else (),
                refusal=None if choice is None else await self._rehearse(deployment, choice.replica_set),
            )
        )

    async def _rehearse(self, deployment: Deployment, good: ReplicaSet) -> PlatformError | None:
        """What the server says to a dry run, which goes through rights, validation and the patch's tests."""
        try:
            client = self._client()
            await client.patch_deployment(self._spec.deployment, patch.rollback_patch(deployment, good), dry_run=True)
        except PlatformError as error:
            return error
        return None

    # -- bringing a version up ----------------------------------------------------------------------------------

    async def roll_back(self, version: str, *, token: str, op_id: str, reason: str | None) -> Asked:
        asked = _read(token)
        lost: PlatformError | None = None
        for attempt in range(_TRIES):
            if attempt:
                await self._sleep(_PAUSES[attempt - 1])
            try:
                looked = await self._look()
            except PlatformError as error:
                if lost is None and isinstance(error, RefusedError):
                    raise
                lost = lost or error  # what came of an earlier try stays open
                continue
            deployment = looked.deployment
            good = self._confirmed(version, asked, looked)
            if patch.is_done(deployment, good):
                return self._done(version, good, changed=patch.was_done(deployment, op_id))
            self._refuse_changes(version, asked, deployment, op_id)
            try:
                operations = patch.rollback_patch(deployment, good, op_id=op_id, reason=reason)
                await self._client().patch_deployment(self._spec.deployment, operations)
            except RefusedError as refusal:
                if not refusal.test_failed:
                    raise
                lost = lost or refusal  # somebody was quicker: read again and say what changed
            except UnansweredError as error:
                lost = error  # it may have been done: look before asking again
            else:
                return self._done(version, good, changed=True)
        raise lost or PlatformError(f"{self._label} could not be read")

    def _confirmed(self, version: str, asked: patch.Looked, looked: _Looked) -> ReplicaSet:
        """The very ReplicaSet that was confirmed: a revision number may mean another one by now."""
        if looked.deployment.metadata.uid != asked.deployment:
            raise PlatformError(f"{self._label} was deleted and made anew since you looked; nothing was done")
        for item in looked.replica_sets:
            if item.metadata.uid == asked.replica_set and version_of(item.template) == version:
                return item
        raise PlatformError(f"the ReplicaSet of {version} that you confirmed is gone; nothing was done, look again")

    def _refuse_changes(self, version: str, asked: patch.Looked, deployment: Deployment, op_id: str) -> None:
        changes = patch.changes_since(asked, deployment)
        if patch.was_done(deployment, op_id):
            what = "; ".join(changes) or "its template was changed back"
            raise PlatformError(
                f"{self._label} was rolled back to {version}, and changed since: {what}", happened=True
            )
        if deployment.spec.paused and not changes:
            raise PlatformError(f"{self._label} is paused: it would take the change and start nothing")
        if changes:
            raise PlatformError(
                f"{self._label} is not as you confirmed it: {'; '.join(changes)}. Nothing was done; look again"
            )

    def _done(self, version: str, good: ReplicaSet, *, changed: bool) -> Asked:
        name = printable(good.metadata.name)
        what = f"wants {version} now (ReplicaSet {name})" if changed else f"wanted {version} already ({name})"
        return Asked(detail=f"{self._label} {what}", changed=changed)

    # -- pods -----------------------------------------------------------------------------------------------------

    async def watch(self) -> AsyncGenerator[tuple[PodSeen, ...], None]:
        """The Deployment's pods, again at each change, for ever.

        Raises:
            PlatformError: the extra or the configuration is missing, or there is no right to it.
        """
        sight = Sight()
        failures = 0
        behind = False
        while True:
            try:
                selector = (await self._deployment()).spec.selector.query()
                async with contextlib.aclosing(watch_once(self._client(), selector, sight)) as changes:
                    async for pods in changes:
                        behind = False
                        if failures:
                            failures = 0
                            self._on_trouble(None)
                        yield pods
            except RefusedError as refusal:
                if refusal.for_good:
                    raise
                if refusal.code == GONE and not behind:
                    behind = True
                    continue  # too far behind: list again and compare
                trouble: PlatformError = refusal
            except UnansweredError as error:
                trouble = error
            failures += 1
            self._on_trouble(str(trouble))
            await self._sleep(_PAUSES[min(failures, len(_PAUSES)) - 1])

    async def keeper(self, record: Record) -> PodKeeper:
        """Who tends the pods while a plan runs. ``record`` journals each deed before it is done."""
        selector = (await self._deployment()).spec.selector.query()
        return PodKeeper(self._client(), selector, record)

    async def keep_pods(self, view: Callable[[], FleetView], record: Record, say: Callable[[str], None]) -> None:
        """Until cancelled, which is when the plan ends: see :func:`~.keeper.keep`."""
        try:
            keeper = await self.keeper(record)
        except PlatformError as error:
            say(f"pods are not tended: {error}")
            return
        await keep(keeper, view, say, self._sleep)

    async def let_pods_go(self, record: Record) -> None:
        """Take the deletion costs away that were written under our name."""
        await (await self.keeper(record)).let_go()

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def _label(self) -> str:
        return f"the Deployment {self._spec.namespace}/{self._spec.deployment}"

    def _client(self) -> KubernetesClient:
        if self._opened is None:
            try:
                from openrtc_tui.operations.platforms.kubernetes.client import KubernetesClient
            except ImportError as error:
                raise PlatformError(EXTRA) from error
            cluster = self._cluster or find_cluster(
                kubeconfig=self._spec.kubeconfig, context=self._spec.context, environ=self._environ
            )
            self._opened = KubernetesClient(cluster, self._spec.namespace)
        return self._opened

    async def _deployment(self) -> Deployment:
        return await self._client().deployment(self._spec.deployment)

    async def _look(self) -> _Looked:
        deployment = await self._deployment()
        replica_sets = await self._client().replica_sets(deployment.spec.selector.query())
        return _Looked(deployment, owned(deployment, replica_sets))

    async def _pods(self, deployment: Deployment) -> tuple[Pod, ...] | None:
        """Its pods, or None without the right to see them: nothing that forbids a rollback rests on them."""
        try:
            return await self._client().pods(deployment.spec.selector.query())
        except RefusedError as refusal:
            if refusal.code != FORBIDDEN:
                raise
            return None

    async def _quotas(self) -> tuple[Quota, ...]:
        """Those of the namespace, as far as they may be seen; few may."""
        try:
            return await self._client().quotas()
        except RefusedError:
            return ()

    async def _missing_rights(self) -> tuple[Right, ...]:
        client = self._client()
        allowed = await asyncio.gather(*(client.may(right) for right in RIGHTS))
        return tuple(right for right, has in zip(RIGHTS, allowed, strict=True) if not has)


def _read(token: str) -> patch.Looked:
    try:
        return patch.Looked.read(token)
    except msgspec.MsgspecError as error:
        raise PlatformError("the plan says nothing of the Deployment that was looked at: make it anew") from error


def _detail(version: str, deployment: Deployment, choice: Choice | None) -> tuple[str, ...]:
    meta = deployment.metadata
    label = f"{printable(meta.namespace)}/{printable(meta.name)}"
    lines = [f"Deployment {label}: {deployment.spec.replicas} replicas, revision {meta.revision}"]
    if choice is not None:
        good = choice.replica_set.metadata
        lines.append(f"{version} is ReplicaSet {printable(good.name)}, revision {good.revision}")
    if deployment.spec.min_ready_seconds:
        seconds = deployment.spec.min_ready_seconds
        lines.append(f"pods of both versions run side by side for {seconds}s (minReadySeconds), then the other ends")
    return tuple(lines)
