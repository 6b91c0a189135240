"""What became of a single request that was interrupted, told from what its worker shows."""

from __future__ import annotations

import msgspec
import pytest

from openrtc_tui.operations.settling import audit_events, boot_of, judge
from openrtc_worker.contract.snapshot import DrainInfo
from tests.operations.views import row, view

REQUEST = {
    "op_id": "op-1",
    "action": "drain",
    "timestamp": 500.0,
    "subject": {"key": "a-1", "boot_id": "boot"},
}
OTHER = {"seq": 1, "timestamp": 400.0, "event": "deployment.started"}


def test_the_boot_is_found_wherever_it_is_now():
    assert boot_of(REQUEST, view(row("b-1", boot_id="x"), row("a-2", boot_id="boot"))).key == "a-2"
    assert boot_of(REQUEST, view(row("a-1", boot_id="another"))) is None


def test_a_boot_that_is_gone_leaves_it_unknown():
    assert judge(REQUEST, None, None) == ("unknown", "interrupted: that boot is gone, it may have taken the drain")


def test_a_drain_is_known_by_the_snapshot_alone():
    drained = row("a-1")
    shown = msgspec.structs.replace(drained.snapshot, drain=DrainInfo(source="http", op_id="op-1"))
    object.__setattr__(drained, "snapshot", shown)
    assert judge(REQUEST, drained, None)[0] == "started"


def test_nothing_is_said_before_the_audit_could_be_read():
    assert judge(REQUEST, row("a-1"), None) is None


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([OTHER, {"seq": 2, "timestamp": 501.0, "op_id": "op-1"}], "started"),
        ([OTHER], "unreached"),
        ([], "unreached"),
        ([{"seq": 40, "timestamp": 499.0}], "unreached"),
        ([{"seq": 40, "timestamp": 600.0}], "unknown"),
        ([{"seq": 40, "timestamp": "yesterday"}], "unknown"),
        ([{}], "unknown"),
    ],
)
def test_an_audit_that_reaches_back_tells_and_a_shorter_one_does_not(events, outcome):
    assert judge(REQUEST, row("a-1"), events)[0] == outcome


@pytest.mark.parametrize("body", [b"", b"[]", b'{"events": 3}', b"\xff", b"[" * 100_000])
def test_an_audit_that_makes_no_sense_is_none(body):
    assert audit_events(body) is None
