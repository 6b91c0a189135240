"""Who belongs: what the signed claims of a boot are worth, judged by when they arrive.

A token proves that its signer holds the secret of a version, not that whoever shows it signed it. So a claim must
also live: it names the worker that shows it, is made anew while time passes, and never goes back.

What this cannot see: somebody who passes on, live, the answers of a worker that the fleet file does not name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from openrtc_tui.durations import duration

if TYPE_CHECKING:
    from openrtc_worker.contract.snapshot import MembershipClaim, RuntimeSnapshot

FOREIGN: Final = "foreign"
WRONG_CLOCK: Final = "wrong_clock"

CLAIM_LIFE: Final = 90.0
"""Seconds that a claim holds; a worker that has nothing to tell sends a new one every 60 s."""

CLOCKS_APART: Final = 30.0
"""Seconds between a worker's clock and ours from which on it takes no signed request and its claims prove nothing."""

_CLOCK_STEP: Final = 2.0
"""Seconds by which a worker's clock may be set back without being taken for a replay."""

_DRIFT: Final = 1e-3
"""Seconds a second that two clocks may drift apart; real ones stay far below."""


class Verifier(Protocol):
    """Knows the secret of every version."""

    def is_signed(self, *, token: str, version: str, worker_id: str, timestamp: float) -> bool:
        """Whether the claim is signed with the secret of its version, whenever that was."""
        ...


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a worker is not counted on: ``code`` is a finding's."""

    code: str
    text: str


class Membership:
    """The claims of one boot. Times are ours, in seconds, unless said otherwise."""

    __slots__ = ("_claim", "_lie", "_offset", "_offset_at", "_shown", "lapses_at", "newest")

    def __init__(self) -> None:
        self._claim: MembershipClaim | None = None
        self._shown = ""
        """What is wrong with the last claim whatever the time is; empty when nothing is."""
        self._lie = ""
        """What is wrong with the token that the boot showed last, so that the same one is not checked twice."""
        self._offset: float | None = None
        """What to add to the worker's clock to get ours."""
        self._offset_at = 0.0
        self.newest: float | None = None
        """When the newest good claim was made, by the worker's clock."""
        self.lapses_at = float("inf")
        """When that claim is too old to count."""

    def take(
        self, snapshot: RuntimeSnapshot, version: str | None, verifier: Verifier, now: float, *, floor: float | None
    ) -> None:
        """A further report.

        Args:
            snapshot: the report.
            version: the version that the boot said it runs when it was heard first.
            verifier: knows the secrets.
            now: when it arrived.
            floor: until when, by the worker's clock, its identity was claimed before this boot was heard: the first
                claim of a boot is newer.
        """
        claim = snapshot.membership
        if claim is None or not claim.token:
            self._claim, self._shown = None, "shows no membership"
        elif not claim.version == snapshot.deployment_version == version:
            self._claim, self._shown = None, f"its membership is for {claim.version or 'no version'}"
        elif claim.worker_id != snapshot.worker_id:
            self._claim, self._shown = None, "its membership is of another worker"
        else:
            if claim != self._claim:
                self._claim, self._lie = claim, self._check(claim, verifier, now, floor)
            self._shown = self._lie

    def _check(self, claim: MembershipClaim, verifier: Verifier, now: float, floor: float | None) -> str:
        made_at = claim.timestamp
        if not verifier.is_signed(
            token=claim.token, version=claim.version, worker_id=claim.worker_id, timestamp=made_at
        ):
            return f"its membership is not signed for {claim.version}"
        if (
            (made_at < self.newest - _CLOCK_STEP)
            if self.newest is not None
            else (floor is not None and made_at <= floor)
        ):
            return "its membership went back in time: a token that was shown before, or a clock that was set back"
        self.newest = made_at if self.newest is None else max(made_at, self.newest)
        offset = now - made_at
        if self._offset is not None:
            offset = min(offset, self._offset + _DRIFT * max(0.0, now - self._offset_at))
        self._offset, self._offset_at = offset, now
        self.lapses_at = self.newest + offset + CLAIM_LIFE
        return ""

    @property
    def is_good(self) -> bool:
        """Whether its last claim is signed, its own and newer than those before; how old it is is another matter."""
        return self._claim is not None and not self._shown

    def misfit(self, heard_at: float) -> Misfit | None:
        """What keeps it from being counted on, as it was when it was heard last; None when nothing does."""
        if self._shown:
            return Misfit(FOREIGN, self._shown)
        if heard_at > self.lapses_at:
            return Misfit(FOREIGN, "shows an old membership token again and again")
        apart = abs(self._offset or 0.0)
        if apart > CLOCKS_APART:
            text = f"its clock and ours are {duration(apart)} apart: its membership proves nothing, set them right"
            return Misfit(WRONG_CLOCK, text)
        return None


class Identities:
    """Until when each worker id was claimed, by its worker's clock; one id for a target, the last one shown there.

    A claim that was made before is none of a later boot, nor of another target: somebody has read it.
    """

    def __init__(self) -> None:
        self._newest: dict[str, float] = {}
        self._by_key: dict[str, str] = {}
        self._key_of: dict[str, str] = {}

    def newest(self, worker_id: str) -> float | None:
        """When the newest claim of this id was made; None where it is not known."""
        return self._newest.get(worker_id)

    def hold(self, worker_id: str, key: str, newest: float) -> None:
        """The target *key* showed a good claim of it, made at *newest*."""
        if self._by_key.get(key) != worker_id:
            self.release(key)
            former = self._key_of.get(worker_id)
            if former is not None:
                del self._by_key[former]
            self._by_key[key], self._key_of[worker_id] = worker_id, key
        self._newest[worker_id] = max(newest, self._newest.get(worker_id, newest))

    def release(self, key: str) -> None:
        """The target *key* shows none any more."""
        worker_id = self._by_key.pop(key, None)
        if worker_id is not None:
            del self._newest[worker_id], self._key_of[worker_id]
