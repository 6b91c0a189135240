"""What the dashboard needs of a watched fleet, so that it can be shown, and tested, without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from openrtc_tui.operations.batch import BatchResult
    from openrtc_tui.operations.plans.plan import Plan, PlanKind, Run
    from openrtc_tui.operations.request import Answer, Ask
    from openrtc_tui.state.view import FleetView, Severity
    from openrtc_worker.contract.snapshot import SessionList


class ReadFailed(Exception):  # noqa: N818 - an outcome here, shown and not raised further
    """A worker's details could not be read; the text says why in one line."""


class CannotWatch(Exception):  # noqa: N818 - the end of the program, in words for people
    """The fleet cannot be watched at all; the text says why."""


class CannotSteer(Exception):  # noqa: N818 - an outcome here, shown and not raised further
    """A plan cannot be made, begun or gone on with; the text says why in one line."""


class Steering(Protocol):
    """What the dashboard needs to carry out plans (:class:`openrtc_tui.steering.Steering` is the real one)."""

    @property
    def run(self) -> Run | None:
        """The plan that is carried out here, or was last; None before the first."""

    def interrupted(self) -> tuple[Run, ...]:
        """Plans of this fleet that were begun, did not end, and that nobody carries out now; the oldest first."""

    def elsewhere(self) -> Run | None:
        """The plan of this fleet that another process carries out now; its word is *elsewhere*."""

    @property
    def left(self) -> str | None:
        """The version that the newest rollback left; None where there was none, or it was promoted since."""

    async def plan(
        self,
        kind: PlanKind,
        *,
        version: str | None = None,
        keys: Sequence[str] = (),
        reason: str | None = None,
        wave: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - what a drain is given, sent to workers
    ) -> Plan:
        """What would be done, asking the platform where it matters; changes nothing. Raises :class:`CannotSteer`."""

    async def carry_out(self, plan: Plan) -> Run:
        """Do it, to its end; :attr:`run` follows meanwhile. Raises :class:`CannotSteer` before the first step."""

    async def resume(self, plan_id: str) -> Run:
        """Go on with an interrupted plan, looking first. Raises :class:`CannotSteer`."""

    async def abandon(self, plan_id: str) -> None:
        """Give an interrupted plan up: what was done stays done. Raises :class:`CannotSteer`."""

    def abort(self) -> None:
        """Begin no further step; what was done stays done."""


class Session(Protocol):
    """What the dashboard needs of a watched fleet (:class:`openrtc_tui.session.FleetSession` is the real one)."""

    @property
    def beat(self) -> float:
        """Seconds between two polls."""

    @property
    def operator(self) -> str | None:
        """Who acts; None where nobody can."""

    @property
    def read_only(self) -> bool:
        """Whether nothing can be asked of any worker."""

    @property
    def trouble(self) -> str:
        """Why the edited fleet file was not taken over; empty when all is well."""

    @property
    def drain_timeout(self) -> float | None:
        """What a drain is given, in seconds; None: the worker's own limit."""

    def view(self) -> FleetView:
        """The picture of this instant; cheap enough to be asked for many times a second."""

    def say(self, text: str, detail: str = "", severity: Severity = "info") -> None:
        """Put a line among the events."""

    async def run(self) -> None:
        """Watch until cancelled; raises :class:`CannotWatch`."""

    async def send(
        self,
        asks: Sequence[Ask],
        on_answer: Callable[[Answer], None],
        on_progress: Callable[[Ask, str], None],
    ) -> BatchResult:
        """Ask; answers and what is known before them are told as they come.

        Raises:
            PermissionError: nothing may be asked any more.
        """

    @property
    def steering(self) -> Steering | None:
        """Who carries out plans; None where nothing may be asked, and until the fleet is watched."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def sessions(self, key: str) -> SessionList:
        """The live calls of one worker; raises :class:`ReadFailed`."""

    async def journal(self) -> tuple[Sequence[Mapping[str, Any]], int]:
        """The newest of what was done to this fleet from this machine, oldest first, and how much there is in all.

        Raises:
            ReadFailed: the journal cannot be read.
        """

    async def audit(self, key: str) -> Sequence[Mapping[str, Any]]:
        """The audit events that one worker still has, oldest first; raises :class:`ReadFailed`."""
