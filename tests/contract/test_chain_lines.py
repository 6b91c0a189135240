"""Lines of a chain, the check that walks them, and checkpoints: pure, so tried with everything."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker.contract.chain import GENESIS, Head, Word
from openrtc_worker.contract.chain.check import ChainCheck
from openrtc_worker.contract.chain.checkpoint import read_checkpoint, sign_checkpoint
from openrtc_worker.contract.chain.line import LINKS, MAX_LINE_BYTES, BadLine, decode_line, encode_line

# half characters too: a file's name that is not UTF-8 ends up in some error's text
text = st.text(st.characters(), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
records = st.dictionaries(text.filter(lambda name: name not in LINKS), values, max_size=5)
chains = st.lists(records, min_size=1, max_size=6)


def encoded(chain, after=GENESIS):
    lines = []
    for each in chain:
        line, after = encode_line(each, after)
        lines.append(line)
    return lines


def judged(data: bytes, checkpoint=None, *, files=()):
    """The verdict on the bytes of one file; *files* stand before it."""
    check = ChainCheck()
    if checkpoint is not None:
        check.expect(checkpoint)
    for name, content in (*((f"old-{index}", each) for index, each in enumerate(files)), ("file", data)):
        lines = content.split(b"\n")
        unfinished = lines.pop()
        for number, line in enumerate(lines, 1):
            if not check.take(line, f"{name} line {number}", opens_file=number == 1):
                return check.verdict()
        if unfinished:
            check.incomplete("unfinished")
    return check.verdict()


def checkpoint_at(head: Head, key=None):
    key = key or Ed25519PrivateKey.generate()
    return read_checkpoint(sign_checkpoint(head, 1.0, private_key=key, kid="alice"), {"alice": key.public_key()})


@given(records, st.integers(0, 2**53))
def test_a_record_comes_back_as_it_was_written(record, number):
    line, head = encode_line(record, Head(number, "a" * 64))
    found = decode_line(line.removesuffix(b"\n"))
    assert found.head == head == Head(number + 1, head.hash)
    assert found.prev == "a" * 64
    assert {name: value for name, value in found.record.items() if name not in LINKS} == json.loads(
        json.dumps(record)
    )


@given(records)
def test_a_line_is_one_line_of_plain_ascii_that_no_terminal_obeys(record):
    line, _ = encode_line(record, GENESIS)
    assert line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])


def test_the_hash_can_be_computed_by_hand():
    line, head = encode_line({"event": "x"}, GENESIS)
    body, _, _ = line.partition(b',"hash":')
    assert body == b'{"chain":1,"prev":"%b","event":"x"' % (b"0" * 64)
    assert head == Head(1, hashlib.sha256(body).hexdigest())


@given(chains)
def test_an_untouched_chain_is_ok(chain):
    verdict = judged(b"".join(encoded(chain)))
    assert (verdict.word, verdict.where, verdict.lines) == (Word.OK, None, len(chain))


@given(chains, st.data())
def test_a_change_of_any_byte_is_found(chain, data):
    whole = b"".join(encoded(chain))
    at = data.draw(st.integers(0, len(whole) - 1), label="at")
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]), label="byte")
    assert not judged(whole[:at] + bytes([byte]) + whole[at + 1 :]).is_ok


@given(chains, st.data())
def test_a_byte_put_in_or_taken_out_anywhere_is_found(chain, data):
    whole = b"".join(encoded(chain))
    at = data.draw(st.integers(0, len(whole) - 1), label="at")
    assert not judged(whole[:at] + whole[at + 1 :]).is_ok
    byte = data.draw(st.integers(0, 255), label="byte")
    assert not judged(whole[:at] + bytes([byte]) + whole[at:]).is_ok


@given(st.lists(records, min_size=2, max_size=6), st.data())
def test_lines_in_another_order_or_twice_are_tampered(chain, data):
    lines = encoded(chain)
    first, second = data.draw(st.lists(st.sampled_from(range(len(lines))), min_size=2, max_size=2, unique=True))
    swapped = list(lines)
    swapped[first], swapped[second] = lines[second], lines[first]
    assert judged(b"".join(swapped)).word is Word.TAMPERED
    assert judged(b"".join([*lines, lines[first]])).word is Word.TAMPERED


@given(st.lists(records, min_size=3, max_size=6), st.data())
def test_a_line_taken_out_of_the_middle_is_tampered_and_the_place_is_named(chain, data):
    lines = encoded(chain)
    out = data.draw(st.integers(1, len(lines) - 2))
    verdict = judged(b"".join(lines[:out] + lines[out + 1 :]))
    assert verdict.word is Word.TAMPERED
    assert verdict.where is not None
    assert verdict.where.startswith(f"file line {out + 1}: line {out + 1} of the chain is missing")


@given(st.lists(records, min_size=2, max_size=6), records, st.data())
def test_a_line_written_anew_by_somebody_who_knows_the_format_is_found_by_the_next_one(chain, other, data):
    lines = encoded(chain)
    at = data.draw(st.integers(0, len(lines) - 2))
    before = GENESIS if at == 0 else decode_line(lines[at - 1][:-1]).head
    forged, head = encode_line(other, before)
    changed = head.hash != decode_line(lines[at][:-1]).head.hash
    assert judged(b"".join([*lines[:at], forged, *lines[at + 1 :]])).is_ok is not changed


@given(chains, st.data())
def test_a_tail_cut_behind_a_checkpoint_is_incomplete_and_without_one_it_cannot_be_seen(chain, data):
    lines = encoded(chain)
    kept = data.draw(st.integers(0, len(lines) - 1))
    rest = b"".join(lines[:kept])
    verdict = judged(rest, checkpoint_at(decode_line(lines[-1][:-1]).head))
    assert verdict.word is Word.INCOMPLETE
    assert verdict.where is not None
    assert "missing at the end" in verdict.where
    assert judged(rest).is_ok


@given(st.lists(records, min_size=2, max_size=6), st.data())
def test_a_checkpoint_vouches_for_its_line_and_lines_may_follow_it(chain, data):
    lines = encoded(chain)
    at = data.draw(st.integers(0, len(lines) - 1))
    checkpoint = checkpoint_at(decode_line(lines[at][:-1]).head)
    verdict = judged(b"".join(lines), checkpoint)
    assert (verdict.word, verdict.checkpoint) == (Word.OK, at + 1)
    rewritten = encoded([{"event": "another story"}] * len(chain))
    assert judged(b"".join(rewritten), checkpoint).word is Word.TAMPERED


@given(st.lists(records, min_size=4, max_size=6))
def test_a_file_that_is_missing_makes_a_chain_incomplete_and_does_not_hide_a_tampered_line(chain):
    lines = encoded(chain)
    assert judged(b"".join(lines[2:]), files=[b"".join(lines[:2])]).is_ok
    without_first = judged(b"".join(lines[2:]))
    assert (without_first.word, without_first.lines) == (Word.INCOMPLETE, len(lines) - 2)
    between = judged(b"".join(lines[2:]), files=[lines[0]])
    assert between.word is Word.INCOMPLETE
    assert between.where == "file line 1: line 2 of the chain is missing before it"
    spoilt = lines[3][:-10] + b"x" + lines[3][-9:]
    assert judged(b"".join([lines[2], spoilt])).word is Word.TAMPERED


@given(st.binary(max_size=400))
def test_bytes_that_never_were_a_chain_are_told_and_nothing_breaks(data):
    verdict = judged(data)
    assert verdict.lines == 0
    assert verdict.is_ok is not bool(data)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"hash": 1}, "hash"),
        ({"prev": 1, "chain": 2}, "chain, prev"),
        ({("a", "b"): 1}, "no JSON"),
        ({"load": float("nan")}, "no JSON"),
        ({"long": "x" * MAX_LINE_BYTES}, "at most"),
    ],
)
def test_a_record_that_no_line_can_hold_is_refused_with_the_reason(record, why):
    with pytest.raises(ValueError, match=why):
        encode_line(record, GENESIS)


def test_a_record_that_holds_itself_or_is_bottomless_is_refused():
    endless: dict = {}
    endless["self"] = endless
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for record in (endless, {"deep": deep}):
        with pytest.raises(ValueError, match="no JSON"):
            encode_line(record, GENESIS)


def test_what_json_does_not_know_is_written_as_its_text():
    line, _ = encode_line({"path": Head(1, "x")}, GENESIS)
    assert decode_line(line[:-1]).record["path"] == "Head(chain=1, hash='x')"


def signed_as(body: bytes) -> bytes:
    """A line of *body* whose own hash is good: made by hand, by somebody who knows the format."""
    return b'%b,"hash":"%b"}' % (body, hashlib.sha256(body).hexdigest().encode())


@pytest.mark.parametrize(
    "body",
    [
        b'{"chain":true,"prev":"%b"' % (b"0" * 64),
        b'{"chain":0,"prev":"%b"' % (b"0" * 64),
        b'{"chain":1.0,"prev":"%b"' % (b"0" * 64),
        b'{"chain":1,"prev":7',
        b'{"chain":1,"prev":"short"',
        b'{"chain":1',
        b'{"chain":1,"prev":[[',
        b'{"chain":%b' % (b"9" * 5_000),
        b'{"chain":1,"deep":%b' % (b"[" * 200_000),
        b'{"chain":1,"\xff"',
    ],
)
def test_a_line_made_by_hand_without_its_place_is_no_line(body):
    with pytest.raises(BadLine):
        decode_line(signed_as(body))


def test_a_line_that_is_too_long_is_no_line_even_with_a_good_hash():
    with pytest.raises(BadLine, match="longer"):
        decode_line(signed_as(b'{"chain":1,"prev":"%b","x":"%b"' % (b"0" * 64, b"x" * MAX_LINE_BYTES)))


# ------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_says_which_line_was_the_newest_and_who_vouches_for_it():
    key = Ed25519PrivateKey.generate()
    token = sign_checkpoint(Head(7, "b" * 64), 12.5, private_key=key, kid="alice@2")
    checkpoint = read_checkpoint(f"  {token}\n", {"alice@2": key.public_key()})
    assert (checkpoint.head, checkpoint.at, checkpoint.kid, checkpoint.signed) == (
        Head(7, "b" * 64),
        12.5,
        "alice@2",
        True,
    )
    assert read_checkpoint(token, None).signed is False


def test_a_checkpoint_of_another_key_or_an_unknown_one_is_refused():
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    token = sign_checkpoint(Head(7, "b" * 64), 1, private_key=key, kid="alice")
    with pytest.raises(ValueError, match="signature is not good"):
        read_checkpoint(token, {"alice": other.public_key()})
    with pytest.raises(ValueError, match="'alice', which is not known"):
        read_checkpoint(token, {"bob": key.public_key()})


@given(st.text(max_size=200) | st.just("a.b.c") | st.just("x" * 10_000))
def test_what_is_no_checkpoint_is_refused(token):
    with pytest.raises(ValueError):
        read_checkpoint(token, None)


def test_another_kind_of_token_of_the_same_key_is_no_checkpoint():
    from openrtc_worker.contract.manifest import Manifest, sign_manifest

    key = Ed25519PrivateKey.generate()
    manifest = Manifest(fleet="f", seq=1, active=("v1",), issued_at=1, issued_by="alice")
    token = sign_manifest(manifest, private_key=key, kid="alice")
    with pytest.raises(ValueError, match="no checkpoint"):
        read_checkpoint(token, {"alice": key.public_key()})
