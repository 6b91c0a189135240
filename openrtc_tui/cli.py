"""The command line. It starts in a blink: everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import difflib
import errno
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from openrtc_tui.commands.exits import CommandError, Exit
from openrtc_tui.parsers import DASHBOARD, make_parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

FLEET_VARIABLE: Final = "OPENRTC_FLEET_FILE"
DEFAULT_FLEET: Final = "fleet.yaml"
_SCREENS: Final = frozenset({DASHBOARD, "demo"})
_CANNOT_WRITE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_VALUED: Final = frozenset({"-f", "--fleet"})


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
    parser, commands = make_parser()
    first = _first_positional(arguments)
    word = arguments[first] if first is not None else None
    if word not in commands and not {"-h", "--help", "--version"} & set(arguments[:first]):
        _beware_of_a_slip(parser, word, commands)
        arguments.insert(0, DASHBOARD)
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        args.usage_error(f"unrecognized arguments: {' '.join(unknown)}{_hint_at_fleet(unknown)}")
    if args.ascii and args.module not in _SCREENS:
        args.usage_error("--ascii is for the dashboard and the demo")
    if args.module == DASHBOARD and args.named_fleet is not None:
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
    waves = args.action == "drain" and (args.plan or args.wave is not None)
    if getattr(args, "timeout", None) is not None and not (args.wait or waves):
        args.usage_error("--timeout bounds --wait and --wave; what the worker is given is --drain-timeout")
    if waves:
        args.module = "steer"
