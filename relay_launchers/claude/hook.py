"""The one program behind every hook of a Claude Code session: ``hook.py EVENT MODE FOLDER``.

Runs under ``python -I -S`` as a process of its own, so it is self-contained: standard library
only, nothing of ours imported but the rules beside it, every import beyond the bare minimum inside
the branch that needs it (it runs before each tool call). It owns no state: it reads the hook's JSON
on stdin, tells the daemon over the control socket, and prints what Claude Code shall do.

It must never fail a turn: whatever goes wrong, every event but the gate ends with status 0 and no
output. The gate (PreToolUse) is the opposite: Claude Code runs the tool when a hook crashes or
prints nonsense, so whatever goes wrong there is answered with a denial, except in `open`. Its one
line of shell in `hooks.json` says no for a gate that cannot even start, or is killed.

PermissionRequest waits: its dialog is on the screen meanwhile, and whoever is first answers. No
answer, and no output, leaves the dialog to the person at the terminal.

MODE and FOLDER come from the plugin rendered for this launch and not from the environment, which a
project's own settings could change.
"""

from __future__ import annotations

import json
import os
import sys

# As `typing` says it, without the 3 ms of importing that.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

if TYPE_CHECKING or __package__:
    from relay_launchers.claude.rules import READ_ONLY, decide, is_harmless, stricter
else:
    # Run by its path: the rules lie beside it, behind everything of the standard library.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    from rules import READ_ONLY, decide, is_harmless, stricter

# The daemon writes the mode here when it is tightened while the session runs.
MODE_FILE = "mode"
# Touched by the daemon; Claude Code watches it and runs the FileChanged hook.
BELL_FILE = "bell"

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 3.0
# A person's time to answer is over sooner, at the relay; `hooks.json` allows some more.
QUESTION_SECONDS = 3900.0
# A daemon that restarts is back within seconds; without one only the terminal can answer.
AWAY_SECONDS = 60.0
RETRY_SECONDS = 0.3
# A line on the control socket may have 1 MiB, and so may the relay's request.
LONGEST_INPUT = 200_000
LONGEST_CLIPPED = 20_000
# The fields of a hook's input that the daemon needs; tool inputs and answers can be huge.
TOLD_FIELDS = (
    "session_id",
    "transcript_path",
    "cwd",
    "source",
    "model",
    "prompt",
    "prompt_id",
    "permission_mode",
    "reason",
    "message",
    "notification_type",
    "tool_name",
    "tool_use_id",
    "agent_id",
    "agent_type",
    "error",
)
TOLD_ENVIRONMENT = (
    "CLAUDE_PID",
    "CLAUDE_CONFIG_DIR",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_MESSAGING_SOCKET",
    "CLAUDE_CODE_MESSAGING_TOKEN",
    "AGENT_RELAY_CLAUDE_INBOUND",
    "HOME",
)


class DaemonSilentError(Exception):
    """The daemon did not answer, or refused."""


def ask_daemon(
    request: Mapping[str, Any], goes_on: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Send one request over the control socket and return its answer.

    Waits as long as `goes_on` says so, asked every few seconds. Raises: DaemonSilentError.
    """
    import socket

    path = os.environ.get("AGENT_RELAY_CONTROL")
    session = os.environ.get("AGENT_RELAY_SESSION")
    if not path or not session:
        raise DaemonSilentError("this session was not started by the relay")
    received = b""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(path)
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(json.dumps({**request, "session": session}).encode() + b"\n")
            while not received.endswith(b"\n"):
                try:
                    piece = connection.recv(65536)
                except TimeoutError:
                    if not goes_on():
                        raise
                    continue
                if not piece:
                    raise DaemonSilentError("it hung up")
                received += piece
        answer = json.loads(received)
    except (OSError, ValueError) as problem:
        raise DaemonSilentError(str(problem)) from problem
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        raise DaemonSilentError(f"refused: {answer!r:.200}")
    return answer


def report_of(event: str, payload: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What the daemon is told of a hook."""
    environment = {name: os.environ[name] for name in TOLD_ENVIRONMENT if name in os.environ}
    # The hook is started by Claude Code itself (exec form), so its parent is the session.
    environment.setdefault("CLAUDE_PID", str(os.getppid()))
    told = {name: payload[name] for name in TOLD_FIELDS if name in payload}
    return {"op": "hook", "event": event, "payload": {**told, **more}, "environment": environment}


def tell(event: str, payload: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Report a hook to the daemon; what it wants printed. Raises: DaemonSilentError."""
    return output_of(ask_daemon(report_of(event, payload, **more)))


def output_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    output = answer.get("output")
    return output if isinstance(output, dict) else {}


def told_input(tool_input: Mapping[str, Any]) -> dict[str, Any]:
    """A tool's input as the daemon is told it: whole, or clipped where it is huge."""
    whole = {"tool_input": tool_input, "clipped": False}
    if len(json.dumps(tool_input)) <= LONGEST_INPUT:
        return whole
    values = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in list(tool_input.items())[:8]
    }
    clipped = {
        name[:100]: value
        if len(value) <= LONGEST_CLIPPED
        else f"{value[:LONGEST_CLIPPED]} [and {len(value) - LONGEST_CLIPPED} characters more]"
        for name, value in values.items()
    }
    return {"tool_input": clipped, "clipped": True}


# --- the gate ---


def effective_mode(launched: str, folder: str) -> str:
    """The stricter of the mode the session was launched with and the one written since.

    A mode that cannot be read or is not known counts as the strictest.
    """
    try:
        with open(os.path.join(folder, MODE_FILE), encoding="utf-8") as file:  # noqa: PTH118, PTH123 - pathlib costs 5 ms
            written = file.read(64).strip()
    except FileNotFoundError:
        written = "open"
    except (OSError, ValueError):
        written = "read-only"
    return stricter(launched, written)


def decision(verdict: str, reason: str) -> dict[str, Any]:
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": verdict,
            "permissionDecisionReason": reason,
        }
    }


