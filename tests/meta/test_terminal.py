"""The test terminal, driven with small programs."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.providers import READY, CliName, IsolatedHome, find_cli
from tests.support.standin_anthropic import StandInAnthropic
from tests.support.standin_openai import StandInOpenAI
from tests.support.terminal import Terminal

_RAW = "import sys,termios,tty;tty.setraw(0);"


def _python(code: str, tmp_path: Path) -> Terminal:
    return Terminal([sys.executable, "-c", code], dict(os.environ), tmp_path, rows=10, cols=60)


def test_shows_what_is_written_and_types_what_is_read(tmp_path: Path) -> None:
    with _python("print('name?'); print('hello', input())", tmp_path) as terminal:
        terminal.wait_for_text("name")
        terminal.write("relay")
        terminal.press("Enter")

        terminal.wait_for_text("^hello relay")
        assert terminal.exit_status() == 0


def test_answers_the_cursor_query(tmp_path: Path) -> None:
    code = _RAW + (
        "sys.stdout.write('\\x1b[3;5H\\x1b[6n');sys.stdout.flush();"
        "got=sys.stdin.read(6);print(repr(got))"
    )
    with _python(code, tmp_path) as terminal:
        assert "\\x1b[3;5R" in terminal.wait_for_text("5R")


def test_private_sequences_leave_no_trace_on_the_screen(tmp_path: Path) -> None:
    code = "print('a\\x1b[>1u\\x1b[<u\\x1b[?4m\\x1bP+q544e\\x1b\\\\b\\x1b[?2026hc')"
    with _python(code, tmp_path) as terminal:
        terminal.wait_for_text("^abc$")


def test_a_closed_window_hangs_up_the_program(tmp_path: Path) -> None:
    with _python("print('up'); import time; time.sleep(60)", tmp_path) as terminal:
        terminal.wait_for_text("up")

        terminal.hang_up()

        assert terminal.exit_status() == -1


def test_an_interrupt_key_reaches_the_program(tmp_path: Path) -> None:
    code = (
        "import signal\nsignal.signal(signal.SIGINT, lambda *a: exit(7))\n"
        "print('up')\nsignal.pause()"
    )
    with _python(code, tmp_path) as terminal:
        terminal.wait_for_text("up")

        terminal.press("C-c")

        assert terminal.exit_status() == 7


def test_an_early_end_fails_the_wait_with_the_screen(tmp_path: Path) -> None:
    with (
        _python("print('oh no')", tmp_path) as terminal,
        pytest.raises(AssertionError, match="oh no"),
    ):
        terminal.wait_for_text("never", within=10)


def test_leaves_no_open_files_behind(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()

    with _python("print('x')", tmp_path) as terminal:
        terminal.wait_for_text("x")

    assert psutil.Process().num_fds() == before


@pytest.mark.real_cli
@pytest.mark.parametrize("name", ["codex", "claude-2.1.197", "claude-2.1.330"])
def test_a_real_provider_runs_a_tool_and_answers(
    name: CliName, home: IsolatedHome, openai: StandInOpenAI, anthropic: StandInAnthropic
) -> None:
    argv = [str(find_cli(name)), *(["--no-daemon"] if name == "codex" else [])]
    with Terminal(argv, home.environment(), home.project) as terminal:
        terminal.wait_for_text(READY[name])

        terminal.submit("please [[shell: echo sum-$((40+2))]] [[say: finished]]")

        assert "sum-42" in terminal.wait_for_text("^. finished")
    stand_in = openai if name == "codex" else anthropic
    assert len(stand_in.main_requests) == 2
