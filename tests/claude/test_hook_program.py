"""The hook program as a process: what it prints when a person answers, and when things fail."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay_launchers.claude import hook
from relay_launchers.claude.plugin_files import FAILSAFE, HOOK_PROGRAM
from tests.support.wait import eventually

CALL = {"tool_name": "Bash", "tool_input": {"command": "touch made"}, "session_id": "s"}


class Daemon:
    """The daemon's end of the control socket; each connection is answered by `say`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[dict[str, Any]] = []
        self.closed = 0
        self.say: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda _: {"ok": True}
        """None: no answer, the connection stays."""
        self._open: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def answer_all(self, output: dict[str, Any]) -> None:
        """Answer whoever waits."""
        for connection in self._open:
            connection.sendall(json.dumps({"ok": True, "output": output}).encode() + b"\n")

    def die(self) -> None:
        """All connections break, nobody listens any more."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        self.path.unlink()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            line = connection.makefile("rb").readline()
            self.requests.append(json.loads(line))
            answer = self.say(self.requests[-1])
            self._open.append(connection)
            if answer is not None:
                connection.sendall(json.dumps(answer).encode() + b"\n")


@pytest.fixture
def control(tmp_path: Path) -> Path:
    return tmp_path / "c.sock"


@pytest.fixture
def daemon(control: Path) -> Iterator[Daemon]:
    running = Daemon(control)
    running.say = lambda _: None
    yield running
    if control.exists():
        running.die()


def environment(control: Path) -> dict[str, str]:
    session = {"AGENT_RELAY_CONTROL": str(control), "AGENT_RELAY_SESSION": "0123456789abcdef"}
    return {**os.environ, **session}


def start(
    event: str, folder: Path, control: Path, mode: str = "guarded"
) -> "subprocess.Popen[str]":
    """The program, as Claude Code starts it; it has read its input."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(HOOK_PROGRAM), event, mode, str(folder)],
        env=environment(control),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(CALL))
    process.stdin.close()
    process.stdin = None
    return process


def printed(process: "subprocess.Popen[str]") -> Any:
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    return json.loads(output)["hookSpecificOutput"] if output else None


ALLOWED = {"hookSpecificOutput": {"decision": {"behavior": "allow"}}}


def test_a_question_waits_and_prints_the_answer(
    daemon: Daemon, control: Path, tmp_path: Path
) -> None:
    asking = start("PermissionRequest", tmp_path, control)
    eventually(lambda: daemon.requests, 10)
    # Longer than an ordinary report may take.
    late = time.monotonic() + hook.ANSWER_SECONDS + 0.3
    eventually(lambda: time.monotonic() > late, 10)
    assert asking.poll() is None

    daemon.answer_all(ALLOWED)

    assert printed(asking) == ALLOWED["hookSpecificOutput"]
    (request,) = daemon.requests
    assert request["event"] == "PermissionRequest"
    assert request["payload"]["tool_input"] == CALL["tool_input"]


def test_a_question_survives_a_new_daemon_under_the_same_id(
    daemon: Daemon, control: Path, tmp_path: Path
) -> None:
    asking = start("PermissionRequest", tmp_path, control)
    eventually(lambda: daemon.requests, 10)
    daemon.die()

    heir = Daemon(control)
    # It does not know the session yet, then it does.
    heir.say = lambda _: (
        {"ok": False} if len(heir.requests) < 3 else {"ok": True, "output": ALLOWED}
    )

    assert printed(asking) == ALLOWED["hookSpecificOutput"]
    asked = [each["payload"] for each in (*daemon.requests, *heir.requests)]
    assert len({each["ask_id"] for each in asked}) == 1
    assert len({each["asked_at_ms"] for each in asked}) == 1
    heir.die()


