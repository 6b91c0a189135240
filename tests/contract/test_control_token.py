"""The signed request token: what one rule broken leads to, rule by rule."""

from __future__ import annotations

import base64
import hashlib
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker.contract.control_token import (
    ACTIONS,
    TokenRefused,
    sign_request,
    verify_request,
)
from openrtc_worker.contract.keys import OperatorKey

NOW = 1_700_000_000.0
BODY = b'{"op_id":"op-1","expect":{"boot_id":"b1"}}'
ALICE, MALLORY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = {
    "alice": OperatorKey(kid="alice", operator="alice", public_key=ALICE.public_key()),
    "alice@2": OperatorKey(kid="alice@2", operator="alice", public_key=ALICE.public_key()),
    "looker": OperatorKey(
        kid="looker", operator="alice", public_key=ALICE.public_key(), actions=frozenset({"cordon"})
    ),
}
CLAIMS = {
    "sub": "alice",
    "aud": "w1/b1",
    "act": "drain",
    "jti": "op-1",
    "bsh": hashlib.sha256(BODY).hexdigest(),
    "iat": int(NOW),
    "exp": int(NOW) + 60,
}


def token(*, key=ALICE, kid="alice", algorithm="EdDSA", headers=None, without=(), **claims):
    merged = {name: value for name, value in {**CLAIMS, **claims}.items() if name not in without}
    return jwt.encode(merged, key, algorithm=algorithm, headers={"kid": kid, **(headers or {})})


def verify(shown, **changed):
    asked = {
        "keys": KEYS,
        "worker_id": "w1",
        "boot_id": "b1",
        "action": "drain",
        "op_id": "op-1",
        "body": BODY,
        "now": NOW,
    }
    return verify_request(shown, **{**asked, **changed})


def refusal(shown, **changed):
    with pytest.raises(TokenRefused) as refused:
        verify(shown, **changed)
    assert "\n" not in refused.value.detail
    assert shown not in str(refused.value) or not shown
    return refused.value


def test_a_good_token_tells_who_asks():
    verified = verify(token())
    assert (verified.sub, verified.kid, verified.jti) == ("alice", "alice", "op-1")
    assert verify(token(kid="alice@2")).sub == "alice"


@pytest.mark.parametrize("shown", ["", "x", "a.b", "a.b.c", "é.é.é", "\udcff", "..", "." * 500, "Ψ" * 9])
def test_what_is_no_jwt_is_no_token(shown):
    assert (refusal(shown).reason, refusal(shown).status) == ("token", 401)


def raw(header, payload=CLAIMS, signature=b"x" * 64):
    def part(value):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    return ".".join((part(header), part(payload), part(signature)))


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"null",
        b"\xff",
        b"[" * 50_000,
        {"alg": "EdDSA"},
        {"alg": "EdDSA", "kid": 7},
        {"alg": "EdDSA", "kid": None},
        {"alg": "EdDSA", "kid": ["alice"]},
        {"alg": "EdDSA", "kid": "alice", "crit": ["x"]},
        {"alg": "EdDSA", "kid": "alice", "b64": False, "crit": ["b64"]},
    ],
)
def test_a_header_that_is_not_as_required_is_no_token(header):
    assert refusal(raw(header)).reason == "token"


def test_a_payload_that_is_kept_elsewhere_is_no_token():
    """RFC 7797 lets the payload travel apart from the token; here nothing does."""
    assert refusal(raw({"alg": "EdDSA", "kid": "alice", "b64": False, "crit": ["b64"]}, b"")).reason == "token"


def test_a_key_that_is_not_known_here():
    refused = refusal(token(kid="mallory", key=MALLORY))
    assert (refused.reason, refused.status, refused.kid, refused.operator) == ("key", 401, "mallory", None)


def test_a_key_id_is_shown_without_what_a_terminal_obeys():
    assert "\x1b" not in refusal(token(kid="\x1b[2J", key=MALLORY)).detail


def public_pem():
    return ALICE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hs256_with_the_public_key():
    """The classic confusion of algorithms; PyJWT refuses to make it, so it is made by hand."""
    import hmac

    head = raw({"alg": "HS256", "typ": "JWT", "kid": "alice"}).rsplit(".", 1)[0]
    mac = hmac.new(public_pem(), head.encode(), hashlib.sha256).digest()
    return head + "." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "shown",
    [
        token(key=None, algorithm="none"),
        raw({"alg": "none", "kid": "alice"}, signature=b""),
        hs256_with_the_public_key(),
        raw({"alg": "ES256", "kid": "alice"}),
        raw({"alg": "eddsa", "kid": "alice"}),
        raw({"alg": ["EdDSA"], "kid": "alice"}),
        raw({"kid": "alice"}),
    ],
    ids=["none", "none by hand", "HS256 with the public key", "ES256", "lower case", "list", "absent"],
)
def test_only_eddsa_is_an_algorithm(shown):
    assert (refusal(shown).reason, refusal(shown).status) == ("algorithm", 401)


def test_another_s_signature_under_a_known_name():
    refused = refusal(token(key=MALLORY))
    assert (refused.reason, refused.operator) == ("signature", None)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_token_that_was_changed_after_signing(position):
    parts = token().split(".")
    other = token(sub="bob", headers={"x": 1}).split(".")
    parts[position] = other[position]
    assert refusal(".".join(parts)).reason == "signature"


