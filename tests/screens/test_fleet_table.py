"""The table: its cursor is a worker, its marks are workers, and it paints only what changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from openrtc_tui.state.view import WorkerRow, WorkerState
from openrtc_tui.widgets.columns import GAP, MARGIN, columns_for
from openrtc_tui.widgets.paint import Look, fit
from openrtc_tui.widgets.rows import Setting, row_line
from openrtc_tui.widgets.table import FleetTable
from openrtc_worker.contract.text import printable
from tests.screens.fleets import AT, serving, worker

SETTING = Setting(now=AT)


def rows(*names: str) -> tuple[WorkerRow, ...]:
    return tuple(serving(name, number, 60.0 + number) for number, name in enumerate(names))


class TableApp(App[None]):
    """Nothing but a table."""

    def compose(self) -> ComposeResult:
        yield FleetTable(Look())

    @property
    def table(self) -> FleetTable:
        return self.query_one(FleetTable)


async def test_cursor_follows_its_worker_when_the_order_changes() -> None:
    async with TableApp().run_test() as pilot:
        table = pilot.app.query_one(FleetTable)
        table.show(rows("a", "b", "c", "d"), SETTING)
        await pilot.press("j", "j")
        assert table.cursor == "c"
        table.show(rows("c", "d", "a", "b"), SETTING)
        assert table.cursor == "c"


async def test_the_row_now_on_its_line_takes_over_when_the_worker_under_the_cursor_is_gone() -> None:
    async with TableApp().run_test() as pilot:
        table = pilot.app.query_one(FleetTable)
        table.show(rows("a", "b", "c", "d"), SETTING)
        await pilot.press("j")
        table.show(rows("a", "c", "d"), SETTING)
        assert table.cursor == "c"
        await pilot.press("end")
        table.show(rows("a", "c"), SETTING)
        assert table.cursor == "c"
        table.show((), SETTING)
        assert table.cursor is None
        assert table.cursor_row is None
        table.show(rows("x"), SETTING)
        assert table.cursor == "x"


async def test_cursor_keeps_its_line_on_the_screen_when_rows_come_in_above_it() -> None:
    names = [f"w-{number:03d}" for number in range(100)]
    async with TableApp().run_test(size=(80, 10)) as pilot:
        table = pilot.app.query_one(FleetTable)
        table.show(rows(*names), SETTING)
        for _ in range(50):
            await pilot.press("j")
        line = 50 - table.scroll_offset.y
        table.show(rows(*(f"new-{number}" for number in range(7)), *names), SETTING)
        await pilot.pause()
        assert table.cursor == "w-050"
        assert 57 - table.scroll_offset.y == line


async def test_keys_and_mouse_move_the_cursor() -> None:
    names = [f"w-{number:02d}" for number in range(40)]
    async with TableApp().run_test(size=(80, 10)) as pilot:
        table = pilot.app.query_one(FleetTable)
        table.show(rows(*names), SETTING)
        await pilot.press("end")
        assert table.cursor == "w-39"
        assert table.scroll_offset.y == 30
        await pilot.press("pageup")
        assert table.cursor == "w-30"
        await pilot.press("home", "pagedown", "up", "k", "down")
        assert table.cursor == "w-08"
        await pilot.click(FleetTable, offset=(5, 2))
        assert table.cursor == "w-02"
        await pilot.click(FleetTable, offset=(5, 2))
        assert table.cursor == names[table.scroll_offset.y + 2]


async def test_marks_are_workers_and_end_with_them() -> None:
    async with TableApp().run_test() as pilot:
        table = pilot.app.query_one(FleetTable)
        table.show(rows("a", "b", "c"), SETTING)
        table.mark()
        await pilot.press("j")
        table.mark()
        assert table.marks == {"a", "b"}
        table.show(rows("c", "b"), SETTING, {"a", "b", "c"})
        assert table.marks == {"a", "b"}, "a filter hides a worker, and it stays marked"
        table.show(rows("c", "b"), SETTING, {"b", "c"})
        assert table.marks == {"b"}, "a worker that is gone is not marked any more"
        table.mark_all()
        assert table.marks == {"b", "c"}
        table.mark_all()
        assert table.marks == frozenset()


class CountingTable(FleetTable):
    """Counts the lines that were painted."""

    painted = 0

    def render_line(self, y: int):
        self.painted += 1
        return super().render_line(y)


async def test_only_changed_lines_are_painted_again_at_2000_rows() -> None:
    fleet = [serving(f"w-{number:04d}", 3, 60.0) for number in range(2000)]

    class Large(App[None]):
        def compose(self) -> ComposeResult:
            yield CountingTable(Look())

    async with Large().run_test(size=(120, 40)) as pilot:
        table = pilot.app.query_one(CountingTable)
        table.show(fleet, SETTING)
        await pilot.pause()
        table.painted = 0
        for number in (3, 17, 1500):  # two of them in sight
            fleet[number] = replace(fleet[number], calls=9)
        table.show(fleet, SETTING)
        await pilot.pause()
        assert table.painted == 2
        table.show(fleet, replace(SETTING, now=AT + 0.2))
        await pilot.pause()
        assert table.painted == 2, "what reads the same is not painted again"
        await pilot.press("down")
        await pilot.pause()
        assert table.painted == 4, "a move of the cursor is two lines"


HOSTILE = (
    "[/x]",
    "[bold red]not bold[/]",
    "[link=file:///etc/passwd]click[/link]",
    "\x1b[31mred\x1b]0;title\x07",
    "名前がとても長いワーカー",
    "🧨🧨🧨🧨🧨🧨🧨🧨🧨",
    "e\u0301" * 40,
    "x" * 256,
    "$(reboot)",
    "\u202egnirts",
)


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_names_are_only_names(name: str) -> None:
    """What came over the network is cleaned where it is decoded; here markup is text, and every line is one line."""
    shown = printable(name)
    row = replace(serving(shown, 4, 60.0), version=shown, by_agent={shown: 4})
    async with TableApp().run_test(size=(120, 10)) as pilot:
        table = pilot.app.query_one(FleetTable)
        table.show([row], SETTING)
        await pilot.pause()
        strip = table.render_line(0)
        assert strip.cell_length == 120
        assert "\x1b" not in strip.text
        assert fit(shown, columns_for(120)[0].width).strip() in strip.text


@given(
    width=st.integers(20, 400),
    name=st.text(max_size=60).map(printable),
    calls=st.none() | st.integers(0, 10**6),
    oldest=st.none() | st.floats(-1e9, 1e12),
    load=st.none() | st.floats(0, 10),
    state=st.sampled_from(WorkerState),
    age=st.none() | st.floats(-5, 1e7),
    deadline=st.none() | st.floats(0, 1e11),
)
def test_columns_never_move(*, width, name, calls, oldest, load, state, age, deadline) -> None:
    """Whatever a worker tells, each cell is exactly as wide as its column, and a row as the screen."""
    columns = columns_for(width)
    row = WorkerRow(
        key=name,
        target=name,
        url="",
        version=name,
        state=state,
        calls=calls,
        load=load,
        oldest_seconds=oldest,
        age_seconds=age,
        deadline=deadline,
        silent_since=deadline,
        last_failure=name,
    )
    spans = row_line(row, columns, Look(), SETTING)
    for span, column in zip(spans, columns, strict=True):
        gap = 0 if column.name == "note" else GAP
        assert cell_len(span.text) == column.width + gap


def test_columns_drop_on_narrow_screens_and_the_names_grow_on_wide_ones() -> None:
    def names(width: int) -> list[str]:
        return [column.name for column in columns_for(width)]

    assert names(80) == ["worker", "version", "state", "calls", "oldest", "deadline", "note"]
    assert names(120) == [
        *("worker", "version", "state", "calls", "trend", "load", "oldest", "deadline", "seen", "note")
    ]
    for width in (80, 100, 120, 160, 240):
        columns = columns_for(width)
        assert MARGIN + sum(column.width + GAP for column in columns) - GAP == width - 1
    assert columns_for(200)[0].width > columns_for(120)[0].width


@pytest.mark.parametrize(
    "over",
    [{"state": WorkerState.EXITED}, {"state": WorkerState.LOST}, {"state": WorkerState.EXITED, "closed": True}],
)
def test_what_cannot_apply_any_more_is_blank(over: dict[str, object]) -> None:
    base = worker("w", "v1", WorkerState.DRAINING, 3)
    row = replace(base, load=None, oldest_seconds=None, deadline=AT + 60, **over)
    cells = {
        column.name: span.text.strip()
        for column, span in zip(columns_for(140), row_line(row, columns_for(140), Look(), SETTING), strict=True)
    }
    assert (cells["load"], cells["oldest"], cells["deadline"]) == ("", "", "")
    assert cells["calls"] == "3"


def test_what_is_not_known_is_never_a_zero() -> None:
    silent = replace(worker("w", "v1", WorkerState.SERVING, 3), calls=None, load=None, oldest_seconds=None)
    text = "".join(span.text for span in row_line(silent, columns_for(120), Look(), SETTING))
    assert text.count("n/a") == 3
    for state in (WorkerState.STARTING, WorkerState.LOST):
        unheard = WorkerRow(key="w", target="w", url="", state=state)
        text = "".join(span.text for span in row_line(unheard, columns_for(120), Look(), SETTING))
        assert text.split().count("n/a") == 1, "its calls; what else it has is blank"
        assert "0" not in text
