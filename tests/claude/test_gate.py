"""The approval gate: which tool calls of a session are allowed, asked about, denied."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.tool_specs import TOOLS
from relay_launchers.claude.hook import effective_mode
from relay_launchers.claude.plugin_files import HOOK_PROGRAM
from relay_launchers.claude.rules import RELAY_TOOL_PREFIX, RELAY_TOOLS, decide, only_reads

RELAY_SEND = "mcp__plugin_relay_relay__relay_send"
HARMLESS = ["Read", "Grep", "Glob", "TodoWrite", "ToolSearch"]
SIDE_EFFECTS = [
    *("Write", "Edit", "NotebookEdit", "WebFetch", "WebSearch", "Agent", "Task", "Skill"),
    *("Monitor", "CronCreate", "SendMessage", "KillShell", "SomethingNew"),
    *("mcp__github__create_issue", "mcp__plugin_relay_other__relay_send"),
    *("mcp__plugin_relay_relay__other", "mcp__plugin_relay_relay__relay_other", "relay_send", ""),
]


def verdict(mode: str, tool: str, *, daemon: bool = True, **tool_input: Any) -> str | None:
    judged = decide(mode, tool, tool_input, "/", lambda: "new" if daemon else "silent")
    return judged[0] if judged else None


@pytest.mark.parametrize("mode", ["open", "guarded", "read-only"])
@pytest.mark.parametrize("daemon", [True, False])
def test_relay_tools_are_always_allowed(mode: str, daemon: bool) -> None:
    assert verdict(mode, RELAY_SEND, daemon=daemon) == "allow"


@pytest.mark.parametrize("tool", [*HARMLESS, *SIDE_EFFECTS, "Bash"])
def test_open_has_no_opinion(tool: str) -> None:
    assert verdict("open", tool, daemon=False, command="rm -rf /") is None


@pytest.mark.parametrize("mode", ["guarded", "read-only"])
@pytest.mark.parametrize("tool", HARMLESS)
def test_reading_is_left_to_the_persons_own_settings(mode: str, tool: str) -> None:
    assert verdict(mode, tool, daemon=False) is None


@pytest.mark.parametrize("tool", SIDE_EFFECTS)
def test_guarded_asks_about_everything_else(tool: str) -> None:
    assert verdict("guarded", tool) == "ask"


@pytest.mark.parametrize("tool", SIDE_EFFECTS)
def test_guarded_denies_when_the_daemon_does_not_answer(tool: str) -> None:
    assert verdict("guarded", tool, daemon=False) == "deny"


@pytest.mark.parametrize("tool", SIDE_EFFECTS)
@pytest.mark.parametrize("daemon", [True, False])
def test_read_only_denies_everything_else(tool: str, daemon: bool) -> None:
    assert verdict("read-only", tool, daemon=daemon) == "deny"


@pytest.mark.parametrize(
    "command",
    [
        "ls",
        "ls -la src",
        "cat a.py | head -20",
        "cd src && grep -rn 'a|b; c' . | wc -l",
        "git status; git log --oneline -5",
        "git diff HEAD~1 -- src",
        "find . -name '*.py'",
        'find "a b" -type f',
        "ls *.py",
        "echo hello || pwd",
    ],
)
def test_a_command_that_only_reads_is_known_as_such(command: str) -> None:
    assert only_reads(command, "/")
    assert verdict("read-only", "Bash", command=command) is None


@pytest.mark.parametrize(
    "command",
    [
        "",
        "touch f",
        "echo x > f",
        "echo x >> f",
        "ls; touch f",
        "ls && rm f",
        "ls | tee f",
        "ls & touch f",
        "ls |& tee f",
        "ls\ntouch f",
        "ls $(touch f)",
        "ls `touch f`",
        "ls <(touch f)",
        "cat \\\n; touch f",
        "$SHELL -c 'touch f'",
        "FOO=1 ls",
        "env ls",
        "xargs rm",
        "sort -o f g",
        "uniq a b",
        "sed -i s/a/b/ f",
        "awk 1",
        "find . -delete",
        "find . '-delete'",
        "find . -exec rm x ;",
        'find . ";" cat -delete',
        "find . -fprintf f x",
        "find *",
        "git push",
        "git commit -m x",
        "git -C x status",
        "git -c core.pager=x log",
        "git diff --output=f",
        "git diff --outp f",
        "git log '--output=f'",
        "git diff *",
        "git branch x",
        "git",
        "l's",
        "ls ;",
        "curl http://x",
        "python -c 1",
        "(ls)",
        "{ ls; }",
        "! ls",
        "/tmp/ls",
        "./ls",
        # A program in a folder with such a name, or one along such a path.
        "cat\u00a0/x",
        "ls\x0b/x",
        "ls -l\u200b",
        "printf -v PATH ./bin; ls",
        "cd bare && git status",
        "'cd' bare; \"git\" status",
    ],
)
def test_any_other_command_has_side_effects(command: str) -> None:
    assert not only_reads(command, "/")
    assert verdict("read-only", "Bash", command=command) == "deny"
    assert verdict("guarded", "Bash", command=command) == "ask"


def test_a_folder_that_git_would_take_for_a_repository_and_its_programs_is_not_looked_into(
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "src").mkdir()
    inner = project / "fixtures" / "refs"
    inner.mkdir(parents=True)
    (inner.parent / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / "link").symlink_to(inner)

    assert only_reads("git status", str(project / "src"))
    for folder in (inner.parent, inner, tmp_path / "link", Path("src")):
        assert not only_reads("git status", str(folder))
        assert only_reads("cat a", str(folder))


def test_the_relays_tools_are_known_by_their_names() -> None:
    assert {tool.removeprefix(RELAY_TOOL_PREFIX) for tool in RELAY_TOOLS} == {
        tool.name.removeprefix("relay_") for tool in TOOLS
    }


@pytest.mark.parametrize(
    ("launched", "written", "effective"),
    [
        ("open", None, "open"),
        ("guarded", None, "guarded"),
        ("open", "read-only\n", "read-only"),
        ("guarded", "open", "guarded"),
        ("read-only", "guarded", "read-only"),
        ("open", "nonsense", "read-only"),
        ("open", "", "read-only"),
        ("nonsense", None, "read-only"),
    ],
)
def test_the_stricter_of_two_modes_counts_and_an_unknown_one_is_the_strictest(
    tmp_path: Path, launched: str, written: str | None, effective: str
) -> None:
    if written is not None:
        (tmp_path / "mode").write_text(written)

    assert effective_mode(launched, str(tmp_path)) == effective


def test_a_mode_that_cannot_be_read_is_the_strictest(tmp_path: Path) -> None:
    (tmp_path / "mode").mkdir()

    assert effective_mode("open", str(tmp_path)) == "read-only"


def run_gate(mode: str, folder: Path, stdin: bytes, **environment: str) -> dict[str, Any] | None:
    """Run the gate as Claude Code does; what it prints."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(HOOK_PROGRAM), "PreToolUse", mode, str(folder)],
        input=stdin,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == b""
    return json.loads(done.stdout)["hookSpecificOutput"] if done.stdout else None


