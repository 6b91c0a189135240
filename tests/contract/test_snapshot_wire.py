"""The runtime snapshot on the wire: what a reader needs, ignores, refuses and cleans."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker.contract.snapshot import (
    VERSION_PATTERN,
    DrainInfo,
    LedgerCounts,
    LiveKitInfo,
    OpenCall,
    PreviousBoot,
    RuntimeSnapshot,
    SessionInfo,
    SessionList,
    SnapshotError,
    decode_sessions,
    decode_snapshot,
    encode_json,
)
from openrtc_worker.contract.text import is_plain

NEEDED = {"deployment_version": "v1", "draining": False, "active_sessions": 2}


def encoded(**fields):
    return json.dumps({**NEEDED, **fields}).encode()


def test_a_reader_needs_three_keys_and_takes_the_rest_as_not_available():
    snapshot = decode_snapshot(encoded())
    assert (snapshot.deployment_version, snapshot.draining, snapshot.active_sessions) == ("v1", False, 2)
    assert snapshot.ledger is None
    assert snapshot.load is None


@pytest.mark.parametrize("missing", NEEDED)
def test_without_one_of_the_three_it_is_no_snapshot(missing):
    with pytest.raises(SnapshotError, match=missing):
        decode_snapshot(json.dumps({key: value for key, value in NEEDED.items() if key != missing}).encode())


def test_keys_of_a_later_version_are_ignored_and_a_later_state_is_taken():
    snapshot = decode_snapshot(encoded(state="hibernating", weather={"sun": [1, {"deep": True}]}))
    assert snapshot.state == "hibernating"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"<html>502 Bad Gateway</html>",
        b"\xff\xfe",
        encoded(active_sessions="2"),
        encoded(active_sessions=True),
        encoded(active_sessions=-1),
        encoded(active_sessions=10**30),
        encoded(timestamp=1e300),
        encoded(ledger={"started": -3}),
        encoded(sessions_by_agent={"a": 10**40}),
        encoded()[:-1],
        encoded() + b"x",
        b'{"deployment_version":null,"draining":false,"active_sessions":1,"x":' + b"[" * 100_000,
        b'{"deployment_version":null,"draining":false,"active_sessions":1,"x":"\\ud800"}',
        b'{"deployment_version":null,"draining":false,"active_sessions":1,"load":NaN}',
        '{"deployment_version":"é","x":'.encode() + b'{"a":' * 2_000 + b"1" + b"}" * 2_001,
    ],
    ids=lambda data: repr(data[:60]),
)
def test_anything_else_is_one_line_that_says_what_is_wrong(data):
    with pytest.raises(SnapshotError) as refused:
        decode_snapshot(data)
    assert "\n" not in str(refused.value)
    assert str(refused.value)


def test_text_is_cleaned_and_clipped_where_it_is_decoded():
    hostile = encoded(worker_id="a\x1b[2Jb", last_error="x" * 5_000, sessions_by_tenant={"ac\u202eme": 1})
    snapshot = decode_snapshot(hostile)
    assert snapshot.worker_id == "a[2Jb"
    assert len(snapshot.last_error) == 256
    assert snapshot.sessions_by_tenant == {"acme": 1}


texts = st.text(max_size=40)
counts = st.none() | st.integers(0, 2**53)
numbers = st.none() | st.floats(-1e11, 1e11)
snapshots = st.builds(
    RuntimeSnapshot,
    deployment_version=st.none() | st.from_regex(VERSION_PATTERN, fullmatch=True),
    draining=st.booleans(),
    active_sessions=st.integers(0, 2**53),
    timestamp=numbers,
    worker_id=st.none() | texts,
    seq=counts,
    load=numbers,
    ledger=st.none() | st.builds(LedgerCounts, started=counts, cut=counts),
    drain=st.none() | st.builds(DrainInfo, actor=texts, deadline=numbers),
    livekit=st.none() | st.builds(LiveKitInfo, connected=st.none() | st.booleans(), agent_name=st.none() | texts),
    rejected=st.none() | st.dictionaries(texts, st.integers(0, 9), max_size=3),
    previous_boot=st.none()
    | st.builds(PreviousBoot, boot_id=texts, open_calls=st.lists(st.builds(OpenCall, room=texts), max_size=2)),
)


@given(snapshots)
def test_a_snapshot_of_printable_text_arrives_as_it_was_sent(snapshot):
    data = encode_json(snapshot)
    arrived = decode_snapshot(data)
    if is_plain(data):
        assert arrived == snapshot
    assert decode_snapshot(encode_json(arrived)) == arrived
    assert b"\n" not in data


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_raise_anything_but_a_snapshot_error(data):
    with contextlib.suppress(SnapshotError):
        decode_snapshot(data)


def test_the_keys_that_openrtc_has_too_lie_flat():
    snapshot = RuntimeSnapshot(deployment_version="v1", draining=True, active_sessions=1)
    shared = """
        timestamp uptime_seconds registered_agents active_sessions total_sessions_started total_session_failures
        last_routed_agent last_error sessions_by_agent sessions_by_tenant deployment_version draining resident_set
    """
    for key in shared.split():
        assert key in snapshot.to_dict()


def test_what_only_tells_the_time_is_no_change_and_everything_else_is():
    before = RuntimeSnapshot(deployment_version="v1", draining=False, active_sessions=1, seq=1)
    later = msgspec.structs.replace(
        before,
        seq=2,
        timestamp=9.0,
        uptime_seconds=8.0,
        oldest_session_seconds=7.0,
        session_ages=[1],
        loop_lag_ms=2.0,
    )
    assert before.without_time() == later.without_time()
    for field, value in {
        "draining": True,
        "active_sessions": 2,
        "last_error": "x",
        "rejected": {"capacity": 1},
    }.items():
        assert before.without_time() != msgspec.structs.replace(before, **{field: value}).without_time()


def test_the_ledger_balances_only_when_all_its_terms_are_there():
    whole = LedgerCounts(started=7, completed=1, failed=1, removed=1, cut=1, crashed=1, lost=1, active=1)
    assert whole.balanced is True
    assert msgspec.structs.replace(whole, started=8).balanced is False
    assert msgspec.structs.replace(whole, lost=None).balanced is None
    assert LedgerCounts().balanced is None


def test_dropped_is_cut_and_crashed_and_lost_and_never_failed():
    assert LedgerCounts(failed=9, removed=9, cut=1, crashed=2, lost=4).dropped == 7


def test_half_a_character_in_an_error_s_text_does_not_silence_the_worker():
    snapshot = RuntimeSnapshot(
        deployment_version="v1", draining=False, active_sessions=1, last_error="no file \udcff.wav"
    )
    assert decode_snapshot(encode_json(snapshot)).last_error == "no file .wav"


def test_what_json_does_not_know_is_sent_as_its_text():
    assert encode_json({"error": OSError("gone")}) == b'{"error":"gone"}'


def test_a_list_of_sessions_arrives_and_is_cleaned():
    sent = SessionList(
        boot_id="b", sessions=[SessionInfo(job_id="AJ_1", room="r\x1b]0;x\x07", callers=0, alone_since=5.0)]
    )
    (session,) = decode_sessions(encode_json(sent)).sessions
    assert (session.job_id, session.room, session.callers, session.alone_since) == ("AJ_1", "r]0;x", 0, 5.0)
    with pytest.raises(SnapshotError):
        decode_sessions(b'{"sessions":[{}]}')
