"""What the on-call engineer should know of a worker: found here, or told by the worker itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openrtc_tui.state.ending import findings_of_ending
from openrtc_tui.state.events import calls_text
from openrtc_tui.state.view import Finding, Severity

if TYPE_CHECKING:
    from openrtc_tui.state.boot import Boot
    from openrtc_tui.state.fleet import Fleet
    from openrtc_tui.state.worker import Worker

STILL_TAKING_CALLS: Final = "still_taking_calls"
CONTRADICTION: Final = "contradiction"
DUPLICATE_ID: Final = "duplicate_id"
SATURATED: Final = "saturated"
LOSING_OFFERS: Final = "losing_offers"
MANIFEST_CONFLICT: Final = "manifest_conflict"
MANIFEST_BEHIND: Final = "manifest_behind"
NOBODY_TAKES_CALLS: Final = "nobody_takes_calls"
PREVIOUS_BOOT: Final = "previous_boot"

MOST_OWN: Final = 8
"""Findings taken over from one worker."""

_OWN: Final[dict[str, tuple[str, Severity]]] = {
    "audit_sink_failing": ("its audit sink fails", "warning"),
    "call_file_failing": ("its call file cannot be written", "warning"),
    "caller_gone": ("a session with nobody on the line", "info"),
    "deadline_too_short": ("calls will outlast the deadline", "warning"),
    "foreign": ("membership is not valid", "bad"),
    "manifest_unreadable": ("its manifest file or URL gives none", "warning"),
    "not_answering": ("callers stay alone", "bad"),
    "second_signal_cuts": ("a second signal cuts its calls", "warning"),
    "session_observer_failing": ("a session observer fails", "warning"),
    "stuck": ("stuck", "warning"),
    "untagged": ("runs without a version", "info"),
}
"""Texts for codes that workers are known to send; any other code is shown as it is."""


def findings_of(fleet: Fleet, worker: Worker, boot: Boot, now: float) -> tuple[Finding, ...]:
    """All that is found of a worker at *now*, what the dashboard saw itself first, each code once.

    Args:
        fleet: what it has in common with others.
        worker: the worker.
        boot: its present boot.
        now: the time, seconds.
    """
    key, peers = worker.key, fleet.peers
    found: list[Finding] = []
    if worker.misfit is not None:
        found.append(Finding(worker.misfit.code, worker.misfit.text, "bad"))
    if peers.is_duplicate(key):
        found.append(Finding(DUPLICATE_ID, peers.duplicate_text(key), "bad"))
    faults = (*boot.faults, "two processes answer here") if worker.swaps else boot.faults
    if faults:
        found.append(Finding(CONTRADICTION, "; ".join(faults), "bad"))
    if boot.late_starts:
        found.append(Finding(STILL_TAKING_CALLS, f"took {calls_text(boot.late_starts)} after its drain began", "bad"))
    if peers.is_saturated(key):
        found.append(Finding(SATURATED, peers.saturated_text(key), "bad"))
    if boot.is_losing_offers(now):
        lost = boot.accounts["offers_lost"]
        found.append(Finding(LOSING_OFFERS, f"losing offers: {lost} so far", "bad"))
    if boot.unseen_before:
        left = calls_text(boot.unseen_before)
        found.append(Finding(PREVIOUS_BOOT, f"its boot before this one dropped {left}", "warning"))
    found += _of_manifests(fleet, key, now)
    found += findings_of_ending(worker, boot, now)
    own = boot.snapshot.findings
    if own:
        seen = {finding.code for finding in found}
        for code in own[:MOST_OWN]:
            if code and code not in seen:
                seen.add(code)
                text, severity = _OWN.get(code, (code, "warning"))
                found.append(Finding(code, text, severity))
    return tuple(found)


def _of_manifests(fleet: Fleet, key: str, now: float) -> list[Finding]:
    manifests = fleet.manifests
    if manifests.newest is None:
        return []
    found = []
    if fleet.nobody and manifests.holds_newest(key):
        found.append(Finding(NOBODY_TAKES_CALLS, f"nobody will take calls: {fleet.nobody}", "bad"))
    if manifests.is_disputed(key):
        found.append(Finding(MANIFEST_CONFLICT, manifests.dispute_text(key), "bad"))
    behind = manifests.behind_text(key, now)
    if behind:
        found.append(Finding(MANIFEST_BEHIND, behind))
    return found
