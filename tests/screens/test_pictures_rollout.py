"""Plans, what becomes of them, and the audit trail as they look: fixed fleets at one fixed instant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from openrtc_tui.app import DeployApp
from openrtc_tui.widgets.glyphs import ASCII
from openrtc_tui.widgets.paint import Look
from openrtc_tui.widgets.palette import LIGHT, PLAIN
from tests.screens import plans
from tests.screens.fakes import FakeSession

if TYPE_CHECKING:
    from openrtc_tui.operations.plans.plan import Plan, Run
    from openrtc_tui.state.view import FleetView

Compare = Callable[..., bool]
WIDE, NARROW = (120, 40), (80, 24)
both = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x40", "80x24"])


def screen(
    *known: Plan, view: FleetView = plans.GATED, run: Run | None = None, look: Look | None = None
) -> DeployApp:
    session = FakeSession(view)
    assert session.steering is not None
    for plan in known:
        session.steering.plans[plan.kind, None if plan.kind == "rollback" else plan.to_version] = plan
    if run is not None and run.word == "interrupted":
        session.steering.stopped = (run,)
    elif run is not None and run.word == "elsewhere":
        session.steering.others = run
    else:
        session.steering.run = run
    session.written = plans.JOURNAL
    session.events = plans.WORKER_EVENTS
    return DeployApp(session, look or Look(zone=UTC))


@both
def test_gated(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(screen(), terminal_size=size)


@both
@pytest.mark.parametrize("name", ["ROLLBACK", "COLD_ROLLBACK", "BLOCKED"])
def test_rollback(snap_compare: Compare, name: str, size: tuple[int, int]) -> None:
    assert snap_compare(screen(getattr(plans, name)), terminal_size=size, press=["R"])


@both
@pytest.mark.parametrize("name", ["BACK", "OVERRIDE"])
def test_promotion(snap_compare: Compare, name: str, size: tuple[int, int]) -> None:
    assert snap_compare(screen(getattr(plans, name)), terminal_size=size, press=["P"])


@both
@pytest.mark.parametrize("name", ["RUNNING", "ELSEWHERE", "INTERRUPTED", "FAILED", "DONE"])
def test_plan(snap_compare: Compare, name: str, size: tuple[int, int]) -> None:
    app = screen(view=plans.left_behind(), run=getattr(plans, name))
    assert snap_compare(app, terminal_size=size, run_before=lambda pilot: beat(app, pilot))


@pytest.mark.parametrize("key", ["A", "r"], ids=["abort", "resume"])
def test_question_about_a_plan(snap_compare: Compare, key: str) -> None:
    app = screen(view=plans.left_behind(), run=plans.RUNNING if key == "A" else plans.INTERRUPTED)

    async def ask(pilot) -> None:
        await beat(app, pilot)
        await pilot.press(key)

    assert snap_compare(app, terminal_size=NARROW, run_before=ask)


@both
def test_audit(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(screen(), terminal_size=size, press=["a"])


@both
def test_audit_searched(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(screen(), terminal_size=size, press=["a", "slash", *"voice-a-2 drain"])


@both
def test_audit_event(snap_compare: Compare, size: tuple[int, int]) -> None:
    keys = ["a", "slash", *"op.intent", "enter", "enter"]
    assert snap_compare(screen(), terminal_size=size, press=keys)


def test_light(snap_compare: Compare) -> None:
    look = Look(palette=LIGHT, zone=UTC)
    assert snap_compare(screen(plans.COLD_ROLLBACK, look=look), terminal_size=NARROW, press=["R"])


@pytest.mark.parametrize("keys", [["R"], ["a"]], ids=["rollback", "audit"])
def test_ascii_without_colours(snap_compare: Compare, keys: list[str]) -> None:
    look = Look(palette=PLAIN, glyphs=ASCII, zone=UTC)
    assert snap_compare(screen(plans.COLD_ROLLBACK, look=look), terminal_size=NARROW, press=keys)


def test_a_terminating_worker(snap_compare: Compare) -> None:
    assert snap_compare(screen(view=plans.terminating()), terminal_size=WIDE)


async def beat(app: DeployApp, pilot) -> None:
    """What is seen on the next beat, and with it the plan under way."""
    app._beat()
    await pilot.pause()
