"""From a worker's row to its line in the table: pure, so that lines can be compared before they are painted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from openrtc_tui.state.verdict import range_text
from openrtc_tui.state.view import Finding, FleetView, Severity, VerdictWord, WorkerRow, WorkerState
from openrtc_tui.widgets.columns import GAP, Column, ColumnName
from openrtc_tui.widgets.paint import Look, Span, fit
from openrtc_tui.widgets.palette import Role
from openrtc_tui.widgets.words import NOT_AVAILABLE, age, count, duration, time_left, verdict_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SEVERITY_ROLES: Final[Mapping[Severity, Role]] = {"info": "muted", "good": "good", "warning": "warning", "bad": "bad"}

_STATE_ROLES: Final[Mapping[WorkerState, Role]] = {
    WorkerState.STARTING: "muted",
    WorkerState.SERVING: "good",
    WorkerState.GATED: "text",
    WorkerState.CORDONED: "text",
    WorkerState.DRAINING: "leaving",
    WorkerState.DRAINED: "muted",
    WorkerState.EXITED: "muted",
    WorkerState.STALE: "warning",
    WorkerState.LOST: "bad",
}
_RANK: Final[Mapping[Severity, int]] = {"bad": 0, "warning": 1, "info": 2, "good": 3}
TERMINATING: Final = "terminating"
"""The code of the finding that a platform ends a worker."""
CLOSE_DEADLINE: Final = 300
"""Seconds before a deadline from which on it is shown as a warning while calls are live."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a row is read against: the time, and which version of the rollout is being left or taken."""

    now: float = 0.0
    versions: Mapping[str | None, Role] = field(default_factory=dict)

    @classmethod
    def of(cls, view: FleetView) -> Setting:
        """The setting of a whole view."""
        return cls(now=view.at, versions=version_roles(view))

    def role(self, version: str | None) -> Role:
        """How a version is shown."""
        return self.versions.get(version, "muted" if version is None else "text")


def version_roles(view: FleetView) -> dict[str | None, Role]:
    """How the versions are told apart. Without a rollout nothing is left, and an only version is simply healthy."""
    if view.rollout is not None:
        return {view.rollout.from_version: "leaving", view.rollout.to_version: "taking"}
    tagged = [line.version for line in view.versions if line.version is not None]
    return {tagged[0]: "taking"} if len(tagged) == 1 else {}


def row_line(row: WorkerRow, columns: tuple[Column, ...], look: Look, setting: Setting) -> tuple[Span, ...]:
    """The row's cells, each exactly as wide as its column, without the margin at the left."""
    spans: list[Span] = []
    for column in columns:
        text, role, bold = _CELLS[column.name](row, look, setting, column.width)
        cell = fit(text, column.width, right=column.right)
        spans.append(Span(cell + " " * GAP if column.name != "note" else cell, role, bold))
    return tuple(spans)


def worst(row: WorkerRow) -> Finding | None:
    """The finding that shows in the state's sign, if one is more than a remark."""
    found = [finding for finding in row.findings if finding.severity in ("bad", "warning")]
    return min(found, key=lambda finding: _RANK[finding.severity], default=None)


def note(row: WorkerRow, look: Look, *, now: float | None = None, short: bool = False) -> tuple[str, Role]:
    """What the engineer should know of this worker in one line, the worst first, and how it is shown.

    *short* says the same in fewer words, where there are any; with *now* a kill is told as the time that is left.
    """
    ending = _ending(row, look, now)
    # the time of the kill stands first and in short: the same finding would say it once more, at length
    texts = [found for found in row.findings if not (ending and found.code == TERMINATING)]
    texts.sort(key=lambda finding: _RANK[finding.severity])
    said = "; ".join(finding.text for finding in texts)
    own, role = _own_note(row, look, short=short)
    if ending:
        first = own if row.state in (WorkerState.LOST, WorkerState.STALE) else ""
        return "; ".join(filter(None, (first, ending, said))), "bad" if first else _ending_role(row, texts)
    if not texts:
        return own, role
    if own and row.state in (WorkerState.LOST, WorkerState.STALE):
        return f"{own}; {said}", role
    return said, SEVERITY_ROLES[texts[0].severity]


def _ending(row: WorkerRow, look: Look, now: float | None) -> str:
    """That its platform ends it, and when what is left is killed; empty when nothing is."""
    if row.killed_at is None or row.closed or row.state is WorkerState.EXITED:
        return ""
    if not row.calls and row.state is not WorkerState.LOST:
        return "terminating"
    when = f"at {look.at(row.killed_at)}" if now is None else f"in {duration(row.killed_at - now)}"
    return f"terminating {look.glyphs.dot} killed {when}"


def _ending_role(row: WorkerRow, others: Sequence[Finding]) -> Role:
    worst_of_others = others[0].severity if others else "info"
    if worst_of_others == "bad":
        return "bad"
    return "warning" if row.calls or worst_of_others == "warning" else "muted"


def _own_note(row: WorkerRow, look: Look, *, short: bool) -> tuple[str, Role]:
    if row.closed:
        return f"restarted: dropped {range_text(row.verdict)} {verdict_word(row.verdict)}", _verdict_role(row)
    match row.state:
        case WorkerState.LOST | WorkerState.STALE:
            return _silence(row, look, short=short)
        case WorkerState.STARTING:
            return row.last_failure or ("registering" if row.snapshot is not None else "connecting"), "muted"
        case WorkerState.GATED:
            return _gate(row, short=short), "muted"
        case WorkerState.DRAINED | WorkerState.EXITED:
            said = f"{range_text(row.verdict)} {verdict_word(row.verdict)}"
            return (said if short else f"dropped {said}"), _verdict_role(row)
    return ("no longer in the fleet file", "warning") if row.orphan else ("", "muted")


