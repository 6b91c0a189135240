"""Everything known of one worker, as lines: pure, made anew on each beat."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrtc_tui.state.verdict import range_text
from openrtc_tui.state.view import WorkerRow, WorkerState
from openrtc_tui.widgets.paint import Line, Look, Span, fit
from openrtc_tui.widgets.rows import SEVERITY_ROLES, VERDICT_ROLES, note
from openrtc_tui.widgets.words import (
    NOT_AVAILABLE,
    age,
    count,
    duration,
    time_left,
    verdict_word,
)
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openrtc_tui.widgets.palette import Role
    from openrtc_worker.contract.snapshot import LedgerCounts, RuntimeSnapshot, SessionInfo

LABEL: Final = 13
NARROW_TERMS: Final = 10
"""Pieces of the ledger's equation in its first line on a narrow screen."""
MOST_RAW_LINES: Final = 400
INDENT: Final = Span("  ")


@dataclass(frozen=True, slots=True)
class Read:
    """What the worker answered when its details were asked for; ``problem`` says why there is nothing."""

    sessions: tuple[SessionInfo, ...] | None = None
    sessions_at: float = 0.0
    sessions_problem: str = ""
    audit: tuple[Mapping[str, Any], ...] | None = field(default=None)
    audit_problem: str = ""


def fact_lines(row: WorkerRow, read: Read, now: float, look: Look, width: int) -> list[Line]:
    """The whole page of one worker, top to bottom."""
    snapshot = row.snapshot
    lines: list[Line] = []
    for section in (
        _findings(row, now, look),
        _drain(row, snapshot, now, look),
        _counts(row, snapshot, width),
        _calls(row, read, now, look, width),
        [*_shares("agent", row.by_agent, look), *_shares("tenant", row.by_tenant, look)],
        _place(row, snapshot, now, look),
        _errors(row, snapshot),
        _audit(row, read, look),
        _raw(row),
    ):
        if section:
            lines += [[], *section] if lines else section
    return lines


def _fact(label: str, *spans: Span) -> Line:
    return [INDENT, Span(fit(label, LABEL), "muted"), *spans]


def _heading(text: str) -> Line:
    return [INDENT, Span(text, "muted", bold=True)]


def _findings(row: WorkerRow, now: float, look: Look) -> list[Line]:
    lines = [_fact("finding", Span(found.text, SEVERITY_ROLES[found.severity])) for found in row.findings]
    explained = (WorkerState.LOST, WorkerState.STALE, WorkerState.STARTING, WorkerState.GATED)
    if row.state in explained or row.orphan or row.closed or row.killed_at is not None:
        text, role = note(row, look, now=now)
        if text and not any(text == found.text for found in row.findings):
            lines.insert(0, _fact("now", Span(text, role)))
    return lines


def _drain(row: WorkerRow, snapshot: RuntimeSnapshot | None, now: float, look: Look) -> list[Line]:
    drain = snapshot.drain if snapshot is not None else None
    if drain is None:
        return []
    by = drain.actor or "unknown"
    lines = [_fact("drained by", Span(by, "strong"), Span(f" over {drain.source}" if drain.source else "", "muted"))]
    if drain.started_at is not None:
        started = f" ({duration(now - drain.started_at)} ago)"
        lines.append(_fact("since", Span(look.at(drain.started_at)), Span(started, "muted")))
    if drain.deadline is not None:
        over = row.state in (WorkerState.DRAINED, WorkerState.EXITED)
        left = "" if over else f" (in {time_left(drain.deadline - now)}, what is left is cut)"
        lines.append(_fact("deadline", Span(look.at(drain.deadline)), Span(left, "muted")))
    if drain.reason:
        lines.append(_fact("reason", Span(drain.reason)))
    if drain.op_id:
        lines.append(_fact("request", Span(drain.op_id, "muted")))
    return lines


def _counts(row: WorkerRow, snapshot: RuntimeSnapshot | None, width: int) -> list[Line]:
    verdict = row.verdict
    role: Role = VERDICT_ROLES[verdict.word]
    lines = [_fact("dropped", Span(range_text(verdict), role, bold=True), Span(f"  {verdict_word(verdict)}", role))]
    if snapshot is None:
        return lines
    if snapshot.ledger is not None:
        terms = _equation(snapshot.ledger)
        cut = len(terms) if width >= 110 else NARROW_TERMS
        lines.append(_fact("calls", *terms[:cut]))
        lines += [_fact("", *terms[cut:])] if terms[cut:] else []
        lines.append(
            _fact(
                "no call",
                Span(_told(snapshot.ledger.launch_failed)),
                Span(" launch failed, ", "muted"),
                Span(_told(snapshot.ledger.offers_lost)),
                Span(" offers lost", "muted"),
            )
        )
    if snapshot.rejected:
        refused = ", ".join(f"{reason} {number}" for reason, number in sorted(snapshot.rejected.items()))
        lines.append(_fact("refused", Span(refused)))
    return lines


