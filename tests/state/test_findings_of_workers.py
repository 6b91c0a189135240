"""What the dashboard finds of a worker, and how it words what the worker finds itself."""

from __future__ import annotations

import pytest

from openrtc_worker.contract.snapshot import DrainInfo
from tests.state.scenes import START, Scene, plain, report


def codes(scene: Scene, key: str = "a") -> list[str]:
    return [finding.code for finding in scene.row(key).findings]


def text(scene: Scene, key: str = "a") -> str:
    (finding,) = scene.row(key).findings
    return finding.text


def test_a_healthy_worker_has_no_finding():
    scene = Scene("a")
    scene.hear("a", report(live=3, counts={"completed": 4, "failed": 1}))
    assert codes(scene) == []


# -- still taking calls ------------------------------------------------------------------------------------------


def draining(started: int, began: float = START, **fields):
    return report(
        state="draining", live=started, drain=DrainInfo(source="http", actor="alice", started_at=began), **fields
    )


def test_calls_that_start_later_than_ten_seconds_after_the_drain_began_are_found():
    scene = Scene("a")
    scene.hear("a", draining(2))
    scene.wait(11, hearing="a")
    scene.hear("a", draining(3))
    assert codes(scene) == ["still_taking_calls"]
    assert text(scene) == "took 1 call after its drain began"
    scene.hear("a", draining(5))
    assert text(scene) == "took 3 calls after its drain began"


def test_calls_accepted_just_before_the_drain_are_no_finding():
    scene = Scene("a")
    scene.hear("a", draining(2))
    scene.wait(9, hearing="a")
    scene.hear("a", draining(4))
    scene.wait(60, hearing="a")
    assert codes(scene) == []


def test_calls_of_which_nobody_knows_when_they_started_are_no_finding():
    """The dashboard came late, or was cut off over the tenth second: they may have been accepted before."""
    scene = Scene("a")
    scene.hear("a", draining(5, began=START - 60))
    assert codes(scene) == []
    scene.hear("a", draining(6, began=START - 60))
    assert codes(scene) == ["still_taking_calls"]


def test_polling_finds_them_too():
    scene = Scene("a")
    for _second in range(14):
        scene.hear("a", draining(2), via="poll")
        scene.now += 1
    scene.hear("a", draining(3), via="poll")
    assert codes(scene) == ["still_taking_calls"]


def test_the_ten_seconds_are_counted_on_the_worker_s_own_clock():
    scene = Scene("a")
    skew = -7200.0
    scene.hear("a", draining(2, began=START + skew - 4, timestamp=scene.now + skew))
    scene.wait(5, hearing="a")
    scene.hear("a", draining(3, began=START + skew - 4, timestamp=scene.now + skew))
    assert codes(scene) == []
    scene.wait(2, hearing="a")
    scene.hear("a", draining(4, began=START + skew - 4, timestamp=scene.now + skew))
    assert codes(scene) == ["still_taking_calls"]


def test_a_plain_worker_that_goes_on_taking_calls_is_found_by_its_own_counter():
    scene = Scene("a")
    for _second in range(13):
        scene.hear("a", plain(draining=True, live=1, total_sessions_started=5), via="poll")
        scene.now += 1
    scene.hear("a", plain(draining=True, live=2, total_sessions_started=6), via="poll")
    assert codes(scene) == ["still_taking_calls"]


# -- contradiction -----------------------------------------------------------------------------------------------


def test_a_ledger_that_does_not_balance():
    scene = Scene("a")
    scene.hear("a", report(live=1, counts={"started": 9, "completed": 7}))
    assert codes(scene) == ["contradiction"]
    assert text(scene) == "ledger does not balance: 9 started, 8 told"
    scene.hear("a", report(live=2, counts={"started": 9, "completed": 7}))
    assert codes(scene) == []


