"""The fleet file: what it gives, and every way in which it is refused, with the line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrtc_tui.discovery.membership import verifier_of
from openrtc_tui.fleet_file import (
    FleetFileError,
    OperatorSpec,
    RolloutSpec,
    TlsSpec,
    WorkerSpec,
    fleet_file_schema,
    load_fleet_file,
    parse_fleet_file,
)
from openrtc_tui.fleet_specs import (
    ExecSpec,
    KubernetesSpec,
    LocalSpec,
    ManifestSpec,
    MembershipSpec,
    PublishExec,
    PublishFile,
    SecretRef,
    WebhookSpec,
)
from openrtc_worker.contract.keys import generate_operator_key
from openrtc_worker.contract.membership import derive_version_secret, sign_membership

FULL = """\
fleet: voice-prod
refresh: 500ms
read_only: off
operator: {name: alice, key_file: keys/alice.pem}
workers:
  - http://10.0.0.11:9464
  - {name: a-2, url: "HTTPS://Worker.Example:9464/", region: eu, tls: {ca: ca.pem, cert: me.pem, key: me.key}}
  - http://[::1]:9465
  - url: https://voice.example
read_token_env: VOICE_READ_TOKEN
tls: {ca: /etc/ca.pem}
rollout: {from: v1.0.0, to: "1.10"}
drain: {timeout: 1h, wave: 3}
membership: {masters: [{env: OLD_MASTER}, {file: keys/master}]}
manifest: {key_file: keys/release.pem, publish: {exec: [./publish.sh, --to, all]}}
rollback: {kubernetes: {namespace: voice, deployment: voice-worker, kubeconfig: kube.yaml, context: prod}}
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(FleetFileError) as caught:
        parse_fleet_file(text, "fleet.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_everything_a_file_can_say_is_read():
    fleet = parse_fleet_file(FULL, "conf/fleet.yaml")
    assert (fleet.name, fleet.refresh, fleet.read_only, fleet.drain_timeout) == ("voice-prod", 0.5, False, 3600.0)
    assert fleet.operator == OperatorSpec("alice", Path("conf/keys/alice.pem"))
    assert fleet.workers == (
        WorkerSpec("10.0.0.11:9464", "http://10.0.0.11:9464"),
        WorkerSpec(
            "a-2",
            "https://worker.example:9464",
            "eu",
            TlsSpec(Path("conf/ca.pem"), Path("conf/me.pem"), Path("conf/me.key")),
        ),
        WorkerSpec("[::1]:9465", "http://[::1]:9465"),
        WorkerSpec("voice.example:443", "https://voice.example:443"),
    )
    assert [worker.line for worker in fleet.workers] == [6, 7, 8, 9]
    assert (fleet.read_token_env, fleet.read_token_file) == ("VOICE_READ_TOKEN", None)
    assert fleet.tls == TlsSpec(ca=Path("/etc/ca.pem"))
    assert fleet.rollout == RolloutSpec("v1.0.0", "1.10")
    assert fleet.drain_wave == 3
    assert fleet.membership == MembershipSpec((SecretRef(env="OLD_MASTER"), SecretRef(file=Path("conf/keys/master"))))
    assert fleet.manifest == ManifestSpec(Path("conf/keys/release.pem"), PublishExec(("./publish.sh", "--to", "all")))
    assert fleet.rollback == KubernetesSpec("voice", "voice-worker", Path("conf/kube.yaml"), "prod")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("", "put"),
        (", publish: put", "put"),
        (", publish: {file: out/m.jws}", PublishFile(Path("conf/out/m.jws"))),
        (", publish: {exec: [push]}", PublishExec(("push",))),
    ],
)
def test_a_manifest_is_put_unless_it_says_otherwise(text, spec):
    fleet = parse_fleet_file(f"{BASE}manifest: {{key_file: r.pem{text}}}\n", "conf/fleet.yaml")
    assert fleet.manifest == ManifestSpec(Path("conf/r.pem"), spec)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("kubernetes: {namespace: voice, deployment: voice-worker}", KubernetesSpec("voice", "voice-worker")),
        ('exec: [./back.sh, "{to}"]', ExecSpec(("./back.sh", "{to}"), 300.0)),
        ("exec: {argv: [back], timeout: 90s}", ExecSpec(("back",), 90.0)),
        (
            "webhook: {url: 'https://ci.example/roll?back=1', key_file: w.pem}",
            WebhookSpec("https://ci.example/roll?back=1", Path("conf/w.pem")),
        ),
        ("local: fleet.sock", LocalSpec(Path("conf/fleet.sock"))),
    ],
)
def test_each_platform_is_read(text, spec):
    assert parse_fleet_file(f"{BASE}rollback: {{{text}}}\n", "conf/fleet.yaml").rollback == spec