def _told(number: int | None) -> str:
    return NOT_AVAILABLE if number is None else str(number)


def _equation(ledger: LedgerCounts) -> list[Span]:
    spans = [Span(_told(ledger.started), "strong"), Span(" started = ", "muted")]
    for index, name in enumerate(("completed", "failed", "removed", "cut", "crashed", "lost", "active")):
        number = getattr(ledger, name)
        wrong = name in ("cut", "crashed", "lost") and bool(number)
        spans += [Span(" + ", "muted")] if index else []
        spans += [Span(_told(number), "bad" if wrong else "text"), Span(f" {name}", "muted")]
    if ledger.balanced is False:
        spans.append(Span("  does not balance", "bad"))
    return spans


def _calls(row: WorkerRow, read: Read, now: float, look: Look, width: int) -> list[Line]:
    if row.calls == 0 or row.closed or row.state is WorkerState.EXITED:
        return []
    head = _heading("LIVE CALLS")
    if read.sessions is None:
        said = read.sessions_problem or "reading…"
        return [head, [INDENT, Span(said, "warning" if read.sessions_problem else "muted")]]
    room, agent = (20, 12) if width < 100 else (40, 20)
    clip = look.glyphs.ellipsis
    titles = f"{fit('room', room)}  {fit('agent', agent)}  {fit('tenant', 12)}  {'age':>7}  callers"
    lines: list[Line] = [head, [INDENT, Span(titles, "muted")]]
    for call in sorted(read.sessions, key=lambda call: -(call.age_seconds or 0)):
        lasted = None if call.age_seconds is None else duration(call.age_seconds + max(0.0, now - read.sessions_at))
        spans = [
            INDENT,
            Span(f"{fit(call.room, room, clip)}  {fit(call.agent or '', agent, clip)}  "),
            Span(fit(call.tenant or "", 12, clip)),
            Span(f"  {lasted or NOT_AVAILABLE:>7}", "strong", bold=False),
        ]
        if call.callers == 0 and call.alone_since is not None:
            spans.append(Span(f"  none since {look.at(call.alone_since)}", "warning", bold=False))
        else:
            spans.append(Span(f"  {_told(call.callers)}", "muted"))
        lines.append(spans)
    if read.sessions_problem:
        lines.append([INDENT, Span(read.sessions_problem, "warning")])
    return lines


def _shares(name: str, shares: Mapping[str, int], look: Look) -> list[Line]:
    live = sorted(((calls, key) for key, calls in shares.items() if calls), key=lambda item: (-item[0], item[1]))
    if not live:
        return []
    said = f" {look.glyphs.dot} ".join(f"{key} {calls}" for calls, key in live)
    return [_fact(f"by {name}", Span(said))]


