"""The tests' own virtual environment, and the wheels a clean installation is tried with."""

import hashlib
import sys
import tomllib
import venv
from pathlib import Path

from scripts.testing.tools import CACHE, ROOT, built_folder, run_quietly, say


def virtual_environment() -> Path:
    """The environment's folder: made anew when `pyproject.toml`, Python or the place changes.

    It is not moved into place like the other cached folders, because its scripts hold its path;
    the stamp, written last, says that it is complete.
    """
    key = _key(sys.version, str(ROOT), (ROOT / "pyproject.toml").read_text())
    folder = CACHE / f"venv-{key}"
    stamp = folder / "complete"
    if stamp.exists():
        say(f"using {folder.relative_to(ROOT)}")
        return folder
    say(f"making {folder.relative_to(ROOT)} with Python {sys.version.split()[0]}")
    venv.create(folder, clear=True, with_pip=True)
    # Dependency groups need pip 25.1, newer than what older Pythons bring along.
    pip(folder, "upgrading pip", "install", "--upgrade", "pip")
    everything = ["--group", "test", "--group", "lint", "--editable", str(ROOT)]
    pip(folder, "installing Agent Relay and the test tools", "install", *everything)
    stamp.touch()
    return folder


def dependency_wheels(environment: Path) -> Path:
    """A folder with wheels of all that an installation needs, so that it needs no network."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    # hatchling asks for `editables` when it builds what `pip install -e` installs.
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted.append("editables")
    folder = CACHE / f"wheels-{_key(sys.version, *wanted)}"
    if not folder.exists():
        with built_folder(folder) as filled:
            target = ["--wheel-dir", str(filled)]
            pip(environment, "fetching the dependencies' wheels", "wheel", *target, *wanted)
    return folder


def pip(environment: Path, purpose: str, command: str, *arguments: str) -> None:
    """Runs the environment's pip.

    Raises:
        PreparationError: it failed.
    """
    python = str(environment / "bin" / "python")
    options = ["--quiet", "--disable-pip-version-check"]
    run_quietly([python, "-m", "pip", command, *options, *arguments], purpose)


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