def test_the_least_a_file_can_be_has_the_defaults():
    fleet = parse_fleet_file("fleet: x\nworkers: []\n", "fleet.yaml")
    assert (fleet.workers, fleet.refresh, fleet.read_only) == ((), 1.0, False)
    assert (fleet.operator, fleet.rollout, fleet.drain_timeout) == (None, None, None)
    assert (fleet.membership, fleet.manifest, fleet.rollback, fleet.drain_wave) == (None, None, None, 5)


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("1s", 1), ("30s", 30), ("0.5", 0.5), ("2", 2), ('"1.5s"', 1.5)]
)
def test_a_time_is_read_with_or_without_its_unit(text, seconds):
    assert parse_fleet_file(f"fleet: x\nworkers: []\nrefresh: {text}\n", "f").refresh == pytest.approx(seconds)


def test_a_home_directory_is_resolved(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    fleet = parse_fleet_file("fleet: x\nworkers: []\nread_token_file: ~/token\n", "f")
    assert fleet.read_token_file == tmp_path / "token"


def test_one_anchor_may_serve_many_workers():
    text = "fleet: x\ntls: &ours {ca: ca.pem}\nworkers:\n  - {url: https://a, tls: *ours}\n"
    assert parse_fleet_file(text, "f").workers[0].tls == TlsSpec(ca=Path("ca.pem"))


BASE = "fleet: x\nworkers: []\n"

WRONG = {
    "an empty file": ("", 1, "empty.*init"),
    "no mapping": ("- a\n", 1, "expected a fleet file .*got a list"),
    "no fleet": ("workers: []\n", 1, "fleet is missing"),
    "no workers": ("fleet: x\n", 1, "workers is missing"),
    "unknown key": (BASE + "refesh: 1s\n", 3, r"refesh: unknown key; did you mean refresh\?"),
    "unknown key like none": (BASE + "zzzzz: 1s\n", 3, "unknown key; known are fleet, workers"),
    "unknown key in a worker": ("fleet: x\nworkers:\n  - url: http://a\n    nam: b\n", 4, "did you mean name"),
    "duplicate key": (BASE + "fleet: y\n", 3, "given twice, first in line 1"),
    "duplicate key inside": (BASE + "rollout: {from: a, from: b, to: c}\n", 3, "rollout.from: given twice"),
    "a key that is no text": (BASE + "[1]: 2\n", 3, "expected a key"),
    "merge key": (BASE + "<<: {refresh: 1s}\n", 3, "unknown key"),
    "version as a number": (BASE + "rollout: {from: 1.10, to: v2}\n", 3, r'YAML reads the number 1.10; put.*"1.10"'),
    "version as a whole number": (BASE + "rollout: {from: v1, to: 2}\n", 3, 'YAML reads the number 2; put.*"2"'),
    "version as a date": (BASE + "rollout: {from: v1, to: 2026-01-02}\n", 3, "YAML reads the date"),
    "version as a truth value": (BASE + "rollout: {from: v1, to: on}\n", 3, "YAML reads the truth value on"),
    "hostile version": (BASE + 'rollout: {from: v1, to: "v 2"}\n', 3, "expected a version"),
    "one version": (BASE + "rollout: {from: v1, to: v1}\n", 3, "the same version"),
    "half a rollout": (BASE + "rollout: {from: v1}\n", 3, "to is missing"),
    "empty value": (BASE + "rollout:\n", 3, "got nothing"),
    "fleet as a number": ("fleet: 7\nworkers: []\n", 1, "put it in quotes"),
    "fleet with a control": ('fleet: "a\\eb"\nworkers: []\n', 1, "expected the fleet's name"),
    "refresh too short": (BASE + "refresh: 100ms\n", 3, 'from 200ms to 30s.*got "100ms"'),
    "refresh too long": (BASE + "refresh: 31\n", 3, "from 200ms to 30s.*got the number 31"),
    "refresh no time": (BASE + "refresh: soon\n", 3, "such as 200ms"),
    "refresh in base sixty": (BASE + "refresh: 0:20\n", 3, "such as 200ms"),
    "refresh no number": (BASE + "refresh: .nan\n", 3, "such as 200ms"),
    "timeout too short": (BASE + "drain: {timeout: 0.5}\n", 3, "from 1s"),
    "wave of none": (BASE + "drain:\n  wave: 0\n", 4, "drain.wave: expected a whole number from 1 to 1000, got the"),
    "wave of halves": (BASE + "drain: {wave: 2.5}\n", 3, "drain.wave: expected a whole number"),
    "no masters": (BASE + "membership: {masters: []}\n", 3, "membership.masters: expected a list of at least one"),
    "masters missing": (BASE + "membership: {}\n", 3, "membership: masters is missing"),
    "master in the file": (
        BASE + "membership:\n  masters:\n    - s3cr3t-of-ours\n",
        5,
        r"membership.masters\[1\]: expected where a secret is \({env: …} or {file: …}\), never",
    ),
    "master named twice": (
        BASE + "membership:\n  masters:\n    - {env: A, file: b}\n",
        5,
        r"membership.masters\[1\].file: given beside env; keep",
    ),
    "master named nowhere": (BASE + "membership: {masters: [{}]}\n", 3, r"membership.masters\[1\]: nothing is named"),
    "release key missing": (BASE + "manifest: {publish: put}\n", 3, "manifest: key_file is missing"),
    "publish by post": (
        BASE + "manifest:\n  key_file: r.pem\n  publish: post\n",
        5,
        "manifest.publish: expected put, {file: PATH} or",
    ),
    "publish by nothing": (
        BASE + "manifest: {key_file: r.pem, publish: {exec: []}}\n",
        3,
        "manifest.publish.exec: expected",
    ),
    "publish by a list": (
        BASE + "manifest: {key_file: r.pem, publish: [a]}\n",
        3,
        "manifest.publish: expected put, {file",
    ),
    "two platforms": (
        BASE + "rollback:\n  exec: [a]\n  local: b.sock\n",
        5,
        "rollback.local: given beside exec; keep one",
    ),
    "unknown platform": (BASE + "rollback: {nomad: {}}\n", 3, "rollback.nomad: unknown key"),
    "no platform": (BASE + "rollback: {}\n", 3, "rollback: nothing is named; expected one of kubernetes, webhook"),
    "a shell command": (BASE + "rollback: {exec: ./back.sh v1}\n", 3, "rollback.exec: expected a list of a program"),
    "program missing": (BASE + "rollback: {exec: {timeout: 5m}}\n", 3, "rollback.exec: argv is missing"),
    "deployment missing": (
        BASE + "rollback: {kubernetes: {namespace: voice}}\n",
        3,
        "rollback.kubernetes: deployment is",
    ),
    "deployment in capitals": (
        BASE + "rollback: {kubernetes: {namespace: voice, deployment: Voice}}\n",
        3,
        "rollback.kubernetes.deployment: exp",
    ),
    "webhook by mail": (
        BASE + "rollback: {webhook: {url: 'mailto:a', key_file: k}}\n",
        3,
        "rollback.webhook.url: the scheme is not",
    ),
    "webhook with a password": (
        BASE + "rollback: {webhook: {url: 'https://u:p@h/x', key_file: k}}\n",
        3,
        "rollback.webhook.url: a user or password",
    ),
    "drain as a time": (BASE + "drain: 1h\n", 3, "expected drain"),
    "read_only no flag": (BASE + "read_only: maybe\n", 3, "expected true or false"),
    "operator without key": (BASE + "operator: {name: alice}\n", 3, "key_file is missing"),
    "operator with a bad name": (BASE + "operator: {name: a b, key_file: x}\n", 3, "operator.name: expected a name"),
    "two read tokens": (BASE + "read_token_env: A\nread_token_file: b\n", 4, "keep one"),
    "tls key without cert": (BASE + "tls: {key: a.key}\n", 3, "tls.key: a key without cert"),
    "workers no list": ("fleet: x\nworkers: http://a\n", 2, "expected a list of workers"),
    "worker no url": ("fleet: x\nworkers:\n  - {name: a}\n", 3, "url is missing"),
    "worker a list": ("fleet: x\nworkers:\n  - [a]\n", 3, "expected a worker.*got a list"),
    "worker a number": ("fleet: x\nworkers:\n  - 9464\n", 3, "expected a worker.*got the number 9464"),
    "duplicate name": (
        "fleet: x\nworkers:\n  - {name: a, url: http://a}\n  - {name: a, url: http://b}\n",
        4,
        "the name a is given twice, first in line 3",
    ),
    "duplicate address": (
        "fleet: x\nworkers:\n  - http://a:80\n  - {name: b, url: HTTP://A/}\n",
        4,
        "the address http://a:80 is given twice",
    ),
    "a name that is another's address": (
        "fleet: x\nworkers: [http://a:80, {name: 'a:80', url: http://b}]\n",
        2,
        "the name a:80 is given twice",
    ),
    "name with the sign of closed rows": (
        "fleet: x\nworkers: [{name: 'a#b', url: http://a}]\n",
        2,
        "expected a name",
    ),
    "name like an option": ("fleet: x\nworkers: [{name: --yes, url: http://a}]\n", 2, "expected a name"),
    "tls without https": ("fleet: x\nworkers: [{url: http://a, tls: {ca: a}}]\n", 2, "given for an http://"),
    "not yaml": ("fleet: [x\nworkers: []\n", 2, "not valid YAML"),
    "two documents": ("fleet: x\n---\nfleet: y\n", 2, "not valid YAML"),
    "unknown alias": ("fleet: *x\nworkers: []\n", 1, "not valid YAML"),
    "tab": ("fleet:\n\tx\n", 2, "not valid YAML"),
    "control character": ("fleet: x\nworkers: []\n# \x1b\n", 3, "no place in YAML"),
    "too deep": ("fleet: x\nworkers: " + "[" * 4000 + "]" * 4000, 2, "deep"),
    "a tag of python": ("fleet: !!python/object:os.system x\nworkers: []\n", 1, "expected the fleet's name.*tag"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_its_line(name):
    text, line, message = WRONG[name]
    found = problems_of(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"fleet.yaml:{line}: "), found
    assert re.search(message, found[0]), found


@pytest.mark.parametrize("key", ["discover", "livekit", "rescue", "notify"])
def test_keys_of_the_page_that_come_later_say_so(key):
    assert problems_of(BASE + f"{key}: {{a: [1]}}\n") == [f"fleet.yaml:3: {key}: not supported yet; remove it"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://a", "scheme"),
        ("10.0.0.1:9464", "scheme"),
        ("http://", "no host"),
        ("http://:9464", "no host"),
        ("http://user:pw@a", "user or password"),
        ("http://a/v1", "path"),
        ("http://a?x=1", "query"),
        ("http://a#x", "fragment"),
        ("http://a:", "port"),
        ("http://a:0", "port"),
        ("http://a:99999", "no URL"),
        ("http://[::1", "no URL"),
        ("http://[v1.a]", "IPv6"),
        ("http://a b", "expected the address"),
        ("http://ä", "host name"),
        ("http://-a", "host name"),
    ],
)
def test_an_address_must_be_one(url, message):
    (found,) = problems_of(f"fleet: x\nworkers:\n  - {json.dumps(url, ensure_ascii=False)}\n")
    assert found.startswith("fleet.yaml:3: workers[1]: ")
    assert message in found


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_lines():
    text = (
        "fleet: 1\n"
        "workers:\n"
        "  - http://a\n"
        "  - http://b/x\n"
        "  - http://a\n"
        "refresh: 1ms\n"
        "discover: []\n"
        "refresh: 2s\n"
        "rollout: {from: 1.0, to: 2.0}\n"
    )
    lines = [int(problem.split(":")[1]) for problem in problems_of(text)]
    assert lines == [1, 4, 5, 6, 7, 8, 9, 9]


def test_a_secret_in_the_wrong_place_is_not_repeated():
    secret = "hunter2 with spaces"
    text = BASE + f'read_token_env: "{secret}"\noperator: {{name: a, key_file: "-----BEGIN\\n{secret}"}}\n'
    found = problems_of(text)
    assert len(found) == 2
    assert not any(secret in problem for problem in found)


def lines_of_problems(text: str) -> list[int]:
    """Lines of what is wrong, empty when nothing is; any other exception than the file's own ends the test."""
    try:
        parse_fleet_file(text, "fleet.yaml")
    except FleetFileError as error:
        return [problem.line for problem in error.problems] or [0]
    return []


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=200))
def test_no_text_at_all_raises_anything_else(text):
    assert all(line >= 1 for line in lines_of_problems(text))


