"""The HTTP probes of one container: startup first, then readiness and liveness, counted as Kubernetes counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.kubernetes.api import Object


class Probes:
    """Asks until it is cancelled.

    Args:
        container: whose probes.
        ip: the pod's address.
        on_ready: told True and False as readiness is decided; a container without a readiness probe is ready once
            it has started.
        on_failed: told when startup or liveness has failed often enough.
    """

    def __init__(
        self,
        container: Object,
        ip: str,
        http: aiohttp.ClientSession,
        *,
        on_ready: Callable[[bool], Awaitable[None]],
        on_failed: Callable[[], Awaitable[None]],
    ) -> None:
        self._container = container
        self._ip = ip
        self._http = http
        self._on_ready = on_ready
        self._on_failed = on_failed

    async def run(self) -> None:
        if (startup := self._container.get("startupProbe")) and not await self._started(startup):
            await self._on_failed()
            return
        jobs = []
        if readiness := self._container.get("readinessProbe"):
            jobs.append(self._readiness(readiness))
        else:
            await self._on_ready(True)
        if liveness := self._container.get("livenessProbe"):
            jobs.append(self._liveness(liveness))
        await asyncio.gather(*jobs)

    async def _started(self, probe: Object) -> bool:
        failures = 0
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while failures < probe.get("failureThreshold", 3):
            if await self._asks(probe):
                return True
            failures += 1
            await asyncio.sleep(probe.get("periodSeconds", 10))
        return False

    async def _readiness(self, probe: Object) -> None:
        good = bad = 0
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while True:
            good, bad = (good + 1, 0) if await self._asks(probe) else (0, bad + 1)
            if good >= probe.get("successThreshold", 1):
                await self._on_ready(True)
            elif bad >= probe.get("failureThreshold", 3):
                await self._on_ready(False)
            await asyncio.sleep(probe.get("periodSeconds", 10))

    async def _liveness(self, probe: Object) -> None:
        bad = 0
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while bad < probe.get("failureThreshold", 3):
            bad = 0 if await self._asks(probe) else bad + 1
            await asyncio.sleep(probe.get("periodSeconds", 10))
        await self._on_failed()

    async def _asks(self, probe: Object) -> bool:
        """One GET; any answer from 200 to 399 is a yes."""
        get = probe["httpGet"]
        url = f"http://{get.get('host', self._ip)}:{self._port(get['port'])}{get.get('path', '/')}"
        timeout = aiohttp.ClientTimeout(total=probe.get("timeoutSeconds", 1))
        try:
            async with self._http.get(url, timeout=timeout, allow_redirects=False) as answer:
                return 200 <= answer.status < 400
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def _port(self, named: int | str) -> int:
        if isinstance(named, int):
            return named
        ports = {port["name"]: port["containerPort"] for port in self._container.get("ports", []) if "name" in port}
        return int(ports[named])
