"""The one program behind every hook of a Claude Code session: ``hook.py EVENT MODE FOLDER``.

Runs under ``python -I -S`` as a process of its own, so it is self-contained: standard library
only, nothing of ours imported, every import beyond the bare minimum inside the branch that needs
it (it runs before each tool call). It owns no state: it reads the hook's JSON on stdin, tells the
daemon over the control socket, and prints what Claude Code shall do.

It must never fail a turn: whatever goes wrong, every event but the gate ends with status 0 and no
output. The gate (PreToolUse) is the opposite: Claude Code runs the tool when a hook crashes or
prints nonsense, so whatever goes wrong there is answered with a denial, except in `open`.

MODE and FOLDER come from the plugin rendered for this launch and not from the environment, which a
project's own settings could change.
"""

from __future__ import annotations

import json
import os
import re
import sys

# As `typing` says it, without the 3 ms of importing that.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MODES = ("open", "guarded", "read-only")
# The daemon writes the mode here when it is tightened while the session runs.
MODE_FILE = "mode"
# Touched by the daemon; Claude Code watches it and runs the FileChanged hook.
BELL_FILE = "bell"

RELAY_TOOL_PREFIX = "mcp__plugin_relay_relay__relay_"

# Tools that neither change a file nor run or reach anything: what they touch is read, or is the
# session's own to-do list, or is a question to the person at the terminal.
HARMLESS_TOOLS = frozenset(
    {
        "AskUserQuestion",
        "BashOutput",
        "EnterPlanMode",
        "ExitPlanMode",
        "Glob",
        "Grep",
        "LS",
        "ListAgents",
        "NotebookRead",
        "Read",
        "StructuredOutput",
        "TaskCreate",
        "TaskGet",
        "TaskList",
        "TaskOutput",
        "TaskUpdate",
        "TodoRead",
        "TodoWrite",
        "ToolSearch",
    }
)

# Commands without any option that writes, runs another program or reaches the network.
READING_COMMANDS = frozenset(
    (
        *("basename", "cat", "cd", "cmp", "cut", "df", "diff", "dirname", "du", "echo", "egrep"),
        *("fgrep", "grep", "head", "id", "ls", "md5sum", "nl", "printf", "pwd", "readlink"),
        *("realpath", "sha1sum", "sha256sum", "stat", "tac", "tail", "test", "tr", "true"),
        *("uname", "wc", "which", "whoami"),
    )
)
GIT_READING = frozenset(
    (
        *("blame", "describe", "diff", "log", "ls-files", "ls-tree", "rev-parse", "shortlog"),
        *("show", "status"),
    )
)
# Options that make the careful commands write or run something; prefixes, as git abbreviates.
GIT_FORBIDDEN = ("-o", "-O", "--ou", "--o=", "--ext", "--textc")
FIND_FORBIDDEN = ("-exec", "-ok", "-delete", "-fprint", "-fls")
# Anything that could substitute, redirect, group or escape: not judged here, hence refused.
UNJUDGED = frozenset("$`<>()\\\n\r#{}!")
# Without those characters a command line is words, quoted spans and these operators.
SHELL_PIECE = r"""\s*(?:(?P<operator>&&|\|\||[;|&])|(?P<word>(?:'[^']*'|"[^"]*"|[^\s'";&|])+))\s*"""
QUOTED = r"""'([^']*)'|"([^"]*)\""""

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 3.0
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
    "agent_id",
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


