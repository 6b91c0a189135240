"""However the dashboard ends, the terminal is left as it was. In a real pty, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from openrtc_tui import terminal
from tests.support.processes import REPOSITORY, clean_env
from tests.support.pty_program import ENTER_SCREEN, LEAVE_SCREEN, SHOW_CURSOR, PtyProgram

if TYPE_CHECKING:
    from pathlib import Path

FLEET = """\
fleet: pty-fleet
workers:
  - {name: nobody-1, url: "http://127.0.0.1:9"}
  - {name: nobody-2, url: "http://127.0.0.1:10"}
"""


def dashboard(directory: Path, *arguments: str, fleet: str = FLEET, **env: str) -> PtyProgram:
    path = directory / "fleet.yaml"
    path.write_text(fleet)
    command = [sys.executable, "-m", "openrtc_tui", str(path), *arguments]
    environment = clean_env(**{"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "TEXTUAL_ANIMATIONS": "none", **env})
    environment = {name: value for name, value in environment.items() if name != "NO_COLOR" or "NO_COLOR" in env}
    return PtyProgram(command, env=environment, cwd=str(REPOSITORY))


def assert_left_sane(program: PtyProgram) -> None:
    assert program.output.count(ENTER_SCREEN) == program.output.count(LEAVE_SCREEN) == 1
    assert program.output.index(LEAVE_SCREEN) < program.output.rindex(SHOW_CURSOR)
    assert program.modes() == program.modes_before


def test_q_leaves_the_terminal_as_it_was_and_says_that_drains_go_on(tmp_path: Path) -> None:
    with dashboard(tmp_path) as program:
        program.wait_for(b"nobody-2")
        assert program.modes() != program.modes_before, "while it runs, keys are not echoed"
        program.type("q")
        assert program.wait() == 0
        assert_left_sane(program)
        last_words = program.output.rpartition(LEAVE_SCREEN)[2]
        assert b"The dashboard is closed; the workers go on as they are." in last_words
        assert last_words.count(b"\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_it_was(tmp_path: Path, number: signal.Signals) -> None:
    with dashboard(tmp_path) as program:
        program.wait_for(b"nobody-2")
        program.signal(number)
        assert program.wait() == 128 + number
        assert_left_sane(program)
        assert b"Traceback" not in program.output


def test_a_signal_while_a_confirmation_or_the_palette_is_open_does_the_same(tmp_path: Path) -> None:
    with dashboard(tmp_path) as program:
        program.wait_for(b"nobody-2")
        program.type("\x10")
        program.wait_for(b"for commands")
        program.signal(signal.SIGTERM)
        assert program.wait() == 128 + signal.SIGTERM
        assert_left_sane(program)


def test_a_closed_terminal_ends_the_process(tmp_path: Path) -> None:
    """Nothing is left that spins or waits for a terminal that will never come back."""
    with dashboard(tmp_path) as program:
        program.wait_for(b"nobody-2")
        program.close_terminal()
        assert program.wait() == 128 + signal.SIGHUP


def test_a_closed_terminal_ends_the_process_also_without_a_signal(tmp_path: Path) -> None:
    """The signal of a hang-up does not reach everybody: under nohup it is ignored."""
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    program_text = (
        "import runpy, signal, sys\n"
        "from openrtc_tui import terminal\n"
        "terminal.SIGNALS = (signal.SIGTERM,)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        f"sys.argv = ['openrtc-tui', {str(path)!r}]\n"
        "from openrtc_tui.cli import main\n"
        "sys.exit(main())\n"
    )
    environment = clean_env(TERM="xterm-256color", LC_ALL="C.UTF-8")
    with PtyProgram([sys.executable, "-c", program_text], env=environment, cwd=str(REPOSITORY)) as program:
        program.wait_for(b"nobody-2")
        program.close_terminal()
        assert program.wait() == 128 + signal.SIGHUP


def test_without_a_terminal_it_says_what_to_do_instead(tmp_path: Path) -> None:
    import subprocess

    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    for arguments in ([str(path)], ["demo"]):
        done = subprocess.run(
            [sys.executable, "-m", "openrtc_tui", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=REPOSITORY,
        )
        assert done.returncode == 2
        assert "needs a terminal" in done.stderr
        assert "status --watch" in done.stderr


def test_a_terminal_that_cannot_place_a_character_is_named_at_once(tmp_path: Path) -> None:
    with dashboard(tmp_path, TERM="dumb") as program:
        assert program.wait() == 2
        assert ENTER_SCREEN not in program.output
        assert b"TERM=dumb names a terminal that cannot place a character" in program.output


def test_a_wrong_fleet_file_never_opens_the_screen(tmp_path: Path) -> None:
    with dashboard(tmp_path, fleet="workers: 3\nflet: x\n") as program:
        assert program.wait() == 1
        assert ENTER_SCREEN not in program.output
        assert b"fleet.yaml" in program.output
        assert b"fleet.yaml:1" in program.output or b"fleet.yaml, line 1" in program.output


COLOUR = re.compile(rb"\x1b\[[0-9;:]*?(?<![0-9])(3[0-9]|4[0-9]|9[0-7]|10[0-7])(?![0-9])[0-9;:]*m")


def test_no_color_means_no_colour_codes_at_all(tmp_path: Path) -> None:
    with dashboard(tmp_path, NO_COLOR="1") as program:
        program.wait_for(b"nobody-2")
        program.press("?", b"THE FLEET")
        program.press("?", b"WORKER")
        program.press("/", b"inverts")
        program.press("x", b"No worker is like that")
        program.press("\r", b"Details")
        program.press("\x10", b"for commands")
        program.signal(signal.SIGTERM)
        program.wait()
        assert COLOUR.findall(program.output) == []
        assert b"\x1b[2m" not in program.output


def test_an_empty_no_color_does_not_count(tmp_path: Path) -> None:
    with dashboard(tmp_path, NO_COLOR="") as program:
        program.wait_for(b"nobody-2")
        program.type("q")
        program.wait()
        codes = re.findall(rb"\x1b\[[0-9;]*m", program.output)
        inks = {bytes(ink) for code in codes for ink in re.findall(rb"38;2;\d+;\d+;\d+|38;5;\d+", code)}
        assert len(inks) > 2, "more than one ink"


def test_a_terminal_that_cannot_do_utf8_gets_ascii(tmp_path: Path) -> None:
    with dashboard(tmp_path, "--ascii") as program:
        program.wait_for(b"nobody-2")
        program.type("q")
        program.wait()
        assert program.output.isascii()


def test_a_hang_up_is_seen_without_waiting() -> None:
    ours, theirs = os.openpty()
    try:
        assert not terminal.hung_up(theirs)
        os.close(ours)
        assert terminal.hung_up(theirs)
    finally:
        os.close(theirs)


def test_what_a_dead_terminal_does_not_take_is_dropped() -> None:
    class DeadTerminal:
        def write(self, _text: str) -> int:
            raise OSError(5, "Input/output error")

        def flush(self) -> None:
            raise OSError(5, "Input/output error")

        def fileno(self) -> int:
            return 2

    file = terminal.HardyFile(DeadTerminal())  # type: ignore[arg-type]
    assert file.write("text") == 4
    file.flush()
    assert file.fileno() == 2


def test_textuals_driver_still_keeps_its_file_where_ours_replaces_it() -> None:
    """A named test for the one private name of Textual's that is used."""
    import inspect

    from textual.drivers.linux_driver import LinuxDriver

    assert "WriterThread(self._file)" in inspect.getsource(LinuxDriver.start_application_mode)
