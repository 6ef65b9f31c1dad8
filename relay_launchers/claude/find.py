"""Where Claude Code is on this machine, and whether it is new enough."""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from relay_launchers.base import Binary, ProviderNotFound

OVERRIDE_VARIABLE: Final = "AGENT_RELAY_CLAUDE"
# First with exec-form hooks (program and arguments, no shell), on which the gate rests.
OLDEST_VERSION: Final = (2, 1, 139)
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")
_VERSION_SECONDS: Final = 20.0


def find_claude(environment: Mapping[str, str]) -> Binary:
    """Find the program on this machine. Raises ProviderNotFound."""
    path = native_binary(_located(environment))
    version = _printed_version(path, environment)
    if version_numbers(version) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise ProviderNotFound(
            f"Claude Code {version} ({path}) is too old: hooks that start a program without a"
            f" shell came with {oldest}. Update it: claude update"
        )
    return Binary(path=path, version=version)


def version_numbers(version: str) -> tuple[int, ...]:
    """``2.1.330`` as numbers; nothing that looks like a version is older than everything."""
    found = _VERSION.search(version)
    return tuple(int(part) for part in found.group().split(".")) if found else (0,)


def native_binary(program: Path) -> Path:
    """The native program behind npm's script, which stands there when npm ran no install scripts;
    anything else unchanged."""
    resolved = program.resolve()
    package = resolved.parent if resolved.name == "cli-wrapper.cjs" else resolved.parent.parent
    if package.name != "claude-code" or not _is_script(resolved):
        return program
    for native in sorted(package.parent.glob("claude-code-*")):
        candidate = native / ("claude.exe" if sys.platform == "win32" else "claude")
        if candidate.is_file():
            return candidate
    return program


def _located(environment: Mapping[str, str]) -> Path:
    override = environment.get(OVERRIDE_VARIABLE)
    if override:
        found = shutil.which(override, path=environment.get("PATH"))
        if found is None:
            raise ProviderNotFound(
                f"{OVERRIDE_VARIABLE} names {override!r}, which is no program that can be run"
            )
        return Path(found).absolute()
    found = shutil.which("claude", path=environment.get("PATH"))
    if found is None:
        raise ProviderNotFound(
            "Claude Code is not on PATH: install it (npm install -g @anthropic-ai/claude-code) or"
            f" set {OVERRIDE_VARIABLE} to its program"
        )
    return Path(found).absolute()


def _printed_version(path: Path, environment: Mapping[str, str]) -> str:
    try:
        answer = subprocess.run(
            [path, "--version"],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise ProviderNotFound(f"{path} does not run: {problem}") from problem
    found = _VERSION.search(answer.stdout)
    if found is None:
        said = (answer.stdout + answer.stderr).strip()[:200]
        raise ProviderNotFound(f"{path} does not print a version, but: {said!r}")
    return found.group()


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
