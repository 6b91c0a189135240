"""What a plan needs of a deployment platform. Starting workers is the platform's job: we describe, ask and watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from openrtc_tui.operations.plans.plan import Objection
    from openrtc_tui.state.observation import PodSeen
    from openrtc_tui.state.view import FleetView

    Record: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[None]]


class PlatformError(Exception):
    """The platform did not do what it was asked; one line for people.

    Attributes:
        happened: False: certainly nothing was changed. True: something was. None: nobody knows.
    """

    def __init__(self, message: str, *, happened: bool | None = False) -> None:
        super().__init__(message)
        self.happened = happened


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the platform runs now. ``token`` binds a request to what was looked at; opaque, survives a journal.

    Attributes:
        current: the version that it wants to run.
        known: versions that it can bring up; empty when it cannot tell.
        peak: workers that may run at once while it brings another version up; None when it cannot tell.
        detail: lines for people.
    """

    current: str | None = None
    known: tuple[str, ...] = ()
    peak: int | None = None
    detail: tuple[str, ...] = ()
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of :meth:`Platform.roll_back`. ``detail`` is one line for people."""

    detail: str
    changed: bool = True


class Platform(Protocol):
    """One way to bring a version up. Every call is bounded in time by the platform itself."""

    @property
    def name(self) -> str:
        """``local``, ``kubernetes``, ``webhook`` or ``exec``."""
        ...

    @property
    def ends_other(self) -> bool:
        """Whether bringing one version up ends the other: then both must be named in the manifest before."""
        ...

    async def describe(self, version: str) -> Description:
        """What there is, with regard to bringing *version* up. Raises PlatformError."""
        ...

    async def preflight(self, version: str, description: Description) -> tuple[Objection, ...]:
        """What speaks against bringing *version* up; changes nothing. Raises PlatformError."""
        ...

    async def roll_back(self, version: str, *, token: str, op_id: str, reason: str | None) -> Asked:
        """Bring *version* up, once for one *op_id* (a repeated one observes first).

        Args:
            version: what to run.
            token: of the description that the operator confirmed; what differs by now is refused.
            op_id: identity of the request.
            reason: for the platform's own record.

        Raises:
            PlatformError: it was not done, or nobody knows.
        """
        ...

    def watch(self) -> AsyncIterator[tuple[PodSeen, ...]]:
        """All that runs, again at each change. Ends at once where the platform has nothing to watch."""
        ...


@runtime_checkable
class TendsPods(Protocol):
    """A platform that looks after the pods of its workers while a plan of this operator runs."""

    async def keep_pods(self, view: Callable[[], FleetView], record: Record, say: Callable[[str], None]) -> None:
        """Until cancelled; then what it set on them is taken away.

        Args:
            view: the fleet as it is now.
            record: journals event and fields of what is about to be done; what it raises ends this.
            say: hears what the operator should know, one line each.
        """
        ...

    async def let_pods_go(self, record: Record) -> None:
        """Take away what an earlier life set on them, which was killed before it could. Raises PlatformError."""
        ...

    async def close(self) -> None:
        """Close its connections; the next request opens them again."""
        ...


async def nothing_to_watch() -> AsyncIterator[tuple[PodSeen, ...]]:
    """What a platform that shows no pods watches: it ends at once."""
    none: tuple[tuple[PodSeen, ...], ...] = ()
    for pods in none:
        yield pods