def _place(row: WorkerRow, snapshot: RuntimeSnapshot | None, now: float, look: Look) -> list[Line]:
    seen = "never" if row.age_seconds is None else f"{age(row.age_seconds)} ago"
    via = {"events": " over its event stream", "poll": " by polling"}.get(row.via or "", "")
    lines = [_fact("address", Span(row.url), Span(f"  {row.region}" if row.region else "", "muted"))]
    lines.append(_fact("heard", Span(seen), Span(via, "muted")))
    if row.worker_id is not None:
        lines.append(_fact("worker", Span(row.worker_id), Span(f"  boot {row.boot_id or NOT_AVAILABLE}", "muted")))
    if snapshot is None:
        return lines
    if (manifest := snapshot.manifest) is not None and manifest.seq is not None:
        names = ", ".join(manifest.active or ()) or "no version"
        lines.append(_fact("manifest", Span(str(manifest.seq)), Span(f"  names {names}", "muted")))
    if row.verified is not None:
        held = Span("verified") if row.verified else Span("not valid: never counted as capacity", "bad")
        lines.append(_fact("membership", held))
    if snapshot.uptime_seconds is not None and snapshot.timestamp is not None:
        since = snapshot.timestamp - snapshot.uptime_seconds
        told = "" if row.state in (WorkerState.LOST, WorkerState.EXITED) else f" ({duration(now - since)} ago)"
        lines.append(_fact("up since", Span(look.at(since)), Span(told, "muted")))
    if (livekit := snapshot.livekit) is not None:
        linked = {True: "connected", False: "not connected", None: NOT_AVAILABLE}[livekit.connected]
        spans = [Span(linked, "text" if livekit.connected else "warning")]
        if livekit.connected and livekit.connected_since is not None:
            spans.append(Span(f" since {look.at(livekit.connected_since)}", "muted"))
        if livekit.agent_name:
            spans.append(Span(f"  agent {livekit.agent_name}", "muted"))
        if livekit.sdk:
            spans.append(Span(f"  {livekit.sdk}", "muted"))
        lines.append(_fact("LiveKit", *spans))
    room = NOT_AVAILABLE if row.max_sessions is None else str(row.max_sessions)
    lag = NOT_AVAILABLE if snapshot.loop_lag_ms is None else f"{snapshot.loop_lag_ms:.0f} ms"
    lines.append(_fact("capacity", Span(room), Span(f" calls  loop lag {lag}{_memory(snapshot)}", "muted")))
    if (platform := snapshot.platform) is not None and platform.kind:
        where = "  ".join(
            str(part) for part in (platform.kind, platform.namespace, platform.pod, platform.node) if part
        )
        lines.append(_fact("platform", Span(where)))
    return lines


def _memory(snapshot: RuntimeSnapshot) -> str:
    resident = snapshot.resident_set
    return f"  memory {resident.bytes / 1e6:.0f} MB" if resident is not None and resident.bytes is not None else ""


def _errors(row: WorkerRow, snapshot: RuntimeSnapshot | None) -> list[Line]:
    lines: list[Line] = []
    if snapshot is not None and snapshot.last_error:
        lines.append(_fact("last error", Span(snapshot.last_error, "warning", bold=False)))
    if row.last_failure:
        lines.append(_fact("last contact", Span(row.last_failure, "warning", bold=False)))
    previous = snapshot.previous_boot if snapshot is not None else None
    if previous is not None and previous.open_calls:
        said = f"boot {previous.boot_id} ended with {count(len(previous.open_calls), 'call')} live"
        lines.append(_fact("before this", Span(said, "bad")))
    return lines


def _audit(row: WorkerRow, read: Read, look: Look) -> list[Line]:
    if row.closed:
        return []  # the boot that answers at this address now is another one
    if read.audit is None:
        said = read.audit_problem or "reading…"
        return [_heading("AUDIT"), [INDENT, Span(said, "warning" if read.audit_problem else "muted")]]
    if not read.audit:
        return []
    return [_heading("AUDIT"), *(_audit_line(event, look) for event in reversed(read.audit))]


_TOLD_ELSEWHERE: Final = frozenset({"timestamp", "event", "actor", "result", "seq", "version", "target", "boot_id"})
_MOMENTS: Final = frozenset({"deadline", "started_at"})


def _audit_line(event: Mapping[str, Any], look: Look) -> Line:
    told = [
        f"{key}={look.at(value) if key in _MOMENTS and isinstance(value, int | float) else value}"
        for key, value in event.items()
        if key not in _TOLD_ELSEWHERE and value not in (None, "")
    ]
    at, result = event.get("timestamp"), str(event.get("result", ""))
    return [
        INDENT,
        Span(look.at(at) if isinstance(at, int | float) else NOT_AVAILABLE, "muted"),
        Span(f"  {event.get('event', '')}"),
        Span(f"  {event.get('actor', '')}", "muted"),
        Span(f"  {result}" if result not in ("ok", "") else "", "warning", bold=False),
        Span(f"  {'  '.join(told)}", "muted"),
    ]


def _raw(row: WorkerRow) -> list[Line]:
    if row.raw is None:
        return []
    return [_heading("SNAPSHOT, AS RECEIVED"), *([INDENT, Span(text, "muted")] for text in _indented(row.raw))]


@lru_cache(4)
def _indented(raw: bytes) -> tuple[str, ...]:
    """The JSON with a key a line; what was received is never trusted to be printable."""
    try:
        text = msgspec.json.format(raw, indent=2).decode(errors="replace")
    except msgspec.DecodeError:
        text = raw.decode(errors="replace")
    lines = text.splitlines()
    kept = tuple(printable(line) for line in lines[:MOST_RAW_LINES])
    return kept if len(kept) == len(lines) else (*kept, f"… {len(lines) - len(kept)} lines more")
