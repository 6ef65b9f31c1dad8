"""What our programs inside a session that a person started himself have in common.

Runs under ``python -I -S``: standard library only, and whatever is not needed each time is
imported where it is. Speaks to the daemon over its control socket, and starts one where there is
none. Never fails a turn: failures are said by the return value.
"""

from __future__ import annotations

import json
import os
import sys

# As `typing` says it, without the 3 ms of importing that.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 3.0
# A relay and a daemon that have to be started take two seconds; the person may type meanwhile.
START_SECONDS = 6.0
POLL_SECONDS = 0.05
# Of the session around this one, if there is one.
OF_ANOTHER_SESSION = ("AGENT_RELAY_SESSION", "AGENT_RELAY_CONTROL", "AGENT_RELAY_SESSION_DIR")
# In the folder of a joined Codex session: which conversation is on its terminal.
CONVERSATION_FILE = "codex-conversation.json"
# How its hook names Codex's program among what it tells of its environment.
PROGRAM = "CODEX_PROGRAM"
# What decides on a session's approval mode.
OF_THE_MODE = ("AGENT_RELAY_APPROVAL", "AGENT_RELAY_PROFILE")
TOKEN = "AGENT_RELAY_TOKEN"  # noqa: S105 - a variable's name


def ask(control: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """The daemon's answer (`ok` says whether it did it); None: there is no daemon."""
    import socket

    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(control)
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer = json.loads(lines.readline())
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def described() -> dict[str, str]:
    """What this process's environment says about the agent."""
    hidden = (*OF_ANOTHER_SESSION, TOKEN)
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("AGENT_RELAY_") and name not in hidden
    }


def mode_without_daemon(config: str) -> str:
    """The approval mode of a session of which no daemon has said anything: what the environment
    asks for, and where only the daemon could know, the strictest."""
    if mode := os.environ.get("AGENT_RELAY_APPROVAL"):
        return mode
    if os.environ.get("AGENT_RELAY_PROFILE"):
        return "read-only"
    try:
        with open(config, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            settings = file.read()
    except FileNotFoundError:
        return "open"
    except OSError:
        return "read-only"
    return "read-only" if any(name in settings for name in OF_THE_MODE) else "open"


def ask_with_daemon(control: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """The daemon's answer; where there is none, that of the one started for it."""
    import time

    answer = ask(control, request)
    if answer is not None:
        return answer
    child = start_daemon()
    deadline = time.monotonic() + START_SECONDS
    while answer is None and time.monotonic() < deadline:
        ended = os.waitpid(child, os.WNOHANG)[0]
        answer = ask(control, request)
        if ended:
            break
        time.sleep(POLL_SECONDS)
    return answer


def start_daemon() -> int:
    """`relay-agentd up`, which outlives us and the session; its process."""
    kept = {name: value for name, value in os.environ.items() if name not in OF_ANOTHER_SESSION}
    process = os.fork()
    if process:
        return process
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nowhere, descriptor)
        os.chdir("/")
        os.execve(sys.executable, [sys.executable, "-m", "relay_agentd", "up"], kept)  # noqa: S606
    finally:
        os._exit(127)


def sessions_folder(control: str) -> str:
    """Where the daemon that listens there keeps its sessions' folders (`relay_agentd.paths`)."""
    runtime, _, name = control.rpartition("/")
    return f"{runtime}/s-{name.removeprefix('control-').removesuffix('.sock')}"
