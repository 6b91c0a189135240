"""The command line itself: what it understands, how fast it starts, and the commands that need no fleet."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openrtc_tui import cli
from openrtc_tui.commands.exits import Exit
from openrtc_tui.fleet_file import parse_fleet_file
from openrtc_worker.contract.membership import derive_version_secret
from tests.support.processes import clean_env

HEAVY = {"textual", "rich", "httpx", "httpcore", "yaml", "cryptography", "watchfiles", "msgspec", "asyncio"}


def openrtc_tui(*arguments: str, cwd=None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "openrtc_tui", *arguments],
        cwd=cwd,
        env=clean_env(**env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(option):
    program = (
        "import sys\nfrom openrtc_tui.cli import main\n"
        f"try: main([{option!r}])\nexcept SystemExit as end: assert not end.code\n"
        "print('MODULES', *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    modules = set(done.stdout.splitlines()[-1].split())
    assert "MODULES" in modules
    assert not modules & HEAVY


def test_help_teaches_with_examples_and_exit_codes():
    done = openrtc_tui("--help")
    assert done.returncode == 0
    for word in (
        "examples:",
        "openrtc-tui demo",
        "openrtc-tui status --json",
        "exit codes:",
        "FLEET",
        "uncordon",
        "--ascii",
    ):
        assert word in done.stdout


@pytest.mark.parametrize(
    "command", ["demo", "init", "check", "status", "drain", "cordon", "uncordon", "wait", "keys"]
)
def test_every_command_has_its_own_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert not ended.value.code
    assert f"usage: openrtc-tui {command} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("dashboard", "fleet.yaml", False)),
        (["prod.yaml"], ("dashboard", "prod.yaml", False)),
        (["prod.yaml", "--read-only"], ("dashboard", "prod.yaml", True)),
        (["--read-only", "prod.yaml"], ("dashboard", "prod.yaml", True)),
        (["--ascii", "prod.yaml"], ("dashboard", "prod.yaml", False)),
        (["-f", "prod.yaml"], ("dashboard", "prod.yaml", False)),
        (["--fleet=prod.yaml", "--read-only"], ("dashboard", "prod.yaml", True)),
        (["-f", "status", "status"], ("status", "status", False)),
        (["status", "-f", "prod.yaml"], ("status", "prod.yaml", False)),
        (["--read-only", "-f", "prod.yaml", "status"], ("status", "prod.yaml", True)),
        (["drain", "a-1"], ("act", "fleet.yaml", False)),
        (["wait", "--version", "v2"], ("wait", "fleet.yaml", False)),
    ],
)
def test_a_first_argument_that_is_no_command_is_the_fleet(arguments, expected, monkeypatch):
    monkeypatch.delenv(cli.FLEET_VARIABLE, raising=False)
    args = cli._parse(list(arguments))
    assert (args.module, args.fleet, args.read_only) == expected


@pytest.mark.parametrize("arguments", [["--ascii"], ["p.yaml", "--ascii"], ["--ascii", "demo"], ["demo", "--ascii"]])
def test_plain_signs_are_for_both_screens_before_and_behind_the_word(arguments):
    assert cli._parse(list(arguments)).ascii
    assert not cli._parse([word for word in arguments if word != "--ascii"]).ascii


def test_the_environment_names_the_fleet_where_no_argument_does(monkeypatch):
    monkeypatch.setenv(cli.FLEET_VARIABLE, "from-env.yaml")
    assert cli._parse(["status"]).fleet == "from-env.yaml"
    assert cli._parse(["status", "-f", "x.yaml"]).fleet == "x.yaml"
    assert cli._parse(["y.yaml"]).fleet == "y.yaml"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drian", "a-1"], "did you mean drain?"),
        (["drain"], "needs the NAME"),
        (["drain", "a-1", "--timeout", "5m"], "--timeout bounds --wait"),
        (["drain", "a-1", "--drain-timeout", "soon"], "expected a time such as"),
        (["drain", "a-1", "--drain-timeout", "200ms"], "at least 1s"),
        (["uncordon", "a-1", "--last-worker"], "unrecognized"),
        (["wait"], "--version"),
        (["status", "--jso"], "unrecognized"),
        (["status", "bad.yaml"], "unrecognized arguments: bad.yaml; a fleet file is given with -f bad.yaml"),
        (["--ascii", "status"], "--ascii is for the dashboard and the demo"),
        (["demo", "--workers", "0"], "from 1 to 99"),
        (["keys"], "new"),
    ],
)
def test_wrong_usage_is_exit_2_and_says_what_is_wrong(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == Exit.USAGE
    assert message in capsys.readouterr().err


def test_wrong_usage_is_exit_2_as_a_process_too():
    assert openrtc_tui("drain").returncode == 2


def test_the_dashboard_needs_a_terminal(tmp_path):
    done = openrtc_tui("fleet.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "terminal" in done.stderr


# ------------------------------------------------------------------------------------- commands without a fleet


def test_the_template_of_init_is_valid_and_so_is_what_it_comments(tmp_path):
    done = openrtc_tui("init")
    assert done.returncode == 0
    assert parse_fleet_file(done.stdout, "fleet.yaml").workers
    uncommented = [
        line.replace("# ", "", 1) if re.match(r"( *)# ([a-z_]+: |- )", line) else line
        for line in done.stdout.splitlines()
    ]
    fleet = parse_fleet_file("\n".join(uncommented).replace("read_token_file", "# read_token_file"), "fleet.yaml")
    assert fleet.operator
    assert fleet.rollout
    assert (fleet.drain_timeout, fleet.drain_wave) == (3600, 5)
    assert fleet.membership
    assert fleet.manifest
    assert fleet.rollback
    assert len(fleet.workers) == 2


def test_init_writes_a_file_once(tmp_path):
    assert openrtc_tui("init", "mine.yaml", cwd=tmp_path).returncode == 0
    written = (tmp_path / "mine.yaml").read_text()
    (tmp_path / "mine.yaml").write_text("mine")
    done = openrtc_tui("init", "mine.yaml", cwd=tmp_path)
    assert (done.returncode, (tmp_path / "mine.yaml").read_text()) == (1, "mine")
    assert "never overwritten" in done.stderr
    assert cli.main(["init", str(tmp_path / "no" / "folder.yaml")]) == 1
    assert written.startswith("# The fleet")


def test_check_says_ok_or_everything_that_is_wrong(tmp_path, capsys):
    path = tmp_path / "fleet.yaml"
    path.write_text("fleet: x\nworkers: [http://a]\n")
    assert cli.main(["check", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: ok, fleet x with 1 worker\n"
    path.write_text("fleet: x\nworkers: [http://a/b]\nwave: 5\n")
    assert cli.main(["check", "-f", str(path)]) == 1
    assert [line.split(": ")[0] for line in capsys.readouterr().err.splitlines()] == [f"{path}:2", f"{path}:3"]


def test_check_prints_the_schema_for_editors(capsys):
    assert cli.main(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "OpenRTC Deploy fleet file"


def test_keys_new_makes_a_pair_that_only_its_owner_can_read(tmp_path, capsys):
    assert cli.main(["keys", "new", "alice", "--dir", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(tmp_path / "alice.pem"), str(tmp_path / "alice.pub.pem")]
    assert (tmp_path / "alice.pem").stat().st_mode & 0o777 == 0o600
    assert "OPENRTC_OPERATOR_KEYS" in said.err
    assert cli.main(["keys", "new", "alice", "--dir", str(tmp_path)]) == 1
    assert "never overwritten" in capsys.readouterr().err
    assert cli.main(["keys", "new", "a b", "--dir", str(tmp_path)]) == 1


def test_keys_new_makes_the_folder_for_its_owner_alone_or_names_it(tmp_path, capsys):
    folder = tmp_path / "config" / "openrtc"
    assert cli.main(["keys", "new", "a b", "--dir", str(folder)]) == 1
    assert "a b" in capsys.readouterr().err
    assert not folder.parent.exists()
    assert cli.main(["keys", "new", "alice", "--dir", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(folder / "alice.pem")
    assert [each.stat().st_mode & 0o777 for each in (folder.parent, folder)] == [0o700, 0o700]
    below_a_file = folder / "alice.pem" / "keys"
    assert cli.main(["keys", "new", "alice", "--dir", str(below_a_file)]) == 1
    assert f"{below_a_file}: this folder is not there and cannot be made: not a dir" in capsys.readouterr().err


def test_check_says_a_missing_key_and_what_works_without_it(tmp_path, capsys):
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("fleet: test\nworkers: []\noperator: {name: alice, key_file: /no/nope.pem}\n")
    assert cli.main(["check", str(fleet)]) == 1
    said = (
        "operator.key_file: /no/nope.pem: no such file or directory; without the key you can still watch: --read-only"
    )
    assert said in capsys.readouterr().err
    assert cli.main(["check", str(fleet), "--read-only"]) == 0


@pytest.mark.parametrize("arguments", [["status"], ["check", "--schema"], ["init"]])
def test_an_output_that_cannot_be_written_is_one_line_and_exit_1(arguments, tmp_path):
    (tmp_path / "fleet.yaml").write_text("fleet: test\nworkers: []\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "openrtc_tui", *arguments],
            cwd=tmp_path,
            env=clean_env(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "the output cannot be written: no space left on device\n")


def test_keys_secret_is_what_a_version_s_workers_sign_with(tmp_path, capsys, monkeypatch):
    master = tmp_path / "master"
    master.write_text("m" * 32 + "\n")
    master.chmod(0o600)
    assert cli.main(["keys", "secret", "v2.0.0", "--master", str(master)]) == Exit.DONE
    said = capsys.readouterr().out.strip()
    assert said == derive_version_secret("m" * 32, "v2.0.0")
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("fleet: voice\nworkers: []\nmembership: {masters: [{env: MASTER}]}\n")
    monkeypatch.setenv("MASTER", "m" * 32)
    assert cli.main(["-f", str(fleet), "keys", "secret", "v2.0.0"]) == Exit.DONE
    assert capsys.readouterr().out.strip() == said


def test_keys_secret_says_what_it_lacks(tmp_path, capsys):
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("fleet: voice\nworkers: []\n")
    assert cli.main(["-f", str(fleet), "keys", "secret", "v2"]) == Exit.ERROR
    assert "names no masters; give --master FILE" in capsys.readouterr().err
    assert cli.main(["keys", "secret", "v 2", "--master", "x"]) == Exit.USAGE
    capsys.readouterr()
    assert cli.main(["keys", "secret", "", "--master", "x"]) == Exit.USAGE
    assert capsys.readouterr().err == "VERSION is empty; give the version that the workers are deployed as\n"
    (tmp_path / "open").write_text("m")
    (tmp_path / "open").chmod(0o644)
    assert cli.main(["keys", "secret", "v2", "--master", str(tmp_path / "open")]) == Exit.ERROR
    assert "chmod 600" in capsys.readouterr().err