PIECES = [*FULL.splitlines(), "  ", "- ", "&a", "*a", "? ", ": ", "{", "}", "[", "]", "!!x "]


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.sampled_from(PIECES), max_size=30), st.sampled_from(["", " ", "\n"]))
def test_no_mixture_of_its_pieces_raises_anything_else(pieces, joint):
    assert all(1 <= line <= len(pieces) + 3 for line in lines_of_problems(joint.join(pieces)))


# ------------------------------------------------------------------------------------------ the files it names


@pytest.fixture
def folder(tmp_path):
    generate_operator_key("alice", tmp_path)
    return tmp_path


def write(folder: Path, more: str) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(BASE + more)
    return path


def loaded_problems(path: Path, **options) -> str:
    with pytest.raises(FleetFileError) as caught:
        load_fleet_file(path, **options)
    return str(caught.value)


OPERATOR = "operator: {name: alice, key_file: alice.pem}\n"


def test_a_file_with_its_key_and_token_loads(folder):
    token = folder / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    fleet = load_fleet_file(write(folder, OPERATOR + "read_token_file: token\n"))
    assert fleet.operator == OperatorSpec("alice", folder / "alice.pem")


def test_a_key_that_others_can_read_is_refused_with_its_line(folder):
    (folder / "alice.pem").chmod(0o644)
    assert re.search(
        r"fleet.yaml:3: operator.key_file: .*alice.pem: others can read", loaded_problems(write(folder, OPERATOR))
    )


