"""Who says whether this worker may take new calls: manifests from a request, a file, a URL or the boot before."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from openrtc_worker.contract import audit
from openrtc_worker.contract.manifest import ManifestRefused, verify_manifest
from openrtc_worker.control.operator_keys import OperatorKeys
from openrtc_worker.control.refusals import Allowance
from openrtc_worker.control.target import Requester
from openrtc_worker.daemon_thread import in_daemon_thread
from openrtc_worker.manifest_holder import ManifestHolder
from openrtc_worker.manifest_source import KeptManifest, ManifestSource, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from openrtc_worker.contract.manifest import Manifest
    from openrtc_worker.contract.snapshot import ManifestInfo
    from openrtc_worker.control.target import Effect
    from openrtc_worker.fleet_settings import FleetSettings
    from openrtc_worker.trail import Trail

logger = logging.getLogger(__name__)

FIRST_LOOK: Final = 2.0
"""Seconds that a worker's start waits for its file or URL; the first registration then knows the manifest."""

PATIENCE: Final = 15.0
"""Seconds after which a look that has not come back counts as failed."""


KEEP_AGAIN: Final = 10.0
"""Seconds after which a manifest that could not be kept is written again."""


@dataclass(frozen=True, slots=True)
class _Found:
    text: str | None = None
    problem: str | None = None


