"""What stands on the screen, pure: numbers in words, ranges, lines, signs and colours."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import Color, ColorSystem

from openrtc_tui.state.verdict import range_text
from openrtc_tui.state.view import Finding, FleetView, Verdict, VerdictWord, VersionLine, WorkerRow, WorkerState
from openrtc_tui.terminal import look_of_terminal
from openrtc_tui.widgets import words
from openrtc_tui.widgets.glyphs import ASCII, UNICODE, glyphs_for_terminal
from openrtc_tui.widgets.lines import Watching, header_line, split_line, verdict_line, version_lines
from openrtc_tui.widgets.paint import Look, Span, clip_line, fit, paint, spread, width_of
from openrtc_tui.widgets.palette import CONTRAST, DARK, LIGHT, PALETTES, PLAIN, contrast
from openrtc_tui.widgets.rows import note
from openrtc_worker.contract.snapshot import ManifestInfo
from tests.screens import fleets

LOOK = Look(zone=UTC)


def text(line) -> str:
    return "".join(span.text for span in line)


# ------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0s"), (0.9, "0s"), (42, "42s"), (231, "3m51s"), (2850, "47m30s"), (3720, "1h02m"), (190_000, "2d04h")],
)
def test_durations(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(3061, "51m01s"), (3060, "51m"), (600, "10m"), (599, "9m59s"), (3600, "1h00m"), (-1, "now")]
)
def test_time_left_changes_only_when_it_matters(seconds: float, said: str) -> None:
    assert words.time_left(seconds) == said.replace("51m01s", "51m")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0s"), (99, "99s"), (204, "3m"), (5999, "99m"), (7200, "2h"), (260_000, "3d")]
)
def test_ages_stay_short(seconds: float, said: str) -> None:
    assert words.age(seconds) == said


@given(st.floats(0, 1e8))
def test_an_age_fits_its_column(seconds: float) -> None:
    assert len(words.age(seconds)) <= 5


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict(VerdictWord.OPEN), "dropped 0  so far"),
        (Verdict(VerdictWord.PROVEN), "dropped 0  PROVEN"),
        (Verdict(VerdictWord.UNPROVEN, 0, 6), "dropped 0–6  UNPROVEN"),
        (Verdict(VerdictWord.UNPROVEN, 0, 6, exact=False), "dropped 0–6+  UNPROVEN"),
        (Verdict(VerdictWord.UNPROVEN, 0, 0, exact=False), "dropped 0+  UNPROVEN"),
        (Verdict(VerdictWord.VIOLATED, 2, 2), "dropped 2  VIOLATED"),
        (Verdict(VerdictWord.VIOLATED, 2, 8), "dropped 2–8  VIOLATED"),
        (Verdict(VerdictWord.OPEN, 1, 3), "dropped 1–3  so far"),
    ],
)
def test_dropped_calls_are_a_range_with_a_word(verdict: Verdict, said: str) -> None:
    line = verdict_line(FleetView(fleet="f", at=0, verdict=verdict), 120)
    assert text(line).strip().startswith(said)
    assert text(line).rstrip().endswith("callers not witnessed")


@given(
    word=st.sampled_from([VerdictWord.UNPROVEN]),
    possible=st.integers(0, 50),
    exact=st.booleans(),
)
def test_a_bare_zero_is_never_printed_for_unproven(word: VerdictWord, possible: int, exact: bool) -> None:
    if possible == 0 and exact:
        return  # such a verdict does not exist: nothing is possible and nothing is open
    assert range_text(Verdict(word, 0, possible, exact)) != "0"


def test_a_proof_on_a_narrow_screen_still_says_what_it_does_not_cover() -> None:
    long = FleetView(fleet="f", at=0, verdict=Verdict(VerdictWord.PROVEN), verdict_reason="because " * 12)
    assert "callers not witnessed" in text(verdict_line(long, 80))
    unproven = replace(long, verdict=Verdict(VerdictWord.UNPROVEN, 0, 6))
    line = text(verdict_line(unproven, 80))
    assert "callers not witnessed" not in line
    assert "because because" in line


@pytest.mark.parametrize("at", [float("nan"), 1e300, -1e300, float("inf")])
def test_a_time_that_no_calendar_has_is_not_available(at: float) -> None:
    assert words.clock_time(at, UTC) == "n/a"


# ------------------------------------------------------------------------------------------------- lines


@given(st.text(max_size=80), st.integers(0, 60), st.booleans())
def test_fitted_text_is_exactly_that_wide(content: str, width: int, right: bool) -> None:
    clean = "".join(character for character in content if character.isprintable())
    assert cell_len(fit(clean, width, right=right)) == width


@given(st.lists(st.text(max_size=20), max_size=6), st.integers(0, 60))
def test_a_painted_line_is_exactly_as_wide_as_asked(pieces: list[str], width: int) -> None:
    spans = [Span("".join(character for character in piece if character.isprintable())) for piece in pieces]
    assert width_of(clip_line(spans, width)) <= width
    assert paint(spans, width, LOOK).cell_length == width


def test_what_does_not_fit_between_two_ends_is_taken_from_the_left() -> None:
    line = spread([Span("a long beginning")], [Span("end")], 12)
    assert text(line) == "a long…  end"


@given(st.lists(st.integers(0, 10_000), max_size=30), st.integers(0, 12))
def test_a_sparkline_has_its_width_and_shows_every_call(values: list[int], width: int) -> None:
    line = UNICODE.spark(values, width)
    assert len(line) == width
    shown = values[-width:] if width else []
    for value, sign in zip(shown, line, strict=False):
        assert (sign == " ") == (value == 0)
    if any(shown):
        assert line[shown.index(max(shown))] == UNICODE.rise[-1]


def test_the_line_of_calls_gives_each_side_its_share_and_every_call_a_cell() -> None:
    def shares(old: int, new: int) -> dict[str, int]:
        view = replace(
            fleets.MID_DRAIN,
            versions=(
                VersionLine(version="v1.0.0", role="leaving", calls=old),
                VersionLine(version="v2.0.0", role="taking", calls=new),
            ),
        )
        return {span.role: len(span.text) for span in split_line(view, LOOK, 104) if span.text.strip()}

    assert shares(37, 63) == {"leaving": 37, "taking": 63}
    assert shares(1, 9_999) == {"leaving": 1, "taking": 99}
    assert shares(9_999, 1) == {"leaving": 99, "taking": 1}
    assert shares(0, 5) == {"taking": 100}
    assert shares(0, 0) == {"muted": 100}


def test_many_versions_take_four_lines_at_most() -> None:
    many = tuple(VersionLine(version=f"v{number}", calls=number, workers=1) for number in range(9))
    lines = version_lines(FleetView(fleet="f", at=0, versions=many), LOOK, 120)
    assert len(lines) == 4
    assert "6 more versions with 33 calls" in text(lines[-1])


def test_the_version_being_left_says_when_it_is_cut_and_last_took_a_call() -> None:
    left, taken = version_lines(fleets.MID_DRAIN, LOOK, 120)
    assert "cut in 51m" in text(left)
    assert "last new call 14:02:31" in text(left)
    assert "room for 79 more" in text(taken)
    empty = replace(fleets.MID_DRAIN.versions[0], calls=0)
    line, _ = version_lines(replace(fleets.MID_DRAIN, versions=(empty, fleets.MID_DRAIN.versions[1])), LOOK, 80)
    assert "empty" in text(line)


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("calls", [None, 7, 140])
def test_the_calls_of_a_version_never_touch_the_word_before_them(calls: int | None, width: int) -> None:
    """While nobody of it is heard they are n/a, as long as three digits; both lines stay in the same columns."""
    leaving, taking = fleets.MID_DRAIN.versions
    unheard = replace(leaving, workers=0, calls=0, trend=())
    versions = (unheard if calls is None else replace(leaving, calls=calls), taking)
    rows = (*fleets.MID_DRAIN.rows, WorkerRow(key="w", target="w", url=""))
    lines = version_lines(replace(fleets.MID_DRAIN, versions=versions, rows=rows), LOOK, width)
    said = ["".join(span.text for span in line) for line in lines]
    assert said[0].split()[1:4] == ["leaving", "n/a" if calls is None else str(calls), "calls"]
    assert said[0].index(" calls") == said[1].index(" calls")


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("name", ["EMPTY", "STEADY", "MID_DRAIN", "LOST"])
def test_no_line_is_wider_than_the_screen(name: str, width: int) -> None:
    view = getattr(fleets, name)
    watching = Watching(operator="alice")
    for line in (
        header_line(view, watching, LOOK, width),
        split_line(view, LOOK, width),
        *version_lines(view, LOOK, width),
        verdict_line(view, width),
    ):
        assert width_of(line) <= width


# -------------------------------------------------------------------------------------------------- notes


def row(state: WorkerState, calls: int = 6, **more):
    return replace(fleets.worker("w", "v1.0.0", state, calls), **more)


def test_a_lost_workers_note_says_who_hears_silence_since_when() -> None:
    since = fleets.at("14:02:40")
    assert note(row(WorkerState.LOST, silent_since=since), LOOK)[0] == "6 callers hear silence since 14:02:40"
    assert note(row(WorkerState.LOST, 1, silent_since=since), LOOK)[0] == "1 caller hears silence since 14:02:40"
    assert note(row(WorkerState.LOST, 6, silent_since=since), LOOK, short=True)[0] == "6 hear silence since 14:02:40"
    unheard = row(WorkerState.LOST, 0, silent_since=None, last_failure="connection refused")
    assert note(unheard, LOOK)[0] == "unreachable: connection refused"


def test_findings_come_worst_first() -> None:
    found = (Finding("saturated", "saturated"), Finding("contradiction", "ledger does not balance", "bad"))
    assert note(row(WorkerState.SERVING, findings=found), LOOK) == ("ledger does not balance; saturated", "bad")


def test_what_is_over_tells_its_verdict() -> None:
    proven = Verdict(VerdictWord.PROVEN)
    assert note(row(WorkerState.EXITED, 0, verdict=proven), LOOK) == ("dropped 0 PROVEN", "good")
    unproven = Verdict(VerdictWord.UNPROVEN, 0, 6, exact=False)
    closed = row(WorkerState.LOST, verdict=unproven, closed=True)
    assert note(closed, LOOK) == ("restarted: dropped 0–6+ UNPROVEN", "warning")
    assert note(row(WorkerState.SERVING, orphan=True), LOOK)[0] == "no longer in the fleet file"
    assert note(row(WorkerState.STALE, silent_since=fleets.at("14:02:40")), LOOK)[0] == "nothing heard since 14:02:40"


# ------------------------------------------------------------------------------------------------ colours


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_every_theme_can_be_read(palette) -> None:
    """4.5:1 for every meaning on every ground that it can stand on; 7:1 in the theme made for it (WCAG 2.2)."""
    least = 7.0 if palette is CONTRAST else 4.5
    pairs = list(palette.pairs())
    assert len(pairs) == 9 * 4
    too_faint = [(role, ground, round(ratio, 2)) for role, ground, ratio in pairs if ratio < least]
    assert too_faint == []


def test_contrast_is_reckoned_as_wcag_has_it() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")


def test_no_state_is_told_by_colour_alone() -> None:
    for glyphs in (UNICODE, ASCII):
        assert set(glyphs.states) == set(WorkerState)
        signs = [*glyphs.states.values(), glyphs.alert]
        assert len(set(signs)) == len(signs)
        assert all(cell_len(sign) == 1 for sign in signs)


def test_the_ascii_set_prints_ascii_whatever_stands_there() -> None:
    hostile = replace(fleets.LOST, fleet="größe 名前", verdict_reason="… – “x” 🧨")
    look = Look(glyphs=ASCII, zone=UTC)
    for line in (header_line(hostile, Watching(), look, 120), verdict_line(hostile, 120)):
        strip = paint(line, 120, look)
        assert strip.text.isascii()
        assert strip.cell_length == 120


def test_the_terminal_decides_the_look() -> None:
    assert look_of_terminal(environ={}).palette is DARK
    assert look_of_terminal(environ={"NO_COLOR": "1"}).palette is PLAIN
    assert look_of_terminal(environ={"NO_COLOR": ""}).palette is DARK
    assert look_of_terminal(environ={"COLORFGBG": "0;15"}).palette is LIGHT
    assert look_of_terminal(environ={"COLORFGBG": "15;0"}).palette is DARK
    assert look_of_terminal(environ={"OPENRTC_TUI_THEME": "contrast"}).palette is CONTRAST
    with pytest.raises(ValueError, match="expected one of dark, light, contrast"):
        look_of_terminal(environ={"OPENRTC_TUI_THEME": "pink"})


def test_poor_terminals_get_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    assert glyphs_for_terminal(ascii_only=True) is ASCII
    monkeypatch.setenv("TERM", "vt100")
    assert glyphs_for_terminal() is ASCII


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_in_256_colours_the_cursor_and_dialogs_still_stand_out(palette) -> None:
    """Terminals without true colour get the nearest of 256; grounds must not fall together there."""
    nearest = {
        ground: Color.parse(paper).downgrade(ColorSystem.EIGHT_BIT).number
        for ground, paper in palette.grounds.items()
    }
    assert len({nearest["background"], nearest["cursor"], nearest["panel"]}) == 3
    assert nearest["bar"] != nearest["background"]


# ------------------------------------------------------------------------------------------------ rollouts


def gated(held: ManifestInfo | None):
    made = row(WorkerState.GATED)
    assert made.snapshot is not None
    return replace(made, snapshot=msgspec.structs.replace(made.snapshot, manifest=held))


def test_a_gated_worker_says_who_takes_the_calls_instead() -> None:
    assert note(gated(ManifestInfo(seq=7, active=["v2"], allows=False)), LOOK)[0] == "manifest 7 names v2"
    assert note(gated(ManifestInfo(seq=8, active=[], allows=False)), LOOK)[0] == "manifest 8 names no version"
    assert note(gated(None), LOOK)[0] == "waits for a manifest"


def test_a_worker_that_its_platform_ends_says_when_what_is_left_is_killed() -> None:
    ending = row(WorkerState.DRAINING, killed_at=fleets.AT + 250)
    assert note(ending, LOOK, now=fleets.AT) == ("terminating · killed in 4m10s", "warning")
    assert note(replace(ending, calls=0), LOOK, now=fleets.AT) == ("terminating", "muted")
    told = replace(
        ending, findings=(Finding("terminating", "terminating, 6 calls live, killed in 4m10s", "warning"),)
    )
    assert note(told, LOOK, now=fleets.AT)[0] == "terminating · killed in 4m10s", "said once"
    worse = replace(ending, findings=(Finding("grace_too_short", "grace too short", "bad"),))
    assert note(worse, LOOK, now=fleets.AT) == ("terminating · killed in 4m10s; grace too short", "bad")
    lost = replace(ending, state=WorkerState.LOST)
    assert note(lost, LOOK, now=fleets.AT) == ("6 callers hear silence; terminating · killed in 4m10s", "bad")


def test_gated_workers_are_counted_as_gated_and_never_as_cordoned() -> None:
    counted = VersionLine(version="v1.0.0", workers=3, by_state=((WorkerState.GATED, 3),))
    view = replace(fleets.STEADY, versions=(counted,))
    (first, _) = version_lines(view, LOOK, 140)
    assert "3 workers · 3 gated" in text(first)
    assert "cordoned" not in text(first)
