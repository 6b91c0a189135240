"""Server-sent events: the same frames however the bytes are cut, and bounds on what a sender may pile up."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_tui.sources.sse import COMMENT, MAX_EVENT, Frame, SseError, SseParser

NEWLINES = st.sampled_from([b"\n", b"\r", b"\r\n"])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20).map(str.encode)
NAMES = st.sampled_from([b"snapshot", b"audit", b"bye"])


def parse(data: bytes, cuts: list[int] | None = None) -> list[Frame]:
    parser = SseParser()
    frames: list[Frame] = []
    places = sorted({min(cut, len(data)) for cut in cuts or []} | {0, len(data)})
    for start, end in itertools.pairwise(places):
        frames += parser.feed(data[start:end])
    return frames


@st.composite
def streams(draw) -> tuple[bytes, list[Frame]]:
    """Bytes of a stream and the frames that it holds."""
    data, frames = b"", []
    for _ in range(draw(st.integers(0, 6))):
        newline = draw(NEWLINES)
        if draw(st.booleans()):
            data += b":" + draw(TEXT) + newline
            frames.append(COMMENT)
        else:
            name, lines = draw(NAMES), draw(st.lists(TEXT, min_size=1, max_size=3))
            fields = [b"event: " + name, *(b"data: " + line for line in lines), b"id: boot:7"]
            data += newline.join(fields) + newline + newline
            frames.append(Frame(name, b"\n".join(lines)))
    return data, frames


@given(streams(), st.lists(st.integers(0, 400), max_size=12))
def test_any_way_of_cutting_the_bytes_gives_the_same_frames(stream, cuts):
    data, frames = stream
    assert parse(data, cuts) == frames


@given(streams())
def test_one_byte_at_a_time_gives_the_same_frames(stream):
    data, frames = stream
    assert parse(data, list(range(len(data)))) == frames


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_no_bytes_raise_and_none_depend_on_how_they_were_cut(data, cuts):
    assert parse(data, cuts) == parse(data)


@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\r\n"])
def test_each_kind_of_line_end(newline):
    data = newline.join([b":", b"", b"event: snapshot", b"data: {}", b"", b""])
    assert parse(data) == [COMMENT, Frame(b"snapshot", b"{}")]


@pytest.mark.parametrize(
    ("data", "frames"),
    [
        (b"data: a\n\n", [Frame(b"message", b"a")]),
        (b"data:a\n\n", [Frame(b"message", b"a")]),
        (b"data:  a\n\n", [Frame(b"message", b" a")]),
        (b"data: a\ndata\ndata: b\n\n", [Frame(b"message", b"a\n\nb")]),
        (b"data: a:b\n\n", [Frame(b"message", b"a:b")]),
        (b"event: x\n\ndata: a\n\n", [Frame(b"message", b"a")]),
        (b"id: 1\nretry: 5\nother: 2\ndata: a\n\n", [Frame(b"message", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Frame(b"message", b"a")]),
        (b"\xef\xbb\xbf:\n\n", [COMMENT]),
        (b"data: a\n", []),
        (b"\n\n\n", []),
    ],
)
def test_the_rules_of_the_standard(data, frames):
    assert parse(data) == frames
    assert parse(data, list(range(len(data)))) == frames


def test_a_line_without_end_is_an_error_at_the_limit():
    parser = SseParser()
    parser.feed(b"data: " + b"x" * (MAX_EVENT - 6))
    with pytest.raises(SseError, match="a line of more than 1,048,576 bytes"):
        parser.feed(b"x")


def test_an_event_of_many_lines_is_an_error_at_the_limit():
    parser = SseParser()
    line = b"data: " + b"x" * 65_535 + b"\n"
    for _ in range(16):
        parser.feed(line)
    with pytest.raises(SseError, match="an event of more than 1,048,576 bytes"):
        parser.feed(line)


def test_a_long_stream_of_events_never_reaches_the_limit():
    parser = SseParser()
    event = b"data: " + b"x" * 60_000 + b"\n\n"
    assert sum(len(parser.feed(event)) for _ in range(100)) == 100
