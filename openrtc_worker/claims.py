"""The signed claim in every snapshot: this worker belongs, and runs the version that it says."""

from __future__ import annotations

from dataclasses import dataclass, field

from openrtc_worker.contract.membership import sign_membership
from openrtc_worker.contract.snapshot import MembershipClaim


@dataclass(frozen=True, slots=True)
class Claimant:
    """Signs claims of one version with that version's secret."""

    version: str
    secret: str = field(repr=False)

    def claim(self, worker_id: str, now: float) -> MembershipClaim:
        """The claim of *worker_id* at *now* (Unix seconds)."""
        token = sign_membership(version=self.version, worker_id=worker_id, timestamp=now, secret=self.secret)
        return MembershipClaim(version=self.version, worker_id=worker_id, timestamp=now, token=token)
