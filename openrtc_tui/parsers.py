"""What can be given on the command line. Light: nothing of a command is imported before it runs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

DASHBOARD: Final = "dashboard"
_ASCII_HELP: Final = "plain signs, for poor terminals (dashboard and demo)"

_DESCRIPTION: Final = """\
Watch live voice-agent workers and upgrade them without dropping a call.

  openrtc-tui demo             a rollout of real workers on this machine, to try everything
  openrtc-tui init FILE        write a fleet file to start from
  openrtc-tui [FLEET]          watch that fleet; ? shows every key
"""

_EPILOG: Final = """\
FLEET is a fleet file. Without one, -f/--fleet, $OPENRTC_FLEET_FILE or ./fleet.yaml is taken, in this order.

examples:
  openrtc-tui prod.yaml --read-only
  openrtc-tui status
  openrtc-tui status --json | jq '.workers[] | select(.state == "lost")'
  openrtc-tui drain voice-a-1 --wait --yes --reason "rollout 214"
  openrtc-tui wait --version v2.0.0 --timeout 5m && openrtc-tui promote v2.0.0 --yes
  openrtc-tui drain --version v1.0.0 --wave 5 --yes
  openrtc-tui rollback --plan                      # what would be done, and what speaks against it
  openrtc-tui rollback --to v1.0.0 --reason "bad audio"
  openrtc-tui wait --version v1.0.0 --drained --timeout 2h

exit codes:
  0 done, and with a wait proven that no call was dropped    4 calls were dropped
  1 error                                                    5 ended without proof
  2 usage                                                    6 refused
  3 timed out                                                7 rolled back, and proven that no call was dropped
                                                           130 interrupted
