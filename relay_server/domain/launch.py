"""Whether a machine's owner lets sessions be started there, by what its daemon reported. Pure.

Paths are compared as text, by the rules of the system that the root is written for. Links are
not followed here: the machine's daemon checks again on the real file system.
"""

import ntpath
import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final

from relay_server.errors import Forbidden, InvalidRequest

ABSOLUTE_PATH: Final = re.compile(r"(?:/|[A-Za-z]:[\\/]|\\\\)[^\x00]{0,4095}")


def require_launchable(report: Mapping[str, Any], provider: str, cwd: str) -> None:
    """Raises: Forbidden `launch_disabled` or `launch_root_forbidden`, InvalidRequest."""
    roots = report.get("launchRoots") or []
    if not roots:
        raise Forbidden("This machine does not let sessions be started.", code="launch_disabled")
    if not is_under_any(cwd, roots):
        raise Forbidden(
            "The folder is not under one where this machine lets sessions be started.",
            code="launch_root_forbidden",
        )
    names = _names(report.get("providers") or [])
    if names and provider not in names:
        raise InvalidRequest.of(
            [("provider", f"must be one of this machine's: {', '.join(sorted(names))}")]
        )


def is_under_any(folder: str, roots: Iterable[str]) -> bool:
    """Whether it is one of the roots or below one."""
    path = _path(folder)
    return path is not None and any(
        (root := _path(text)) is not None and type(root) is type(path) and path.is_relative_to(root)
        for text in roots
    )


def _path(text: str) -> PurePath | None:
    """Its normal form; None when it is not absolute."""
    if not ABSOLUTE_PATH.fullmatch(text):
        return None
    path: PurePath = (
        PurePosixPath(posixpath.normpath(text))
        if text.startswith("/")
        else PureWindowsPath(ntpath.normpath(text))
    )
    # Windows' verbatim paths are not normalised.
    return None if ".." in path.parts else path


def _names(providers: Iterable[Any]) -> set[str]:
    """Each is a name, or an object that has one."""
    names = (entry.get("name") if isinstance(entry, dict) else entry for entry in providers)
    return {name for name in names if isinstance(name, str)}
