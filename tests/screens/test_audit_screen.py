"""Who did what, when, and what came of it: both sides in one trail, joined by request, searchable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.app import DeployApp
from openrtc_tui.operations.choices import promotable, return_to, returnable
from openrtc_tui.operations.history import JournaledPlan
from openrtc_tui.screens.audit import MOST_SHOWN, AuditScreen, EventScreen
from openrtc_tui.screens.main import MainScreen
from openrtc_tui.state.view import Finding, WorkerState
from openrtc_tui.trail_reader import read_trail
from openrtc_tui.watched import ReadFailed
from openrtc_tui.widgets.paint import Look
from openrtc_tui.widgets.trail import JOURNAL, Entry, Trail, cells, in_order, matching, whole
from tests.screens import fleets, plans
from tests.screens.fakes import FakeSession
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOK = Look(zone=UTC)
OP = "9c3e51f07d2ab846"


def session() -> FakeSession:
    made = FakeSession(plans.GATED)
    made.written = plans.JOURNAL
    made.events = plans.WORKER_EVENTS
    return made


def lines(entries: Sequence[Entry]) -> list[str]:
    return [" ".join(cells(entry, LOOK)) for entry in entries]


async def test_both_sides_stand_in_one_trail_the_newest_last_what_was_asked_before_what_was_done() -> None:
    trail = await read_trail(session(), plans.GATED)
    assert [entry.at for entry in trail.entries] == sorted(entry.at for entry in trail.entries)
    joined = [(entry.source, entry.text("event")) for entry in trail.entries if entry.text("op_id") == OP]
    assert joined[0] == (JOURNAL, "op.intent")
    assert joined[-1] == (JOURNAL, "op.outcome")
    assert ("voice-a-2", "deployment.drain_started") in joined


async def test_the_journals_lines_name_the_worker_and_what_was_asked_of_it() -> None:
    trail = await read_trail(session(), plans.GATED)
    intent, outcome = (entry for entry in trail.entries if entry.source == JOURNAL and entry.text("op_id") == OP)
    assert lines([intent]) == ["14:02:12 alice op.intent voice-a-2 pending 9c3e51f0 drain · rollout 214"]
    assert cells(outcome, LOOK)[3:5] == ("voice-a-2", "started"), "by the worker's id, where no name was written"


async def test_a_worker_that_cannot_be_read_is_named_and_the_others_are_shown() -> None:
    class Deaf(FakeSession):
        async def audit(self, key: str) -> Sequence[dict[str, object]]:
            if key == "voice-a-2":
                raise ReadFailed("cannot be read: connection refused")
            return self.events

    made = Deaf(plans.GATED)
    made.events = plans.WORKER_EVENTS
    trail = await read_trail(made, plans.GATED)
    assert trail.problems == ("voice-a-2 cannot be read: connection refused",)
    assert {entry.source for entry in trail.entries} == {row.key for row in plans.GATED.rows} - {"voice-a-2"}


async def test_a_worker_that_has_exited_cannot_be_read_and_that_is_no_warning() -> None:
    class Gone(FakeSession):
        async def audit(self, key: str) -> Sequence[dict[str, object]]:
            if key == view.rows[0].key:
                raise ReadFailed("cannot be read: connection refused")
            return self.events

    first, *others = plans.GATED.rows
    view = replace(plans.GATED, rows=(replace(first, state=WorkerState.EXITED), *others))
    made = Gone(view)
    trail = await read_trail(made, view)
    assert (trail.problems, trail.gone) == ((), 1)
    app = DeployApp(made, LOOK)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, AuditScreen)
        said = screen.title_line.text()
    assert "cannot be read" not in said
    assert "1 exited" in said, "its events are missing for a reason"


def test_what_a_worker_told_stays_after_it_has_exited_and_is_never_shown_twice() -> None:
    first = Trail((Entry("a-1", plans.WORKER_EVENTS[0]),), ("b-1 is silent",))
    later = Trail((Entry(JOURNAL, plans.JOURNAL[0]), Entry("a-1", dict(plans.WORKER_EVENTS[0]))))
    both = first.and_then(later)
    assert len(both.entries) == 2
    assert both.problems == ()


def test_an_event_of_another_day_says_which() -> None:
    entry = Entry(JOURNAL, plans.JOURNAL[0])
    assert cells(entry, LOOK, newest=fleets.AT)[0] == "03-02 13:06:04"
    assert cells(entry, LOOK)[0] == "13:06:04"


_values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.just({"key": 7}))
_names = st.sampled_from(["timestamp", "event", "actor", "op_id", "step", "subject", "seq", "deadline", "x"])


@given(st.lists(st.dictionaries(_names, _values), max_size=6))
def test_whatever_an_event_says_it_is_ordered_searched_and_shown(told: list[dict[str, object]]) -> None:
    entries = in_order(Entry("a-1", fields) for fields in told)
    assert len(entries) == len(told)
    assert matching(entries, "") == entries
    for entry in entries:
        assert len(cells(entry, LOOK, fleets.AT)) == 7
        assert whole(entry, entries, LOOK)


def test_a_search_finds_every_word_in_whatever_field_it_stands() -> None:
    entries = [Entry(JOURNAL, record) for record in plans.JOURNAL]
    assert [entry.text("event") for entry in matching(entries, "ROLLOUT drain 214")] == ["plan.begun", "op.intent"]
    assert [entry.text("event") for entry in matching(entries, f"op_id={OP} started")] == ["op.outcome"]
    assert matching(entries, "nobody") == ()


async def test_a_long_trail_shows_its_newest_and_a_search_goes_through_all() -> None:
    made = session()
    first = {**plans.JOURNAL[0], "reason": "the very first"}
    made.written = [first, *({**plans.JOURNAL[0], "timestamp": fleets.AT + number} for number in range(MOST_SHOWN))]
    made.events, made.older = [], 90_000
    app = DeployApp(made, LOOK)
    async with app.run_test(size=(140, 40)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, AuditScreen)
        await until(lambda: screen.table.row_count == MOST_SHOWN, within=30, what="the newest")
        assert "1001 events, the newest 1000 shown" in screen.title_line.text()
        assert "the newest 1001 of 91001; `openrtc-tui audit show` has them all" in screen.title_line.text()
        await pilot.press("slash", *"first")
        await until(lambda: screen.table.row_count == 1, within=30, what="the very first")
        assert " 1 of 1001 events" in screen.title_line.text()


async def test_the_screen_opens_at_the_newest_searches_and_shows_one_whole_event() -> None:
    app = DeployApp(session(), LOOK)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, AuditScreen)
        total = screen.table.row_count
        assert screen.table.cursor_row == total - 1
        await pilot.press("slash", *"op.intent drain")
        await pilot.pause()
        assert screen.table.row_count == 1
        assert "1 of" in screen.title_line.text()
        await pilot.press("enter", "enter")
        await pilot.pause()
        assert isinstance(app.screen, EventScreen)
        said = app.screen.page.text()
        assert "this machine's journal" in said
        assert f"op_id         {OP}" in said
        assert "THE SAME REQUEST" in said
        assert "deployment.drain_started" in said
        await pilot.press("escape", "escape")
        assert screen.table.row_count == total, "escape shows all again"
        await pilot.press("escape")
        assert isinstance(app.screen, MainScreen)


async def test_the_cursor_stays_on_its_event_while_the_trail_grows_and_follows_at_its_end() -> None:
    app = DeployApp(session(), LOOK)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, AuditScreen)
        await pilot.press("home", "j")
        chosen = screen.table.coordinate_to_cell_key(screen.table.cursor_coordinate).row_key
        older = {**plans.JOURNAL[0], "seq": 0, "timestamp": fleets.AT - 99_000}
        screen.show_trail(Trail((Entry(JOURNAL, older),)))
        await pilot.pause()
        assert screen.table.cursor_row == 2
        assert screen.table.coordinate_to_cell_key(screen.table.cursor_coordinate).row_key == chosen
        await pilot.press("end")
        newer = {**plans.JOURNAL[0], "seq": 9, "timestamp": fleets.AT}
        screen.show_trail(Trail((Entry(JOURNAL, newer),)))
        await pilot.pause()
        assert screen.table.cursor_row == screen.table.row_count - 1


async def test_hostile_text_in_an_event_is_only_text() -> None:
    made = session()
    made.written = [{**plans.JOURNAL[0], "actor": "[/x]", "reason": "[bold]no[/bold]"}]
    app = DeployApp(made, LOOK)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("a")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, AuditScreen)
        assert "[/x]" in str(screen.table.get_row_at(0)[1])


# ------------------------------------------------------------------------- which versions there are to choose from


def test_a_version_whose_workers_are_strangers_is_never_offered() -> None:
    stranger = replace(
        plans.GATED.rows[0], key="x-1", version="v9", verified=False, ready_to_take=False,
        findings=(Finding("foreign", "membership is not valid", "bad"),),
    )  # fmt: skip
    view = replace(plans.GATED, rows=(*plans.GATED.rows, stranger))
    assert promotable(view) == ("v1.0.0",), "v2.0.0 has the calls alone already"
    assert returnable(view, "v1.0.0", "v2.0.0") == ("v1.0.0",)


def test_without_a_manifest_the_version_that_the_rollout_goes_to_is_offered_first() -> None:
    rows = tuple(replace(row, ready_to_take=True) for row in fleets.MID_DRAIN.rows)
    assert promotable(replace(fleets.MID_DRAIN, rows=rows)) == ("v2.0.0", "v1.0.0")


def a_rollback(word: str) -> JournaledPlan:
    """From v2.0.0 to v1.0.0, and what it ended as."""
    lines = ({"event": "plan.begun"}, {"event": "plan.ended", "word": word})
    return JournaledPlan(plan=plans.ROLLBACK, records=lines)


def test_a_rollback_does_not_go_by_itself_to_the_version_that_the_last_one_left() -> None:
    view, done, aborted = plans.left_behind(), a_rollback("done"), a_rollback("aborted")
    third = plans.holding(replace(view.rows[0], key="voice-c-1", version="v3.0.0"), 8, "v1.0.0")
    more = replace(view, rows=(*view.rows, third))
    assert return_to(view, "v1.0.0", "v2.0.0", None) == "v1.0.0", "nothing was rolled back"
    assert return_to(more, "v1.0.0", "v3.0.0", done) == "v1.0.0", "and that was not the bad one"
    assert return_to(more, "v2.0.0", "v1.0.0", done) == "v3.0.0"
    assert return_to(view, "v2.0.0", "v1.0.0", done) == "v2.0.0", "there is no other"
    assert return_to(more, "v2.0.0", "v1.0.0", aborted) == "v1.0.0", "it is gone on with"
    gone = replace(more, rows=tuple(row for row in more.rows if row.version != "v2.0.0"))
    assert return_to(gone, "v2.0.0", "v1.0.0", aborted) == "v3.0.0", "nothing of it is left to do"


def test_the_version_that_the_last_rollback_left_is_offered_last_and_to_whoever_wants_it_only() -> None:
    view = plans.left_behind()
    third = plans.holding(replace(view.rows[0], key="voice-c-1", version="v3.0.0"), 8, "v1.0.0")
    view = replace(view, rows=(*view.rows, third))
    assert returnable(view, "v3.0.0", "v1.0.0", "v2.0.0") == ("v3.0.0", "v2.0.0")
    assert returnable(view, "v1.0.0", "v2.0.0", "v2.0.0") == ("v1.0.0", "v3.0.0", "v2.0.0")
