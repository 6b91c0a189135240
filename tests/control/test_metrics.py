"""The worker's numbers for Prometheus: exactly the listed ones, none that are not known, in both formats."""

from __future__ import annotations

import re

import msgspec
import prometheus_client
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from openrtc_worker.contract.snapshot import DrainInfo, RuntimeSnapshot
from openrtc_worker.metrics import SnapshotCollector, registry_of, render
from tests.control.fake_target import FakeTarget

LISTED = {
    "openrtc_worker_info",
    "openrtc_state",
    "openrtc_draining",
    "openrtc_accepting",
    "openrtc_livekit_connected",
    "openrtc_active_sessions",
    "openrtc_max_sessions",
    "openrtc_sessions_started_total",
    "openrtc_sessions_ended_total",
    "openrtc_jobs_rejected_total",
    "openrtc_offers_lost_total",
    "openrtc_sessions_without_caller",
    "openrtc_drain_started_timestamp_seconds",
    "openrtc_drain_deadline_timestamp_seconds",
    "openrtc_oldest_session_age_seconds",
    "openrtc_loop_lag_seconds",
    "openrtc_control_requests_total",
}


def full_target():
    target = FakeTarget()
    target.change(drain=DrainInfo(started_at=1_700_000_100.0, deadline=1_700_003_700.25))
    return target


def rendered(target, accept=None, **settings):
    requests = {("drain", "started"): 1, ("drain", "token"): 3}
    collector = SnapshotCollector(target.runtime_snapshot, control_requests=lambda: requests, **settings)
    body, content_type = render(registry_of(collector), accept)
    return body.decode(), content_type


def samples(target, **settings):
    families = parse_text(rendered(target, **settings)[0])
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_exactly_the_listed_metrics_are_exported():
    assert {name for name, *_ in samples(full_target())} == LISTED


def test_the_values_are_those_of_the_snapshot():
    values = samples(full_target())
    assert values["openrtc_active_sessions", ("agent", "booking")] == 2
    assert values["openrtc_sessions_ended_total", ("outcome", "crashed")] == 1
    assert values["openrtc_sessions_ended_total", ("outcome", "completed")] == 4
    assert values["openrtc_sessions_started_total",] == 9
    assert values["openrtc_jobs_rejected_total", ("reason", "capacity")] == 5
    assert values["openrtc_offers_lost_total",] == 2
    assert values["openrtc_loop_lag_seconds",] == 0.004
    assert values["openrtc_oldest_session_age_seconds",] == 61.5
    assert values["openrtc_drain_deadline_timestamp_seconds",] == 1_700_003_700.25
    assert values["openrtc_control_requests_total", ("action", "drain"), ("result", "token")] == 3
    info = next(key for key in values if key[0] == "openrtc_worker_info")
    assert dict(info[1:]) == {
        "worker_id": "voice-a-1",
        "boot_id": "b00t1",
        "deployment_version": "v1.0.0",
        "agent_name": "voice",
    }
    states = {key[1][1]: value for key, value in values.items() if key[0] == "openrtc_state"}
    assert states == dict.fromkeys(["starting", "cordoned", "draining", "drained", "exited"], 0) | {"serving": 1}


def test_they_are_computed_when_they_are_asked_for():
    target = FakeTarget()
    assert samples(target)["openrtc_draining",] == 0
    target.change(draining=True)
    assert samples(target)["openrtc_draining",] == 1


def test_what_is_not_known_is_absent_and_not_zero():
    target = FakeTarget()
    target.snapshot = RuntimeSnapshot(deployment_version=None, draining=False, active_sessions=0)
    assert {name for name, *_ in samples(target)} == {
        "openrtc_worker_info",
        "openrtc_draining",
        "openrtc_active_sessions",
        "openrtc_control_requests_total",
    }


@pytest.mark.parametrize(
    ("active", "by_agent"), [(0, {}), (0, None), (2, None), (3, {"a": 1}), (1, {"a": 1}), (1, {"a": 3})]
)
def test_the_sum_over_agents_is_the_number_of_live_calls_and_an_idle_worker_says_zero(active, by_agent):
    target = FakeTarget()
    target.snapshot = msgspec.structs.replace(target.snapshot, active_sessions=active, sessions_by_agent=by_agent)
    found = [value for key, value in samples(target).items() if key[0] == "openrtc_active_sessions"]
    assert found
    assert sum(found) == max(active, sum((by_agent or {}).values()))


def test_tenants_only_when_asked_for():
    assert not any("tenant" in str(key) for key in samples(FakeTarget()))
    assert samples(FakeTarget(), by_tenant=True)["openrtc_tenant_active_sessions", ("tenant", "acme")] == 3


def test_the_registry_is_its_own():
    before = prometheus_client.generate_latest()
    rendered(full_target())
    assert prometheus_client.generate_latest().count(b"openrtc_") == before.count(b"openrtc_") == 0


PROMETHEUS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; version=9.9", True),
        ("application/openmetrics-text; q=0", False),
        ("application/openmetrics-text; q=0.1, text/plain; q=0.9", False),
        ("application/openmetrics-text; q=soon", False),
        (";;;,,=,q=", False),
        ("application/openmetrics-text; version=abc\x7f", True),
    ],
)
def test_openmetrics_when_it_is_preferred(accept, openmetrics):
    body, content_type = rendered(full_target(), accept)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain")
    assert body.endswith("# EOF\n") == openmetrics


def test_both_formats_parse_and_say_the_same():
    text, openmetrics = rendered(full_target())[0], rendered(full_target(), PROMETHEUS)[0]

    def values(families):
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    assert values(parse_text(text)) == values(parse_openmetrics(openmetrics))


def test_names_follow_the_rules_that_promtool_checks():
    """Counters end in _total and nothing else does, base units, snake case, no type in a name, and a help text."""
    for family in parse_text(rendered(full_target(), by_tenant=True)[0]):
        assert re.fullmatch(r"openrtc(_[a-z]+)+", family.name), family.name
        assert family.documentation
        assert not re.search(r"_(gauge|counter|summary|histogram|count|sum|bucket)(_|$)", family.name)
        assert not re.search(r"_(milliseconds|minutes|hours|ms|s|bytes_total)$", family.name)
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")


async def test_the_endpoint_serves_them_and_counts_itself(endpoint, alice):
    await endpoint.ask(alice, "cordon")
    response = await endpoint.client.get("/metrics", headers={"Accept": PROMETHEUS})
    assert response.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert 'openrtc_control_requests_total{action="cordon",result="started"} 1.0' in response.text