CALL = json.dumps({"tool_name": "Write", "tool_input": {"file_path": "/x"}}).encode()


@pytest.mark.parametrize("mode", ["guarded", "read-only"])
@pytest.mark.parametrize(
    "stdin",
    [CALL, b"", b"not json", b"[]", b"null", b'{"tool_name": "Bash", "tool_input": null}', b"\xff"],
)
def test_the_program_denies_whatever_goes_wrong(mode: str, stdin: bytes, tmp_path: Path) -> None:
    output = run_gate(mode, tmp_path, stdin)

    assert output is not None
    assert output["permissionDecision"] == "deny"


def test_the_program_denies_in_guarded_mode_when_the_daemon_is_dead(tmp_path: Path) -> None:
    output = run_gate(
        "guarded",
        tmp_path,
        CALL,
        AGENT_RELAY_CONTROL=str(tmp_path / "gone.sock"),
        AGENT_RELAY_SESSION="0123456789abcdef",
    )

    assert output is not None
    assert output["permissionDecision"] == "deny"
    assert "daemon" in output["permissionDecisionReason"]


@pytest.mark.parametrize("stdin", [CALL, b"not json"])
def test_the_program_says_nothing_in_open_mode(stdin: bytes, tmp_path: Path) -> None:
    assert run_gate("open", tmp_path, stdin) is None


def test_the_program_obeys_a_mode_tightened_while_the_session_runs(tmp_path: Path) -> None:
    (tmp_path / "mode").write_text("read-only")

    output = run_gate("open", tmp_path, CALL)

    assert output is not None
    assert output["permissionDecision"] == "deny"


def test_the_program_lets_the_relays_tools_pass_with_the_daemon_dead(tmp_path: Path) -> None:
    call = json.dumps({"tool_name": RELAY_SEND, "tool_input": {}}).encode()

    output = run_gate("read-only", tmp_path, call)

    assert output is not None
    assert output["permissionDecision"] == "allow"