def _gate(row: WorkerRow, *, short: bool) -> str:
    """Who takes the calls instead, by the manifest that it holds."""
    held = row.snapshot.manifest if row.snapshot is not None else None
    if held is None or held.seq is None:
        return "no manifest" if short else "waits for a manifest"
    if short:
        return f"by manifest {held.seq}"
    return f"manifest {held.seq} names {', '.join(held.active or ()) or 'no version'}"


def _silence(row: WorkerRow, look: Look, *, short: bool) -> tuple[str, Role]:
    since = f" since {look.at(row.silent_since)}" if row.silent_since is not None else ""
    if row.state is WorkerState.STALE:
        return f"nothing heard{since}", "warning"
    if row.calls:
        who = str(row.calls) if short else count(row.calls, "caller")
        return f"{who} {'hears' if row.calls == 1 else 'hear'} silence{since}", "bad"
    return f"unreachable{since}" + (f": {row.last_failure}" if row.last_failure else ""), "bad"


def _verdict_role(row: WorkerRow) -> Role:
    return VERDICT_ROLES[row.verdict.word]


VERDICT_ROLES: Final[Mapping[VerdictWord, Role]] = {
    VerdictWord.OPEN: "text",
    VerdictWord.PROVEN: "good",
    VerdictWord.UNPROVEN: "warning",
    VerdictWord.VIOLATED: "bad",
}

_Cell = tuple[str, Role, bool | None]


def _worker(row: WorkerRow, _look: Look, _setting: Setting, _width: int) -> _Cell:
    return row.key, ("muted" if row.closed or row.state is WorkerState.EXITED else "text"), None


def _version(row: WorkerRow, _look: Look, setting: Setting, _width: int) -> _Cell:
    if row.version is None:
        return ("untagged" if row.snapshot is not None else ""), "muted", None
    return row.version, setting.role(row.version), None


def state_spans(row: WorkerRow, look: Look) -> tuple[str, Role, bool]:
    """The state with its sign: a worker with a finding shows the finding's colour and the sign for *look here*."""
    found = worst(row)
    if found is not None and row.state is not WorkerState.LOST:
        return f"{look.glyphs.alert} {row.state}", SEVERITY_ROLES[found.severity], True
    return f"{look.glyphs.states[row.state]} {row.state}", _STATE_ROLES[row.state], row.state is WorkerState.LOST


def _state(row: WorkerRow, look: Look, _setting: Setting, _width: int) -> _Cell:
    return state_spans(row, look)


def _calls(row: WorkerRow, _look: Look, _setting: Setting, _width: int) -> _Cell:
    if row.calls is None:  # of a worker never heard too: a blank would be read as none
        return NOT_AVAILABLE, "muted", None
    return str(row.calls), ("strong" if row.calls else "muted"), row.calls > 0


def _trend(row: WorkerRow, look: Look, setting: Setting, width: int) -> _Cell:
    return look.glyphs.spark(row.trend, width), setting.versions.get(row.version, "muted"), False


def _load(row: WorkerRow, _look: Look, _setting: Setting, _width: int) -> _Cell:
    if _is_over(row):
        return "", "muted", None
    return (f"{row.load:.2f}", "muted", None) if row.load is not None else _missing(row)


def _oldest(row: WorkerRow, _look: Look, _setting: Setting, _width: int) -> _Cell:
    if _is_over(row) or row.calls == 0:
        return "", "muted", None
    return (duration(row.oldest_seconds), "text", None) if row.oldest_seconds is not None else _missing(row)


def _deadline(row: WorkerRow, _look: Look, setting: Setting, _width: int) -> _Cell:
    if row.deadline is None or row.state not in (WorkerState.DRAINING, WorkerState.STALE) or row.closed:
        return "", "muted", None
    left = row.deadline - setting.now
    return time_left(left), ("warning" if left < CLOSE_DEADLINE and row.calls else "text"), None


def _seen(row: WorkerRow, _look: Look, _setting: Setting, _width: int) -> _Cell:
    if row.age_seconds is None or row.closed:
        return "", "muted", None
    quiet = row.state not in (WorkerState.STALE, WorkerState.LOST)
    return age(row.age_seconds), ("muted" if quiet else _STATE_ROLES[row.state]), False


def _note(row: WorkerRow, look: Look, setting: Setting, width: int) -> _Cell:
    text, role = note(row, look, now=setting.now)
    if len(text) > width:
        text, role = note(row, look, now=setting.now, short=True)
    return text, role, False


def _is_over(row: WorkerRow) -> bool:
    """Whether what lasts or changes cannot be told of it any more; that is blank, and not *n/a*."""
    return row.closed or row.state in (WorkerState.LOST, WorkerState.EXITED)


def _missing(row: WorkerRow) -> _Cell:
    """A worker that was heard and did not say is told apart from one that was not heard yet."""
    return (NOT_AVAILABLE if row.snapshot is not None else ""), "muted", None


_CELLS: Final[Mapping[ColumnName, Callable[[WorkerRow, Look, Setting, int], _Cell]]] = {
    "worker": _worker,
    "version": _version,
    "state": _state,
    "calls": _calls,
    "trend": _trend,
    "load": _load,
    "oldest": _oldest,
    "deadline": _deadline,
    "seen": _seen,
    "note": _note,
}
