"""The newest manifest that a worker holds, and whether it may take calls under it. Sans-I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openrtc_worker.contract.manifest import Manifest, ManifestRefused
from openrtc_worker.contract.snapshot import ManifestInfo

if TYPE_CHECKING:
    from openrtc_worker.control.target import Effect


class ManifestHolder:
    """Takes manifests whose signature and fleet were verified; the highest ``seq`` holds.

    Args:
        version: what this worker runs; None is an untagged worker, which no manifest allows.
        required: without a manifest no calls.
    """

    def __init__(self, *, version: str | None, required: bool) -> None:
        self._version = version
        self._required = required
        self.newest: Manifest | None = None

    def take(self, manifest: Manifest) -> Effect:
        """Hold *manifest* from now on: ``started``, or ``already`` when it is the one that is held.

        Raises:
            ManifestRefused: ``seq``: a newer one is held. ``conflict``: the held one has the same ``seq`` and names
                other versions.
        """
        held = self.newest
        if held is not None and manifest.seq < held.seq:
            raise ManifestRefused("seq", f"manifest {manifest.seq} is older than {held.seq}, which holds here")
        if held is not None and manifest.seq == held.seq:
            if manifest.same_content(held):
                return "already"
            raise ManifestRefused(
                "conflict",
                f"manifest {held.seq} names {_named(held)} here, this one {_named(manifest)}: sign a higher seq",
            )
        self.newest = manifest
        return "started"

    @property
    def allows(self) -> bool:
        """Whether this worker may take new calls."""
        return not self._required if self.newest is None else self.newest.allows(self._version)

    def info(self) -> ManifestInfo:
        """What the snapshot shows; without a manifest ``allows`` alone is set."""
        if self.newest is None:
            return ManifestInfo(allows=self.allows)
        return ManifestInfo(seq=self.newest.seq, active=list(self.newest.active), allows=self.allows)


def _named(manifest: Manifest) -> str:
    return ", ".join(sorted(manifest.active)) or "no version"