def test_a_missing_key_is_no_hindrance_to_watching(folder):
    (folder / "alice.pem").unlink()
    path = write(folder, OPERATOR)
    assert "--read-only" in loaded_problems(path)
    assert load_fleet_file(path, acting=False).operator
    assert load_fleet_file(write(folder, OPERATOR + "read_only: true\n")).read_only


@pytest.mark.parametrize(
    "text",
    [
        "manifest: {key_file: release.pem}\n",
        "rollback: {webhook: {url: 'https://ci.example', key_file: release.pem}}\n",
    ],
)
def test_keys_to_act_with_are_no_hindrance_to_watching(folder, text):
    path = write(folder, text)
    assert re.search(r":3: .*key_file: .*release.pem: no such file.*--read-only", loaded_problems(path))
    assert load_fleet_file(path, acting=False)
    generate_operator_key("release", folder)
    assert load_fleet_file(path)


def test_a_master_is_named_and_shown_nowhere(folder, monkeypatch):
    (folder / "master").write_text("  the-old-master-of-ours\n")
    (folder / "master").chmod(0o600)
    path = write(folder, "membership: {masters: [{file: master}, {env: VOICE_MASTER}]}\n")
    assert ":3: membership.masters[2].env: VOICE_MASTER is not set" in loaded_problems(path, environ={})
    fleet = load_fleet_file(path, environ={"VOICE_MASTER": "the-new-master-of-ours"})
    verifier = verifier_of(fleet, {"VOICE_MASTER": "the-new-master-of-ours"})
    claim = {"version": "v1", "worker_id": "w", "timestamp": 1.0}
    for master in ("the-old-master-of-ours", "the-new-master-of-ours"):
        token = sign_membership(**claim, secret=derive_version_secret(master, "v1"))
        assert verifier.is_signed(**claim, token=token)
        assert master not in repr(fleet) + repr(verifier)
    token = sign_membership(**claim, secret=derive_version_secret("other", "v1"))
    assert not verifier.is_signed(**claim, token=token)


