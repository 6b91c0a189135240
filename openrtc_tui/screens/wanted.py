"""What screens ask of the app: messages, so that no screen knows who answers them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.message import Message

if TYPE_CHECKING:
    from openrtc_tui.operations.plans.plan import PlanKind

ActionName = Literal["drain", "cordon", "uncordon"]


@dataclass
class ActionWanted(Message):
    """The operator wants *action* for these workers, as they were when the key was pressed.

    ``version`` is set when every worker of a version is meant.
    """

    action: ActionName
    keys: tuple[str, ...]
    version: str | None = None


@dataclass
class DetailsWanted(Message):
    """The operator wants to see all about a worker."""

    key: str


@dataclass
class RolloutWanted(Message):
    """The operator wants to move the calls: to promote a version, or to go back to one."""

    kind: PlanKind


@dataclass
class PlanWanted(Message):
    """The open confirmation needs the plan for this version; None: for the one that a rollback goes to by itself."""

    kind: PlanKind
    version: str | None


class AbortWanted(Message):
    """The operator wants the plan under way to begin nothing further."""


class ResumeWanted(Message):
    """The operator wants the interrupted plan in sight to go on."""


@dataclass
class RunDismissed(Message):
    """The operator has seen what came of a plan; one that was interrupted they want to give up."""

    plan_id: str


class AuditWanted(Message):
    """The operator wants to see who did what, when, and what came of it."""


class HelpWanted(Message):
    """The operator wants to see every key."""


class ResultsDismissed(Message):
    """The operator has seen the results."""