def test_counters_that_went_back_stay_found():
    scene = Scene("a")
    scene.hear("a", report(live=1, counts={"completed": 5}))
    scene.hear("a", report(live=1, counts={"completed": 4}))
    scene.hear("a", report(live=1, counts={"completed": 9}))
    assert text(scene) == "counters went back"


@pytest.mark.parametrize(
    ("snapshot", "said"),
    [
        (report(live=2, active_sessions=5), "5 calls live, 2 in the ledger"),
        (report(state="drained", live=2), "says drained with calls live"),
        (report(live=-1, counts={"started": 0}), "negative counts"),
        (report(counts={"completed": -1, "started": 0}), "negative counts"),
    ],
)
def test_a_report_that_cannot_be_so(snapshot, said):
    scene = Scene("a")
    scene.hear("a", snapshot)
    assert said in text(scene)


def test_a_version_that_changes_within_one_boot_is_not_believed():
    scene = Scene("a")
    scene.hear("a", report(version="v1"))
    scene.hear("a", report(version="v2"))
    assert (scene.row("a").version, text(scene)) == ("v1", "version changed within one boot")


def test_a_drain_that_is_taken_back():
    scene = Scene("a")
    scene.hear("a", report(state="draining", live=1))
    scene.hear("a", report(state="serving", live=1))
    assert text(scene) == "took back its drain"


def test_two_processes_behind_one_address():
    scene = Scene("a")
    for boot in ("one", "two", "one"):
        scene.hear("a", report(boot))
    assert (scene.row("a").boot_id, text(scene)) == ("one", "two processes answer here")


# -- duplicate id ------------------------------------------------------------------------------------------------


def test_two_targets_that_show_one_worker_id_are_both_found_and_never_acted_on():
    scene = Scene("a", "b", "c")
    scene.hear("a", report("1", worker_id="w"))
    assert scene.row("a").actionable
    scene.hear("b", report("2", worker_id="w"))
    scene.hear("c", report("3", worker_id="other"))
    for key, other in (("a", "b"), ("b", "a")):
        row = scene.row(key)
        assert ([finding.code for finding in row.findings], row.actionable) == (["duplicate_id"], False)
        assert row.findings[0].text == f"same worker id as {other}"
    assert scene.row("c").actionable


def test_two_targets_that_show_one_boot():
    scene = Scene("a", "b")
    scene.hear("a", report("1", worker_id="w"))
    scene.hear("b", report("1", worker_id="x"))
    assert text(scene) == "same boot as b"


def test_many_of_one_name_are_counted():
    scene = Scene(*"abcd")
    for key in "abcd":
        scene.hear(key, report(key, worker_id="w"))
    assert text(scene) == "same worker id as b and 2 more"


def test_a_worker_that_moved_to_another_address_is_no_duplicate_of_its_dead_self():
    scene = Scene("a", "b")
    scene.hear("a", report("1", worker_id="pod-0", live=2))
    scene.die("a")
    scene.hear("b", report("2", worker_id="pod-0"))
    assert codes(scene, "a") == codes(scene, "b") == []
    scene.beat("a")
    assert codes(scene, "a") == codes(scene, "b") == ["duplicate_id"]


def test_a_duplicate_is_free_again_when_the_other_is_gone():
    scene = Scene("a", "b")
    for key in "ab":
        scene.hear(key, report(key, worker_id="w"))
    scene.targets("a")
    assert (codes(scene), scene.row("a").actionable) == ([], True)


def test_workers_without_an_id_are_no_duplicates():
    scene = Scene("a", "b")
    scene.hear("a", plain(), via="poll")
    scene.hear("b", plain(), via="poll")
    assert codes(scene, "a") == codes(scene, "b") == []


# -- saturated ---------------------------------------------------------------------------------------------------


def busy(boot: str, live: int, **fields):
    return report(boot, live=live, max_sessions=5, **fields)


