"""Where Codex is on this machine, and whether it is new enough."""

import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from relay_launchers.base import Binary, ProviderNotFound
from relay_launchers.discovery import ask_version, is_native, locate, version_numbers

OVERRIDE_VARIABLE = "AGENT_RELAY_CODEX"
OLDEST_VERSION = "0.144.0"
"""The oldest release whose `--remote` and app-server were tried."""
_FIRST_WITH_QUEUE = "0.154.0"
"""The oldest release seen to have one; 0.144.4 has none."""
_NO_QUEUE = (
    "it has no queue: a message waits in the daemon until the session is idle, and plain `codex`"
    " sessions get none pushed"
)
_INSTALL = "npm install -g @openai/codex@latest"
_MEND = f"Install it ({_INSTALL}) or set {OVERRIDE_VARIABLE} to it."
# What a build from source calls itself; whoever builds Codex knows how old it is.
_SOURCE_BUILD = (0, 0, 0)

_SYSTEMS = {"linux": "linux", "darwin": "darwin", "win32": "win32"}
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def find_codex(environment: Mapping[str, str]) -> Binary:
    """Find the program on this machine. Raises ProviderNotFound."""
    path = native_program(locate("codex", OVERRIDE_VARIABLE, environment, _MEND))
    version = ask_version(path, environment)
    numbers = version_numbers(version)
    if numbers != _SOURCE_BUILD and numbers < version_numbers(OLDEST_VERSION):
        raise ProviderNotFound(
            f"Codex {version} ({path}) is too old for the relay, which needs {OLDEST_VERSION} or"
            f" newer. Update it: {_INSTALL}"
        )
    has_queue = numbers == _SOURCE_BUILD or numbers >= version_numbers(_FIRST_WITH_QUEUE)
    return Binary(
        path=path, version=version, lacks=None if has_queue else _NO_QUEUE, update=_INSTALL
    )


def native_program(path: Path) -> Path:
    """The program behind npm's script: killing the script would leave the program running.

    The program stays where it is, because it needs the helpers beside it. Scripts of other makers
    are taken as they are. Raises ProviderNotFound when npm's script has no program.
    """
    if is_native(path) or path.name != "codex.js":
        return path
    package = path.parent.parent
    for vendor in _vendor_folders(package):
        for program in sorted(vendor.glob("*/bin/codex*")):
            if program.name in ("codex", "codex.exe"):
                return program
    raise ProviderNotFound(
        f"{path} is npm's wrapper, and the program it wraps ({_platform_package()}) is missing."
        f" Install Codex again: {_INSTALL}"
    )


def _vendor_folders(package: Path) -> Iterator[Path]:
    """Where npm, pnpm and bun put the platform's own package, nearest first, as node looks."""
    name = _platform_package()
    yield package / "node_modules" / name / "vendor"
    for folder in package.parents:
        yield folder / "node_modules" / name / "vendor"
    yield package / "vendor"


def _platform_package() -> str:
    system = _SYSTEMS.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    return f"@openai/codex-{system}-{_MACHINES.get(machine, machine)}"