def ask_daemon(request: Mapping[str, Any]) -> dict[str, Any]:
    """Send one request over the control socket and return its answer.

    Raises: DaemonSilentError.
    """
    import socket

    path = os.environ.get("AGENT_RELAY_CONTROL")
    session = os.environ.get("AGENT_RELAY_SESSION")
    if not path or not session:
        raise DaemonSilentError("this session was not started by the relay")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(path)
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(json.dumps({**request, "session": session}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer = json.loads(lines.readline())
    except (OSError, ValueError) as problem:
        raise DaemonSilentError(str(problem)) from problem
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        raise DaemonSilentError(f"refused: {answer!r:.200}")
    return answer


def tell(event: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Report a hook to the daemon; what it wants printed. Raises: DaemonSilentError."""
    environment = {name: os.environ[name] for name in TOLD_ENVIRONMENT if name in os.environ}
    # The hook is started by Claude Code itself (exec form), so its parent is the session.
    environment.setdefault("CLAUDE_PID", str(os.getppid()))
    told = {name: payload[name] for name in TOLD_FIELDS if name in payload}
    answer = ask_daemon({"op": "hook", "event": event, "payload": told, "environment": environment})
    output = answer.get("output")
    return output if isinstance(output, dict) else {}


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
    ranks = [MODES.index(mode) if mode in MODES else len(MODES) - 1 for mode in (launched, written)]
    return MODES[max(ranks)]


def only_reads(command: object) -> bool:
    """Whether a shell command is certainly without side effects; in doubt, no."""
    if not isinstance(command, str) or UNJUDGED & set(command):
        return False
    token_at = re.compile(SHELL_PIECE).match
    steps: list[list[str]] = [[]]
    position = 0
    while position < len(command):
        token = token_at(command, position)
        if token is None or token["operator"] == "&":
            return False
        if token["operator"]:
            steps.append([])
        else:
            steps[-1].append(token["word"])
        position = token.end()
    return all(_step_only_reads(words) for words in steps)


def _step_only_reads(raw_words: list[str]) -> bool:
    if not raw_words:
        return False
    name, *rest = [re.sub(QUOTED, r"\1\2", word) for word in raw_words]
    if name in READING_COMMANDS:
        return True
    # An unquoted pattern may expand to a file named like an option.
    if any(set("*?[") & set(re.sub(QUOTED, "", word)) for word in raw_words):
        return False
    if name == "find":
        return not any(word.startswith(FIND_FORBIDDEN) for word in rest)
    if name == "git":
        return (
            bool(rest)
            and rest[0] in GIT_READING
            and not any(word.startswith(GIT_FORBIDDEN) for word in rest)
        )
    return False


def is_harmless(tool: str, tool_input: Mapping[str, Any]) -> bool:
    """Whether a call certainly has no side effect; in doubt, no."""
    return tool in HARMLESS_TOOLS or (tool == "Bash" and only_reads(tool_input.get("command")))


def decide(
    mode: str, tool: str, tool_input: Mapping[str, Any], daemon_answers: Callable[[], bool]
) -> tuple[str, str] | None:
    """The gate: (allow | ask | deny, reason), or None for no opinion."""
    if tool.startswith(RELAY_TOOL_PREFIX):
        return "allow", "a tool of the relay"
    if mode == "open" or is_harmless(tool, tool_input):
        return None
    if mode == "guarded":
        if daemon_answers():
            return "ask", "Agent Relay: this session is guarded, a person decides"
        return "deny", "Agent Relay: this session is guarded and the relay's daemon does not answer"
    return "deny", "Agent Relay: this session is read-only"


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

        def daemon_answers() -> bool:
            try:
                tell("PreToolUse", payload)
            except DaemonSilentError:
                return False
            return True

        judged = decide(now, tool, tool_input, daemon_answers)
    except BaseException as problem:  # noqa: BLE001 - a crash would let the tool run
        judged = None
        if now != "open":
            judged = ("deny", f"Agent Relay: the gate failed ({type(problem).__name__})")
    return decision(*judged) if judged else {}


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


def report(event: str, folder: str) -> int:
    """Any event but the gate; the process's exit status."""
    payload = json.load(sys.stdin.buffer)
    if event == "FileChanged":
        return answer_bell(payload)
    output = session_start(payload, folder) if event == "SessionStart" else tell(event, payload)
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
        return report(event, folder)
    except Exception:  # noqa: BLE001 - a report that fails must not disturb the turn
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