def test_all_accepting_workers_of_an_agent_full_is_found_on_each_of_them():
    scene = Scene("a", "b", "c")
    scene.hear("a", busy("1", 5, agent="booking"))
    scene.hear("b", busy("2", 4, agent="booking"))
    scene.hear("c", busy("3", 0, agent="billing"))
    assert codes(scene, "a") == codes(scene, "b") == []
    scene.hear("b", busy("2", 5, agent="booking"))
    assert codes(scene, "a") == codes(scene, "b") == ["saturated"]
    assert text(scene) == "callers of booking get nobody: all workers full"
    assert codes(scene, "c") == []


def test_a_reported_load_of_0_7_is_full_whatever_the_capacity_says():
    scene = Scene("a")
    scene.hear("a", busy("1", 1, reported_load=0.69))
    assert codes(scene) == []
    scene.hear("a", busy("1", 1, reported_load=0.7))
    assert text(scene) == "callers get nobody: all workers full"


def test_workers_that_do_not_accept_neither_fill_nor_free_an_agent():
    scene = Scene("a", "b")
    scene.hear("a", busy("1", 5))
    scene.hear("b", busy("2", 1, state="draining"))
    assert (codes(scene, "a"), codes(scene, "b")) == (["saturated"], [])


def test_a_lost_worker_frees_nobody():
    scene = Scene("a", "b")
    scene.hear("a", busy("1", 5))
    scene.hear("b", busy("2", 1))
    assert codes(scene) == []
    scene.die("b")
    assert codes(scene) == ["saturated"]


def test_a_deployment_is_an_agent_of_its_own():
    from openrtc_worker.contract.snapshot import LiveKitInfo

    scene = Scene("a", "b")
    scene.hear("a", busy("1", 5))
    scene.hear("b", busy("2", 0, livekit=LiveKitInfo(agent_name="", deployment="blue")))
    assert codes(scene, "a") == ["saturated"]


# -- losing offers -----------------------------------------------------------------------------------------------


def test_offers_that_are_being_lost_are_found_for_a_minute():
    scene = Scene("a")
    scene.hear("a", report())
    scene.hear("a", report(counts={"offers_lost": 2}))
    assert text(scene) == "losing offers: 2 so far"
    scene.wait(59, hearing="a")
    assert codes(scene) == ["losing_offers"]
    scene.wait(2, hearing="a")
    assert codes(scene) == []


def test_offers_lost_before_anybody_looked_are_no_news():
    scene = Scene("a")
    scene.hear("a", report(counts={"offers_lost": 2}))
    assert codes(scene) == []


# -- the boot before ---------------------------------------------------------------------------------------------


def test_calls_of_a_boot_that_nobody_here_saw_are_told_on_its_successor():
    scene = Scene("a")
    scene.hear("a", report("two", died=("one", 3)))
    assert (codes(scene), text(scene)) == (["previous_boot"], "its boot before this one dropped 3 calls")


def test_a_boot_that_was_seen_has_a_verdict_of_its_own_instead():
    scene = Scene("a")
    scene.hear("a", report("one", live=3))
    scene.hear("a", report("two", died=("one", 3)))
    assert codes(scene) == []


# -- the worker's own --------------------------------------------------------------------------------------------


def test_known_codes_are_worded_and_unknown_ones_shown_as_they_are():
    scene = Scene("a")
    scene.hear("a", report(findings=["foreign", "gone_fishing", "", "foreign"]))
    assert [(finding.code, finding.text) for finding in scene.row("a").findings] == [
        ("foreign", "membership is not valid"),
        ("gone_fishing", "gone_fishing"),
    ]


def test_what_both_sides_find_is_said_once():
    scene = Scene("a")
    scene.hear("a", report(live=1, counts={"started": 9}, findings=["contradiction"]))
    assert codes(scene) == ["contradiction"]


def test_a_worker_cannot_flood_the_screen():
    scene = Scene("a")
    scene.hear("a", report(findings=[f"code-{number}" for number in range(1000)]))
    assert len(codes(scene)) == 8
