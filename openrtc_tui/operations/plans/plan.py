"""A plan: ordered steps, what they rest on, what speaks against them; and how far one has come.

All of it is plain data that survives a journal: a plan is written down before its first step, and whoever resumes it
reads the very same one. Times are Unix seconds, durations seconds.
"""

from __future__ import annotations

import secrets
from typing import Literal, TypeAlias

import msgspec

PlanKind = Literal["drain", "promote", "rollback"]


def new_plan_id() -> str:
    return secrets.token_hex(8)


class _Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything that a journal keeps."""


class Need(_Data, frozen=True, kw_only=True):
    """Workers that have to be ready to take calls of one agent: at least one, with room for ``room`` calls."""

    agent_name: str
    deployment: str
    room: int = 0

    @property
    def agent(self) -> tuple[str, str]:
        """Whose workers they are: the agent's name and deployment."""
        return self.agent_name, self.deployment


class Subject(_Data, frozen=True, kw_only=True):
    """One boot that a plan acts on, as it was when the plan was made."""

    key: str
    url: str
    worker_id: str
    boot_id: str
    version: str
    calls: int | None = None
    dropped: int = 0
    """Calls that it was known to have dropped then: only what comes on top is a violation of the plan."""


# -- steps ------------------------------------------------------------------------------------------------------


class PublishStep(_Data, frozen=True, kw_only=True, tag="publish"):
    """Publish a manifest that names exactly *active*, while its workers that are ready to take meet *needs*.

    With ``widens`` it only lets more versions take calls than now: somebody has to be ready for those agents alone
    that lose a worker by it. With nobody left at all, it is what lets the first good worker take calls.
    """

    active: tuple[str, ...]
    needs: tuple[Need, ...] = ()
    widens: bool = False


class StartStep(_Data, frozen=True, kw_only=True, tag="start"):
    """Ask the platform to bring *version* up.

    ``token`` is of the description that the plan was made from; ``ends_other`` tells that the platform ends the
    other version meanwhile: it is not asked before the newest manifest names *version*.
    """

    version: str
    token: str = ""
    ends_other: bool = False


class ReadyStep(_Data, frozen=True, kw_only=True, tag="ready"):
    """Wait until workers of *version* that are ready to take calls meet every need; stop after *within*.

    With ``taking`` only those count that take calls now: the manifest that they hold names them.
    """

    version: str
    needs: tuple[Need, ...]
    within: float
    taking: bool = False


class QuietStep(_Data, frozen=True, kw_only=True, tag="quiet"):
    """Wait until no worker of *version* takes calls any more: each shows the manifest that does not name it."""

    version: str
    within: float


class DrainStep(_Data, frozen=True, kw_only=True, tag="drain"):
    """Drain in waves of *wave*; the next when the last is empty or its verdict known, none after a violation.

    ``subjects`` are the boots; with ``version`` every boot of it that is there when its turn comes is drained too.
    """

    subjects: tuple[Subject, ...]
    wave: int
    version: str | None = None
    timeout: float | None = None


class WatchStep(_Data, frozen=True, kw_only=True, tag="watch"):
    """Watch the workers of *version* (and the platform's pods) until their verdict is known."""

    version: str


Step: TypeAlias = PublishStep | StartStep | ReadyStep | QuietStep | DrainStep | WatchStep


class Objection(_Data, frozen=True, kw_only=True):
    """What speaks against a plan. *blocks*: it is not carried out, unless ``override`` names what an operator has to
    type for it (which is audited); else it is a warning. ``agents``, by name and deployment: those left with nobody.
    """

    code: str
    text: str
    blocks: bool = False
    override: str | None = None
    agents: tuple[tuple[str, str], ...] = ()


class Room(_Data, frozen=True, kw_only=True):
    """Capacity of one version: places on workers that take calls, or would but for the manifest."""

    version: str | None
    workers: int
    places: int
    calls: int


