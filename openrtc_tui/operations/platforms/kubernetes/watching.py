"""Keeps sight of a Deployment's pods: list, watch, list again whenever a watch may have missed something."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from openrtc_tui.operations.platforms.kubernetes.pods import pod_seen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from openrtc_tui.operations.platforms.kubernetes.client import KubernetesClient
    from openrtc_tui.operations.platforms.kubernetes.objects import Pod
    from openrtc_tui.state.observation import PodSeen

BURST: Final = 0.1
"""Seconds that changes are gathered for: a rollout changes each pod half a dozen times, and hundreds at once."""


class Sight:
    """The pods in sight, folded from lists and changes. Pure."""

    def __init__(self) -> None:
        self._pods: dict[str, PodSeen] = {}
        self._gone: dict[str, PodSeen] = {}

    def listed(self, pods: Iterable[Pod]) -> None:
        """These are all: what is not among them is gone, and nobody saw how."""
        now = {seen.uid: seen for seen in map(pod_seen, pods)}
        for uid in self._pods.keys() - now.keys():
            self._gone[uid] = _gone(self._pods[uid])
        self._pods = now

    def changed(self, kind: str, pod: Pod) -> None:
        seen = pod_seen(pod, gone=kind == "DELETED")
        if seen.gone:
            self._pods.pop(seen.uid, None)
            self._gone[seen.uid] = seen
        else:
            self._pods[seen.uid] = seen

    def take(self) -> tuple[PodSeen, ...]:
        """All in sight, and once each that went since the last time."""
        pods = (*self._pods.values(), *self._gone.values())
        self._gone = {}
        return pods


def _gone(seen: PodSeen) -> PodSeen:
    return replace(seen, gone=True)


async def watch_once(
    client: KubernetesClient, selector: str, sight: Sight
) -> AsyncGenerator[tuple[PodSeen, ...], None]:
    """List, then follow the changes until that fails. Raises what the client raises."""
    pods, since = await client.pods_at(selector)
    sight.listed(pods)
    last = sight.take()
    yield last
    async with contextlib.aclosing(_bursts(client.watch_pods(selector, since))) as bursts:
        async for burst in bursts:
            for kind, pod in burst:
                sight.changed(kind, pod)
            shown = sight.take()
            if shown != last:
                last = shown
                yield shown


async def _bursts(events: AsyncGenerator[tuple[str, Pod], None]) -> AsyncGenerator[list[tuple[str, Pod]], None]:
    """*events*, those of a moment together. One read is always under way, so that none is lost to a cancellation."""
    reading = asyncio.ensure_future(anext(events))
    try:
        while True:
            burst = [await reading]
            until = asyncio.get_running_loop().time() + BURST
            reading = asyncio.ensure_future(anext(events))
            while (left := until - asyncio.get_running_loop().time()) > 0:
                done, _ = await asyncio.wait({reading}, timeout=left)
                if not done or reading.exception() is not None:
                    break  # an error is told by the next turn, after what came before it
                burst.append(reading.result())
                reading = asyncio.ensure_future(anext(events))
            yield burst
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):  # told already, or nobody asks any more
            await reading
        await events.aclose()
