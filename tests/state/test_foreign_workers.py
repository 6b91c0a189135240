"""Membership in the picture of a fleet: who belongs, who cannot pass for another, and what a clock has to do with it.

The attacker of these tests is a worker of v1 that holds everything v1 holds: its secret, its place in the fleet file,
and whatever it read from workers of v2. All tokens are real; only the time is moved by hand.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrtc_tui.operations.capacity import accepts
from openrtc_tui.state.membership import CLAIM_LIFE, CLOCKS_APART
from openrtc_worker.contract.membership import FleetVerifier, derive_version_secret, sign_membership
from openrtc_worker.contract.snapshot import LiveKitInfo, MembershipClaim, RuntimeSnapshot
from tests.state.scenes import START, Scene, report

MASTER = "a master of these tests"
SECRETS = {version: derive_version_secret(MASTER, version) for version in ("v1", "v2")}
AWAY = 100 * CLAIM_LIFE


class CountingVerifier(FleetVerifier):
    """Counts how often it was asked."""

    asked = 0

    def is_signed(self, **claim: Any) -> bool:
        self.asked += 1
        return super().is_signed(**claim)


def verifier(*masters: str) -> CountingVerifier:
    return CountingVerifier(masters=masters or (MASTER,), clock=lambda: pytest.fail("the clock is not asked"))


def claim(version: str, worker_id: str, at: float, secret: str | None = None) -> MembershipClaim:
    token = sign_membership(
        version=version, worker_id=worker_id, timestamp=at, secret=SECRETS[version] if secret is None else secret
    )
    return MembershipClaim(version=version, worker_id=worker_id, timestamp=at, token=token)


def member(boot: str, version: str, at: float, **fields: Any) -> RuntimeSnapshot:
    """What a worker that belongs reports at *at*: a fresh claim of its own."""
    shown = fields.pop("membership", None) or claim(version, f"worker-of-{boot}", at)
    return report(boot, version=version, membership=shown, timestamp=at, max_sessions=10, **fields)


def scene(*keys: str) -> Scene:
    return Scene(*keys, verifier=verifier())


def is_counted(scene: Scene, key: str) -> bool:
    """Whether anything at all takes *key* for capacity."""
    row = scene.row(key)
    room = {line.version: line.room for line in scene.view().versions}.get(row.version)
    return row.ready_to_take or accepts(row) or bool(row.verified and row.actionable) or bool(room)


def codes(scene: Scene, key: str) -> set[str]:
    return {finding.code for finding in scene.row(key).findings}


# ------------------------------------------------------------------------------------------------ who belongs


def test_a_worker_that_signs_for_its_own_version_is_verified_and_ready():
    it = scene("a")
    it.hear("a", member("b1", "v1", it.now))
    row = it.row("a")
    assert (row.verified, row.ready_to_take, row.actionable, row.findings) == (True, True, True, ())
    assert is_counted(it, "a")


def test_without_masters_nothing_is_verified_and_everybody_counts():
    it = Scene("a")
    it.hear("a", report("b1"))
    row = it.row("a")
    assert (row.verified, row.ready_to_take) == (None, True)


def test_either_of_two_masters_is_enough_while_they_are_changed():
    it = Scene("a", "b", verifier=verifier("new", MASTER))
    it.hear("a", member("b1", "v1", it.now))
    new = claim("v1", "worker-of-b2", it.now, derive_version_secret("new", "v1"))
    it.hear("b", member("b2", "v1", it.now, membership=new))
    assert it.row("a").verified
    assert it.row("b").verified


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (None, "shows no membership"),
        (MembershipClaim(), "shows no membership"),
        (claim("v1", "worker-of-b1", START), "its membership is for v1"),
        (claim("v2", "worker-of-other", START), "of another worker"),
        (claim("v2", "worker-of-b1", START, SECRETS["v1"]), "not signed for v2"),
        (claim("v2", "worker-of-b1", START, MASTER), "not signed for v2"),
        (
            MembershipClaim(version="v2", worker_id="worker-of-b1", timestamp=START, token="0" * 64),
            "not signed for v2",
        ),
    ],
    ids=["none", "empty", "own version", "other worker", "v1's secret", "raw master", "made up"],
)
def test_a_worker_of_v1_cannot_claim_v2_with_what_it_has(shown, said):
    it = scene("a")
    it.hear("a", report("b1", version="v2", membership=shown, max_sessions=10))
    row = it.row("a")
    assert [(finding.code, said in finding.text) for finding in row.findings] == [("foreign", True)]
    assert (row.verified, row.ready_to_take, row.actionable) == (False, False, False)
    assert not is_counted(it, "a")


def test_a_boot_that_was_heard_as_v2_cannot_be_verified_as_v1_later():
    """The row says v2 for good, so a good claim for v1 must not make it a verified v2."""
    it = scene("a")
    it.hear("a", report("b1", version="v2", membership=claim("v1", "worker-of-b1", it.now)))
    it.now += 1
    it.hear("a", member("b1", "v1", it.now))
    assert (it.row("a").version, it.row("a").verified) == ("v2", False)
    assert not is_counted(it, "a")


def test_a_worker_that_does_not_belong_is_told_once():
    it = scene("a", "b")
    for _ in range(3):
        for key in "ab":
            it.hear(key, report(f"b-{key}"))
        it.wait(3, hearing=["a", "b"])
    assert it.lines() == ["not of this fleet: a, b | shows no membership"]


# ------------------------------------------------------------------------- tokens that somebody read and replays


def replay(it: Scene, key: str, read: RuntimeSnapshot) -> None:
    """The worker of v1 at *key* shows all that it read from a worker of v2."""
    it.hear(key, read)


def test_a_replayed_token_makes_both_duplicates_and_neither_counts():
    it = scene("good", "bad")
    original = member("b2", "v2", it.now)
    it.hear("good", original)
    replay(it, "bad", original)
    for key in ("good", "bad"):
        assert "duplicate_id" in codes(it, key)
        assert not it.row(key).ready_to_take
        assert not it.row(key).actionable
    assert not {line.version: line.room for line in it.view().versions}["v2"]


def test_whoever_shows_it_first_gains_nothing():
    it = scene("good", "bad")
    original = member("b2", "v2", it.now)
    replay(it, "bad", original)
    it.now += 1
    it.hear("good", member("b2", "v2", it.now))
    assert not it.row("bad").ready_to_take
    it.die("good")  # or it is cut off, while the other one still has what it read last
    assert not is_counted(it, "bad")
    it.wait(CLAIM_LIFE + 5, hearing=["bad"])
    assert "foreign" in codes(it, "bad")


def test_a_replay_does_not_count_when_the_one_that_was_read_has_been_killed():
    it = scene("good", "bad")
    it.hear("good", member("b2", "v2", it.now))
    it.now += 1
    newest = member("b2", "v2", it.now)  # read by the other worker, and never heard by us
    it.die("good")
    replay(it, "bad", newest)
    assert "duplicate_id" in codes(it, "bad")
    assert not is_counted(it, "bad")


def test_a_replay_does_not_count_when_the_one_that_was_read_took_its_leave():
    it = scene("good", "bad")
    last = member("b2", "v2", it.now)
    it.hear("good", last, bye=True)
    it.now += 1
    replay(it, "bad", last)
    assert "went back in time" in it.row("bad").findings[0].text
    assert not is_counted(it, "bad")


def test_a_replay_by_the_next_boot_at_the_same_address_does_not_count():
    """A rollback in place: v1 starts where v2 ran, and shows what v2 showed, under a boot id of its own."""
    it = scene("a")
    shown = member("b2", "v2", it.now)
    it.hear("a", shown)
    it.now += 2
    it.hear("a", member("evil", "v2", it.now, membership=shown.membership, worker_id="worker-of-b2"))
    assert "foreign" in codes(it, "a")
    assert not is_counted(it, "a")


def test_a_token_that_stands_still_goes_stale_whatever_is_sent_with_it():
    """Of a worker that the fleet file does not name: nobody else shows its identity here."""
    it = scene("bad")
    read = claim("v2", "worker-of-b2", it.now)
    end = it.now + CLAIM_LIFE + 15
    while it.now < end:
        it.now += 5
        it.hear("bad", member("b2", "v2", it.now, membership=read, seq=int(it.now)))
    assert "again and again" in it.row("bad").findings[0].text
    assert not is_counted(it, "bad")


def test_a_claim_that_was_shown_before_does_not_count_again():
    it = scene("bad")
    first = member("b2", "v2", it.now, seq=1)
    it.hear("bad", first)
    it.now += 10
    it.hear("bad", member("b2", "v2", it.now, seq=2))
    assert is_counted(it, "bad")
    it.now += 1
    it.hear("bad", member("b2", "v2", it.now, seq=3, membership=first.membership))
    assert "went back in time" in it.row("bad").findings[0].text
    assert not is_counted(it, "bad")


def test_a_token_that_stands_still_goes_stale_on_heartbeats_alone():
    it = scene("bad")
    it.hear("bad", member("b2", "v2", it.now))
    it.wait(CLAIM_LIFE + 5, hearing=["bad"])
    assert "foreign" in codes(it, "bad")
    assert not is_counted(it, "bad")


def test_an_old_token_never_counts_for_an_instant():
    it = scene("bad")
    it.hear("bad", member("b2", "v2", it.now, membership=claim("v2", "worker-of-b2", it.now - CLOCKS_APART - 1)))
    assert codes(it, "bad") == {"wrong_clock"}
    assert not is_counted(it, "bad")
    it.wait(CLAIM_LIFE + 5, hearing=["bad"])
    assert codes(it, "bad") == {"foreign"}


def test_a_recorded_stream_replayed_later_never_counts():
    it = scene("bad")
    recorded = [member("b2", "v2", START + second) for second in range(0, 200, 5)]
    it.now += 300
    for read in recorded:
        it.hear("bad", read)
        assert not is_counted(it, "bad")
        it.now += 5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0.1, 20.0)), min_size=1, max_size=30))
def test_no_order_of_what_was_read_outlives_it(picks):
    """Whatever was read before the last worker of v2 was gone, in whatever order and pace: it passes for a time only.

    The bound is the life of a claim and what clocks may differ by, from the newest token on.
    """
    it = scene("bad")
    read = [member("b2", "v2", START - 30.0 + age) for age in range(31)]
    for index, pause in picks:
        it.hear("bad", read[index])
        if it.now > START + CLAIM_LIFE + CLOCKS_APART:
            assert not it.row("bad").ready_to_take
        it.now += pause
    it.now = max(it.now, START + CLAIM_LIFE + CLOCKS_APART + 1)
    it.hear("bad", read[-1])
    assert not is_counted(it, "bad")


# ------------------------------------------------------------------------------------------- those who do belong


def test_a_worker_with_nothing_to_tell_stays_verified():
    """Heartbeats every two seconds, a whole snapshot once a minute."""
    it = scene("a")
    for _ in range(10):
        it.hear("a", member("b1", "v1", it.now))
        it.wait(60, hearing=["a"])
        assert it.row("a").verified


def test_a_silent_worker_is_silent_and_not_foreign():
    it = scene("a")
    it.hear("a", member("b1", "v1", it.now))
    it.wait(AWAY)
    assert (it.row("a").state, it.row("a").verified, codes(it, "a")) == ("lost", True, set())


def test_a_verified_worker_counts_again_once_it_shows_a_newer_claim():
    it = scene("a")
    it.hear("a", member("b1", "v1", it.now))
    it.wait(CLAIM_LIFE + 5, hearing=["a"])
    assert not is_counted(it, "a")
    it.hear("a", member("b1", "v1", it.now))
    assert is_counted(it, "a")


@pytest.mark.parametrize("apart", [CLOCKS_APART + 30, -CLOCKS_APART - 30])
def test_a_wrong_clock_is_a_finding_of_its_own_and_never_foreign(apart):
    it = scene("a")
    for _ in range(30):
        it.hear("a", member("b1", "v1", it.now + apart))
        it.now += 10
        assert codes(it, "a") == {"wrong_clock"}
    row = it.row("a")
    assert "1m00s apart" in row.findings[0].text
    assert (row.verified, row.ready_to_take, row.actionable) == (False, False, True)


@pytest.mark.parametrize("drift", [2e-4, -2e-4])
def test_clocks_that_drift_apart_slowly_keep_it_verified(drift):
    it = scene("a")
    for step in range(200):
        it.now = START + step * 60
        it.hear("a", member("b1", "v1", it.now + drift * step * 60))
        assert it.row("a").verified


@pytest.mark.parametrize("drift", [2e-4, -2e-4])
def test_clocks_that_drifted_far_apart_are_wrong_and_never_foreign(drift):
    it = scene("a")
    found = set()
    for step in range(900):
        it.now = START + step * 600
        it.hear("a", member("b1", "v1", it.now + drift * step * 600))
        found |= codes(it, "a")
    assert found == {"wrong_clock"}


def test_who_left_the_fleet_file_leaves_nothing_to_be_remembered_by():
    it = scene("a", "b")
    for key in "ab":
        it.hear(key, member(f"b-{key}", "v1", it.now))
    it.targets("b")
    it.hear("b", member("b-next", "v1", it.now))
    known = [it.fleet.identities.newest(f"worker-of-{boot}") for boot in ("b-a", "b-b", "b-next")]
    assert known == [None, None, it.now]


def test_a_clock_that_is_set_a_little_is_no_replay():
    it = scene("a")
    it.hear("a", member("b1", "v1", it.now))
    it.hear("a", member("b1", "v1", it.now - 1.5))
    assert it.row("a").verified


def test_a_worker_restarts_as_itself():
    it = scene("a")
    it.hear("a", member("b1", "v1", it.now))
    it.now += 5
    it.hear("a", member("b2", "v1", it.now, membership=claim("v1", "host:1", it.now), worker_id="host:1"))
    it.now += 5
    it.hear("a", member("b3", "v2", it.now, membership=claim("v2", "host:1", it.now), worker_id="host:1"))
    assert it.row("a").verified


def test_a_worker_whose_target_is_renamed_stays_verified():
    from openrtc_tui.state.observation import Target

    it = scene("a")
    it.hear("a", member("b1", "v1", it.now))
    it.targets(Target("renamed", "http://a.test:9464"))
    assert it.row("renamed").verified
    it.now += 5
    it.hear("renamed", member("b1", "v1", it.now))
    assert it.row("renamed").verified


# ---------------------------------------------------------------------------------------------- what it costs


def test_a_token_is_checked_once():
    asked = verifier()
    it = Scene("a", verifier=asked)
    shown = member("b1", "v1", it.now)
    for _ in range(50):
        it.hear("a", shown)
        it.beat("a")
        it.view()
    assert asked.asked == 1


def test_foreign_workers_neither_hide_nor_make_a_saturation():
    """A foreign worker with room does not make full workers look as if there were room."""
    it = scene("a", "b")
    full = LiveKitInfo(connected=True, agent_name="booking", reported_load=0.9)
    it.hear("a", member("b1", "v1", it.now, livekit=full))
    it.hear("b", report("b2", agent="booking", max_sessions=10))
    assert "saturated" in codes(it, "a")
    assert codes(it, "b") == {"foreign"}


def test_two_of_one_identity_do_not_make_up_for_full_workers():
    it = Scene("a", "b", "c")
    full = LiveKitInfo(connected=True, agent_name="booking", reported_load=0.9)
    it.hear("a", report("b1", livekit=full))
    for key in ("b", "c"):
        it.hear(key, report(f"of-{key}", worker_id="twice", agent="booking"))
    assert "saturated" in codes(it, "a")
    it.hear("c", report("of-c", worker_id="once", agent="booking"))
    assert "saturated" not in codes(it, "a")
