"""``openrtc-tui manifest``: what a pipeline signs, and what a person looks at."""

from __future__ import annotations

import io
import json
import sys

import pytest

from openrtc_tui import cli
from openrtc_tui.commands.exits import Exit
from openrtc_worker.contract.keys import generate_operator_key


@pytest.fixture
def keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return generate_operator_key("release", tmp_path)


def sign(capsys, *arguments: str) -> str:
    given = ("--seq", "7", "--key", "release.pem", "--for", "voice", *arguments)
    assert cli.main(["manifest", "sign", *given]) == Exit.DONE
    return capsys.readouterr().out


@pytest.mark.usefixtures("keys")
def test_what_was_signed_is_shown_and_verified(tmp_path, capsys):
    (tmp_path / "m").write_text(sign(capsys, "v2.0.0", "v1.0.0", "--by", "pipeline"))
    assert cli.main(["manifest", "show", "m"]) == Exit.DONE
    shown = capsys.readouterr()
    content = json.loads(shown.out)
    assert content.pop("issued_at") > 1.7e9
    assert content == {"fleet": "voice", "seq": 7, "active": ["v2.0.0", "v1.0.0"], "issued_by": "pipeline"}
    assert "not looked at" in shown.err
    assert cli.main(["manifest", "verify", "m", "--key", "release.pub.pem", "--for", "voice"]) == Exit.DONE
    verified = capsys.readouterr()
    assert verified.out == shown.out
    assert "good" in verified.err


@pytest.mark.usefixtures("keys")
def test_a_manifest_for_another_fleet_of_another_key_or_changed_is_refused(tmp_path, capsys):
    token = sign(capsys, "v2.0.0").strip()
    (tmp_path / "m").write_text(token)
    (tmp_path / "other").mkdir()
    _, other = generate_operator_key("release", tmp_path / "other")
    header, payload, signature = token.split(".")
    (tmp_path / "changed").write_text(f"{header}.{payload[:-2]}AA.{signature}")
    (tmp_path / "large").write_text("x" * 20_000)
    for path, key, fleet, reason in (
        ("m", "release.pub.pem", "voice-eu", "fleet"),
        ("m", str(other), "voice", "signature"),
        ("changed", "release.pub.pem", "voice", "signature"),
        ("large", "release.pub.pem", "voice", "size"),
        ("release.pub.pem", "release.pub.pem", "voice", "format"),
    ):
        assert cli.main(["manifest", "verify", path, "--key", key, "--for", fleet]) == Exit.REFUSED
        assert f"not accepted ({reason})" in capsys.readouterr().err


@pytest.mark.usefixtures("keys")
def test_it_is_written_in_one_step_and_read_from_standard_input(tmp_path, capsys, monkeypatch):
    assert sign(capsys, "v2.0.0", "-o", "m.jws") == ""
    assert [path.name for path in tmp_path.iterdir() if "m.jws" in path.name] == ["m.jws"]
    text = (tmp_path / "m.jws").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert cli.main(["manifest", "show", "-"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["seq"] == 7


@pytest.mark.usefixtures("keys")
def test_nobody_may_take_calls_is_signed_and_said(capsys):
    assert cli.main(["manifest", "sign", "--seq", "1", "--key", "release.pem", "--for", "voice"]) == Exit.DONE
    assert "no worker that obeys it takes a call" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("v2", "v2", "--key", "release.pem", "--for", "voice"), "v2 named twice"),
        (("v 2", "--key", "release.pem", "--for", "voice"), "no version"),
        (("v2", "--key", "missing.pem", "--for", "voice"), "missing.pem: no such file"),
        (("v2", "--for", "voice"), "without a fleet file, --key is needed"),
        (("v2", "--key", "release.pem"), "without a fleet file, --for is needed"),
        (("v2", "--key", "release.pem", "--for", "voice", "-o", "no/such/m"), "no such file"),
    ],
)
@pytest.mark.usefixtures("keys")
def test_what_cannot_be_signed_is_said_in_a_line(arguments, said, capsys):
    assert cli.main(["manifest", "sign", "--seq", "1", *arguments]) != Exit.DONE
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("keys")
def test_a_file_that_is_not_there_is_said(capsys):
    assert cli.main(["manifest", "show", "missing"]) == Exit.ERROR
    assert capsys.readouterr().err == "missing: no such file or directory\n"


@pytest.mark.parametrize("seq", ["0", "-1", "1.5", "x"])
def test_a_number_that_is_none_is_a_slip(seq):
    with pytest.raises(SystemExit) as caught:
        cli.main(["manifest", "sign", "v2", "--seq", seq])
    assert caught.value.code == Exit.USAGE
