"""Which version is being left for which, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from openrtc_tui.state.rollout import Alive, infer
from tests.state.scenes import Scene, plain, report

if TYPE_CHECKING:
    from openrtc_tui.state.view import Rollout


def pair(scene: Scene) -> tuple[str, str] | None:
    rollout = scene.view().rollout
    return (rollout.from_version, rollout.to_version) if rollout is not None else None


def seen(scene: Scene) -> Rollout:
    rollout = scene.view().rollout
    assert rollout is not None
    return rollout


def test_what_the_fleet_file_says_holds_whatever_is_alive():
    scene = Scene("a", "b", rollout=("v8", "v9"))
    scene.hear("a", report("1", version="v1"))
    scene.hear("b", report("2", version="v2"))
    assert pair(scene) == ("v8", "v9")
    assert seen(scene).started_at is None
    assert [(line.version, line.role) for line in scene.view().versions] == [
        ("v8", "leaving"),
        ("v9", "taking"),
        ("v1", None),
        ("v2", None),
    ]


def test_the_version_whose_workers_drain_is_being_left():
    scene = Scene("a", "b", "c")
    scene.hear("a", report("1", version="v2", uptime_seconds=9000.0))
    scene.hear("b", report("2", version="v1", uptime_seconds=10.0, state="draining"))
    scene.hear("c", report("3", version="v1", uptime_seconds=10.0))
    assert pair(scene) == ("v1", "v2")


@pytest.mark.parametrize("state", ["serving", "draining"])
def test_of_two_that_drain_or_do_not_the_one_with_the_older_boot_is_being_left(state):
    scene = Scene("a", "b", "c")
    scene.hear("a", report("1", version="v1", uptime_seconds=60.0, state=state))
    scene.hear("b", report("2", version="v2", uptime_seconds=50.0, state=state))
    scene.hear("c", report("3", version="v2", uptime_seconds=70.0))
    assert pair(scene) == ("v2", "v1")


def test_a_boot_without_uptime_is_as_old_as_its_first_report():
    scene = Scene("a", "b")
    scene.hear("a", plain("v2"), via="poll")
    scene.now += 1
    scene.hear("b", plain("v1"), via="poll")
    assert pair(scene) == ("v2", "v1")


def test_it_began_at_the_earliest_start_of_a_boot_of_the_new_version():
    scene = Scene("a", "b", "c")
    scene.hear("a", report("1", version="v1", uptime_seconds=5000.0))
    scene.hear("b", report("2", version="v2", uptime_seconds=30.0))
    scene.fail("c", "refused")
    assert seen(scene).started_at == scene.now - 30
    scene.hear("c", report("3", version="v2", uptime_seconds=45.0))
    assert seen(scene).started_at == scene.now - 45


def test_the_beginning_does_not_move_when_the_first_boot_of_the_new_version_is_gone():
    scene = Scene("a", "b")
    scene.hear("a", report("1", version="v1", uptime_seconds=5000.0))
    scene.hear("b", report("2", version="v2", uptime_seconds=30.0))
    began = seen(scene).started_at
    scene.now += 60
    for number in range(20):
        scene.hear("b", report(f"again-{number}", version="v2", uptime_seconds=0.0))
    scene.hear("a", report("1", version="v1", uptime_seconds=5060.0))
    assert seen(scene).started_at == began


def test_one_version_is_no_rollout():
    scene = Scene("a", "b")
    scene.hear("a", report("1"))
    scene.hear("b", report("2", state="draining"))
    assert pair(scene) is None


def test_untagged_workers_make_no_rollout():
    scene = Scene("a", "b")
    scene.hear("a", report("1", version="v1"))
    scene.hear("b", report("2", version=None))
    assert pair(scene) is None


def test_three_versions_are_no_rollout():
    scene = Scene("a", "b", "c")
    for number in (1, 2, 3):
        scene.hear("abc"[number - 1], report(str(number), version=f"v{number}"))
    assert pair(scene) is None


def test_it_is_not_guessed_from_half_of_the_fleet():
    """The first two answers may come from a version that is not the one being left at all."""
    scene = Scene("a", "b", "c")
    scene.hear("a", report("1", version="v1", uptime_seconds=10.0))
    scene.hear("b", report("2", version="v2", uptime_seconds=60.0))
    assert pair(scene) is None
    scene.hear("c", report("3", version="v1", uptime_seconds=90.0))
    assert pair(scene) == ("v1", "v2")


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_target_that_cannot_be_reached_does_not_hold_the_guess_up_for_good(how):
    scene = Scene("a", "b", "dead")
    scene.hear("a", report("1", version="v1", uptime_seconds=90.0))
    scene.hear("b", report("2", version="v2", uptime_seconds=60.0))
    if how == "refused":
        scene.fail("dead", "refused")
    else:
        scene.wait(10, hearing="ab")
    assert pair(scene) == ("v1", "v2")


def test_once_chosen_it_stays_when_the_other_side_drains_or_everything_of_one_side_is_gone():
    scene = Scene("a", "b")
    scene.hear("a", report("1", version="v1", uptime_seconds=90.0))
    scene.hear("b", report("2", version="v2", uptime_seconds=60.0))
    assert pair(scene) == ("v1", "v2")
    scene.hear("b", report("2", version="v2", state="draining"))
    assert pair(scene) == ("v1", "v2")
    scene.hear("a", report("1", version="v1", state="exited"), bye=True)
    assert pair(scene) == ("v1", "v2")
    scene.die("b")
    assert pair(scene) == ("v1", "v2")


def test_a_third_version_ends_it_and_when_two_are_left_it_is_chosen_anew():
    scene = Scene("a", "b", "c")
    scene.hear("a", report("1", version="v1", uptime_seconds=90.0))
    scene.hear("b", report("2", version="v2", uptime_seconds=60.0))
    scene.hear("c", report("3", version="v2", uptime_seconds=60.0))
    assert pair(scene) == ("v1", "v2")
    scene.hear("c", report("4", version="v3", uptime_seconds=1.0))
    assert pair(scene) is None
    scene.hear("a", report("1", version="v1", state="exited"), bye=True)
    assert pair(scene) == ("v2", "v3")


def test_an_edited_fleet_file_decides_at_once():
    scene = Scene("a", "b")
    scene.hear("a", report("1", version="v1", uptime_seconds=90.0))
    scene.hear("b", report("2", version="v2", uptime_seconds=60.0))
    assert pair(scene) == ("v1", "v2")
    scene.fleet.configure(name="voice-prod", rollout=("v2", "v1"))
    assert (pair(scene), scene.view().fleet) == (("v2", "v1"), "voice-prod")
    scene.fleet.configure(rollout=None)
    assert pair(scene) == ("v1", "v2")


@pytest.mark.parametrize("uptime", [float("nan"), float("inf"), -5.0, 1e300])
def test_an_absurd_uptime_does_not_move_the_beginning(uptime):
    scene = Scene("a", "b", rollout=("v1", "v2"))
    scene.hear("a", report("1", version="v1"))
    scene.hear("b", report("2", version="v2", uptime_seconds=uptime))
    assert seen(scene).started_at == scene.now


def test_of_two_equally_old_the_lower_version_is_being_left():
    alive = {"v10": Alive(draining=False, began=5.0), "v9": Alive(draining=False, began=5.0)}
    assert infer(alive, complete=True) == ("v9", "v10")
