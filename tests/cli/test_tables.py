"""Tables in a window of 80 columns: whole names, nothing wider, and what matters most in front."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import click
import pytest
from rich.cells import cell_len

from relay_agentd.cli import agents, output, sessions, tasks

_WIDTH = 80
_ODD = "Büro 漢字漢字漢字 of the ops team, third floor \x1b[2J\u202e"
_AGENT = "build-box-eu-west-3-claude-agent-relay-1a2b3c4d"


class Window(StringIO):
    """Somebody looks at what is written here."""

    def isatty(self) -> bool:
        return True


@contextmanager
def looked_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    """A window of that width as the standard output."""
    monkeypatch.setenv("COLUMNS", str(_WIDTH))
    monkeypatch.setenv("TERM", "xterm")
    with redirect_stdout(Window()) as window:
        yield window


def table(monkeypatch: pytest.MonkeyPatch, columns: Sequence[str], row: Sequence[object]) -> str:
    with looked_at(monkeypatch) as window:
        output.print_table(columns, [row, row], empty="none")
        return click.unstyle(window.getvalue())


@pytest.mark.parametrize("columns", [sessions.COLUMNS[:-1], agents.COLUMNS, tasks.COLUMNS])
@pytest.mark.parametrize("agent", [_AGENT, "vm-codex-shop-1a2b3c4d"])
def test_no_line_is_wider_than_the_window_and_names_stay_whole(
    columns: tuple[str, ...], agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"AGENT": agent, "TASK": 7, "STATE": "RUNNING", "STATUS": "waiting", "PID": 123456}
    row = [known.get(name, _ODD) for name in columns]

    shown = table(monkeypatch, columns, row)

    assert [line for line in shown.splitlines() if cell_len(line.rstrip()) > _WIDTH] == []
    assert shown.count(str(row[0])) == 2
    assert "\x1b[2J" not in shown
    assert "--json also shows" in shown


def test_the_state_of_a_session_is_never_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"AGENT": _AGENT, "STATE": "BACKOFF", "STATUS": "offline", "LABEL": _ODD}
    row = [known.get(name, "something") for name in sessions.COLUMNS]

    assert table(monkeypatch, sessions.COLUMNS, row).count("BACKOFF") == 2


def test_a_sentence_is_broken_between_words_and_never_within_a_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = "`relay-agentd logs build-box-claude-shop-1a2b3c4d --follow`"

    with looked_at(monkeypatch):
        lines = output.wrapped(f"{'some words ' * 9}{command} shows why", indent=4).splitlines()

    assert len(lines) > 2
    assert all(len(line) <= _WIDTH for line in lines)
    assert sum(command in line for line in lines) == 1
    assert all(line.startswith("    ") for line in lines[1:])


def test_a_sentence_in_a_pipe_is_one_line() -> None:
    with redirect_stdout(StringIO()):
        assert output.wrapped("a word " * 40, indent=4) == "a word " * 40
