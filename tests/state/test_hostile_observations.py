"""Whatever a worker claims: folding never raises, and what is shown of it adds up."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from openrtc_tui.state.fleet import Fleet, fold, view
from openrtc_tui.state.observation import (
    AuditSeen,
    ContactFailed,
    HeartbeatSeen,
    NoticeSeen,
    SnapshotSeen,
    Target,
    TargetsSeen,
)
from openrtc_tui.state.peers import Peers
from openrtc_tui.state.verdict import is_open
from openrtc_tui.state.versions import Versions, share_of
from openrtc_tui.state.view import FleetView, VerdictWord
from openrtc_worker.contract.snapshot import (
    DrainInfo,
    LedgerCounts,
    LiveKitInfo,
    OpenCall,
    PreviousBoot,
    RuntimeSnapshot,
    SnapshotError,
    decode_snapshot,
)
from tests.state.scenes import START, utc

KEYS = ("a", "b", "c")
BOOTS = ("x", "y", "z")

counts = st.one_of(st.integers(0, 3), st.integers(-5, 5), st.sampled_from([2**53, 10**30, -(10**30)]))
numbers = st.one_of(
    st.floats(0, 100), st.floats(), st.sampled_from([0.0, -1.0, START, math.nan, math.inf, -math.inf, 1e300])
)
texts = st.one_of(
    st.sampled_from(["", "system", "alice", "booking", "v1", "v2", "{names}", "[/x]", "\x1b[2J"]), st.text(max_size=5)
)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(st.none(), strategy)


ledgers = st.builds(LedgerCounts, **{name: maybe(counts) for name in LedgerCounts.__struct_fields__})
snapshots = st.builds(
    RuntimeSnapshot,
    deployment_version=maybe(st.sampled_from(["v1", "v2", "v3", "", "-"])),
    draining=st.booleans(),
    active_sessions=counts,
    timestamp=maybe(numbers),
    uptime_seconds=maybe(numbers),
    total_sessions_started=maybe(counts),
    sessions_by_agent=maybe(st.dictionaries(texts, counts, max_size=2)),
    worker_id=maybe(st.sampled_from(["", "w", "u"])),
    boot_id=maybe(st.sampled_from(["", *BOOTS])),
    seq=maybe(counts),
    state=maybe(st.sampled_from(["starting", "serving", "cordoned", "draining", "drained", "exited", "odd", ""])),
    accepting=maybe(st.booleans()),
    max_sessions=maybe(counts),
    load=maybe(numbers),
    ledger=maybe(ledgers),
    oldest_session_seconds=maybe(numbers),
    drain=maybe(st.builds(DrainInfo, source=texts, actor=texts, started_at=maybe(numbers), deadline=maybe(numbers))),
    livekit=maybe(
        st.builds(LiveKitInfo, agent_name=maybe(texts), deployment=maybe(texts), reported_load=maybe(numbers))
    ),
    previous_boot=maybe(
        st.builds(
            PreviousBoot,
            boot_id=st.sampled_from(["", *BOOTS]),
            open_calls=st.lists(st.builds(OpenCall), max_size=3),
            clean_exit=st.booleans(),
        )
    ),
    findings=maybe(st.lists(texts, max_size=3)),
    exit_code=maybe(counts),
)
keys = st.sampled_from(KEYS)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=5), inner, max_size=2)),
    max_leaves=4,
)
observations = st.one_of(
    st.builds(
        SnapshotSeen, keys, snapshots, st.just(b"{}"), via=st.sampled_from(["events", "poll"]), bye=st.booleans()
    ),
    st.builds(HeartbeatSeen, keys),
    st.builds(ContactFailed, keys, st.sampled_from(["refused", "broken", "timeout", "garbage"]), texts),
    st.builds(
        AuditSeen,
        keys,
        st.fixed_dictionaries(
            {},
            optional={
                "event": st.sampled_from(
                    ["worker.cordoned", "worker.uncordoned", "control.refused", "worker.rejected"]
                ),
                "actor": json_values,
                "action": json_values,
                "reason": json_values,
            },
        ),
    ),
    st.builds(NoticeSeen, texts, texts),
    st.lists(
        st.builds(Target, keys, st.sampled_from(["http://1", "http://2"]), listed=st.booleans()), max_size=4
    ).map(lambda targets: TargetsSeen(tuple(targets))),
)
steps = st.lists(
    st.tuples(observations, st.one_of(st.floats(0, 12), st.sampled_from([0.0, 0.0, -50.0, math.nan])), st.booleans()),
    max_size=25,
)
rollouts = st.sampled_from([None, ("v1", "v2"), ("v2", "v1")])


def played(script, rollout) -> tuple[Fleet, float, FleetView]:
    """A fleet after *script*, the time, and its view."""
    fleet = Fleet("voice", rollout=rollout, clock_text=utc)
    now = START
    fold(fleet, TargetsSeen(tuple(Target(key, f"http://{key}") for key in KEYS)), now)
    for observation, passing, looks in script:
        now = now + passing if math.isfinite(passing) else now
        fold(fleet, observation, passing if math.isnan(passing) else now)
        if looks:
            assert_adds_up(view(fleet, now))
    shown = view(fleet, now)
    assert_adds_up(shown)
    return fleet, now, shown


def assert_adds_up(shown: FleetView) -> None:
    assert len({row.key for row in shown.rows}) == len(shown.rows)
    assert 0 <= shown.heard <= shown.targets
    verdicts = [shown.verdict, *(row.verdict for row in shown.rows)]
    for verdict in verdicts:
        assert 0 <= verdict.confirmed <= verdict.possible
        if verdict.word is VerdictWord.PROVEN:
            assert (verdict.possible, verdict.exact) == (0, True)
        if verdict.word is VerdictWord.UNPROVEN:
            assert verdict.possible or not verdict.exact, "a bare zero"
        assert (verdict.word is VerdictWord.VIOLATED) <= (verdict.confirmed > 0)
    for row in shown.rows:
        assert row.calls is None or row.calls >= 0
        for number in (row.oldest_seconds, row.age_seconds, row.load, row.deadline, row.drain_started_at):
            assert number is None or math.isfinite(number)
        assert row.age_seconds is None or row.age_seconds >= 0
    for line in shown.versions:
        assert line.calls >= 0
        assert sum(number for _, number in line.by_state) == line.workers
    rollout = shown.rollout
    if rollout is not None and shown.verdict.word is VerdictWord.PROVEN:
        leaving = [row for row in shown.rows if row.version == rollout.from_version]
        assert not any(is_open(row) for row in leaving)
        assert not any(row.verdict.confirmed for row in leaving if not row.closed)


@settings(max_examples=150, deadline=None)
@given(steps, rollouts)
def test_no_claim_raises_and_every_view_adds_up(script, rollout):
    played(script, rollout)


@settings(max_examples=150, deadline=None)
@given(steps, rollouts)
def test_what_was_kept_from_earlier_is_what_would_be_reckoned_anew(script, rollout):
    """Rows, roll-up, order, verdict and reason are kept between views; dropping it all changes nothing but ages."""
    fleet, now, shown = played(script, rollout)
    fleet.order = fleet.judgement = None
    anew = Versions()
    peers = Peers()
    for key, worker in fleet.workers.items():
        worker.row = None
        for boot in worker.past:
            boot.row = None
        peers.show(key, worker.claim())
    for key, worker in fleet.workers.items():
        boot = worker.boot
        assert peers.is_duplicate(key) == fleet.peers.is_duplicate(key)
        assert peers.is_saturated(key) == fleet.peers.is_saturated(key)
        twice = boot is not None and boot.boot_id is not None and fleet.boots.get(boot.boot_id) is not boot
        anew.take(key, share_of(worker, calls=not twice, capacity=not peers.is_duplicate(key)))
    again = view(fleet, now)

    def without_ages(one: FleetView) -> FleetView:
        rows = [replace(row, age_seconds=None, oldest_seconds=None, trend=()) for row in one.rows]
        lines = [replace(line, trend=(), last_started_at=None) for line in one.versions]
        return replace(one, rows=tuple(rows), versions=tuple(lines))

    pair = (shown.rollout.from_version, shown.rollout.to_version) if shown.rollout is not None else None
    lines = [replace(line, trend=(), last_started_at=None) for line in anew.lines(pair, now)]
    assert lines == list(without_ages(shown).versions)
    assert without_ages(again) == without_ages(shown)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(RuntimeSnapshot.__struct_fields__), json_values), st.booleans())
def test_any_json_that_decodes_can_be_folded(body, bye):
    body = {"deployment_version": "v1", "draining": False, "active_sessions": 0} | body
    try:
        snapshot = decode_snapshot(json.dumps(body).encode())
    except SnapshotError:
        return
    fleet = Fleet("voice")
    fold(fleet, TargetsSeen((Target("a", "http://a"),)), START)
    fold(fleet, SnapshotSeen("a", snapshot, msgspec.json.encode(snapshot), bye=bye), START)
    assert_adds_up(view(fleet, START))
