"""The folder of operators' keys: what counts, what is left out and named, and that it may change at any time."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from openrtc_worker.contract.keys import generate_operator_key
from openrtc_worker.control import operator_keys, server
from openrtc_worker.control.operator_keys import OperatorKeys, read_key_set
from openrtc_worker.control.settings import ControlError
from tests.control.conftest import Operator, until


def jwk(operator, **fields):
    raw = operator.private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": operator.kid, **fields}


def write_jwks(folder, *keys, name="team.jwks.json"):
    path = folder / name
    path.write_text(json.dumps({"keys": list(keys)}))
    return path


async def reason_for(endpoint, operator, action="cordon"):
    """The reason of the refusal, or the effect."""
    answer = (await endpoint.ask(operator, action)).json()
    return answer.get("reason") or answer["effect"]


def test_a_folder_of_keys_and_what_else_lies_in_it(key_folder):
    Operator(key_folder, "alice")
    Operator(key_folder, "alice@2")
    (key_folder / "README").write_text("not a key")
    (key_folder / ".alice.pub.pem.swp").write_text("an editor's")
    (key_folder / "old").mkdir()
    found = read_key_set(key_folder)
    assert {kid: key.operator for kid, key in found.keys.items()} == {"alice": "alice", "alice@2": "alice"}
    assert not found.problems


def test_a_jwks_says_whose_a_key_is_and_what_it_may_do(key_folder, tmp_path):
    ci, bob = Operator(tmp_path, "ci-1"), Operator(tmp_path, "bob")
    write_jwks(key_folder, jwk(ci, sub="ci", actions=["cordon"], use="sig", alg="EdDSA"), jwk(bob))
    keys = read_key_set(key_folder).keys
    assert (keys["ci-1"].operator, keys["ci-1"].actions) == ("ci", frozenset({"cordon"}))
    assert (keys["bob"].operator, keys["bob"].actions) == ("bob", None)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"kty": "RSA"}, "not an Ed25519 key"),
        ({"crv": "Ed448"}, "not an Ed25519 key"),
        ({"d": "c2VjcmV0"}, "private key"),
        ({"kid": "a b"}, "kid"),
        ({"sub": "a/b"}, "sub"),
        ({"actions": ["drain", "reboot"]}, "'reboot' is no action"),
        ({"x": "AAAA"}, "32 bytes"),
        ({"x": "é"}, ""),
        ({"x": 7}, "str"),
        ({"actions": "drain"}, "array"),
    ],
)
def test_a_jwks_with_a_bad_key_is_left_out_whole_and_named(key_folder, tmp_path, fields, problem):
    good, bad = Operator(tmp_path, "good"), Operator(tmp_path, "bad")
    write_jwks(key_folder, jwk(good), {**jwk(bad), **fields})
    Operator(key_folder, "alice")
    found = read_key_set(key_folder)
    assert set(found.keys) == {"alice"}
    assert problem in found.problems["team.jwks.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"keys":{}}', b"[" * 100_000, b"\xff\xfe{", b'{"keys":[{}]}'])
def test_a_jwks_that_is_none_is_left_out_and_named(key_folder, content):
    (key_folder / "team.jwks.json").write_bytes(content)
    assert set(read_key_set(key_folder).problems) == {"team.jwks.json"}


def test_what_cannot_be_read_is_left_out_and_named_one_by_one(key_folder):
    Operator(key_folder, "alice")
    (key_folder / "empty.pub.pem").write_text("")
    (key_folder / "b c.pub.pem").write_bytes((key_folder / "alice.pub.pem").read_bytes())
    (key_folder / "private.pub.pem").write_bytes((key_folder / "alice.pem").read_bytes())
    (key_folder / "dangling.pub.pem").symlink_to(key_folder / "absent")
    (key_folder / "folder.pub.pem").mkdir()
    os.mkfifo(key_folder / "pipe.pub.pem")
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    other_pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (key_folder / "p256.pub.pem").write_bytes(other_pem)
    writable = generate_operator_key("writable", key_folder)[1]
    writable.chmod(0o666)
    found = read_key_set(key_folder)
    assert set(found.keys) == {"alice"}
    bad = "empty", "b c", "private", "dangling", "folder", "pipe", "p256", "writable"
    assert set(found.problems) == {f"{name}.pub.pem" for name in bad}
    assert "others can write it" in found.problems["writable.pub.pem"]


def test_a_key_id_that_two_files_claim_is_the_first_one_s(key_folder, tmp_path):
    alice = Operator(key_folder, "alice")
    write_jwks(key_folder, jwk(Operator(tmp_path, "alice"), sub="mallory"))
    found = read_key_set(key_folder)
    assert found.keys["alice"].operator == "alice"
    assert found.keys["alice"].public_key == alice.private_key.public_key()
    assert "stands in alice.pub.pem already" in found.problems["team.jwks.json"]


async def test_one_file_instead_of_a_folder(serve, alice, tmp_path):
    endpoint = await serve(operator_keys=alice.public_path)
    assert await reason_for(endpoint, alice) == "started"
    jwks = write_jwks(tmp_path, jwk(alice, sub="alice", actions=["cordon"]))
    endpoint = await serve(operator_keys=jwks)
    assert await reason_for(endpoint, alice, "uncordon") == "not_allowed"


@pytest.mark.parametrize("name", ["absent", "alice.pem"])
async def test_a_folder_that_does_not_exist_or_a_file_that_is_none_ends_the_start(serve, alice, key_folder, name):
    with pytest.raises(ControlError, match="OPENRTC_OPERATOR_KEYS") as refused:
        await serve(operator_keys=key_folder / name)
    assert "\n" not in str(refused.value)


async def test_keys_are_rotated_while_the_worker_runs(endpoint, alice, key_folder, monkeypatch):
    monkeypatch.setattr(operator_keys, "REREAD_SECONDS", 0.0)
    second = Operator(key_folder, "alice@2")
    assert second.name == "alice"
    assert await reason_for(endpoint, second) == "started"
    alice.public_path.unlink()
    assert await reason_for(endpoint, alice) == "key"
    assert await reason_for(endpoint, second) == "already"


async def test_a_key_that_is_replaced_under_its_name_counts_at_once(
    endpoint, alice, key_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(operator_keys, "REREAD_SECONDS", 0.0)
    assert await reason_for(endpoint, alice) == "started"
    successor = Operator(tmp_path, "alice")
    successor.public_path.replace(alice.public_path)
    assert await reason_for(endpoint, alice) == "signature"
    assert await reason_for(endpoint, successor) == "already"


async def test_a_volume_whose_links_are_switched_is_read_anew(serve, tmp_path, monkeypatch):
    """Kubernetes updates a mounted Secret by switching one link that all files go through."""
    monkeypatch.setattr(operator_keys, "REREAD_SECONDS", 0.0)
    old, new = tmp_path / "..old", tmp_path / "..new"
    old.mkdir(), new.mkdir()
    before, after = Operator(old, "alice"), Operator(new, "alice")
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "..data").symlink_to(old)
    (volume / "alice.pub.pem").symlink_to("..data/alice.pub.pem")
    endpoint = await serve(operator_keys=volume)
    assert await reason_for(endpoint, before) == "started"
    (volume / "..next").symlink_to(new)
    (volume / "..next").replace(volume / "..data")
    assert await reason_for(endpoint, before) == "signature"
    assert await reason_for(endpoint, after) == "already"


async def test_a_folder_that_vanishes_leaves_nobody_who_may_act(endpoint, alice, key_folder, monkeypatch, caplog):
    monkeypatch.setattr(operator_keys, "REREAD_SECONDS", 0.0)
    key_folder.rename(key_folder.with_name("moved"))
    for _ in range(3):
        assert await reason_for(endpoint, alice) == "key"
    assert caplog.text.count("cannot be read: no such file or directory") == 1
    key_folder.with_name("moved").rename(key_folder)
    assert await reason_for(endpoint, alice) == "started"


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
async def test_in_a_folder_that_others_can_write_to_nobody_may_act(  # noqa: PLR0917
    serve, alice, key_folder, monkeypatch, caplog, mode
):
    """Whoever has a login on the machine could put in a key of their own; sticky or not, that is adding a file."""
    monkeypatch.setattr(operator_keys, "REREAD_SECONDS", 0.0)
    endpoint = await serve(operator_keys=key_folder)
    assert await reason_for(endpoint, alice) == "started"
    key_folder.chmod(mode)
    for _ in range(3):
        assert await reason_for(endpoint, alice) == "key"
    assert caplog.text.count("operators is left out: others can add keys to it: chmod o-w it") == 1
    events = [event.fields for event in endpoint.target.audit_log.after(0) if "file" in event.fields]
    assert [(event["file"], event["reason"]) for event in events] == [("operators", "unreadable_key_file")]
    key_folder.chmod(0o755)
    assert await reason_for(endpoint, alice) == "already"


async def test_a_read_only_mount_may_have_any_mode(serve, alice, key_folder, monkeypatch):
    """Kubernetes mounts a ConfigMap of keys so: mode 0777, and nobody can write."""
    mounted = os.statvfs_result([*os.statvfs(key_folder)[:8], os.ST_RDONLY, 255])
    monkeypatch.setattr(operator_keys.os, "statvfs", lambda _: mounted)
    key_folder.chmod(0o777)
    endpoint = await serve(operator_keys=key_folder)
    assert await reason_for(endpoint, alice) == "started"


async def test_a_bad_file_is_named_in_log_and_audit_once_for_each_change(
    serve, alice, key_folder, monkeypatch, caplog
):
    monkeypatch.setattr(operator_keys, "REREAD_SECONDS", 0.0)
    (key_folder / "bob.pub.pem").write_text("x")
    endpoint = await serve(operator_keys=key_folder)
    for _ in range(3):
        await reason_for(endpoint, alice)
    assert caplog.text.count("bob.pub.pem is left out: not a public key in PEM") == 1
    (event,) = endpoint.target.audit_log.after(0)
    assert (event.event_type, event.fields["reason"]) == ("control.refused", "unreadable_key_file")
    assert event.fields["file"] == "bob.pub.pem"
    (key_folder / "bob.pub.pem").chmod(0o666)
    await reason_for(endpoint, alice)
    assert "others can write it" in endpoint.target.audit_log.after(1)[0].fields["detail"]


async def test_a_bad_file_is_named_though_nobody_acts(serve, key_folder, monkeypatch, caplog):
    monkeypatch.setattr(server, "KEYS_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(operator_keys, "REREAD_SECONDS", 0.0)
    await serve(operator_keys=key_folder)
    (key_folder / "bob.pub.pem").write_text("x")
    await until(lambda: "bob.pub.pem is left out" in caplog.text)


async def test_an_error_that_nobody_thought_of_leaves_nobody_who_may_act(endpoint, alice, monkeypatch, caplog):
    def broken(path):
        raise RuntimeError("a bug")

    monkeypatch.setattr(operator_keys, "REREAD_SECONDS", 0.0)
    assert await reason_for(endpoint, alice) == "started"
    monkeypatch.setattr(operator_keys, "fingerprint_of", broken)
    assert await reason_for(endpoint, alice) == "key"
    assert "cannot be read: a bug" in caplog.text


async def test_the_folder_is_looked_at_once_a_second_at_most(key_folder, alice, monkeypatch):
    looks, now = [], [0.0]
    real = operator_keys.fingerprint_of
    monkeypatch.setattr(operator_keys, "fingerprint_of", lambda path: looks.append(path) or real(path))
    keys = OperatorKeys(key_folder, on_problems=[].append, clock=lambda: now[0])
    await keys.refresh()
    first = len(looks)
    for moment in (0.0, 0.5, 0.99):
        now[0] = moment
        await keys.refresh()
    assert len(looks) == first
    now[0] = 1.0
    await asyncio.gather(*(keys.refresh() for _ in range(10)))
    assert len(looks) == first + 1


async def test_a_file_system_that_hangs_stops_neither_the_loop_nor_a_request(key_folder, alice, monkeypatch, caplog):
    monkeypatch.setattr(operator_keys, "PATIENCE_SECONDS", 0.05)
    now, hanging = [0.0], threading.Event()
    keys = OperatorKeys(key_folder, on_problems=[].append, clock=lambda: now[0])
    async with asyncio.timeout(10):
        while not keys.known:  # the first look may itself take longer than the short patience of this test
            await keys.refresh()
            now[0] += 1
    try:
        monkeypatch.setattr(operator_keys, "fingerprint_of", lambda _: hanging.wait() and ())
        now[0] += 1
        await keys.refresh()
        await keys.refresh()
        assert set(keys.known) == {"alice"}
        assert "the file system is slow" in caplog.text
    finally:
        hanging.set()
        await keys.aclose()
    await until(lambda: not any(thread.name == "openrtc-operator-keys" for thread in threading.enumerate()))


async def test_a_worker_that_can_start_no_thread_can_be_asked_all_the_same(endpoint, alice, monkeypatch, caplog):
    """At its limit of processes, which is when somebody wants to drain it."""
    monkeypatch.setattr(operator_keys, "REREAD_SECONDS", 0)
    assert await reason_for(endpoint, alice) == "started"

    def at_its_limit(_thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", at_its_limit)
        assert await reason_for(endpoint, alice, "uncordon") == "started"
    assert "can't start new thread, the last keys count" in caplog.text
