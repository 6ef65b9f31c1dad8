"""The environment of a session's processes: what they get, and what is kept of it. Pure.

A session has its user's own environment, keys for the provider included; of ours it has the
session's marks and never the relay's token. A background session's environment comes with the
request that starts it and stays in the memory of the daemon and of the running host: on disk are
only the few variables that say where programs and their files are. After a reboot these and the
daemon's own environment are all there is, so a key that only a shell knew is missing then; a
provider's login, or the daemon's `agentd.env`, is what survives.
"""

from collections.abc import Mapping
from typing import Final

from relay_launchers.base import (
    CONTROL_VARIABLE,
    FOLDER_VARIABLE,
    SESSION_VARIABLE,
    Command,
    LaunchRequest,
)
from relay_launchers.environment import without_session

# Where things are and how text is written: nobody keeps a secret in these.
# fmt: off
_KEPT: Final = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
    "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
})
# fmt: on


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """What may be written down."""
    return {name: value for name, value in environment.items() if name in _KEPT}


def marked_environment(command: Command, request: LaunchRequest) -> dict[str, str]:
    """What a session's process is started with."""
    return {
        **without_session(command.environment),
        SESSION_VARIABLE: request.session_key,
        CONTROL_VARIABLE: str(request.control_socket),
        FOLDER_VARIABLE: str(request.folder),
    }
