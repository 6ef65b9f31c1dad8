"""A session's private folder: what a plan puts there, and its removal.

It goes once the session's processes are certainly gone, and with it, where a socket in it is a
link, what the link leads to: Codex keeps the real socket and a lock in a folder of its own, and
leaves both when it is killed.
"""

import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

_LAST_BYTES: Final = 2000
_LARGEST_LOG: Final = 1024 * 1024
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


def write_private(path: Path, text: str) -> None:
    """A file that only its owner reads. Raises: OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def last_words(log: Path, *, since: int = 0) -> str:
    """What a program wrote last, as the end of a sentence; empty when it wrote nothing (more than
    its first `since` bytes)."""
    try:
        with log.open("rb") as file:
            size = log.stat().st_size
            # A log that is shorter than it was has been trimmed.
            file.seek(max(since if since <= size else 0, size - _LAST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    said = _COLOUR.sub("", text).strip().splitlines()
    return f": {' / '.join(said[-3:])}" if said else ""


def trim_log(log: Path) -> None:
    """Keep a log that grows for weeks small; what it said last is beside it from then on. Its
    writers append, so they go on at its new end."""
    with suppress(OSError):
        size = log.stat().st_size
        if size > _LARGEST_LOG:
            with log.open("rb") as file:
                file.seek(size - _LARGEST_LOG)
                said = file.read(_LARGEST_LOG).decode(errors="replace")
            write_private(log.with_name(f"{log.name}.1"), said)
            os.truncate(log, 0)


def size_of(file: Path) -> int:
    """Its bytes; none when it is not there."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def remove_session_folder(folder: Path) -> None:
    """Remove the folder and the sockets its links lead to. Missing ones are fine."""
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            if entry.is_symlink():
                _remove_linked_socket(entry)
    shutil.rmtree(folder, ignore_errors=True)


def _remove_linked_socket(link: Path) -> None:
    """Only a socket, and only our own: a link may lead anywhere."""
    with suppress(OSError):
        socket = link.readlink()
        status = socket.lstat()
        if stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid():
            socket.unlink()
            socket.with_name(f"{socket.name}.lock").unlink(missing_ok=True)
