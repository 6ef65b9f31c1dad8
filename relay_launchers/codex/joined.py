"""The program behind the hooks and tools of a Codex session that a person started himself.

    joined.py SessionStart CONTROL CONFIG  puts the conversation on the relay, starting the daemon
    joined.py PreToolUse CONTROL CONFIG    the gate of sessions that are guarded or read-only
    joined.py MCP CONTROL PIPE             becomes the pipe to the tools

CONTROL is the daemon's control socket, CONFIG the machine's settings file.

Codex's own server runs them, which may serve many conversations and many terminals; so a hook names
its conversation, and the pipe goes by the server's process: each tool call names its conversation.
In a session of `relay-agentd run`, which has its own wiring, the hooks say nothing. Runs under
``python -I -S`` and must never fail a turn.
"""

from __future__ import annotations

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "claude")]  # noqa: PTH118, PTH120

# By its name alone where it is run by path, by its full name for the checks.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from relay_launchers import in_session
else:
    import in_session

# Written by the daemon into a session's folder.
MODE_FILE = "mode"
RELAY_TOOLS = "mcp__relay__relay_"
# Shorter than Codex waits for a server (`startup_timeout_sec` in `install.py`).
TOOLS_SECONDS = 10.0
HARMLESS_TOOLS = ("update_plan", "view_image")
TOLD_ENVIRONMENT = ("HOME", "PATH", "CODEX_HOME")
TOLD_FIELDS = ("session_id", "transcript_path", "cwd", "source", "model")


def is_ours(server: int) -> bool:
    """Whether the server is one that the relay started, for this session."""
    folder = os.environ.get("AGENT_RELAY_SESSION_DIR")
    if not folder:
        return False
    try:
        with open(f"/proc/{server}/cmdline", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return folder in file.read()
    except OSError:
        return False  # the daemon knows it too


def joining(server: int, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What the daemon needs to put the conversation on the relay; to ask again is harmless."""
    return {
        "op": "session.join",
        "provider": "codex",
        "conversation": payload["session_id"],
        "providerVersion": version(str(payload.get("transcript_path"))),
        "cwd": payload["cwd"],
        "process": {"pid": server},
        "environment": in_session.described(),
    }


def session_start(control: str, server: int, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Join, and hand on what the session is told at its start."""
    environment = {name: os.environ[name] for name in TOLD_ENVIRONMENT if name in os.environ}
    environment[in_session.PROGRAM] = program_of(server)
    joined = in_session.ask_with_daemon(control, joining(server, payload))
    if joined is None or not joined.get("ok"):
        return {}
    told = {name: payload[name] for name in TOLD_FIELDS if name in payload}
    report = {
        "op": "hook",
        "session": joined["key"],
        "event": "SessionStart",
        "payload": told,
        "environment": environment,
    }
    answer = in_session.ask(control, report) or {}
    output = answer.get("output")
    return output if isinstance(output, dict) else {}


def program_of(server: int) -> str:
    """The program that can queue messages for this conversation; empty where they would be lost."""
    import shutil

    try:
        with open(f"/proc/{server}/cmdline", "rb") as file:  # noqa: PTH123
            if b"exec" in file.read().split(b"\0")[1:]:
                return ""
        program = os.readlink(f"/proc/{server}/exe")  # noqa: PTH115
        if os.access(program, os.X_OK):
            return program
    except OSError:
        pass
    return shutil.which("codex") or ""


def version(transcript: str) -> str:
    """What Codex says of itself at the top of the record."""
    try:
        with open(transcript, encoding="utf-8") as file:  # noqa: PTH123
            return str(json.loads(file.readline())["payload"]["cli_version"])
    except (OSError, ValueError, LookupError, TypeError):
        return "unknown"


def gate(control: str, config: str, server: int, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What must not run here; nothing where there is no opinion."""
    mode = written_mode(control, payload["session_id"])
    if mode is None:
        mode = asked_mode(control, config, joining(server, payload))
    tool = str(payload.get("tool_name"))
    if mode == "open" or tool.startswith(RELAY_TOOLS) or tool in HARMLESS_TOOLS:
        return {}
    given = payload.get("tool_input")
    if tool == "Bash" and isinstance(given, dict):
        from importlib import import_module

        # The gate of Claude Code's sessions judges commands the same way. The folder is the model's
        # to choose (`workdir`), and the hook is not told.
        if import_module("rules").only_reads(given.get("command"), None):
            return {}
    return denial(
        f"Agent Relay: this session is {mode}"
        + (", and only `relay-agentd run codex` can ask a person" if mode == "guarded" else "")
    )


def written_mode(control: str, conversation: object) -> str | None:
    """The conversation's mode as the daemon wrote it down, which needs no daemon now; None: it is
    on no terminal, as far as is known."""
    folder = in_session.sessions_folder(control)
    names = os.listdir(folder) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208
    for name in names:
        try:
            with open(f"{folder}/{name}/{in_session.CONVERSATION_FILE}", encoding="utf-8") as file:  # noqa: PTH123
                if json.load(file)["id"] != conversation:
                    continue
        except (OSError, ValueError, LookupError, TypeError):
            continue
        return mode_in(f"{folder}/{name}")
    return None


def mode_in(folder: str) -> str:
    with open(f"{folder}/{MODE_FILE}", encoding="utf-8") as file:  # noqa: PTH123
        return file.read(64).strip() or "read-only"


def asked_mode(control: str, config: str, request: Mapping[str, Any]) -> str:
    """The mode of a conversation that did not join by itself: one beside that of its terminal, or
    one that began without a daemon."""
    answer = in_session.ask(control, request)
    if answer is None:
        return in_session.mode_without_daemon(config)
    if answer.get("ok"):
        return mode_in(answer["folder"])
    error = answer.get("error")
    # A session of `relay-agentd run` has its own gate.
    return "open" if isinstance(error, dict) and error.get("code") == "ours" else "read-only"


def denial(reason: str) -> dict[str, Any]:
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }
    }


def wait_for_tools(control: str) -> None:
    """Codex asks a server for its tools once, so a daemon that starts is waited for."""
    import time

    deadline = time.monotonic() + TOOLS_SECONDS
    while time.monotonic() < deadline:
        if (in_session.ask(control, {"op": "ping"}) or {}).get("tools") == "ready":
            return
        time.sleep(in_session.POLL_SECONDS)


def become_pipe(control: str, server: int, pipe: str) -> None:
    """The tools; a daemon that is not there starts meanwhile, as nobody's child."""
    if in_session.ask(control, {"op": "ping"}) is None:
        child = os.fork()
        if not child:
            in_session.start_daemon()
            os._exit(0)
        os.waitpid(child, 0)
        wait_for_tools(control)
    os.environ["AGENT_RELAY_CONTROL"] = control
    os.environ["AGENT_RELAY_SESSION"] = f"codex:{server}"
    os.execv(sys.executable, [sys.executable, "-I", "-S", pipe])  # noqa: S606 - our own pipe


def main(arguments: list[str]) -> int:
    event, control, file = arguments
    server = os.getppid()
    if event == "MCP":
        become_pipe(control, server, file)
    if is_ours(server):
        return 0
    output: dict[str, Any] = {}
    try:
        payload = json.load(sys.stdin.buffer)
        if event == "SessionStart":
            output = session_start(control, server, payload)
        else:
            output = gate(control, file, server, payload)
    except Exception as problem:  # noqa: BLE001 - only the gate may stop anything
        if event == "PreToolUse":
            output = denial(f"Agent Relay: the gate failed ({type(problem).__name__})")
    if output:
        sys.stdout.write(json.dumps(output))
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
