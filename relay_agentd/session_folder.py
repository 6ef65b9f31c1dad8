"""Removes what a session leaves in the file system, once its processes are certainly gone.

That is its folder and, where a socket in it is a link, what the link leads to: Codex keeps the
real socket and a lock in a folder of its own, and leaves both when it is killed.
"""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path


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
