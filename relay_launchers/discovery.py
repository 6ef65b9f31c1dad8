"""Find a provider's program on this machine and ask for its version.

Shared by the providers; what counts as a program and which versions are good enough is theirs.
The one place in this package that runs a program, and only to ask it what it alone knows.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from relay_launchers.base import ProviderAbsent, ProviderNotFound

# A cold 300 MB binary on a slow disk takes seconds; a program that hangs must not hang us.
VERSION_TIMEOUT_SECONDS = 20

_VERSION = re.compile(r"\b(\d+)\.(\d+)\.(\d+)\S*")
# First bytes of ELF, of the Mach-O variants, and of PE files.
_NATIVE_MAGIC = (
    b"\x7fELF",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"\xca\xfe\xba\xbf",
    b"MZ",
)


def locate(command: str, override: str, environment: Mapping[str, str], mend: str) -> Path:
    """The executable that `override` names, else `command` on PATH, symbolic links resolved.

    Raises ProviderNotFound, ending in `mend`: how to get the program.
    """
    named = environment.get(override, "").strip()
    if named:
        path = Path(named).expanduser()
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise ProviderNotFound(f"{override}={named} is no executable file.")
        return path.resolve()
    found = shutil.which(command, path=environment.get("PATH", ""))
    if found is None:
        raise ProviderAbsent(f"`{command}` was not found on PATH. {mend}")
    return Path(found).resolve()


def is_native(path: Path) -> bool:
    """Whether the file is machine code, as opposed to a wrapper script."""
    with path.open("rb") as file:
        return file.read(4).startswith(_NATIVE_MAGIC)


def ask_version(path: Path, environment: Mapping[str, str]) -> str:
    """What `path --version` prints, from the first three dotted numbers on.

    Raises ProviderNotFound when it cannot be run or names no version.
    """
    try:
        run = _run([str(path), "--version"], environment, None)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProviderNotFound(f"{path} cannot be run: {error}") from error
    match = _VERSION.search(run.stdout)
    if run.returncode != 0 or match is None:
        said = (run.stdout + run.stderr).strip().splitlines()
        raise ProviderNotFound(
            f"{path} --version names no version (exit {run.returncode}): "
            f"{said[-1][:200] if said else 'nothing printed'}"
        )
    return match.group(0)


def ask(argv: Sequence[str], environment: Mapping[str, str], cwd: Path) -> str:
    """What a program prints that has to succeed. Raises OSError, ValueError."""
    try:
        run = _run(argv, environment, cwd)
    except subprocess.TimeoutExpired as error:
        raise ValueError("no answer in time") from error
    if run.returncode != 0:
        said = (run.stderr + run.stdout).split()
        raise ValueError(" ".join(said)[:300] or f"exit {run.returncode}")
    return run.stdout


def _run(
    argv: Sequence[str], environment: Mapping[str, str], cwd: Path | None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv,
        env=dict(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=VERSION_TIMEOUT_SECONDS,
        text=True,
        errors="replace",
        check=False,
    )


def version_numbers(version: str) -> tuple[int, int, int]:
    """`2.1.330-beta` as `(2, 1, 330)`, to compare."""
    match = _VERSION.search(version)
    if match is None:
        raise ValueError(f"no version: {version!r}")
    return int(match[1]), int(match[2]), int(match[3])
