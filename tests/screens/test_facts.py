"""The details of a worker, pure: everything it told, nothing it did not, and nothing that breaks the page."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.commands.dashboard import drains_go_on, show
from openrtc_tui.commands.exits import CommandError
from openrtc_tui.state.view import Verdict, VerdictWord, WorkerState
from openrtc_tui.widgets.facts import MOST_RAW_LINES, Read, fact_lines
from openrtc_tui.widgets.paint import Look, paint
from openrtc_worker.contract.snapshot import (
    LedgerCounts,
    LiveKitInfo,
    OpenCall,
    PlatformInfo,
    PreviousBoot,
    RuntimeSnapshot,
    SessionInfo,
)
from tests.screens import fleets

LOOK = Look(zone=UTC)
ROW = fleets.MID_DRAIN.rows[1]


def page(row=ROW, read: Read | None = None, width: int = 120) -> str:
    lines = fact_lines(row, read or Read(), fleets.AT, LOOK, width)
    return "\n".join("".join(span.text for span in line) for line in lines)


def told(**changes):
    assert ROW.snapshot is not None
    return replace(ROW, snapshot=msgspec.structs.replace(ROW.snapshot, **changes))


def test_a_ledger_that_does_not_balance_says_so() -> None:
    wrong = LedgerCounts(started=9, completed=1, failed=0, removed=0, cut=2, crashed=0, lost=0, active=4)
    text = page(told(ledger=wrong))
    assert "2 cut" in text
    assert "does not balance" in text
    assert "n/a launch failed" in text, "what is missing is not zero"


def test_where_it_runs_and_what_came_before() -> None:
    text = page(
        told(
            livekit=LiveKitInfo(connected=False),
            platform=PlatformInfo(kind="kubernetes", namespace="voice", pod="voice-a-2-x7", node="node-3"),
            previous_boot=PreviousBoot(boot_id="boot-0", open_calls=[OpenCall(room="r", job="j")]),
        )
    )
    assert "not connected" in text
    assert "kubernetes  voice  voice-a-2-x7  node-3" in text
    assert "boot boot-0 ended with 1 call live" in text


def test_calls_read_before_stay_when_reading_fails_and_grow_older() -> None:
    calls = (SessionInfo(job_id="AJ_1", room="room-1", age_seconds=60.0), SessionInfo(job_id="AJ_2", room="room-2"))
    text = page(read=Read(sessions=calls, sessions_at=fleets.AT - 30, sessions_problem="cannot be read: timeout"))
    assert "1m30s" in text
    assert "n/a" in text
    assert "cannot be read: timeout" in text


def test_a_worker_that_was_never_heard_has_a_short_page() -> None:
    row = replace(ROW, snapshot=None, raw=None, worker_id=None, boot_id=None, calls=0, age_seconds=None, via=None)
    text = page(replace(row, state=WorkerState.STARTING, by_agent={}, by_tenant={}, last_failure="no route"))
    assert "never" in text
    assert "no route" in text
    assert "SNAPSHOT" not in text
    assert "LIVE CALLS" not in text


@pytest.mark.parametrize("raw", [b"\xff\xfe not JSON", b"", b"{"])
def test_what_is_no_json_is_shown_as_it_came(raw: bytes) -> None:
    assert "SNAPSHOT, AS RECEIVED" in page(replace(ROW, raw=raw))


def test_a_very_long_snapshot_is_cut_and_says_so() -> None:
    raw = json.dumps({f"key-{number}": number for number in range(2_000)}).encode()
    text = page(replace(ROW, raw=raw))
    assert text.count("key-") == MOST_RAW_LINES - 1
    assert "lines more" in text.splitlines()[-1]


def test_odd_audit_events_do_not_break_the_page() -> None:
    events = (
        {"event": "call.cut", "timestamp": "yesterday", "actor": None, "result": "refused", "room": "r", "x": {}},
        {"timestamp": 1e300, "deadline": fleets.AT},
        {},
    )
    text = page(read=Read(audit=events))
    assert "call.cut" in text
    assert "refused" in text
    assert "deadline=14:06:04" in text


snapshots = st.builds(
    RuntimeSnapshot,
    deployment_version=st.none() | st.text(max_size=20),
    draining=st.booleans(),
    active_sessions=st.integers(-5, 10**9),
    timestamp=st.none() | st.floats(),
    uptime_seconds=st.none() | st.floats(),
    state=st.none() | st.text(max_size=10),
    rejected=st.none() | st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    ledger=st.none() | st.builds(LedgerCounts, started=st.none() | st.integers(), lost=st.none() | st.integers()),
    loop_lag_ms=st.none() | st.floats(allow_nan=True),
    livekit=st.none() | st.builds(LiveKitInfo, connected=st.none() | st.booleans(), connected_since=st.floats()),
)


@given(snapshots, st.sampled_from(WorkerState), st.sampled_from([80, 120]))
def test_no_snapshot_breaks_the_page(snapshot: RuntimeSnapshot, state: WorkerState, width: int) -> None:
    row = replace(ROW, snapshot=snapshot, state=state, oldest_seconds=None)
    for line in fact_lines(row, Read(), fleets.AT, LOOK, width):
        assert paint(line, width, LOOK).cell_length == width


def test_the_last_words_tell_what_goes_on() -> None:
    assert drains_go_on(fleets.STEADY) == "The dashboard is closed; the workers go on as they are."
    assert "5 workers go on draining, with 37 calls live" in drains_go_on(fleets.MID_DRAIN)
    one = replace(fleets.MID_DRAIN, rows=(fleets.worker("w", "v1", WorkerState.DRAINING, 1),))
    assert "1 worker goes on draining, with 1 call live" in drains_go_on(one)


def test_an_unknown_theme_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("OPENRTC_TUI_THEME", "pink")
    with pytest.raises(CommandError, match="expected one of") as error:
        show(str(tmp_path / "fleet.yaml"), read_only=False, ascii_only=False)
    assert error.value.code == 2


def test_a_verdict_that_is_over_is_told_in_the_details() -> None:
    violated = replace(ROW, verdict=Verdict(VerdictWord.VIOLATED, 2, 8))
    assert "2–8  VIOLATED" in page(violated)


def test_a_boot_that_is_over_has_no_live_calls_and_none_of_the_next_boots_events() -> None:
    gone = Read(sessions_problem="no longer in the fleet", audit_problem="no longer in the fleet")
    text = page(replace(ROW, state=WorkerState.EXITED, closed=True, calls=3), gone)
    assert "LIVE CALLS" not in text
    assert "AUDIT" not in text
    assert "no longer in the fleet" not in text
