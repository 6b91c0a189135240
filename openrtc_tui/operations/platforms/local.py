"""The embedded fleet as a platform: it starts the workers of a version again where they ran before."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.operations.plans.plan import Objection
from openrtc_tui.operations.platforms.platform import Asked, Description, PlatformError, nothing_to_watch
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from openrtc_tui.state.observation import PodSeen

_DEADLINE: Final = 15.0
_MAX_LINE: Final = 64 << 10


class LocalPlatform:
    """Asks the embedded fleet at its *socket* (``openrtc_worker.local.platform_door`` answers there)."""

    name = "local"
    ends_other = False

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def describe(self, version: str) -> Description:  # noqa: ARG002 - it describes all there is
        """The versions of the embedded fleet. Raises PlatformError when it does not answer."""
        versions = await self._versions()
        return Description(
            known=tuple(versions),
            detail=tuple(
                f"{version}: {counts.get('running', 0)} of {counts.get('workers', 0)} workers run"
                for version, counts in versions.items()
            ),
        )

    async def preflight(self, version: str, description: Description) -> tuple[Objection, ...]:
        """Blocks for a version that the embedded fleet does not have."""
        if version in description.known:
            return ()
        known = ", ".join(description.known)
        return (
            Objection(code="unknown_version", text=f"the embedded fleet has no {version}, only {known}", blocks=True),
        )

    async def roll_back(self, version: str, *, token: str, op_id: str, reason: str | None) -> Asked:  # noqa: ARG002
        """Start what of *version* does not run, or drains; the fleet remembers *op_id*. Raises PlatformError."""
        answer = await self._ask({"do": "start", "version": version, "op_id": op_id}, acts=True)
        started = [printable(str(name), 64) for name in answer.get("started", [])]
        again = len(answer.get("again", []))
        said = [f"{', '.join(started)} being started"] if started else []
        if again:
            whose = "are started again when their" if again > 1 else "is started again when its"
            said.append(f"{again} {whose} drain has ended")
        if not said:
            return Asked(detail=f"every worker of {version} runs already", changed=False)
        return Asked(detail="; ".join(said))

    def watch(self) -> AsyncIterator[tuple[PodSeen, ...]]:
        """Nothing: the embedded fleet ends no worker with calls."""
        return nothing_to_watch()

    async def _versions(self) -> dict[str, dict[str, int]]:
        versions = (await self._ask({"do": "describe"})).get("versions")
        if not isinstance(versions, dict):
            raise PlatformError("the embedded fleet's answer makes no sense")
        return {printable(name, 128): counts for name, counts in versions.items() if isinstance(counts, dict)}

    async def _ask(self, question: dict[str, str], *, acts: bool = False) -> dict[str, Any]:
        asked = False
        try:
            async with asyncio.timeout(_DEADLINE):
                reader, writer = await asyncio.open_unix_connection(self._socket, limit=_MAX_LINE)
                try:
                    writer.write(json.dumps(question).encode() + b"\n")
                    asked = True
                    answer = json.loads(await reader.readline())
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError) as error:
            happened = None if asked and acts else False
            why = printable(str(error)) or "no answer"
            raise PlatformError(f"the embedded fleet cannot be asked: {why}", happened=happened) from None
        if not isinstance(answer, dict):
            raise PlatformError("the embedded fleet's answer makes no sense", happened=None if acts else False)
        if "error" in answer:
            raise PlatformError(printable(str(answer["error"])))
        return answer
