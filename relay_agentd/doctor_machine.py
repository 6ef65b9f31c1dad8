"""Checks of `doctor`: the software, the settings and the folders of this machine."""

import difflib
import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final

from relay_agentd import __version__
from relay_agentd.doctor import Check, Patient, ok, problem, warning
from relay_agentd.errors import SettingsInvalid
from relay_agentd.settings import Settings, load_settings, parse_env_lines
from relay_launchers.base import (
    CONTROL_VARIABLE,
    FOLDER_VARIABLE,
    JOIN_VARIABLE,
    SESSION_VARIABLE,
)

_LITTLE_SPACE: Final = 200 * 1024 * 1024
_PREFIX: Final = "AGENT_RELAY_"
# Of ours, but no settings of this machine.
_OTHERS: Final = frozenset(
    [SESSION_VARIABLE, CONTROL_VARIABLE, FOLDER_VARIABLE, JOIN_VARIABLE]
    + [_PREFIX + word for word in ("DB", "MAX_STREAMS", "LOOP_LIMIT", "SENDER_LIMIT")]
    + [_PREFIX + word for word in ("ALLOWED_HOSTS", "INTEGRATIONS", "CLAUDE_INBOUND")]
    + [_PREFIX + word for word in ("CLAUDE", "CODEX", "CODEX_THREAD")]
    + [_PREFIX + "INTEGRATION_RATE_LIMIT_PER_MINUTE"]
)


def check(patient: Patient) -> Iterator[Check]:
    """What needs nobody else."""
    yield _software()
    yield from _settings(patient)
    yield from _folders(patient)


def _software() -> Check:
    python = platform.python_version()
    return ok("software", f"agent-relay {__version__}, Python {python} ({sys.executable})")


def _settings(patient: Patient) -> Iterator[Check]:
    paths = patient.paths
    try:
        patient.settings = load_settings(
            patient.environment, env_file=paths.env_file, profiles_file=paths.profiles_file
        )
    except SettingsInvalid as invalid:
        for each in invalid.problems:
            mend = f"correct it in the environment or in {paths.env_file}"
            yield problem("settings", each, mend)
        return
    unknown = list(_unknown(patient))
    yield from unknown
    if not unknown:
        yield ok("settings", f"relay {patient.settings.url}")
    if paths.env_file.exists() and _is_open(paths.env_file):
        detail = f"{paths.env_file} can be read by other users, and may hold a token"
        yield warning("settings", detail, f"chmod 600 {paths.env_file}")


def _unknown(patient: Patient) -> Iterator[Check]:
    known = {item.metadata["variable"] for item in fields(Settings)} | _OTHERS
    for where, names in {
        "the environment": patient.environment,
        str(patient.paths.env_file): _filed(patient.paths.env_file),
    }.items():
        for name in sorted(names):
            if name.startswith(_PREFIX) and name not in known:
                close = difflib.get_close_matches(name, known, 1)
                mend = f"is {close[0]} meant?" if close else "remove it"
                yield warning("settings", f"{name} in {where} is no setting", mend)


def _filed(path: Path) -> dict[str, str]:
    try:
        return parse_env_lines(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _folders(patient: Patient) -> Iterator[Check]:
    paths = patient.paths
    found = [each for each in map(_folder, (paths.state, paths.runtime)) if each is not None]
    yield from found
    if not found:
        yield ok("folders", f"{paths.state}, {paths.runtime}: private")
    space = shutil.disk_usage(_existing(paths.state)).free
    if space < _LITTLE_SPACE:
        detail = f"{space // 1024**2} MB are free where {paths.state} is"
        yield warning("folders", detail, "make room: without any, messages cannot be kept")


def _folder(folder: Path) -> Check | None:
    """What is wrong with it; it is made, private, when it is first needed."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return problem("folders", f"{folder}: {error.strerror}", "see to it that you may use it")
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        detail = f"{folder} is not a folder of this user"
        return problem("folders", detail, "move it away: a new one is made")
    private = f"chmod 700 {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return problem("folders", f"{folder} cannot be written", private)
    if _is_open(folder):
        return warning("folders", f"{folder} is open to other users", private)
    return None


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())
