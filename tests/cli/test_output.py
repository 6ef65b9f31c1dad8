"""What is printed can be trusted by a terminal and by a script."""

import json

import pytest

from relay_agentd.cli import output
from relay_launchers.untrusted import UNSEEN


def test_text_of_another_agent_cannot_drive_the_terminal() -> None:
    shown = output.printable("\x1b]0;owned\x07\x9b2J\u202edrow\x7f plain\ttab\nline")

    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown
    assert shown.endswith("plain\ttab\nline")


def test_a_row_in_a_pipe_is_one_line_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("A", "B"), [("one\ntwo", "x\ty"), (None, 3)], empty="none")

    assert capsys.readouterr().out == "one two\tx y\n\t3\n"


def test_no_rows_in_a_pipe_are_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("A",), [], empty="none")

    assert capsys.readouterr().out == ""


def test_json_keeps_the_text_and_escapes_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "ü\x9b2J\u202e\x7f\x7f\u200b\U000e0041 \u2028 \x1b[2J"
    output.print_json({"body": text})

    printed = capsys.readouterr().out
    assert printed.startswith('{"body": "ü')
    assert not UNSEEN.search(printed.rstrip())
    assert "\u2028" not in printed
    assert json.loads(printed) == {"body": text}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "now"), (30, "30 s ago"), (200, "3 min ago"), (8000, "2 h ago"), (400000, "4 d ago")],
)
def test_ago_speaks_in_the_unit_a_person_would_use(seconds: float, text: str) -> None:
    assert output.ago(seconds) == text
