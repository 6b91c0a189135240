"""Plans and runs as lines of text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openrtc_tui.operations.plans.plan import Objection, Plan, Progress, Run, RunWord, Step
    from openrtc_tui.state.view import FleetView


def title(plan: Plan) -> str:
    """``Roll back from v2 to v1``."""
    raise NotImplementedError


def step_words(step: Step) -> str:
    """What a step does, one line."""
    raise NotImplementedError


def objection_words(objection: Objection) -> str:
    """``refused: …``, ``needs LAST: …`` or ``warning: …``."""
    raise NotImplementedError


def plan_lines(plan: Plan) -> tuple[str, ...]:
    """The whole plan, for ``--plan`` and the confirmation."""
    raise NotImplementedError


def run_of(
    plan: Plan, progress: Progress, view: FleetView, now: float, word: RunWord = "running", *, why: str = ""
) -> Run:
    """A plan under way as screens and commands show it."""
    raise NotImplementedError
