"""The worker's numbers for Prometheus, computed from the runtime snapshot when they are asked for.

What the snapshot does not know (null) is not exported: a missing series says *not available*, a zero would lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, StateSetMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from openrtc_worker.contract.snapshot import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from openrtc_worker.contract.snapshot import RuntimeSnapshot

OUTCOMES: Final = ("completed", "failed", "removed", "cut", "crashed", "lost")


class SnapshotCollector(Collector):
    """Metrics of one worker boot.

    Args:
        get_snapshot: the worker's state now; called at every scrape.
        control_requests: control requests so far by (action, result).
        by_tenant: also export active sessions by tenant. The number of tenants is not bounded, so this is asked for.
    """

    def __init__(
        self,
        get_snapshot: Callable[[], RuntimeSnapshot],
        *,
        control_requests: Callable[[], Mapping[tuple[str, str], int]],
        by_tenant: bool = False,
    ) -> None:
        self._get_snapshot = get_snapshot
        self._control_requests = control_requests
        self._by_tenant = by_tenant

    def collect(self) -> Iterator[Metric]:
        """Every metric family that the snapshot has a value for."""
        snapshot = self._get_snapshot()
        yield from _worker(snapshot)
        yield from _sessions(snapshot)
        if self._by_tenant:
            yield from _labelled(
                GaugeMetricFamily("openrtc_tenant_active_sessions", "Live calls by tenant", labels=["tenant"]),
                snapshot.sessions_by_tenant,
            )
        yield from _calls_ended(snapshot)
        yield from _drain(snapshot)
        requests = CounterMetricFamily(
            "openrtc_control_requests", "Requests that act, by action and result", labels=["action", "result"]
        )
        for (action, result), count in sorted(self._control_requests().items()):
            requests.add_metric([action, result], count)
        yield requests


def registry_of(collector: SnapshotCollector) -> CollectorRegistry:
    """A registry of its own for *collector*: what else the process exports stays out of it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def render(registry: CollectorRegistry, accept: str | None) -> tuple[bytes, str]:
    """The metrics as bytes and their content type: OpenMetrics when *accept* (the header) prefers it, else text."""
    quality = _qualities(accept or "")
    openmetrics = quality.get("application/openmetrics-text", 0.0)
    if openmetrics > 0 and openmetrics >= quality.get("text/plain", 0.0):
        return generate_openmetrics(registry), CONTENT_TYPE_OPENMETRICS  # type: ignore[no-untyped-call]
    return generate_text(registry), CONTENT_TYPE_PLAIN_0_0_4


def _worker(snapshot: RuntimeSnapshot) -> Iterator[Metric]:
    link = snapshot.livekit
    yield InfoMetricFamily(
        "openrtc_worker",
        "The worker boot that these metrics are of",
        value={
            "worker_id": snapshot.worker_id or "",
            "boot_id": snapshot.boot_id or "",
            "deployment_version": snapshot.deployment_version or "",
            "agent_name": (link.agent_name if link else None) or "",
        },
    )
    if snapshot.state is not None:
        states = {state.value: state.value == snapshot.state for state in State}
        yield StateSetMetricFamily("openrtc_state", "Where the worker is in its life", value=states)
    yield from _gauge("openrtc_draining", "1 while draining, and for good after that", snapshot.draining)
    yield from _gauge("openrtc_accepting", "1 while new calls are accepted", snapshot.accepting)
    yield from _gauge(
        "openrtc_livekit_connected", "1 while registered with LiveKit", link.connected if link else None
    )
    lag = snapshot.loop_lag_ms
    yield from _gauge(
        "openrtc_loop_lag_seconds", "How late the event loop runs", lag / 1_000 if lag is not None else None
    )


def _sessions(snapshot: RuntimeSnapshot) -> Iterator[Metric]:
    active = GaugeMetricFamily("openrtc_active_sessions", "Live calls by agent", labels=["agent"])
    by_agent = dict(snapshot.sessions_by_agent or {})
    # the sum over agents is always the number of live calls, and an idle worker has a series that says 0
    unattributed = snapshot.active_sessions - sum(by_agent.values())
    if unattributed > 0 or not by_agent:
        by_agent[""] = by_agent.get("", 0) + max(0, unattributed)
    yield from _labelled(active, by_agent)
    yield from _gauge("openrtc_max_sessions", "Calls that this worker takes at once", snapshot.max_sessions)
    yield from _gauge(
        "openrtc_sessions_without_caller", "Live calls with nobody on the line", snapshot.sessions_without_caller
    )
    yield from _gauge(
        "openrtc_oldest_session_age_seconds", "Age of the oldest live call", snapshot.oldest_session_seconds
    )


def _calls_ended(snapshot: RuntimeSnapshot) -> Iterator[Metric]:
    ledger = snapshot.ledger
    if ledger is not None:
        if ledger.started is not None:
            yield CounterMetricFamily("openrtc_sessions_started", "Calls started in this boot", value=ledger.started)
        ended = {outcome: getattr(ledger, outcome) for outcome in OUTCOMES}
        yield from _labelled(
            CounterMetricFamily("openrtc_sessions_ended", "Calls ended in this boot, by outcome", labels=["outcome"]),
            {outcome: count for outcome, count in ended.items() if count is not None},
        )
        if ledger.offers_lost is not None:
            yield CounterMetricFamily(
                "openrtc_offers_lost", "Calls taken too late: the caller most likely got nobody", ledger.offers_lost
            )
    yield from _labelled(
        CounterMetricFamily("openrtc_jobs_rejected", "Calls refused and passed on, by reason", labels=["reason"]),
        snapshot.rejected,
    )


def _drain(snapshot: RuntimeSnapshot) -> Iterator[Metric]:
    drain = snapshot.drain
    if drain is None:
        return
    yield from _gauge("openrtc_drain_started_timestamp_seconds", "When the drain began", drain.started_at)
    yield from _gauge(
        "openrtc_drain_deadline_timestamp_seconds", "When the calls that are left are cut", drain.deadline
    )


def _gauge(name: str, documentation: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, documentation, value=float(value))


def _labelled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, int] | None) -> Iterator[Metric]:
    if values is None:
        return
    for label, value in sorted(values.items()):
        family.add_metric([label], value)
    yield family


def _qualities(accept: str) -> dict[str, float]:
    """The best quality of each media type in an Accept header (RFC 9110, 12.5.1); what is malformed counts as 0."""
    result: dict[str, float] = {}
    for item in accept.split(","):
        media, *parameters = (part.strip() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        result[media.lower()] = max(quality, result.get(media.lower(), 0.0))
    return result
