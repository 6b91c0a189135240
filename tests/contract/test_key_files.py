"""Key files: who may read them, and how a pair is made without ever losing one."""

from __future__ import annotations

import os
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from openrtc_worker.contract.keys import (
    KeyFileError,
    generate_operator_key,
    load_private_key,
    operator_of,
    public_key_from_pem,
    public_mode_problem,
    read_public_file,
    read_secret_file,
    secret_mode_problem,
)

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
NOBODY = 65534


def secret_file(folder, mode, *, owner=None):
    path = folder / "secret"
    path.write_bytes(b"s3cret")
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, -1)
    return path


@given(st.integers(0, 0o7777), st.integers(0, 70_000))
def test_a_secret_is_for_its_owner_or_for_a_group_that_only_reads_what_root_owns(mode, owner):
    others = mode & 0o006
    refused = bool(others or mode & 0o020 or (mode & 0o040 and owner != 0))
    assert (secret_mode_problem(mode, owner) is not None) == refused


@given(st.integers(0, 0o7777))
def test_a_public_file_is_refused_only_when_others_can_write_it(mode):
    assert (public_mode_problem(mode) is not None) == bool(mode & stat.S_IWOTH)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read(tmp_path, mode):
    assert read_secret_file(secret_file(tmp_path, mode)) == b"s3cret"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o660, 0o644, 0o666, 0o777])
def test_a_secret_that_others_can_reach_is_refused_and_the_error_says_what_to_do(tmp_path, mode):
    path = secret_file(tmp_path, mode)
    with pytest.raises(KeyFileError, match="chmod 600 it") as refused:
        read_secret_file(path)
    assert str(path) in str(refused.value)


@root_only
def test_a_group_may_read_what_root_owns_as_in_a_secret_volume(tmp_path):
    assert read_secret_file(secret_file(tmp_path, 0o440, owner=0)) == b"s3cret"


@root_only
def test_a_group_may_not_read_what_a_user_owns(tmp_path):
    with pytest.raises(KeyFileError, match="root does not own it"):
        read_secret_file(secret_file(tmp_path, 0o440, owner=NOBODY))


def test_links_are_followed_and_the_file_s_own_permissions_count(tmp_path):
    open_file = secret_file(tmp_path, 0o644)
    link = tmp_path / "link"
    link.symlink_to(open_file)
    with pytest.raises(KeyFileError):
        read_secret_file(link)
    open_file.chmod(0o600)
    assert read_secret_file(link) == b"s3cret"


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        with pytest.raises(KeyFileError):
            read_secret_file(path)


def test_a_file_of_a_gigabyte_is_not_read(tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not a key file"):
        read_secret_file(path)


def test_a_public_file_may_be_readable_by_all(tmp_path):
    path = secret_file(tmp_path, 0o644)
    assert read_public_file(path) == b"s3cret"
    path.chmod(0o646)
    with pytest.raises(KeyFileError, match="o-w"):
        read_public_file(path)


def test_a_pair_is_made_private_for_its_owner_and_public_for_all(tmp_path):
    private_path, public_path = generate_operator_key("alice", tmp_path)
    assert (private_path.name, public_path.name) == ("alice.pem", "alice.pub.pem")
    assert stat.S_IMODE(private_path.stat().st_mode) == 0o600
    assert not stat.S_IMODE(public_path.stat().st_mode) & 0o022
    private, public = load_private_key(private_path), public_key_from_pem(read_public_file(public_path))
    public.verify(private.sign(b"x"), b"x")


def test_a_second_key_of_an_operator_has_a_name_of_its_own(tmp_path):
    generate_operator_key("alice", tmp_path)
    assert generate_operator_key("alice@2", tmp_path)[1].name == "alice@2.pub.pem"
    assert operator_of("alice@2") == operator_of("alice") == "alice"


@pytest.mark.parametrize("existing", ["alice.pem", "alice.pub.pem"])
def test_a_key_is_never_overwritten_and_no_half_pair_is_left(tmp_path, existing):
    (tmp_path / existing).write_text("precious")
    with pytest.raises(KeyFileError, match="never overwritten") as refused:
        generate_operator_key("alice", tmp_path)
    assert existing in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "precious"


@pytest.mark.parametrize("name", ["", "a/b", "../alice", "al ice", "a" * 65, "alice@", "al\nice", "ålice", "alice\n"])
def test_what_is_no_name_makes_no_file(tmp_path, name):
    with pytest.raises(KeyFileError, match="no operator's name"):
        generate_operator_key(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(KeyFileError, match="no such file or directory"):
        generate_operator_key("alice", tmp_path / "absent")


def pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"not a key", "not a private key"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "not an Ed25519 key"),
        (pem(ed25519.Ed25519PrivateKey.generate(), BestAvailableEncryption(b"x")), "encrypted"),
    ],
    ids=["text", "elliptic-curve", "encrypted"],
)
def test_a_file_that_holds_no_operator_key_is_refused_by_name(tmp_path, content, problem):
    path = tmp_path / "alice.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=problem):
        load_private_key(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"x", pem(ed25519.Ed25519PrivateKey.generate()), ec.generate_private_key(ec.SECP256R1()).public_key()],
    ids=["empty", "text", "private-key", "elliptic-curve"],
)
def test_what_is_no_ed25519_public_key_is_said_to_be_none(content):
    if not isinstance(content, bytes):
        from cryptography.hazmat.primitives.serialization import PublicFormat

        content = content.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="public key"):
        public_key_from_pem(content)
