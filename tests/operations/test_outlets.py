"""Manifests that go to a file or a program instead of the workers."""

from __future__ import annotations

import sys
import time

import pytest

from openrtc_tui.operations.outlets import ExecOutlet, FileOutlet, OutletError
from openrtc_worker.contract.keys import generate_operator_key, load_private_key
from openrtc_worker.contract.manifest import Manifest, sign_manifest


@pytest.fixture
def token(tmp_path):
    private, _ = generate_operator_key("release", tmp_path)
    manifest = Manifest(fleet="eu", seq=7, active=("v2",), issued_at=time.time(), issued_by="alice")
    return sign_manifest(manifest, private_key=load_private_key(private), kid="release")


async def test_a_file_holds_what_was_published_last_and_tells_it(tmp_path, token):
    outlet = FileOutlet(tmp_path / "manifest.jws")
    assert await outlet.current() is None
    assert await outlet.publish(token) == ("started", f"written to {tmp_path}/manifest.jws")
    there = await outlet.current()
    assert (there.fleet, there.seq, there.active) == ("eu", 7, ("v2",))
    assert [path.name for path in tmp_path.iterdir() if "jws" in path.name] == ["manifest.jws"]


async def test_a_file_that_is_no_manifest_is_never_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("not a manifest")
    with pytest.raises(OutletError, match=r"notes.txt is no manifest .*: move it away"):
        await FileOutlet(tmp_path / "notes.txt").current()


async def test_a_file_that_cannot_be_written_is_refused_in_words(tmp_path, token):
    outcome, detail = await FileOutlet(tmp_path / "gone" / "manifest.jws").publish(token)
    assert (outcome, detail) == ("refused", f"{tmp_path}/gone/manifest.jws: no such file or directory")


async def test_a_program_is_given_the_manifest_on_its_input(tmp_path, token):
    code = "import sys; open('taken', 'w').write(sys.stdin.read())"
    outcome, _ = await ExecOutlet((sys.executable, "-c", code), folder=tmp_path).publish(token)
    assert outcome == "started"
    assert (tmp_path / "taken").read_text().strip() == token


async def test_a_program_that_fails_may_have_done_it_and_says_why(tmp_path, token):
    code = "import sys; sys.exit('no such bucket')"
    outcome, detail = await ExecOutlet((sys.executable, "-c", code), folder=tmp_path).publish(token)
    assert outcome == "unknown"
    assert detail.endswith("ended with 1: no such bucket")


async def test_a_program_that_is_none_did_nothing_and_one_that_hangs_is_ended(tmp_path, token):
    assert (await ExecOutlet(("/no/such/program",), folder=tmp_path).publish(token))[0] == "refused"
    hangs = (sys.executable, "-c", "import time; time.sleep(600)")
    outcome, detail = await ExecOutlet(hangs, folder=tmp_path, deadline=0.5).publish(token)
    assert outcome == "unknown"
    assert "took more than 0.5 s and was ended" in detail