@pytest.mark.parametrize(
    "times",
    [
        {"exp": int(NOW) + 61},
        {"exp": int(NOW) + 30 * 365 * 86_400},
        {"iat": int(NOW) - 7_200, "exp": int(NOW) - 7_140},
        {"iat": int(NOW) - 90, "exp": int(NOW) - 30},
        {"iat": int(NOW) + 31, "exp": int(NOW) + 91},
        {"iat": int(NOW), "exp": int(NOW)},
        {"iat": int(NOW), "exp": int(NOW) - 10},
        {"nbf": int(NOW) + 45},
    ],
    ids=["61 s", "thirty years", "old", "at the leeway", "from the future", "no span", "backwards", "not before"],
)
def test_a_token_is_for_a_minute_of_now(times):
    refused = refusal(token(**times))
    assert (refused.reason, refused.status, refused.operator, refused.sub) == ("times", 401, "alice", "alice")


@pytest.mark.parametrize("skew", [-29, 0, 29])
def test_clocks_may_differ_by_half_a_minute(skew):
    verify(token(iat=int(NOW) + skew, exp=int(NOW) + skew + 60))
    verify(token(iat=int(NOW) - 60 - 29, exp=int(NOW) - 29))


@pytest.mark.parametrize("missing", CLAIMS)
def test_every_claim_is_required(missing):
    assert (refusal(token(without=[missing])).reason, refusal(token(without=[missing])).status) == ("claims", 401)


@pytest.mark.parametrize(
    "wrong",
    [{"exp": True}, {"bsh": None}, {"act": ["drain"]}, {"jti": "op-2"}, {"nbf": "now"}],
)
def test_a_claim_of_another_kind_or_for_another_op_id(wrong):
    assert refusal(token(**wrong)).reason == "claims"


def test_claims_that_pyjwt_itself_would_not_make():
    for wrong in ({"aud": ["w1/b1"]}, {"iat": str(int(NOW))}, {"sub": 7}):
        head = raw({"alg": "EdDSA", "kid": "alice"}, {**CLAIMS, **wrong}).rsplit(".", 1)[0]
        signature = base64.urlsafe_b64encode(ALICE.sign(head.encode())).rstrip(b"=").decode()
        assert refusal(f"{head}.{signature}").reason == "claims"


@pytest.mark.parametrize(
    ("reason", "shown", "changed"),
    [
        ("audience", token(aud="w1/b0"), {}),
        ("audience", token(aud="w2/b1"), {}),
        ("audience", token(), {"boot_id": "b2"}),
        ("action", token(act="cordon"), {}),
        ("action", token(), {"action": "uncordon"}),
        ("body_hash", token(), {"body": BODY + b" "}),
        ("body_hash", token(bsh=CLAIMS["bsh"].upper()), {}),
        ("operator", token(sub="bob"), {}),
        ("operator", token(sub="alice@2", kid="alice@2"), {}),
        ("not_allowed", token(kid="looker"), {}),
    ],
    ids=[
        *("earlier-boot", "other-worker", "later-boot", "token-for-another-action", "another-action"),
        *("another-body", "upper-case-hash", "another-operator", "operator-with-number", "limited-key"),
    ],
)
def test_a_good_signature_for_something_else_is_forbidden(reason, shown, changed):
    refused = refusal(shown, **changed)
    assert (refused.reason, refused.status, refused.operator) == (reason, 403, "alice")


def test_a_limited_key_may_do_what_it_is_for():
    verify(token(kid="looker", act="cordon"), action="cordon")


def test_a_body_without_a_readable_op_id_is_left_to_whoever_reads_the_body():
    verify(token(jti="op-9"), op_id=None)


requests = st.fixed_dictionaries(
    {
        "op_id": st.from_regex(r"\A[A-Za-z0-9._:-]{1,128}\Z"),
        "body": st.binary(max_size=200),
        "action": st.sampled_from(sorted(ACTIONS)),
    }
)
worker_ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(request=requests, worker_id=worker_ids, now=st.floats(1e9, 4e9), late=st.floats(0, 89))
def test_what_is_signed_verifies_there_and_nowhere_else(request, worker_id, now, late):
    shown = sign_request(
        private_key=ALICE,
        kid="alice",
        sub="alice",
        aud_worker_id=worker_id,
        aud_boot_id="b1",
        now=now,
        **request,
    )
    asked = {
        "keys": KEYS,
        "worker_id": worker_id,
        "boot_id": "b1",
        **request,
        "now": int(now) + late,
    }
    assert verify_request(shown, **asked).jti == request["op_id"]
    for elsewhere in (
        {"worker_id": worker_id + "x"},
        {"boot_id": "b2"},
        {"body": request["body"] + b"x"},
        {"op_id": request["op_id"] + "x"},
        {"action": "other"},
        {"now": now + 10_000},
    ):
        with pytest.raises(TokenRefused):
            verify_request(shown, **{**asked, **elsewhere})


def test_a_token_that_is_signed_now_is_good_now():
    now = time.time()
    shown = sign_request(
        private_key=ALICE,
        kid="alice",
        sub="alice",
        aud_worker_id="w1",
        aud_boot_id="b1",
        action="drain",
        op_id="op-1",
        body=BODY,
        now=now,
    )
    verify(shown, now=now)
