"""The roll-up: one line per version, kept up to date worker by worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from openrtc_tui.state import sane
from openrtc_tui.state.trend import Trend
from openrtc_tui.state.view import VersionLine, WorkerState

if TYPE_CHECKING:
    from openrtc_tui.state.rollout import Pair
    from openrtc_tui.state.worker import Worker

_ORDER = tuple(WorkerState)


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker adds to the line of its version. ``room`` None: it does not tell how many calls it takes."""

    version: str | None
    state: WorkerState
    calls: int
    room: int | None
    draining: bool
    deadline: float | None

    @property
    def living(self) -> bool:
        """Whether its boot is neither lost nor over."""
        return self.state not in (WorkerState.LOST, WorkerState.EXITED)


def share_of(worker: Worker, *, calls: bool, capacity: bool) -> Share | None:
    """What *worker* adds; None while it was never heard.

    Args:
        worker: the worker.
        calls: whether its calls count; not when they are counted at another address of the same boot.
        capacity: whether its room counts; not when it is foreign, or shows somebody else's identity.
    """
    boot, state = worker.boot, worker.state
    if boot is None:
        return None
    room: int | None = 0
    if state is WorkerState.SERVING and capacity:
        snapshot = boot.snapshot
        if snapshot.accepting is None or (snapshot.accepting and snapshot.max_sessions is None):
            room = None
        elif snapshot.accepting:
            room = max(0, sane.natural(snapshot.max_sessions) - boot.live)
    draining = boot.draining and state not in (WorkerState.LOST, WorkerState.EXITED)
    return Share(
        version=boot.version,
        state=state,
        calls=worker.calls if calls else 0,
        room=room,
        draining=draining,
        deadline=boot.deadline if draining and boot.live else None,
    )


class Tally:
    """The workers of one version, added up."""

    __slots__ = (
        "calls", "deadlines", "draining", "living", "room", "silent", "started_at", "states", "trend", "workers",
    )  # fmt: skip

    def __init__(self) -> None:
        self.calls = 0
        self.workers = 0
        self.states = dict.fromkeys(_ORDER, 0)
        self.room = 0
        self.silent = 0
        """Workers that do not tell whether, or how many, calls they take."""
        self.living = 0
        self.draining = 0
        self.deadlines: dict[str, float] = {}
        self.started_at: float | None = None
        self.trend = Trend()

    def add(self, key: str, share: Share, sign: Literal[1, -1]) -> None:
        """Add a worker's share, or take it away."""
        self.workers += sign
        self.states[share.state] += sign
        self.calls += sign * share.calls
        self.living += sign * share.living
        self.draining += sign * share.draining
        if share.room is None:
            self.silent += sign
        else:
            self.room += sign * share.room
        if sign < 0:
            self.deadlines.pop(key, None)
        elif share.deadline is not None:
            self.deadlines[key] = share.deadline

    def line(self, version: str | None, role: Literal["leaving", "taking"] | None, now: float) -> VersionLine:
        """As it is shown."""
        return VersionLine(
            version=version,
            role=role,
            calls=self.calls,
            trend=self.trend.values(now),
            workers=self.workers,
            by_state=tuple((state, number) for state, number in self.states.items() if number),
            room=None if self.silent else self.room,
            deadline=max(self.deadlines.values(), default=None),
            last_started_at=self.started_at,
        )


class Versions:
    """The tallies of all versions that are seen."""

    def __init__(self) -> None:
        self._tallies: dict[str | None, Tally] = {}
        self._shares: dict[str, Share] = {}

    def take(self, key: str, share: Share | None) -> None:
        """The worker *key* adds *share* from now on."""
        before = self._shares.get(key)
        if before == share:
            return
        if before is not None:
            self._tallies[before.version].add(key, before, -1)
        if share is None:
            self._shares.pop(key, None)
        else:
            self._shares[key] = share
            self._tally(share.version).add(key, share, 1)
        if before is not None and (share is None or share.version != before.version):
            self._drop_empty(before.version)

    def call_started(self, version: str | None, at: float) -> None:
        """A worker of *version* was seen to start a call."""
        self._tally(version).started_at = at

    def alive(self) -> dict[str, bool]:
        """The tagged versions with a living boot, and whether any of it drains."""
        return {
            version: tally.draining > 0
            for version, tally in self._tallies.items()
            if version is not None and tally.living
        }

    def lines(self, rollout: Pair | None, now: float) -> tuple[VersionLine, ...]:
        """A line per version: the one being left, the one that takes over, others by name, the untagged last."""
        roles: dict[str | None, Literal["leaving", "taking"]] = (
            {rollout[0]: "leaving", rollout[1]: "taking"} if rollout is not None else {}
        )
        others = sorted(
            (version for version, tally in self._tallies.items() if tally.workers and version not in roles),
            key=lambda version: (version is None, sane.name_order(version or "")),
        )
        lines = []
        for version in (*roles, *others):
            tally = self._tallies.get(version) or Tally()
            tally.trend.record(tally.calls, now)
            lines.append(tally.line(version, roles.get(version), now))
        return tuple(lines)

    def _tally(self, version: str | None) -> Tally:
        tally = self._tallies.get(version)
        if tally is None:
            tally = self._tallies[version] = Tally()
        return tally

    def _drop_empty(self, version: str | None) -> None:
        if not self._tallies[version].workers:
            del self._tallies[version]
