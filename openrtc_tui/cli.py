"""The command line. It starts in a blink: everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import argparse
import difflib
import errno
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_tui.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FLEET_VARIABLE: Final = "OPENRTC_FLEET_FILE"
DEFAULT_FLEET: Final = "fleet.yaml"
_DASHBOARD: Final = "dashboard"
_SCREENS: Final = frozenset({_DASHBOARD, "demo"})
_CANNOT_WRITE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_ASCII_HELP: Final = "plain signs, for poor terminals (dashboard and demo)"
_VALUED: Final = frozenset({"-f", "--fleet"})

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
  openrtc-tui wait --version v2.0.0 --timeout 5m && openrtc-tui drain --version v1.0.0 --wait --yes
  openrtc-tui wait --version v1.0.0 --drained --timeout 2h

exit codes:
  0 done, and with a wait proven that no call was dropped    4 calls were dropped
  1 error                                                    5 ended without proof
  2 usage                                                    6 refused
  3 timed out                                              130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows ? and nothing breaks
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parse(arguments)
    try:
        run: Callable[[argparse.Namespace], int] = import_module(f"openrtc_tui.commands.{args.module}").run
        code = int(run(args))
        sys.stdout.flush()
    except CommandError as error:
        print(error, file=sys.stderr)
        return int(error.code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        # whoever read our output has enough
        _write_no_more()
        return int(Exit.ERROR)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        _write_no_more()
        print(f"the output cannot be written: {(error.strerror or str(error)).lower()}", file=sys.stderr)
        return int(Exit.ERROR)
    return code


def _write_no_more() -> None:
    """What is left in the buffer goes nowhere: Python would complain of it when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parse(arguments: list[str]) -> argparse.Namespace:
    """The arguments of the command named; a first argument that names none is FLEET."""
    parser, commands = _parser()
    first = _first_positional(arguments)
    word = arguments[first] if first is not None else None
    if word not in commands and not {"-h", "--help", "--version"} & set(arguments[:first]):
        _beware_of_a_slip(parser, word, commands)
        arguments.insert(0, _DASHBOARD)
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        args.usage_error(f"unrecognized arguments: {' '.join(unknown)}{_hint_at_fleet(unknown)}")
    if args.ascii and args.module not in _SCREENS:
        args.usage_error("--ascii is for the dashboard and the demo")
    if args.module == _DASHBOARD and args.named_fleet is not None:
        args.fleet = args.named_fleet
    args.fleet = args.fleet or os.environ.get(FLEET_VARIABLE) or DEFAULT_FLEET
    if args.module == "act":
        _check_action(args)
    return args


def _first_positional(arguments: Sequence[str]) -> int | None:
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        if argument == "--":
            return None
        if not argument.startswith("-"):
            return index
        index += 2 if argument in _VALUED else 1
    return None


def _beware_of_a_slip(parser: argparse.ArgumentParser, word: str | None, commands: Sequence[str]) -> None:
    """``openrtc-tui drian a-1`` means no fleet file named drian."""
    if word is None or os.path.lexists(word):
        return
    near = difflib.get_close_matches(word, commands, n=1)
    if near:
        parser.error(f"{word} is no command and no file; did you mean {near[0]}?")


def _hint_at_fleet(unknown: Sequence[str]) -> str:
    """``openrtc-tui status prod.yaml``: only the dashboard takes the fleet file as it is."""
    file = next((word for word in unknown if word.endswith((".yaml", ".yml"))), None)
    return f"; a fleet file is given with -f {file}" if file is not None else ""


def _check_action(args: argparse.Namespace) -> None:
    if not args.names and args.version_asked is None:
        args.usage_error("needs the NAME of a worker, or --version for all workers of one")
    if getattr(args, "timeout", None) is not None and not args.wait:
        args.usage_error("--timeout bounds --wait; what the worker is given is --drain-timeout")


# ----------------------------------------------------------------------------------------------------- parsers


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
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

    dashboard = _add(commands, _DASHBOARD, None)
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
    status.add_argument("--json", action="store_true", help="one JSON document; with --watch one a line")
    status.add_argument("--watch", action="store_true", help="go on until interrupted")

    _add_actions(commands)

    wait = _add(commands, "wait", "wait until a worker of a version accepts, or until it is drained")
    wait.add_argument("--version", dest="version_asked", metavar="V", required=True)
    wait.add_argument("--drained", action="store_true", help="until no worker of V can still lose a call")
    wait.add_argument("--timeout", type=_duration, metavar="T", help="give up after T (exit 3)")

    _add_manifest(commands)

    _add_audit(commands)

    keys = _add(commands, "keys", "make operator keys")
    new = keys.add_subparsers(metavar="new", required=True, dest="keys_command").add_parser(
        "new", help="make NAME.pem (keep it) and NAME.pub.pem (give it to the workers)", allow_abbrev=False
    )
    new.add_argument("name", metavar="NAME", help="the operator; NAME@2 is a second key, for rotation")
    new.add_argument("--dir", default=".", metavar="DIR", help="where to write both (default: here)")
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

        print(f"openrtc-tui {version('openrtc-tui')}")
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
