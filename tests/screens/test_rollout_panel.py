"""The panel of a plan under way: what it waits for is read to its end, on more lines where one is too narrow."""

from __future__ import annotations

import msgspec

from openrtc_tui.widgets.paint import Look, clip_line
from openrtc_tui.widgets.rollout import run_lines
from openrtc_tui.widgets.rows import Setting
from tests.screens import plans

SAID = "3 are started again when their drain has ended"
WAITING = msgspec.structs.replace(
    plans.RUNNING,
    doing=f"waits for v1.0.0 to be ready: no worker of the unnamed agent is ready; the platform: {SAID}",
)


def shown(width: int, room: int) -> list[str]:
    lines = run_lines(WAITING, Setting.of(plans.GATED), Look(), width, room=room)
    return ["".join(span.text for span in clip_line(line, width)).rstrip() for line in lines[1:]]


def test_what_the_platform_answered_is_read_on_a_screen_of_eighty_columns():
    first, *more, then = shown(80, room=6)
    assert first.startswith("  now       waits for v1.0.0 to be ready")
    assert " ".join([first.split(maxsplit=1)[1], *map(str.strip, more)]) == WAITING.doing
    assert then.split(maxsplit=1)[0] == "next"


def test_where_it_fits_or_there_is_no_room_it_takes_one_line():
    assert [line.split(maxsplit=1)[0] for line in shown(160, room=6)] == ["now", "next"]
    narrow = shown(80, room=2)
    assert (len(narrow), narrow[0][-1]) == (2, "…")
    *_, third, _ = shown(40, room=6)
    assert len(shown(40, room=6)) == 4
    assert third[-1] == "…", "what is cut is seen to be"
