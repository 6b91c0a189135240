"""The filter's language, and every way to sort."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.state.rows import SORT_KEYS, filter_rows, sort_rows
from openrtc_tui.state.view import Finding, WorkerRow, WorkerState
from openrtc_worker.contract.snapshot import LiveKitInfo, RuntimeSnapshot


def heard(agent_name: str | None = None) -> RuntimeSnapshot:
    return RuntimeSnapshot(
        deployment_version=None, draining=False, active_sessions=0, livekit=LiveKitInfo(agent_name=agent_name)
    )


def row(key: str, **fields) -> WorkerRow:
    return WorkerRow(**({"key": key, "target": key, "url": "http://x"} | fields))


FLEET = (
    row(
        "voice-a-1",
        version="v1.0.0",
        state=WorkerState.DRAINING,
        region="eu-west",
        calls=9,
        oldest_seconds=700.0,
        deadline=900.0,
        by_agent={"booking": 9},
        worker_id="pod-7",
        findings=(Finding("still_taking_calls", "took 2 calls after its drain began"),),
    ),
    row("voice-a-2", version="v1.0.0", state=WorkerState.LOST, region="us", calls=6, deadline=300.0),
    row("voice-b-1", version="v2.0.0", state=WorkerState.SERVING, region="eu-north", calls=9, oldest_seconds=30.0),
    row("voice-b-10", state=WorkerState.SERVING, calls=0, snapshot=heard("Billing")),
    row("voice-b-2", state=WorkerState.STARTING),
)


def keys(rows) -> list[str]:
    return [row.key for row in rows]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "a-1 a-2 b-1 b-10 b-2"),
        ("   ", "a-1 a-2 b-1 b-10 b-2"),
        ("voice-a", "a-1 a-2"),
        ("VOICE-A", "a-1 a-2"),
        ("version:v1", "a-1 a-2"),
        ("version:2.0", "b-1"),
        ("version:untagged", "b-10"),
        ("state:lost", "a-2"),
        ("state:DRAIN", "a-1"),
        ("state:lost,draining", "a-1 a-2"),
        ("region:eu", "a-1 b-1"),
        ("agent:booking", "a-1"),
        ("agent:billing", "b-10"),
        ("region:eu state:serving", "b-1"),
        ("!state:serving", "a-1 a-2 b-2"),
        ("!region:eu !state:lost", "b-10 b-2"),
        ("!voice-a", "b-1 b-10 b-2"),
        ("pod-7", "a-1"),
        ("still_taking", "a-1"),
        ("after its", "a-1"),
        ("nobody", ""),
        ("version:", "a-1 a-2 b-1 b-10 b-2"),
        ("!", "a-1 a-2 b-1 b-10 b-2"),
        ("!state:", "a-1 a-2 b-1 b-10 b-2"),
        ("state:,", "a-1 a-2 b-1 b-10 b-2"),
        ("STATE:lost", "a-2"),
        ("host:9464", ""),
    ],
)
def test_what_a_filter_finds(text, found):
    assert keys(filter_rows(FLEET, text)) == [f"voice-{name}" for name in found.split()]


def test_a_name_with_a_colon_is_found_as_it_is():
    assert keys(filter_rows((row("10.0.0.1:9464"), row("10.0.0.2:9464")), "0.1:94")) == ["10.0.0.1:9464"]


@given(st.text(), st.lists(st.sampled_from(FLEET), unique_by=lambda row: row.key))
def test_any_text_may_be_typed_and_its_inversion_finds_the_rest(text, rows):
    word = "".join(text.split())
    found, others = filter_rows(rows, word), filter_rows(rows, f"!{word}")
    assert set(keys(filter_rows(rows, text))) <= set(keys(rows))
    if not word.startswith("!") and found != tuple(rows):
        assert sorted(keys(found) + keys(others)) == sorted(keys(rows))


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("worker", "a-1 a-2 b-1 b-2 b-10"),
        ("version", "a-1 a-2 b-1 b-10 b-2"),
        ("state", "a-2 b-2 a-1 b-1 b-10"),
        ("calls", "a-1 b-1 a-2 b-10 b-2"),
        ("oldest", "a-1 b-1 a-2 b-10 b-2"),
        ("deadline", "a-2 a-1 b-1 b-10 b-2"),
    ],
)
def test_how_rows_are_sorted(key, order):
    assert keys(sort_rows(FLEET, key)) == [f"voice-{name}" for name in order.split()]


@given(st.permutations(FLEET), st.sampled_from(SORT_KEYS))
def test_sorting_is_stable_and_sorting_again_changes_nothing(rows, key):
    once = sort_rows(rows, key)
    assert sort_rows(once, key) == once
    assert sorted(keys(once)) == sorted(keys(rows))


def test_every_state_has_its_place():
    rows = [row(state, state=state) for state in WorkerState]
    assert keys(sort_rows(rows, "state"))[0] == "lost"
    assert keys(sort_rows(rows, "state"))[-1] == "exited"
