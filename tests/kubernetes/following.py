"""A dashboard's eye on the pods of a test: everything that the platform's watch told, and what it told last."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from tests.kubernetes.namespace import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from openrtc_tui.operations.platforms.kubernetes import KubernetesPlatform
    from openrtc_tui.state.observation import PodSeen


class Following:
    """Follows the watch of *platform* in a task, and closes both at its end."""

    def __init__(self, platform: KubernetesPlatform) -> None:
        self._platform = platform
        self.told: list[tuple[PodSeen, ...]] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow(self._platform.watch()))
        await self.shows(lambda _: True, what="a first list")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._platform.close()

    async def _follow(self, watch: AsyncGenerator[tuple[PodSeen, ...], None]) -> None:
        async with contextlib.aclosing(watch):
            async for pods in watch:
                self.told.append(pods)

    async def shows(
        self, condition: Callable[[tuple[PodSeen, ...]], object], *, what: str, within: float = 30.0
    ) -> tuple[PodSeen, ...]:
        """Wait until the newest list fulfils *condition*."""

        async def look() -> tuple[PodSeen, ...] | None:
            if self._task.done():
                self._task.result()
            return self.told[-1] if self.told and condition(self.told[-1]) else None

        found = await eventually(lambda: _wrapped(look), within=within, what=lambda: f"{what}; {self.told[-1:]}")
        pods: tuple[PodSeen, ...] = found[0]
        return pods

    async def gone(self, name: str) -> PodSeen:
        """Wait until the pod was told to be gone; that stands in one list only."""

        async def look() -> list[PodSeen]:
            return [pod for pods in self.told for pod in pods if pod.name == name and pod.gone]

        found: list[PodSeen] = await eventually(look, what=f"the end of {name}")
        return found[0]


async def _wrapped(look: Callable[[], object]) -> tuple[object] | None:
    """An empty list of pods counts as an answer."""
    found = await look()  # type: ignore[misc]
    return None if found is None else (found,)