"""


def make_parser() -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser, and the names of all commands."""
    parser = argparse.ArgumentParser(
        prog="openrtc-tui",
        usage="openrtc-tui [FLEET] [--read-only] [--ascii]\n       openrtc-tui COMMAND …",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    _add_globals(parser, default=None)
    parser.add_argument("--ascii", action="store_true", help=_ASCII_HELP)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", prog=parser.prog)

    dashboard = _add(commands, DASHBOARD, None)
    dashboard.add_argument("named_fleet", metavar="FLEET", nargs="?")
    dashboard.add_argument("--ascii", action="store_true", default=argparse.SUPPRESS)

    demo = _add(commands, "demo", "a rollout of real worker processes on this machine, with simulated calls")
    demo.add_argument("--workers", type=_count, default=3, metavar="N", help="workers of each version (default 3)")
    demo.add_argument("--seed", type=int, help="makes the calls come and go the same way each time")
    demo.add_argument("--isolation", choices=("process", "thread"), default="process", help="where calls run")
    demo.add_argument("--ascii", action="store_true", default=argparse.SUPPRESS, help=_ASCII_HELP)

    init = _add(commands, "init", "a commented fleet file to start from")
    init.add_argument("path", metavar="FILE", nargs="?", help="write it there, never over another (default: stdout)")

    check = _add(commands, "check", "check a fleet file: all that is wrong with it, with file and line")
    check.add_argument("path", metavar="FLEET", nargs="?")
    check.add_argument("--schema", action="store_true", help="print a JSON Schema for editors instead")

    status = _add(commands, "status", "the fleet as it is now, without a screen")
    status.epilog = (
        "Exits 0; 5 when a rollout is on and a worker was never heard: whether it holds calls nobody knows;"
        " 1 when the fleet cannot be read."
    )
    status.add_argument("--json", action="store_true", help="one JSON document; with --watch one a line")
    status.add_argument("--watch", action="store_true", help="go on until interrupted")

    _add_actions(commands)
    _add_rollouts(commands)

    wait = _add(commands, "wait", "wait until a worker of a version accepts, or until it is drained")
    wait.add_argument("--version", dest="version_asked", metavar="V", required=True)
    wait.add_argument("--drained", action="store_true", help="until no worker of V can still lose a call")
    wait.add_argument("--timeout", type=_duration, metavar="T", help="give up after T (exit 3)")

    _add_manifest(commands)

    _add_audit(commands)

    keys = _add(commands, "keys", "make operator and release keys, and the secrets of versions")
    under = keys.add_subparsers(metavar="new|secret", required=True, dest="keys_command")
    new = under.add_parser(
        "new", help="make NAME.pem (keep it) and NAME.pub.pem (give it to the workers)", allow_abbrev=False
    )
    new.add_argument("name", metavar="NAME", help="the operator; NAME@2 is a second key, for rotation")
    new.add_argument("--dir", default=".", metavar="DIR", help="where to write both (default: here)")
    secret = under.add_parser(
        "secret", help="the membership secret of one version, for the pipeline that deploys it", allow_abbrev=False
    )
    secret.add_argument("version_asked", metavar="VERSION")
    secret.add_argument("--master", metavar="FILE", help="(default: the first of the fleet file's masters)")
    return parser, list(commands.choices)


def _add_audit(commands: Any) -> None:
    audit = _add(commands, "audit", "who did what, when, and what came of it: read and verify audit files")
    under = audit.add_subparsers(metavar="COMMAND", required=True, dest="audit_command")
    verify = under.add_parser(
        "verify",
        help="ok (exit 0), tampered (4, and where) or incomplete (5), rotated files included",
        allow_abbrev=False,
    )
    verify.add_argument("files", metavar="FILE", nargs="+", help="a worker's audit file or an operator's journal")
    verify.add_argument(
        "--key",
        dest="keys",
        action="append",
        metavar="PUB",
        help="NAME.pub.pem that signed the checkpoint; may repeat",
    )
    verify.add_argument("--checkpoint", metavar="FILE", help="a checkpoint that was kept elsewhere")
    verify.add_argument("--json", action="store_true", help="one JSON document a FILE")
    show = under.add_parser("show", help="the events of all FILEs in the order of time", allow_abbrev=False)
    show.add_argument("files", metavar="FILE", nargs="+", help="a worker's audit file or an operator's journal")
    show.add_argument("--op", metavar="ID", help="only of this request: the operator's and the worker's side of it")
    show.add_argument("--plan", metavar="ID", help="only of this plan")
    show.add_argument("--event", metavar="PREFIX", help="only events whose name begins so: deployment.")
    shape = show.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON object a line")
    shape.add_argument("--cloudevents", action="store_true", help="CloudEvents 1.0, one JSON object a line")


def _add_actions(commands: Any) -> None:
    texts = {
        "drain": "let workers take no new call, finish their live ones and exit",
        "cordon": "let workers take no new call; can be taken back",
        "uncordon": "let cordoned workers take calls again",
    }
    for action, text in texts.items():
        command = _add(commands, action, text, module="act")
        command.set_defaults(action=action)
        command.add_argument("names", metavar="NAME", nargs="*", help="as the fleet file names it, else host:port")
        command.add_argument(
            "--version", dest="version_asked", metavar="V", help="all workers of V; with NAMEs: they must be of V"
        )
        command.add_argument("--yes", action="store_true", help="confirm everything but taking the last worker away")
        command.add_argument("--reason", metavar="TEXT", help="stands in the worker's audit trail")
        if action != "uncordon":
            command.add_argument(
                "--last-worker", action="store_true", help="also if nobody is left to take calls of its agent"
            )
        if action == "drain":
            command.add_argument(
                "--drain-timeout", type=_drain_timeout, metavar="T", help="cut what is left after T (at most theirs)"
            )
            command.add_argument("--wait", action="store_true", help="until all are drained; the exit code tells how")
            command.add_argument("--timeout", type=_duration, metavar="T", help="stop waiting after T (exit 3)")
            command.add_argument(
                "--wave",
                type=_count,
                metavar="N",
                help="N at a time, the next when these are empty, none after a dropped call; stays to the end",
            )
            _add_plan(command)


_PROMOTE: Final = """\
Let V alone take new calls: a manifest that names it is signed and given to every worker.

Workers of other versions are gated: they keep their calls and take no new one, until a manifest names them again.
Nothing is drained, so `promote` of the other version takes it back at once.
"""

_ROLLBACK: Final = """\
Go back to a version: it takes the new calls, the bad one drains. No call is moved or cut by it.

Without --to it is the version that was active before. Where its workers do not run any more, the fleet file's
platform (rollback:) is asked to start them first, and the switch waits until enough of them are ready.
Look first with --plan. What was interrupted goes on with `openrtc-tui resume`.

exit codes: 7 rolled back and proven, 4 calls were dropped, 5 rolled back without proof, 1 it failed on the way (what
was and was not done is told), 3 --timeout was over, 6 refused or not confirmed.
"""

_RESUME: Final = """\
Go on with a plan that was interrupted: a dashboard or command that ended before its plan did.

Every worker is looked at first, and nothing that was asked is asked a second time under another identity.
"""


def _add_rollouts(commands: Any) -> None:
    promote = _add(commands, "promote", "let one version alone take new calls; taken back as fast", module="steer")
    promote.description = _PROMOTE
    promote.add_argument("version_asked", metavar="V", help="the version that takes the calls from then on")
    promote.add_argument(
        "--beside",
        metavar="W",
        action="append",
        default=[],
        help="a version that may take calls too; may repeat. Before a platform starts V and ends W, name both",
    )
    _add_consent(promote)

    rollback = _add(
        commands, "rollback", "go back to a version: it takes the calls, the bad one drains", module="steer"
    )
    rollback.description = _ROLLBACK
    rollback.add_argument("--to", dest="version_asked", metavar="V", help="the version to go back to")
    rollback.add_argument("--from", dest="bad", metavar="V", help="the version to leave (default: what takes calls)")
    rollback.add_argument(
        "--now", action="store_true", help="switch at once, whether enough workers are ready or not"
    )
    rollback.add_argument(
        "--ready-within",
        type=_duration,
        default=600.0,
        metavar="T",
        help="give up when the good version is not ready after T (default 10m)",
    )
    rollback.add_argument("--wave", type=_count, metavar="N", help="drain N at a time (default: the fleet file's)")
    rollback.add_argument(
        "--drain-timeout", type=_drain_timeout, metavar="T", help="cut what is left after T (at most theirs)"
    )
    _add_consent(rollback)

    resume = _add(commands, "resume", "go on with a plan that was interrupted, or give it up", module="steer")
    resume.description = _RESUME
    resume.add_argument("plan_id", metavar="PLAN", nargs="?", help="its id, or how it begins; where several are")
    resume.add_argument("--give-up", action="store_true", help="not at all: what was done stays done")
    resume.add_argument("--plan", action="store_true", help="only show what is left to do")
    resume.add_argument("--yes", action="store_true", help="do not ask")
    resume.add_argument("--timeout", type=_duration, metavar="T", help="stop waiting after T (exit 3)")
    for command in (promote, rollback, resume):
        command.formatter_class = argparse.RawDescriptionHelpFormatter


def _add_consent(command: argparse.ArgumentParser) -> None:
    command.add_argument("--yes", action="store_true", help="confirm all but what has to be overridden")
    command.add_argument("--reason", metavar="TEXT", help="stands in the journal and in the workers' audit trails")
    command.add_argument("--timeout", type=_duration, metavar="T", help="stop waiting after T (exit 3)")
    _add_plan(command)


def _add_plan(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--plan", action="store_true", help="only show what would be done; exit 6 where it cannot be"
    )
    command.add_argument(
        "--override",
        dest="overrides",
        action="append",
        default=[],
        metavar="WORD",
        help="the word that the plan asks for, to do it all the same; may repeat",
    )


def _add_manifest(commands: Any) -> None:
    manifest = _add(
        commands, "manifest", "sign and check manifests: which versions may take new calls"
    ).add_subparsers(metavar="sign|show|verify", required=True, dest="manifest_command")
    sign = manifest.add_parser(
        "sign",
        help="a signed manifest, for pipelines; promote and rollback make theirs themselves",
        allow_abbrev=False,
    )
    sign.add_argument(
        "active", metavar="VERSION", nargs="*", help="the versions that may take new calls; none: nobody"
    )
    sign.add_argument(
        "--seq", type=_seq, required=True, metavar="N", help="above every one before; the highest holds"
    )
    sign.add_argument("--key", metavar="FILE", help="the release key (default: the fleet file's manifest.key_file)")
    sign.add_argument("--for", dest="for_fleet", metavar="NAME", help="the fleet (default: the fleet file's name)")
    sign.add_argument("--by", metavar="NAME", help="who issues it (default: the key's name)")
    sign.add_argument("-o", "--output", metavar="FILE", help="write it there in one step (default: stdout)")
    show = manifest.add_parser("show", help="what a manifest says, whoever signed it", allow_abbrev=False)
    show.add_argument("path", metavar="FILE", help="- is standard input")
    verify = manifest.add_parser("verify", help="whether a manifest is signed with a release key", allow_abbrev=False)
    verify.add_argument("path", metavar="FILE", help="- is standard input")
    verify.add_argument(
        "--key", metavar="FILE", action="append", help="a public key, NAME.pub.pem (default: the fleet file's own)"
    )
    verify.add_argument("--for", dest="for_fleet", metavar="NAME", help="the fleet (default: the fleet file's name)")


def _add(commands: Any, name: str, text: str | None, *, module: str | None = None) -> argparse.ArgumentParser:
    shown = {"help": text, "description": f"{text[0].upper()}{text[1:]}."} if text else {}
    parser: argparse.ArgumentParser = commands.add_parser(name, allow_abbrev=False, **shown)
    parser.set_defaults(module=module or name, usage_error=parser.error)
    _add_globals(parser, default=argparse.SUPPRESS)
    return parser


def _add_globals(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    parser.add_argument("-f", "--fleet", metavar="FILE", default=default, help="the fleet file")
    parser.add_argument(
        "--read-only",
        action="store_true",
        default=False if default is None else default,
        help="watch only, ask nothing of any worker",
    )


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"openrtc-tui {version('openrtc-tui')}\n")
        parser.exit()


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {error}") from None


def _drain_timeout(text: str) -> float:
    seconds = _duration(text)
    if seconds < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected at least 1s")
    return seconds


def _seq(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 2**53:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 99:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to 99")
    return int(text)
