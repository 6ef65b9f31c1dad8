"""Whether a session may bypass permission prompts, by its flags or by the person's settings.

Reads the person's settings files, writes nothing. In doubt yes: it only costs such a session the
faster way in (see `plan.py`).
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from relay_launchers.claude.arguments import Arguments

_BYPASS: Final = "bypassPermissions"


def may_bypass(arguments: Arguments, cwd: Path, environment: Mapping[str, str]) -> bool:
    """Whether prompts may be bypassed from the session's start."""
    return arguments.may_bypass_permissions or any(
        _default_mode(text) == _BYPASS for text in _settings(arguments, cwd, environment)
    )


def _settings(arguments: Arguments, cwd: Path, environment: Mapping[str, str]) -> Iterable[str]:
    """The contents of all settings that apply, as far as they can be read."""
    home = Path(environment.get("HOME") or "~").expanduser()
    person = Path(environment.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    files = [
        person / "settings.json",
        *(cwd / ".claude" / name for name in ("settings.json", "settings.local.json")),
    ]
    for given in arguments.values_of("--settings"):
        if given.lstrip().startswith("{"):
            yield given
        else:
            files.append(cwd / given)
    for file in files:
        try:
            yield file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue


def _default_mode(text: str) -> Any:
    try:
        return json.loads(text)["permissions"]["defaultMode"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
