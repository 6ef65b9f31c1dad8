"""What a person reads before deciding."""

from typing import Any

import pytest

from relay_launchers.claude.summary import summarize


@pytest.mark.parametrize(
    ("tool", "tool_input", "line"),
    [
        ("Bash", {"command": "make test", "description": "harmless"}, "make test"),
        (
            "Bash",
            {"command": "serve", "run_in_background": True},
            "serve (in the background)",
        ),
        ("Write", {"file_path": "/a/b", "content": "x"}, "/a/b"),
        ("WebFetch", {"url": "http://x/", "prompt": "p"}, "http://x/"),
        ("mcp__git__push", {"to": "main"}, '{"to": "main"}'),
        ("Bash", {"command": 7}, '{"command": 7}'),
        ("Other", {}, "Other"),
    ],
)
def test_the_line_says_what_would_happen(tool: str, tool_input: dict[str, Any], line: str) -> None:
    assert summarize(tool, tool_input) == line


def test_every_line_of_a_command_is_in_the_one_line() -> None:
    assert summarize("Bash", {"command": "ls\n\nrm -rf x\n"}) == "ls ⏎ rm -rf x"


def test_nothing_in_a_command_can_hide_the_rest_of_it() -> None:
    line = summarize("Bash", {"command": "a\x1b[2Kb\u202ec\x07d\re"})

    assert line == "a\N{REPLACEMENT CHARACTER}[2Kb\N{REPLACEMENT CHARACTER}c\ufffdd ⏎ e"


def test_a_sub_agent_is_named() -> None:
    assert summarize("Bash", {"command": "ls"}, "Explore") == "ls (sub-agent Explore)"
    assert summarize("Bash", {"command": "ls"}, "x\n\x1b[2K") == "ls (sub-agent x ⏎ \ufffd[2K)"


def test_a_long_command_is_cut_and_says_so() -> None:
    line = summarize("Bash", {"command": "x" * 5000})

    assert line.endswith("[and 3000 characters more]")