class Plan(_Data, frozen=True, kw_only=True):
    """One operation on the fleet before anything of it is done.

    ``challenge`` is what the operator types to confirm; empty: a plain yes is enough. ``after`` is the capacity once
    the plan is through, ``peak`` how many workers may run at once meanwhile (None: no more than now).
    """

    plan_id: str
    kind: PlanKind
    fleet: str
    made_at: float
    steps: tuple[Step, ...]
    to_version: str | None = None
    from_version: str | None = None
    objections: tuple[Objection, ...] = ()
    calls: int = 0
    calls_known: bool = True
    oldest_seconds: float | None = None
    before: tuple[Room, ...] = ()
    after: tuple[Room, ...] = ()
    peak: int | None = None
    challenge: str = ""
    reason: str | None = None
    operator: str | None = None

    @property
    def blocked(self) -> bool:
        """Whether something forbids it that no override lifts."""
        return any(objection.blocks and objection.override is None for objection in self.objections)

    @property
    def last_of(self) -> frozenset[tuple[str, str]]:
        """Agents that may be left with nobody: the operator typed so of these, and of none that comes later."""
        return frozenset(agent for objection in self.objections if objection.override for agent in objection.agents)

    @property
    def overrides(self) -> frozenset[str]:
        """Codes of the objections that whoever carries it out has overridden by typing what they ask for."""
        return frozenset(
            objection.code for objection in self.objections if objection.blocks and objection.override is not None
        )


# -- how far it has come ------------------------------------------------------------------------------------------


class Asked(_Data, frozen=True, kw_only=True):
    """A drain that was journaled: to whom, under which identity, and what came of it so far."""

    subject: Subject
    op_id: str
    wave: int
    at: float = 0.0
    """When it was journaled."""
    outcome: str | None = None
    """``started``, ``already``, ``refused``, ``unreached``, ``unknown``; None: not known yet."""
    detail: str = ""


class Progress(_Data, frozen=True, kw_only=True):
    """How far a plan has come: folded from its journal, and nothing else is needed to go on."""

    step: int = 0
    """Index of the step under way; the number of steps when all are done."""
    since: float = 0.0
    """When that step began."""
    asked: tuple[Asked, ...] = ()
    op_id: str | None = None
    """The identity of the publish or start under way, journaled; None before its intent is written."""
    seq: int | None = None
    """The manifest published last by this plan."""
    effect: str | None = None
    """What the publish or start under way came to; None: not known yet."""
    detail: str = ""
    """What was said of that effect, one line."""
    at: float = 0.0
    """When the last line was journaled."""
    done: tuple[str, ...] = ()
    """What each step that is done came to, one line a step; may be empty."""
    aborted: bool = False
    ended: bool = False
    """Nothing more is done: the journal has the plan's end."""


# -- what to do next ----------------------------------------------------------------------------------------------


class Publish(_Data, frozen=True, kw_only=True):
    """Publish a manifest with these versions, under ``Progress.op_id`` where it is set already."""

    active: tuple[str, ...]


class Start(_Data, frozen=True, kw_only=True):
    """Ask the platform for this version, under ``Progress.op_id`` where it is set already."""

    version: str
    token: str = ""


class Drain(_Data, frozen=True, kw_only=True):
    """Ask these boots to drain, as one wave. Those in ``again`` were journaled before: same ``op_id``."""

    subjects: tuple[Subject, ...] = ()
    again: tuple[Asked, ...] = ()
    wave: int = 0
    timeout: float | None = None


class Wait(_Data, frozen=True, kw_only=True):
    """Nothing to do now. ``what`` completes "waits for …", ``until`` is when the step gives up."""

    what: str
    until: float | None = None


class StepDone(_Data, frozen=True, kw_only=True):
    """The step under way is done; ``detail`` says with what result."""

    detail: str = ""


class Stop(_Data, frozen=True, kw_only=True):
    """The plan ends here without its end; ``why`` is one line, ``word`` what it comes to."""

    why: str
    word: Literal["failed", "violated", "aborted"] = "failed"


class Finish(_Data, frozen=True, kw_only=True):
    """Every step is done."""

    detail: str = ""


Decision: TypeAlias = Publish | Start | Drain | Wait | StepDone | Stop | Finish

RunWord = Literal["running", "elsewhere", "interrupted", "done", "failed", "violated", "aborted"]


class Run(_Data, frozen=True, kw_only=True):
    """A plan under way as screens and commands show it. *elsewhere*: another process carries it out, ``by`` whom."""

    plan: Plan
    progress: Progress
    word: RunWord = "running"
    doing: str = ""
    """What the present step does or waits for, one line."""
    until: float | None = None
    next: str = ""
    """What happens after the present step; empty when nothing does."""
    done: tuple[str, ...] = ()
    """What was done, one line a step."""
    not_done: tuple[str, ...] = ()
    """For a plan that stopped: what was not."""
    why: str = ""
    by: str = ""
    """``alice, process 4711``."""