def test_two_questions_have_two_ids(daemon: Daemon, control: Path, tmp_path: Path) -> None:
    asking = [start("PermissionRequest", tmp_path, control) for _ in range(2)]
    eventually(lambda: len(daemon.requests) == 2, 10)
    daemon.answer_all(ALLOWED)
    for each in asking:
        printed(each)

    assert len({each["payload"]["ask_id"] for each in daemon.requests}) == 2


def test_without_a_daemon_the_dialog_stays(
    control: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "AWAY_SECONDS", 0.5)
    monkeypatch.setenv("AGENT_RELAY_CONTROL", str(control))
    monkeypatch.setenv("AGENT_RELAY_SESSION", "0123456789abcdef")

    assert hook.question(CALL, "guarded", str(tmp_path)) == {}


def test_an_answer_that_comes_after_the_mode_was_tightened_does_not_count(
    daemon: Daemon, control: Path, tmp_path: Path
) -> None:
    asking = start("PermissionRequest", tmp_path, control)
    eventually(lambda: daemon.requests, 10)

    (tmp_path / "mode").write_text("read-only")
    daemon.answer_all(ALLOWED)

    assert printed(asking)["decision"]["behavior"] == "deny"


def test_a_question_in_read_only_mode_is_denied_with_no_daemon(
    control: Path, tmp_path: Path
) -> None:
    asking = start("PermissionRequest", tmp_path, control, "read-only")

    assert printed(asking)["decision"]["behavior"] == "deny"


def test_the_gate_lets_pass_what_a_person_allowed_for_the_session(
    daemon: Daemon, control: Path, tmp_path: Path
) -> None:
    daemon.say = lambda _: {"ok": True, "output": {"allowed": True}}

    assert printed(start("PreToolUse", tmp_path, control))["permissionDecision"] == "allow"


def test_a_huge_input_is_clipped_and_said_to_be() -> None:
    told = hook.told_input({"command": "x" * 300_000, "n": list(range(5))})

    assert told["clipped"] is True
    assert len(json.dumps(told)) < hook.LONGEST_INPUT
    assert "characters more" in told["tool_input"]["command"]
    assert hook.told_input({"a": 1}) == {"tool_input": {"a": 1}, "clipped": False}


def guarded_by_shell(
    program: list[str], mode: str, folder: Path
) -> "subprocess.CompletedProcess[str]":
    """The gate's command line with another program in place of the gate."""
    arguments = [*program, "PreToolUse", mode, str(folder)]
    return subprocess.run(
        ["/bin/sh", "-c", FAILSAFE, arguments[0], *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


GONE = ["/nonexistent/python", "-I", "-S", "hook.py"]
KILLED = [sys.executable, "-S", "-c", "import os; os.kill(os.getpid(), 9)"]
CRASHED = [sys.executable, "-S", "-c", "raise SystemExit(1)"]


@pytest.mark.parametrize("program", [GONE, KILLED, CRASHED], ids=["gone", "killed", "crashed"])
@pytest.mark.parametrize(
    ("mode", "now", "status"),
    [
        ("guarded", None, 2),
        ("read-only", None, 2),
        ("open", None, 0),
        ("open", "open", 0),
        ("open", "guarded", 2),
        ("open", "read-only", 2),
        ("guarded", "open", 2),
    ],
)
def test_a_gate_that_fails_as_a_process_denies_except_in_open(
    program: list[str], mode: str, now: str | None, status: int, tmp_path: Path
) -> None:
    if now is not None:
        (tmp_path / "mode").write_text(now)

    assert guarded_by_shell(program, mode, tmp_path).returncode == status


def test_the_gate_in_its_shell_knows_the_session_and_what_it_was_told(tmp_path: Path) -> None:
    tell = "import os, sys; print(os.environ['CLAUDE_PID'], *sys.argv[1:])"

    done = guarded_by_shell([sys.executable, "-S", "-c", tell], "guarded", tmp_path)

    assert done.stdout.split() == [str(os.getpid()), "PreToolUse", "guarded", str(tmp_path)]
