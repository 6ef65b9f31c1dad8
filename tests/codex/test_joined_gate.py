"""The gate of a Codex session that a person started himself, with a daemon and without one."""

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from relay_launchers.codex.install import JOINED_PROGRAM
from relay_launchers.in_session import CONVERSATION_FILE

WRITE = {"tool_name": "Bash", "tool_input": {"command": "touch made"}}
READ = {"tool_name": "Bash", "tool_input": {"command": "cat a | wc -l; ls src"}}


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """Where a daemon would listen."""
    return tmp_path / "control-01234567.sock"


def verdict(control: Path, call: dict[str, Any] = WRITE, **environment: str) -> str:
    """What the gate says of a call, run as Codex runs it."""
    settings = control.with_name("agentd.env")
    program = [sys.executable, "-I", "-S", str(JOINED_PROGRAM)]
    done = subprocess.run(
        [*program, "PreToolUse", str(control), str(settings)],
        input=json.dumps({**call, "session_id": "c-1", "cwd": "/", "transcript_path": None}),
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    output = json.loads(done.stdout) if done.stdout else {}
    return str(output.get("hookSpecificOutput", {}).get("permissionDecision", ""))


def session(control: Path, mode: str, conversation: str = "c-1") -> Path:
    """As the daemon writes it down."""
    folder = control.parent / "s-01234567" / "0123"
    folder.mkdir(parents=True)
    (folder / "mode").write_text(mode)
    (folder / CONVERSATION_FILE).write_text(json.dumps({"id": conversation}))
    return folder


@contextmanager
def daemon(control: Path, answer: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """One that gives this answer; what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(json.loads(self.rfile.readline()))
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    with socketserver.UnixStreamServer(str(control), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


def test_the_written_mode_counts_without_any_daemon(control: Path) -> None:
    session(control, "read-only")

    assert verdict(control) == "deny"
    assert verdict(control, READ) == ""
    # In whatever folder the model chose: git runs what a repository there names.
    assert verdict(control, {"tool_name": "Bash", "tool_input": {"command": "git log"}}) == "deny"
    assert verdict(control, {"tool_name": "mcp__relay__relay_send", "tool_input": {}}) == ""


@pytest.mark.parametrize(
    ("settings", "environment", "expected"),
    [
        ("", {}, ""),
        ("AGENT_RELAY_URL=http://localhost:1\n", {}, ""),
        ("AGENT_RELAY_APPROVAL=guarded\n", {}, "deny"),
        ("AGENT_RELAY_APPROVAL=guarded\n", {"AGENT_RELAY_APPROVAL": "open"}, ""),
        ("AGENT_RELAY_PROFILE=work\n", {}, "deny"),
        ("", {"AGENT_RELAY_APPROVAL": "read-only"}, "deny"),
        ("", {"AGENT_RELAY_PROFILE": "work"}, "deny"),
    ],
)
def test_a_session_that_no_daemon_knows_has_the_mode_its_settings_may_ask_for(
    control: Path, settings: str, environment: dict[str, str], expected: str
) -> None:
    control.with_name("agentd.env").write_text(settings)

    assert verdict(control, WRITE, **environment) == expected


@pytest.mark.parametrize(("mode", "expected"), [("open", ""), ("guarded", "deny")])
def test_another_conversation_beside_the_terminals_has_its_mode(
    control: Path, mode: str, expected: str
) -> None:
    folder = session(control, mode, conversation="c-0")

    with daemon(control, {"ok": True, "key": "0123", "folder": str(folder)}) as asked:
        assert verdict(control) == expected

    assert [(each["op"], each["conversation"]) for each in asked] == [("session.join", "c-1")]


@pytest.mark.parametrize(("code", "expected"), [("ours", ""), ("invalid_settings", "deny")])
def test_only_the_relays_own_sessions_are_left_to_their_own_gate(
    control: Path, code: str, expected: str
) -> None:
    with daemon(control, {"ok": False, "error": {"code": code, "detail": ""}}):
        assert verdict(control) == expected
