"""``openrtc-tui status``: the fleet as it is now, as a table like the screen's or as JSON."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from openrtc_tui.commands.common import PACE, hear_all, open_fleet, tell, tell_event
from openrtc_tui.commands.exits import Exit
from openrtc_tui.widgets.words import NOT_AVAILABLE, count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from openrtc_tui.live import LiveFleet
    from openrtc_tui.state.view import EventLine, FleetView, Verdict, WorkerRow
    from openrtc_tui.widgets.paint import Line

SCHEMA: Final = 1
PIPE_WIDTH: Final = 160
"""Columns of the table where there is no terminal: notes are then rarely clipped."""
MOST_NAMES: Final = 10
"""Workers named in one line; the table below has them all."""
_CLEAR: Final = "\x1b[H\x1b[J"


def run(args: argparse.Namespace) -> int:
    """Print the fleet once, or again and again until interrupted."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    live = open_fleet(args)
    async with live.running():
        view = await hear_all(live)
        if not args.watch:
            tell(json.dumps(status_document(view), indent=2) if args.json else "\n".join(status_lines(view, live)))
            return _exit_of(view)
        if args.json:
            await _watch_json(live)
        elif sys.stdout.isatty():
            await _watch_table(live)
        else:
            tell("\n".join(status_lines(view, live)))
            await _watch_lines(live, view)
    return Exit.DONE


def _exit_of(view: FleetView) -> Exit:
    """5 in a rollout with workers that were never heard: whether they hold calls, or dropped some, nobody knows."""
    from openrtc_tui.widgets.lines import never_heard

    return Exit.UNPROVEN if view.rollout is not None and never_heard(view) else Exit.DONE


# ----------------------------------------------------------------------------------------------------- watching


async def _watch_json(live: LiveFleet) -> None:
    """A document a line whenever anything but ages changed, at most one a beat."""
    before: dict[str, Any] | None = None
    while True:
        document = status_document(live.view())
        if _timeless(document) != before:
            before = _timeless(document)
            tell(json.dumps(document, separators=(",", ":")))
        await live.changed(live.file.refresh)
        await asyncio.sleep(live.file.refresh)


async def _watch_table(live: LiveFleet) -> None:
    while True:
        tell(_CLEAR + "\n".join(status_lines(live.view(), live)))
        await live.changed(live.file.refresh)
        await asyncio.sleep(live.file.refresh)


async def _watch_lines(live: LiveFleet, view: FleetView) -> None:
    """One line for each event from now on, and for each worker whose state or calls changed, at most one a beat."""
    last = view.events[-1] if view.events else None
    shown = {row.key: _changing(row) for row in view.rows}
    due = time.monotonic()
    while True:
        view = live.view()
        for event in _after(view.events, last):
            tell_event(event.at, f"{event.text}{f'  {event.detail}' if event.detail else ''}")
            last = event
        now = {row.key: _changing(row) for row in view.rows}
        if now != shown and time.monotonic() >= due:
            for key, text in now.items():
                if shown.get(key) != text:
                    tell_event(view.at, f"{key} {text}")
            shown, due = now, time.monotonic() + live.file.refresh
        await live.changed(min(1.0, live.file.refresh))
        await asyncio.sleep(PACE)


def _changing(row: WorkerRow) -> str:
    """What a line is worth when it changes: ``draining 4 calls``."""
    return f"{row.state} {f'{NOT_AVAILABLE} calls' if row.calls is None else count(row.calls, 'call')}"


def _after(events: tuple[EventLine, ...], last: EventLine | None) -> tuple[EventLine, ...]:
    """The events behind *last*; all, when it is not among them any more."""
    index = next((index for index, event in enumerate(events) if event is last), -1)
    return events[index + 1 :]


def _timeless(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what changes although nothing happens."""
    workers = []
    for worker in document["workers"]:
        snapshot = worker["snapshot"] or {}
        kept = {name: value for name, value in snapshot.items() if name not in _TIMES}
        workers.append({**worker, "age_seconds": None, "snapshot": kept})
    return {**document, "at": None, "workers": workers}


_TIMES: Final = frozenset(
    {
        *("timestamp", "uptime_seconds", "oldest_session_seconds", "session_ages"),
        *("loop_lag_ms", "resident_set", "seq", "membership"),
    }
)


# --------------------------------------------------------------------------------------------------------- JSON


def status_document(view: FleetView) -> dict[str, Any]:
    """What ``status --json`` prints; ``schema`` changes when a key's meaning does."""
    rollout = view.rollout
    return {
        "schema": SCHEMA,
        "fleet": view.fleet,
        "at": view.at,
        "rollout": {
            "from": rollout.from_version,
            "to": rollout.to_version,
            "started_at": rollout.started_at,
            "verdict": _verdict(rollout.verdict),
        }
        if rollout is not None
        else None,
        "workers": [_worker(row) for row in view.rows],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "word": str(verdict.word),
        "confirmed": verdict.confirmed,
        "possible": verdict.possible,
        "exact": verdict.exact,
    }


def _worker(row: WorkerRow) -> dict[str, Any]:
    return {
        "name": row.key,
        "url": row.url,
        "state": str(row.state),
        "verdict": _verdict(row.verdict),
        "findings": [{"code": finding.code, "text": finding.text} for finding in row.findings],
        "age_seconds": row.age_seconds,
        "snapshot": _as_received(row.raw),
    }


def _as_received(raw: bytes | None) -> Any:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # a part that the reader skipped was no JSON
        return None


# -------------------------------------------------------------------------------------------------------- table


def status_lines(view: FleetView, live: LiveFleet) -> list[str]:
    """The lines of the main screen that need no keys: header, versions, verdict, workers."""
    from openrtc_tui.widgets.columns import GAP, columns_for
    from openrtc_tui.widgets.glyphs import ASCII, UNICODE
    from openrtc_tui.widgets.lines import Watching, header_line, never_heard, verdict_line, version_lines
    from openrtc_tui.widgets.paint import Look, fit
    from openrtc_tui.widgets.rows import Setting, row_line

    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    look = Look(glyphs=UNICODE if utf8 else ASCII)
    width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if sys.stdout.isatty() else PIPE_WIDTH
    operator = live.file.operator.name if live.file.operator is not None else None
    watching = Watching(live.file.refresh, operator, read_only=live.file.read_only, trouble=live.trouble)
    columns = columns_for(width)
    setting = Setting.of(view)
    heading = (
        "".join(fit(column.heading, column.width, right=column.right) + " " * GAP for column in columns[:-1]) + "NOTE"
    )
    lines: list[Line] = [header_line(view, watching, look, width), *version_lines(view, look, width)]
    lines.append(verdict_line(view, width))

    def text(line: Line) -> str:
        return look.glyphs.printed("".join(span.text for span in line)).rstrip()

    return [
        *(shown for line in lines if (shown := text(line))),
        *_silent(never_heard(view)),
        "",
        f"  {heading}",
        *(f"  {text(row_line(row, columns, look, setting))}" for row in view.rows),
    ]


def _silent(names: Sequence[str]) -> list[str]:
    """A line with the workers that were never heard: nothing above it speaks for them."""
    if not names:
        return []
    rest = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    was = "1 worker was" if len(names) == 1 else f"{len(names)} workers were"
    return [f"  {was} never heard: {', '.join(names[:MOST_NAMES])}{rest}"]