def gate(mode: str, folder: str) -> dict[str, Any]:
    """PreToolUse: read the call on stdin and judge it; any failure is a denial, except in open."""
    now = "read-only"
    try:
        now = effective_mode(mode, folder)
        payload = json.load(sys.stdin.buffer)
        tool, tool_input = payload["tool_name"], payload["tool_input"]

        def ask() -> str:
            try:
                output = tell("PreToolUse", payload, **told_input(tool_input))
            except DaemonSilentError:
                return "silent"
            return "allowed" if output.get("allowed") is True else "new"

        judged = decide(now, tool, tool_input, payload.get("cwd"), ask)
    except BaseException as problem:  # noqa: BLE001 - a crash would let the tool run
        judged = None
        if now != "open":
            judged = ("deny", f"Agent Relay: the gate failed ({type(problem).__name__})")
    return decision(*judged) if judged else {}


# --- a question to a person ---


def question(payload: Mapping[str, Any], mode: str, folder: str) -> dict[str, Any]:
    """PermissionRequest: what was answered at the relay; {} leaves it to the dialog."""
    if effective_mode(mode, folder) == "read-only":
        return denied_when_read_only(payload)
    output = asked_at_relay(payload)
    if effective_mode(mode, folder) == "read-only":
        # Tightened in the very moment of the answer.
        return denied_when_read_only(payload)
    return output


def denied_when_read_only(payload: Mapping[str, Any]) -> dict[str, Any]:
    if is_harmless(payload["tool_name"], payload["tool_input"], payload.get("cwd")):
        return {}
    denial = {"behavior": "deny", "message": READ_ONLY}
    return {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": denial}}


def asked_at_relay(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Wait for the daemon's word, over its restarts, as long as the session lives."""
    import time

    session, began = os.getppid(), time.monotonic()
    heard = began
    # Asked again under the same id, it is the same question.
    named = {"ask_id": os.urandom(8).hex(), "asked_at_ms": int(time.time() * 1000)}
    request = report_of("PermissionRequest", payload, **named, **told_input(payload["tool_input"]))

    def goes_on() -> bool:
        nonlocal heard
        heard = time.monotonic()
        return heard - began < QUESTION_SECONDS and os.getppid() == session

    while True:
        try:
            return output_of(ask_daemon(request, goes_on))
        except DaemonSilentError:
            now = time.monotonic()
            if now - began >= QUESTION_SECONDS or now - heard >= AWAY_SECONDS:
                return {}
            if os.getppid() != session:
                return {}
            time.sleep(RETRY_SECONDS)


# --- the other events ---


def session_start(payload: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Register, and have Claude Code watch the bell even when the daemon is away just now."""
    bell = os.path.join(folder, BELL_FILE)  # noqa: PTH118
    with open(bell, "ab"):  # noqa: PTH123
        pass
    try:
        output = tell("SessionStart", payload)
    except DaemonSilentError:
        output = {}
    specific = dict(output.get("hookSpecificOutput") or {})
    specific.update({"hookEventName": "SessionStart", "watchPaths": [bell]})
    return {**output, "hookSpecificOutput": specific}


def answer_bell(payload: Mapping[str, Any]) -> int:
    """The doorbell: pending mail wakes the session (status 2, text on stderr)."""
    answer = ask_daemon({"op": "bell", "sessionId": payload.get("session_id")})
    text = answer.get("text")
    if not isinstance(text, str) or not text:
        return 0
    sys.stderr.write(text)
    sys.stderr.flush()
    return 2


def report(event: str, mode: str, folder: str) -> int:
    """Any event but the gate; the process's exit status."""
    payload = json.load(sys.stdin.buffer)
    if event == "FileChanged":
        return answer_bell(payload)
    if event == "SessionStart":
        output = session_start(payload, folder)
    elif event == "PermissionRequest":
        output = question(payload, mode, folder)
    else:
        output = tell(event, payload)
    if output:
        print(json.dumps(output))  # noqa: T201 - stdout is the hook's answer
    return 0


def main(arguments: list[str]) -> int:
    event, mode, folder = arguments
    if event == "PreToolUse":
        output = gate(mode, folder)
        if output:
            sys.stdout.write(json.dumps(output))
        sys.stdout.flush()
        return 0
    try:
        return report(event, mode, folder)
    except Exception:  # noqa: BLE001 - a report that fails must not disturb the turn
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
