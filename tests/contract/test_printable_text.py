"""Remote text is hostile: nothing that a terminal obeys gets through, and nothing gets long."""

from __future__ import annotations

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker.contract.text import MAX_TEXT, is_plain, printable, printable_tree

HOSTILE = {
    "a terminal sequence": "\x1b[2Jgone",
    "a one-byte CSI": "\x9b31m",
    "a bell": "\x07",
    "DEL": "\x7f",
    "a right-to-left override": "abc\u202egpj.exe",
    "an isolate": "\u2066x\u2069",
    "a zero-width space": "voice\u200b-a",
    "a soft hyphen": "voice\u00ad-a",
    "a Hangul filler": "\u3164",
    "a tag": "\U000e0041",
    "half a character": "\ud800",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_a_terminal_obeys_or_hides_is_taken_out(text):
    left = printable(text)
    assert left != text
    assert all(unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in left)


def test_a_line_break_becomes_a_space_and_not_nothing():
    assert printable("one\ntwo\tthree\u2028four") == "one two three four"


@pytest.mark.parametrize("text", ["voice-a-1", "Zürich", "東京", "Ελλάδα", "عمان", "👩‍🚒"[0], ""])
def test_names_of_people_and_places_pass_as_they_are(text):
    assert printable(text) == text


@given(st.text(max_size=600), st.integers(1, 300))
def test_one_line_of_bounded_length_and_cleaning_twice_changes_nothing(text, limit):
    clean = printable(text, limit)
    assert len(clean) <= limit
    assert not set(clean) & set("\x00\x07\x1b\n\r\x7f\x9b\u200b\u202e")
    assert printable(clean, limit) == clean


def test_a_clipped_text_says_so():
    assert printable("x" * 300) == "x" * (MAX_TEXT - 1) + "…"
    assert printable("x" * MAX_TEXT) == "x" * MAX_TEXT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=300), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_a_tree_is_cleaned_in_every_key_and_value(value):
    def texts(node):
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            for key, item in node.items():
                yield key
                yield from texts(item)
        elif isinstance(node, list):
            for item in node:
                yield from texts(item)

    assert all(text == printable(text) for text in texts(printable_tree(value)))


@given(json_values)
def test_bytes_that_are_called_plain_hold_nothing_to_clean(value):
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        return
    if is_plain(data):
        assert printable_tree(value) == value