class Gatekeeper:
    """Holds the newest manifest of one boot, on the worker's loop. :attr:`refusal` may be read from any thread.

    Args:
        settings: whose manifests count, and where they are read.
        version: what this worker runs.
        trail: where manifests that were accepted or refused are written down.
        changed: called on the loop after every manifest that is held from now on, before it is audited.
        monotonic: seconds that do not go back.
    """

    def __init__(
        self,
        settings: FleetSettings,
        *,
        version: str | None,
        trail: Trail,
        changed: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._holder = ManifestHolder(version=version, required=settings.manifest_required)
        self._trail = trail
        self._changed = changed
        self._monotonic = monotonic
        self._keys: OperatorKeys | None = None
        self._kept: KeptManifest | None = None
        self._defer: Callable[[Callable[[], None]], None] = lambda write: write()
        self._token: str | None = None
        self._is_kept = True
        self._keep_again_at = 0.0
        self._source = None if settings.manifest is None else ManifestSource(settings.manifest)
        self._refused: tuple[str, str] | None = None
        self._refusals = Allowance(20, 300, monotonic)  # as for requests of strangers
        self._unaudited = 0
        self._following: asyncio.Task[None] | None = None
        self.source_problem: str | None = None
        """Why the file or URL gives no manifest just now; the newest one that was read holds all the same."""

    # -- opening and closing ------------------------------------------------------------------------------------

    def find_keys(self) -> None:
        """Look where the release keys are. Raises ControlError when there is nothing."""
        if self._settings.release_keys is not None:
            self._keys = OperatorKeys(
                self._settings.release_keys, on_problems=self._unreadable, clock=self._monotonic, whose="release"
            )

    async def open(self, kept: KeptManifest | None, defer: Callable[[Callable[[], None]], None]) -> None:
        """Take what was kept and what the file or URL says now, and look there again and again.

        Args:
            kept: where the newest manifest is kept; None keeps none.
            defer: runs a write where a slow disk hurts nobody.
        """
        if self._keys is None:
            return
        await self._keys.refresh()
        if kept is not None:
            self._recall(kept)
        self._kept, self._defer = kept, defer
        self._keep()  # one may have been put already: the endpoint was there first
        if self._source is not None:
            looked = asyncio.Event()
            self._following = asyncio.create_task(self._follow(self._source, looked), name="openrtc-manifest")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_LOOK):
                    await looked.wait()
        if self._settings.manifest_required and self._holder.newest is None:
            logger.warning("no manifest yet, and manifest_required: this worker refuses calls until one allows them")

    async def close(self) -> None:
        """Look no more; a thread that hangs is left behind."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        if self._keys is not None:
            await self._keys.aclose()

    # -- readings -----------------------------------------------------------------------------------------------

    @property
    def refusal(self) -> str | None:
        """``manifest`` while no new call may be taken, or None."""
        return None if self._holder.allows else "manifest"

    @property
    def info(self) -> ManifestInfo | None:
        """What the snapshot shows; None on a worker that takes no manifests."""
        return None if self._settings.release_keys is None else self._holder.info()

    # -- manifests ----------------------------------------------------------------------------------------------

    async def refresh_keys(self) -> None:
        """Look whether release keys changed, so that :meth:`install` judges by those of now."""
        if self._keys is not None:
            await self._keys.refresh()

    def install(self, token: str, *, by: Requester) -> Effect:
        """Hold the manifest that *token* is: ``started``, or ``already`` when it is held.

        Raises:
            ManifestRefused: it is not taken, and nothing changed.
        """
        if self._keys is None:
            raise ManifestRefused(
                "key",
                "this worker takes no manifests: set release_keys= or OPENRTC_RELEASE_KEYS to a folder with"
                " NAME.pub.pem files",
            )
        manifest = verify_manifest(token, keys=self._keys.known, fleet=self._settings.fleet)
        effect = self._holder.take(manifest)
        if effect == "started":
            self._changed()  # before anything that takes time: every offer until then is a detour for its caller
            self._tell(manifest, by)
            self._token = token.strip()
            self._keep()
        return effect

    def due(self) -> None:
        """Write what could not be written: a disk that was full must not leave an older manifest to the next boot."""
        if not self._is_kept and self._monotonic() >= self._keep_again_at:
            self._keep()

    def _keep(self) -> None:
        kept, token = self._kept, self._token
        if kept is None or token is None:
            return
        self._is_kept, self._keep_again_at = False, self._monotonic() + KEEP_AGAIN

        def write() -> None:
            kept.keep(token)
            self._is_kept = token == self._token

        self._defer(write)

    def _tell(self, manifest: Manifest, by: Requester) -> None:
        allows = self._holder.allows
        logger.info(
            "manifest %d: %s may take calls; this worker %s",
            manifest.seq,
            ", ".join(manifest.active) or "nobody",
            "takes them" if allows else "is gated",
        )
        self._trail.act(
            audit.MANIFEST_ACCEPTED,
            by,
            manifest_seq=manifest.seq,
            active=list(manifest.active),
            allows=allows,
            issued_at=manifest.issued_at,
            issued_by=manifest.issued_by,
        )

    def _recall(self, kept: KeptManifest) -> None:
        """What the boot before was told holds until something newer comes; it was audited when it came."""
        try:
            token = kept.read()
            if token is None or self._keys is None:
                return
            manifest = verify_manifest(token, keys=self._keys.known, fleet=self._settings.fleet)
            self._holder.take(manifest)
        except (SourceError, ManifestRefused) as problem:
            logger.warning("the manifest in state_dir does not count: %s", problem)
            return
        self._token = token.strip()  # an older one that was put before this must not take its place on the disk
        self._changed()
        logger.info(
            "manifest %d of the boot before holds: %s may take calls",
            manifest.seq,
            ", ".join(manifest.active) or "nobody",
        )

    def _unreadable(self, problems: Mapping[str, str]) -> None:
        for name, problem in problems.items():
            self._trail.act(
                audit.MANIFEST_REFUSED,
                Requester(source="file", reason="unreadable_key_file"),
                result="refused",
                file=name,
                detail=problem,
            )

    # -- file or URL --------------------------------------------------------------------------------------------

    async def _follow(self, source: ManifestSource, looked: asyncio.Event) -> None:
        while True:
            try:
                await self._look(source)
            except Exception:  # whatever it is: the next look may find more
                logger.exception("looking for a manifest failed")
            looked.set()
            await asyncio.sleep(source.pause)

    async def _look(self, source: ManifestSource) -> None:
        reading = asyncio.ensure_future(in_daemon_thread(lambda: _read(source), "openrtc-manifest"))
        try:
            done, _ = await asyncio.wait({reading}, timeout=PATIENCE)
            if not done:
                self._note(source, f"no answer within {PATIENCE:g} s")
            found = await reading  # one look at a time, however long it hangs
        except RuntimeError as error:  # no thread to be had
            found = _Found(problem=str(error))
        finally:
            reading.cancel()
        await self.refresh_keys()
        if found.text is None:
            self._note(source, found.problem)
            return
        if found.text == self._token:
            self._note(source, None)
            return
        try:
            self.install(found.text, by=Requester(source=source.kind))
        except ManifestRefused as refused:
            if refused.reason == "seq":  # a newer one was put; what is published here comes after it
                self._note(source, None)
            else:
                self._refuse(source, found.text, refused)
        else:
            self._note(source, None)

    def _refuse(self, source: ManifestSource, text: str, refused: ManifestRefused) -> None:
        self._note(source, f"refused ({refused})")
        if self._refused == (text, refused.reason):
            return
        self._refused = (text, refused.reason)  # once, though it is read again every few seconds
        if not self._refusals.take():  # a page that differs at each look must not push all else out of the audit
            self._unaudited += 1
            return
        unaudited, self._unaudited = self._unaudited, 0
        self._trail.act(
            audit.MANIFEST_REFUSED,
            Requester(source=source.kind, reason="conflict" if refused.reason == "conflict" else "manifest"),
            result="refused",
            detail=str(refused),
            unaudited_before=unaudited,
        )

    def _note(self, source: ManifestSource, problem: str | None) -> None:
        if problem == self.source_problem:
            return
        self.source_problem = problem
        if problem is None:
            logger.info("manifest at %s: read again", source.where)
        else:
            logger.error("manifest at %s: %s; the newest one that is known holds", source.where, problem)


def _read(source: ManifestSource) -> _Found:
    try:
        return _Found(text=source.read())
    except SourceError as error:
        return _Found(problem=str(error))
    except Exception as error:  # a thread that raises would leave the look waiting for ever
        return _Found(problem=f"{type(error).__name__}: {error}")