def test_a_master_that_cannot_be_used_says_which_and_never_what(folder):
    path = write(folder, "membership: {masters: [{file: master}]}\n")
    (folder / "master").write_text("hunter2")
    (folder / "master").chmod(0o644)
    assert "membership.masters[1].file: " in loaded_problems(path)
    (folder / "master").chmod(0o600)
    fleet = load_fleet_file(path)
    for content, mode, message in (
        (b" \n", 0o600, "empty"),
        (b"hunter2\xff", 0o600, "not UTF-8"),
        (b"hunter2\n", 0o600, "7 characters and could be guessed"),
        (b"hunter2", 0o644, "others can read"),
    ):
        (folder / "master").write_bytes(content)
        (folder / "master").chmod(mode)
        with pytest.raises(FleetFileError, match=message) as caught:
            verifier_of(fleet)
        assert "hunter2" not in str(caught.value)


def test_a_fleet_without_masters_verifies_nothing(folder):
    assert verifier_of(load_fleet_file(write(folder, ""))) is None


def test_what_a_program_writes_or_listens_on_need_not_be_there(folder):
    assert load_fleet_file(write(folder, "rollback: {local: no.sock}\n")).rollback


def test_a_key_file_that_holds_none_is_refused(folder):
    (folder / "alice.pem").write_text("not a key")
    assert "not a private key" in loaded_problems(write(folder, OPERATOR))


