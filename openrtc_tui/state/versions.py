"""The roll-up: one line per version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from openrtc_tui.state import sane
from openrtc_tui.state.trend import Trend
from openrtc_tui.state.view import VersionLine, WorkerState

if TYPE_CHECKING:
    from openrtc_tui.state.rollout import Pair
    from openrtc_tui.state.worker import Worker

_ORDER = tuple(WorkerState)


class Tally:
    """The workers of one version, added up."""

    __slots__ = (
        "began",
        "calls",
        "deadline",
        "draining",
        "living",
        "room",
        "silent",
        "started_at",
        "states",
        "workers",
    )

    def __init__(self) -> None:
        self.calls = 0
        self.workers = 0
        self.states: dict[WorkerState, int] = {}
        self.room = 0
        self.silent = 0
        """Workers that do not tell whether, or how many, calls they take."""
        self.deadline: float | None = None
        self.started_at: float | None = None
        self.living = 0
        self.draining = False
        self.began = float("inf")
        """When the oldest living boot began."""

    def add(self, worker: Worker, *, calls: bool, capacity: bool) -> None:
        """Add a worker that was heard.

        Args:
            worker: the worker.
            calls: whether its calls count; not when they are counted at another address of the same boot.
            capacity: whether its room counts; not when it shows somebody else's identity.
        """
        boot, state = worker.boot, worker.state
        if boot is None:
            return
        self.workers += 1
        self.states[state] = self.states.get(state, 0) + 1
        if boot.last_started_at is not None and (self.started_at is None or boot.last_started_at > self.started_at):
            self.started_at = boot.last_started_at
        if state is WorkerState.EXITED:
            return
        if calls:
            self.calls += boot.live
        if state is WorkerState.LOST:
            return
        self.living += 1
        self.began = min(self.began, boot.began)
        if state is WorkerState.SERVING:
            snapshot = boot.snapshot
            if capacity and snapshot.accepting is not False:
                if snapshot.accepting is None or snapshot.max_sessions is None:
                    self.silent += 1
                else:
                    self.room += max(0, sane.natural(snapshot.max_sessions) - boot.live)
        elif boot.draining:
            self.draining = True
            deadline = boot.deadline
            if deadline is not None and boot.live and (self.deadline is None or deadline > self.deadline):
                self.deadline = deadline

    def line(
        self, version: str | None, role: Literal["leaving", "taking"] | None, trend: tuple[int, ...]
    ) -> VersionLine:
        """As it is shown."""
        return VersionLine(
            version=version,
            role=role,
            calls=self.calls,
            trend=trend,
            workers=self.workers,
            by_state=tuple((state, self.states[state]) for state in _ORDER if state in self.states),
            room=None if self.silent else self.room,
            deadline=self.deadline,
            last_started_at=self.started_at,
        )


class VersionTrends:
    """The calls of each version over time."""

    def __init__(self) -> None:
        self._trends: dict[str | None, Trend] = {}

    def record(self, tallies: dict[str | None, Tally], now: float) -> None:
        """Take the present numbers; versions that are gone are forgotten."""
        self._trends = {version: self._trends.get(version) or Trend() for version in tallies}
        for version, tally in tallies.items():
            self._trends[version].record(tally.calls, now)

    def values(self, version: str | None, now: float) -> tuple[int, ...]:
        """The curve of one version."""
        return self._trends[version].values(now)


def version_lines(
    tallies: dict[str | None, Tally], trends: VersionTrends, rollout: Pair | None, now: float
) -> tuple[VersionLine, ...]:
    """A line per version: the one being left, the one that takes over, the others by name, the untagged last."""
    roles: dict[str | None, Literal["leaving", "taking"]] = (
        {rollout[0]: "leaving", rollout[1]: "taking"} if rollout is not None else {}
    )
    others = sorted(
        (version for version in tallies if version not in roles),
        key=lambda version: (version is None, sane.name_order(version or "")),
    )
    return tuple(
        tallies[version].line(version, roles.get(version), trends.values(version, now))
        for version in (*roles, *others)
    )
