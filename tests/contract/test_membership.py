"""Signed membership: a claim holds only with a known secret, for the expected version, and while it is fresh."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker.contract.membership import (
    MembershipError,
    MembershipVerifier,
    membership_message,
    sign_membership,
)

NOW = 1_700_000_000.0
CLAIM = {"version": "v2.0.0", "worker_id": "voice-a-1", "timestamp": NOW}


SECRET = "s3cret"


def signed(*, secret=SECRET, **claim):
    claim = {**CLAIM, **claim}
    return {**claim, "token": sign_membership(**claim, secret=secret)}


def verifier(**settings):
    return MembershipVerifier(**{"secrets": [SECRET], "clock": lambda: NOW, **settings})


def reason_of(claim, **settings):
    with pytest.raises(MembershipError) as refused:
        verifier(**settings).verify(**claim)
    assert str(refused.value).startswith(refused.value.reason)
    assert not verifier(**settings).is_valid(**claim)
    return refused.value.reason


def test_a_signed_claim_holds():
    verifier(expected_version="v2.0.0").verify(**signed())
    assert verifier().is_valid(**signed())


def test_the_token_is_hmac_sha256_in_hex():
    token = signed()["token"]
    assert len(bytes.fromhex(token)) == 32
    assert token == token.lower()


@pytest.mark.parametrize(
    "changed",
    [{"version": "v1.0.0"}, {"worker_id": "voice-a-2"}, {"timestamp": NOW + 1}, {"token": ""}, {"token": "é"}],
)
def test_a_claim_that_was_changed_after_signing_does_not_hold(changed):
    assert reason_of({**signed(), **changed}) == "signature"


def test_another_secret_does_not_sign_for_this_fleet():
    assert reason_of(signed(secret="other")) == "signature"


def test_any_of_several_secrets_is_enough_while_they_are_rotated():
    for secret in ("old", "new"):
        verifier(secrets=["old", "new"]).verify(**signed(secret=secret))


def test_a_worker_of_another_version_is_told_so():
    assert reason_of(signed(version="v1.0.0"), expected_version="v2.0.0") == "version"


def test_a_claim_is_fresh_for_as_long_as_was_set():
    assert verifier(max_age_seconds=300).is_valid(**signed(timestamp=NOW - 300))
    assert reason_of(signed(timestamp=NOW - 301), max_age_seconds=300) == "stale"


def test_a_clock_may_be_a_little_ahead_and_no_more():
    assert verifier().is_valid(**signed(timestamp=NOW + 30))
    assert reason_of(signed(timestamp=NOW + 31)) == "future"


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), 2**53 + 1, 10**400])
def test_what_is_no_point_in_time_cannot_be_signed_nor_verified(moment):
    with pytest.raises((ValueError, OverflowError)):
        sign_membership(version="v", worker_id="w", timestamp=moment, secret="s")
    assert reason_of({**signed(), "timestamp": moment}) == "signature"


def test_at_least_one_secret_and_none_empty():
    with pytest.raises(ValueError, match="at least one secret"):
        MembershipVerifier(secrets=[])
    with pytest.raises(ValueError, match="empty"):
        MembershipVerifier(secrets=["good", ""])
    with pytest.raises(ValueError, match="empty"):
        signed(secret="")
    with pytest.raises(TypeError):
        MembershipVerifier(secrets="one string")


def test_a_membership_error_is_a_value_error():
    assert issubclass(MembershipError, ValueError)


any_text = st.text(st.characters(), max_size=12) | st.sampled_from(["a", "a:b", "a|b", "1", "\0", "\ud800", ""])
moments = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
triples = st.tuples(any_text, any_text, moments)


@given(triples, triples)
def test_no_two_different_claims_share_a_message(one, other):
    assert (membership_message(*one) == membership_message(*other)) == (one == other)


@given(any_text, any_text, st.text(max_size=3))
def test_moving_the_border_between_version_and_worker_changes_the_message(left, right, moved):
    one = membership_message(left + moved, right, 1.0)
    other = membership_message(left, moved + right, 1.0)
    assert (one == other) == (moved == "")


@given(any_text, any_text, moments, st.text(min_size=1, max_size=20))
def test_what_is_signed_verifies(version, worker_id, timestamp, secret):
    token = sign_membership(version=version, worker_id=worker_id, timestamp=timestamp, secret=secret)
    checker = MembershipVerifier(secrets=["another", secret], clock=lambda: float(timestamp))
    checker.verify(token=token, version=version, worker_id=worker_id, timestamp=timestamp)
