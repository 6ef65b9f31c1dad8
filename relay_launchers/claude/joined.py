"""The program behind the hooks and tools of a Claude Code session that a person started himself.

``joined.py EVENT CONTROL CONFIG`` is what the installed plugin runs; everything an event means is
`hook.py`'s, which lies beside it. This adds what `relay-agentd run` does for its own sessions: the
session's key (from the process that runs the hooks, so that /clear stays one session), putting it
on the relay, starting the daemon where there is none, and its approval mode. ``joined.py MCP
CONTROL CONFIG PIPE`` becomes the pipe to the tools.

Runs under ``python -I -S`` like `hook.py`, and like it must never fail a turn. CONTROL is the
daemon's control socket, CONFIG the machine's settings file.
"""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
sys.path[:0] = [HERE, os.path.dirname(HERE)]  # noqa: PTH120

# By its name alone where it is run by path, by its full name for the checks.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from relay_launchers import in_session
    from relay_launchers.claude import hook
else:
    import hook
    import in_session

BYPASS = ("--dangerously-skip-permissions", "bypassPermissions")


def process_key(pid: int) -> str:
    """16 hex digits that name a process for ever, the same from each hook and tool of it."""
    boot = 0
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            started = int(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
            boot = int(file.read(2), 16)
    except OSError:
        import time

        with os.popen(f"LC_ALL=C ps -o lstart= -p {int(pid)}") as words:  # noqa: S605 - a number
            started = int(time.mktime(time.strptime(words.read().strip())))
    return f"{pid & 0xFFFFFF:06x}{started & 0xFFFFFFFF:08x}{boot:02x}"


def launched_mode(folder: str, config: str) -> str:
    """The mode before the daemon said anything: what it wrote down since is compared with it."""
    if os.path.exists(os.path.join(folder, hook.MODE_FILE)):  # noqa: PTH110, PTH118
        return os.environ.get("AGENT_RELAY_APPROVAL") or "open"
    return in_session.mode_without_daemon(config)


def joining(process: int) -> dict[str, object]:
    """What the daemon needs to put the session on the relay; to ask again is harmless."""
    return {
        "op": "session.join",
        "key": os.environ["AGENT_RELAY_SESSION"],
        "provider": "claude",
        "providerVersion": running_version(process),
        "cwd": os.getcwd(),  # noqa: PTH109
        "process": {"pid": process},
        "environment": in_session.described(),
    }


def running_version(process: int) -> str:
    """What the session says of itself in its registry file."""
    import json

    home = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~/.claude")  # noqa: PTH111
    try:
        with open(f"{home}/sessions/{process}.json", encoding="utf-8") as file:  # noqa: PTH123
            return str(json.load(file)["version"]) or "unknown"
    except (OSError, ValueError, LookupError, TypeError):
        return "unknown"


def may_bypass(process: int) -> bool:
    """Whether the session may bypass permission prompts; it then holds what comes in by its socket
    behind a dialog, so the doorbell is used. In doubt yes."""
    home = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~/.claude")  # noqa: PTH111
    places = [f"/proc/{process}/cmdline", f"{home}/settings.json"]
    places += [f".claude/{name}" for name in ("settings.json", "settings.local.json")]
    for place in places:
        try:
            with open(place, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                content = file.read()
        except OSError:
            continue
        if any(word in content for word in BYPASS):
            return True
    return False


def take_on(process: int, control: str) -> str:
    """Make this process one of the session's, whatever it inherited; the session's folder."""
    environment = os.environ
    if environment.get("CLAUDE_PID") not in (None, str(process)):
        # Started from inside another session, and of a version that does not set its own.
        for name in ("CLAUDE_CODE_MESSAGING_SOCKET", "CLAUDE_CODE_MESSAGING_TOKEN"):
            environment.pop(name, None)
    key = process_key(process)
    folder = f"{in_session.sessions_folder(control)}/{key}"
    environment["CLAUDE_PID"] = str(process)
    environment["AGENT_RELAY_SESSION"] = key
    environment["AGENT_RELAY_CONTROL"] = control
    environment["AGENT_RELAY_SESSION_DIR"] = folder
    environment.pop("AGENT_RELAY_CLAUDE_INBOUND", None)
    return folder


def main(arguments: list[str]) -> int:
    event, control, config, *pipe = arguments
    mode, folder = "read-only", ""
    try:
        # Between Claude Code and its gate there is a shell, which says whose it is.
        process = int(os.environ["CLAUDE_PID"]) if event == "PreToolUse" else os.getppid()
        folder = take_on(process, control)
        if event == "MCP":
            command = [sys.executable, "-I", "-S", *pipe]
            os.execv(sys.executable, command)  # noqa: S606 - our own pipe
        if event == "SessionStart":
            in_session.ask_with_daemon(control, joining(process))
            if may_bypass(process):
                os.environ["AGENT_RELAY_CLAUDE_INBOUND"] = "bell"
        elif not os.path.isdir(folder):  # noqa: PTH112
            in_session.ask(control, joining(process))
        mode = launched_mode(folder, config)
    except Exception:  # noqa: BLE001 - only the gate may judge, and it judges by the strictest mode
        if event != "PreToolUse":
            return 0
    return hook.main([event, mode, folder])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
