"""Where Claude Code is on this machine, and whether it is new enough."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from relay_launchers.base import Binary, ProviderNotFound
from relay_launchers.discovery import ask_version, is_native, locate, version_numbers

OVERRIDE_VARIABLE: Final = "AGENT_RELAY_CLAUDE"
OLDEST_VERSION: Final = "2.1.139"
"""First with hooks that start a program without a shell, on which the gate rests."""
OLDEST_TRIED: Final = "2.1.197"
_MEND: Final = (
    f"Install it (npm install -g @anthropic-ai/claude-code) or set {OVERRIDE_VARIABLE} to it."
)
# Where npm's script finds the program itself, beside its own package.
_NATIVE_PACKAGES: Final = "claude-code-*"


def find_claude(environment: Mapping[str, str]) -> Binary:
    """Find the program on this machine. Raises ProviderNotFound."""
    path = native_program(locate("claude", OVERRIDE_VARIABLE, environment, _MEND))
    version = ask_version(path, environment)
    if version_numbers(version) < version_numbers(OLDEST_VERSION):
        raise ProviderNotFound(
            f"Claude Code {version} ({path}) is too old: it lacks the hooks that deliver mail and"
            f" guard tools, which came with {OLDEST_VERSION}. Run `claude update`."
        )
    is_tried = version_numbers(version) >= version_numbers(OLDEST_TRIED)
    return Binary(
        path=path,
        version=version,
        lacks=None if is_tried else f"the oldest that was tried is {OLDEST_TRIED}",
        update="claude update",
    )


def native_program(path: Path) -> Path:
    """The program behind npm's script (which is in place where npm ran no install scripts), and
    anything else as it is."""
    package = next((each for each in path.parents if each.name == "claude-code"), None)
    if package is None or is_native(path):
        return path
    name = "claude.exe" if sys.platform == "win32" else "claude"
    natives = sorted(package.parent.glob(f"{_NATIVE_PACKAGES}/{name}"))
    return natives[0] if natives else path