def test_a_certificate_that_others_can_write_is_refused(folder):
    (folder / "ca.pem").write_text("a certificate")
    (folder / "ca.pem").chmod(0o666)
    assert re.search(r":3: tls.ca: .*others can write", loaded_problems(write(folder, "tls: {ca: ca.pem}\n")))


def test_a_certificate_with_its_key_inside_is_held_to_the_rule_of_secrets(folder):
    both = folder / "both.pem"
    both.write_text("-----BEGIN PRIVATE KEY-----\n")
    both.chmod(0o644)
    assert "others can read" in loaded_problems(write(folder, "tls: {cert: both.pem}\n"))
    both.chmod(0o600)
    assert load_fleet_file(write(folder, "tls: {cert: both.pem}\n")).tls


def test_a_variable_that_is_not_set_is_told_with_its_line(folder):
    path = write(folder, "read_token_env: NO_SUCH_TOKEN\n")
    assert "fleet.yaml:3: read_token_env: NO_SUCH_TOKEN is not set" in loaded_problems(path, environ={})
    assert load_fleet_file(path, environ={"NO_SUCH_TOKEN": "x"})


def test_problems_of_the_text_and_of_the_files_come_together(folder):
    found = loaded_problems(write(folder, "refresh: never\nread_token_file: gone\n"))
    assert ":3: refresh" in found
    assert ":4: read_token_file" in found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read.*init"),
        (b"fleet: x\n# \xff\n", ":2: not UTF-8"),
        (b"#" * (5 << 20), "larger than 4 MiB"),
    ],
)
def test_a_file_that_cannot_be_a_fleet_file_is_one_problem(tmp_path, content, message):
    path = tmp_path / "fleet.yaml"
    if content is not None:
        path.write_bytes(content)
    assert re.search(message, loaded_problems(path))


# --------------------------------------------------------------------------------------------------- the schema


def test_the_schema_names_every_key_and_nothing_that_comes_later():
    schema = fleet_file_schema()
    assert set(schema["properties"]) == {
        *("fleet", "workers", "refresh", "read_only", "operator"),
        *("read_token_env", "read_token_file", "tls", "rollout", "drain"),
        *("membership", "manifest", "rollback"),
    }
    assert schema["required"] == ["fleet", "workers"]
    assert schema["additionalProperties"] is False
    json.dumps(schema)


def test_patterns_of_the_schema_hold_for_the_full_example():
    worker = fleet_file_schema()["properties"]["workers"]["items"]["anyOf"]
    assert re.search(worker[0]["pattern"], "http://10.0.0.11:9464")
    assert set(worker[1]["properties"]) == {"name", "url", "region", "tls"}
