"""How plain Codex sessions join: an entry in Codex's config.toml, and a skill beside it.

The entry is a block of tables at the end of the file: the tools' server, two hooks and the hashes
by which Codex knows that its user trusts these very hooks. A session that `relay-agentd run` starts
overrides the server (same name) and is left alone by the hooks. Plans only.
"""

import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from relay_launchers.codex.config_text import ConfigTables, Hook
from relay_launchers.install import Change, InstallPlan, InstallRequest, Traces
from relay_launchers.skill import SKILL_FILE, skill_text

JOINED_PROGRAM: Final = Path(__file__).with_name("joined.py")
SERVER: Final = "relay"
# The event as the configuration calls it and as the name of a trusted hook does, and seconds.
_HOOKS: Final = (("SessionStart", "session_start", 15), ("PreToolUse", "pre_tool_use", 10))
# What a daemon needs that is started for the session; Codex passes nothing on unasked.
_PASSED_ON: Final = (
    *("AGENT_RELAY_URL", "AGENT_RELAY_TOKEN", "AGENT_RELAY_DB", "PYTHONPATH"),
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"),
)


class CodexInstaller:
    """See `relay_launchers.install.Installer`."""

    # Codex writes into its home whenever it is run, be it for its version.
    needs_program = False

    def home(self, environment: Mapping[str, str]) -> Path:
        """The provider's own folder."""
        given = environment.get("CODEX_HOME")
        home = Path(environment.get("HOME") or "~").expanduser()
        return Path(given) if given else home / ".codex"

    def plan(self, request: InstallRequest) -> InstallPlan:
        """Decide what to write."""
        config = request.home / "config.toml"
        tables = _tables(
            config,
            python=str(request.python),
            control=str(request.control_socket),
            pipe=str(request.pipe),
            settings=str(request.config),
        )
        mark = hashlib.sha256(f"{tables!r}{skill_text()}".encode()).hexdigest()[:8]
        return InstallPlan(
            version=mark,
            files={request.home / "skills" / SKILL_FILE: skill_text()},
            changes={config: tables},
        )

    def traces(self, home: Path, data: Path) -> Traces:  # noqa: ARG002 - the protocol's signature
        """What may be there of ours."""
        config = home / "config.toml"
        changes: dict[Path, Change] = {
            config: _tables(config, python="", control="", pipe="", settings="")
        }
        return Traces(changes=changes, folders=(home / "skills" / SKILL_FILE.parent,))


def _tables(config: Path, *, python: str, control: str, pipe: str, settings: str) -> ConfigTables:
    program = [python, "-I", "-S", str(JOINED_PROGRAM)]
    hooks = []
    for event, key, seconds in _HOOKS:
        command = shlex.join([*program, event, control, settings])
        trusted = trusted_hash(key, command, seconds)
        hooks.append(
            Hook(event=event, key=key, command=command, seconds=seconds, trusted_hash=trusted)
        )
    return ConfigTables(
        config=os.path.realpath(config),
        name=SERVER,
        server={
            "command": program[0],
            "args": [*program[1:], "MCP", control, pipe],
            "env_vars": list(_PASSED_ON),
            "startup_timeout_sec": 20,
            # Else Codex asks before each of our tools, and refuses them where it may not ask.
            "default_tools_approval_mode": "approve",
        },
        hooks=tuple(hooks),
        program=str(JOINED_PROGRAM),
    )


def trusted_hash(key: str, command: str, seconds: int) -> str:
    """By which Codex knows a hook that its user trusts (as 0.169 makes it)."""
    hook = {"type": "command", "command": command, "timeout": seconds, "async": False}
    identity = {"event_name": key, "hooks": [hook]}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
